"""The public functions. The class `Codec` is behind them. Torch is imported on first use."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, Literal, overload

from codec.coding.effort import DEFAULT_EFFORT, Progress
from codec.engine import running
from codec.engine.reading import Data, OnError, Region, open_part
from codec.engine.running import memory_named
from codec.engine.worker import Codec, Concealed, Image, check_precision, decode_part
from codec.format.metadata import Metadata
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits
from codec.model import registry
from codec.pictures.picture import Samples

if TYPE_CHECKING:
    from codec.model.runtime import Precision

__all__ = ["EXTENSION", "Codec", "compress", "decompress", "models", "shared_codec"]

EXTENSION = ".cae"


@functools.lru_cache(maxsize=4)
def _shared(
    model: str | None, device: str | None, precision: Precision | None, version: tuple[int, int] | None
) -> Codec:
    return Codec(model=model, device=device, precision=precision)


def shared_codec(
    model: str | os.PathLike[str] | None, device: str | None, precision: Precision | None = None
) -> Codec:
    """Return the codec behind the public functions. Its weights are loaded once.

    They are loaded again if their file has changed.
    """
    name = None if model is None else os.fsdecode(model)
    version = None
    if registry.is_path(name):
        name = os.path.abspath(name)  # the working directory may change
        about = os.stat(name)
        version = (about.st_mtime_ns, about.st_size)
    with running.one_thread():
        return _shared(name, device, precision, version)


def compress(
    image: Image,
    *,
    quality: float | None = None,
    target_bpp: float | None = None,
    target_bytes: int | None = None,
    target_psnr: float | None = None,
    effort: int = DEFAULT_EFFORT,
    bit_depth: int | None = None,
    metadata: Metadata | None = None,
    progress: Progress | None = None,
    limits: Limits = DEFAULT_LIMITS,
    model: str | os.PathLike[str] | None = None,
    device: str | None = None,
) -> bytes:
    """Compress a picture to the bytes of a `.cae` file.

    Args:
        image: ndarray H×W (gray), H×W×2 (gray and alpha), H×W×3 (RGB) or H×W×4 (RGB and alpha),
            uint8 or uint16; a torch tensor C×H×W with the same numbers of channels, uint8, uint16
            or float in [0,1]; or a PIL image of mode L, LA, RGB, RGBA or I;16. PIL images of mode
            1, P and PA are converted. Any size from 1×1 is accepted. An array that is a memory map
            is read in parts, as needed.
        quality: 0 (smallest) to 100 (best); fractional values are allowed. The default is 75 if no
            target is given either. From 90.1 on, the error of every sample of more than 8 bits has
            a bound; see `Info.max_error`.
        target_bpp: bits per pixel of the whole file. The result is within 2 % of the target if a
            quality reaches that.
        target_bytes: maximum size of the file. The result is never larger, and it is within 2 % of
            the target if a quality reaches that.
        target_psnr: minimum PSNR of the decoded picture in dB, over all samples. The result is
            never below it if a quality reaches it. It is measured in the precision that this
            machine uses by default; on another, bfloat16 may lose up to 0.05 dB. The file takes no
            more bits than a PSNR of 0.1 dB above the target would (up to 0.6 dB where the error has
            a bound, because levels are that far apart there).
        effort: 1 (fastest) to 9 (smallest file at equal distortion, in the metric for which the
            model was trained). From 4 on, the encoder searches for better latents; the decoder does
            not change.
        bit_depth: number of bits that uint16 samples use, 9 to 16. None selects the first of 10,
            12, 14 and 16 that holds all samples. Decoded samples have the same scale as the input.
        metadata: ICC profile, EXIF and XMP to write to the file; `Metadata.of(image)` returns those
            of a PIL image. By default no metadata is written.
        progress: called with the finished share of the work, from 0 to 1, in the calling thread.
        limits: maximum sizes to accept; see `Limits`.
        model: name or id of a shipped model or path of a weights file; None for the default.
        device: device on which the networks run; None for the CPU.

    Alpha is kept exactly. Colour is not kept where alpha is 0.

    The same call on the same machine, with the same number of threads, returns the same file. Files
    of other machines may differ in a few symbols. Every file decodes to the same symbols on all
    machines.

    A target takes at most eight encodes. If no quality reaches `target_bpp` or `target_psnr`, the
    result is the nearest file, with the warning `TargetMissed`; `inspect` then shows quality 0 or
    100 as the limit (or a lossless file). A file smaller than `target_bytes`, or better than
    `target_psnr`, is not a missed target.

    Raises `InvalidImage` or `LimitExceeded` for a picture that cannot be compressed, `UnknownModel`
    for a model that is not available, `TargetUnreachable` if even quality 0 takes more than
    `target_bytes`, and `ValueError` or `TypeError` for an invalid argument.
    """
    return shared_codec(model, device).compress(
        image, quality=quality, target_bpp=target_bpp, target_bytes=target_bytes,
        target_psnr=target_psnr, effort=effort, bit_depth=bit_depth, metadata=metadata, progress=progress,
        limits=limits,
    )


@overload
def decompress(
    data: Data, *, region: Region | None = None, on_error: Literal["raise"] = "raise",
    limits: Limits = DEFAULT_LIMITS, device: str | None = None, precision: Precision | None = None,
) -> Samples: ...


@overload
def decompress(
    data: Data, *, region: Region | None = None, on_error: Literal["conceal"],
    limits: Limits = DEFAULT_LIMITS, device: str | None = None, precision: Precision | None = None,
) -> Concealed: ...


@memory_named()
def decompress(
    data: Data, *, region: Region | None = None, on_error: OnError = "raise",
    limits: Limits = DEFAULT_LIMITS, device: str | None = None, precision: Precision | None = None,
) -> Samples | Concealed:
    """Decode the picture in a file.

    The result is H×W (gray) or H×W×C, uint8, or uint16 if the picture has more than 8 bits.

    Args:
        data: the bytes of the file. If it is a memoryview of a memory map, only the needed parts
            are read.
        region: (top, left, height, width) in pixels, to decode a part of the picture. The pixels
            are the same as those of the whole picture. The time depends on the size of the part,
            not on that of the picture.
        on_error: "raise", or "conceal" to decode a file whose tiles are damaged or missing. With
            "conceal" the result is a pair of the picture and a mask. The picture is flat where a
            tile is lost and opaque where alpha is lost. The mask, H×W bool, is True where pixels
            may differ from those of the undamaged file. A damaged header still raises an error.
        limits: maximum sizes to decode; see `Limits`.
        device: device on which the networks run; None for the CPU.
        precision: "float32" or "bfloat16", in which the synthesis transform of pictures of 8 bits
            multiplies. None selects bfloat16 where the device multiplies it in hardware, and
            float32 elsewhere. In float32, samples are the same on all machines within one level. In
            bfloat16 there is no such promise, and the PSNR is 0.01 dB lower on average. Without
            such hardware, bfloat16 is emulated, which is slow. Pictures of more than 8 bits are
            always decoded in float32. The symbols of a file do not depend on the precision.

    Raises `FormatError` (`Truncated`, `ChecksumMismatch`, `UnsupportedVersion`, `UnknownModel`) or
    `LimitExceeded` and no other error, whatever the bytes. Also raises `TypeError` if `data` is not
    bytes, and `ValueError` for a region that is not within the picture or an unknown `precision`.
    """
    check_precision(precision)
    file, part = open_part(data, region, on_error, limits)
    # Stored pictures need no weights.
    worker = None if file.header.stored else shared_codec(None, device, precision)
    return decode_part(worker, file, part, on_error)


def models() -> list[dict[str, Any]]:
    """Return the name, id, default, bytes and sha256 of each shipped model."""
    return [registry.describe(entry) for entry in registry.entries()]
