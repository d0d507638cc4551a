"""The public functions and the class `Codec` behind them. Torch is imported on first use."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from codec.coding.effort import DEFAULT_EFFORT, EFFORTS, Progress, check_effort
from codec.coding.stored import pack_metadata
from codec.engine import rate_control, running
from codec.engine.goal import DEFAULT_QUALITY, Target, choose_goal, quality_level
from codec.engine.rate_control import Trial
from codec.engine.reading import Data, OnError, Region, inspect, open_part
from codec.engine.running import memory_named
from codec.errors import TargetMissed, TargetUnreachable
from codec.format import container
from codec.format.container import File
from codec.format.metadata import Metadata
from codec.format.rows import RowFormat
from codec.format.tiling import Box
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits
from codec.model import registry
from codec.pictures.picture import Picture, Samples, from_samples, to_picture

if TYPE_CHECKING:
    from codec.engine.loaded_model import LoadedModel

Image = Any
"""ndarray H×W or H×W×C, PIL image, or torch tensor C×H×W; see `compress`."""

Concealed = tuple[Samples, NDArray[np.bool_]]
"""A picture, and a mask H×W bool that is True where it may differ from the undamaged file."""

EXTENSION = ".cae"


class Codec:
    """A codec whose weights are loaded once. Threads may share it; their calls run one at a time.

    Args:
        model: name or id of a shipped model, path of a `.safetensors` file, or None for the
            default. Files written with any shipped model are decoded, whatever is chosen here.
        device: "cpu", "cuda", …; None for the CPU. Symbols are intended to be the same on both.
            This has not been run on a GPU yet.
        threads: number of CPU threads during calls; None keeps torch's setting. In a process that
            was forked from a process that had loaded torch, one thread is always used, because more
            would hang.

    Raises `UnknownModel` for an unknown name or damaged weights.
    """

    def __init__(
        self,
        *,
        model: str | os.PathLike[str] | None = None,
        device: str | None = None,
        threads: int | None = None,
    ) -> None:
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int)):
            raise TypeError(f"threads must be an integer, not {type(threads).__name__}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.device = device or "cpu"
        self.threads = threads
        from codec.engine.loaded_model import load

        name, data = registry.find(None if model is None else os.fspath(model))
        self.model = name
        self.weights_sha256 = hashlib.sha256(data).hexdigest()
        self._loaded = load(name, data, self.device)
        self._others: dict[bytes, LoadedModel] = {self._loaded.model_id: self._loaded}

    def __repr__(self) -> str:
        return f"Codec(model={self.model!r}, device={self.device!r}, threads={self.threads})"

    @property
    def model_id(self) -> str:
        """Twelve hexadecimal digits that identify the weights."""
        return self._loaded.model_id.hex()

    def compress(
        self,
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
    ) -> bytes:
        """Compress a picture in the same way as the function `codec.compress`."""
        goal = choose_goal(quality, target_bpp, target_bytes, target_psnr)
        check_effort(effort)
        if metadata is not None and not isinstance(metadata, Metadata):
            raise TypeError(f"metadata must be codec.Metadata, not {type(metadata).__name__}")
        picture = to_picture(image, limits, bit_depth)
        report = progress or (lambda share: None)
        if isinstance(goal, Target) and goal.kind == "bytes" and metadata:
            taken = sum(map(len, pack_metadata(metadata)[1]))
            if taken >= goal.value:
                raise TargetUnreachable(f"cannot reach {goal}: the metadata alone takes {taken} bytes")
        with self._running():

            def encode(level: int, at: int, shown: Progress) -> bytes:
                return self._encode([picture], level, at, progress=shown, metadata=metadata)[0]

            if isinstance(goal, Target):
                data = self._reach(picture, goal, effort, encode, report)
            else:
                data = encode(goal, effort, report)
        report(1.0)
        return data

    @overload
    def decompress(
        self, data: Data, *, region: Region | None = None, on_error: Literal["raise"] = "raise",
        limits: Limits = DEFAULT_LIMITS,
    ) -> Samples: ...

    @overload
    def decompress(
        self, data: Data, *, region: Region | None = None, on_error: Literal["conceal"],
        limits: Limits = DEFAULT_LIMITS,
    ) -> Concealed: ...

    @memory_named()
    def decompress(
        self, data: Data, *, region: Region | None = None, on_error: OnError = "raise",
        limits: Limits = DEFAULT_LIMITS,
    ) -> Samples | Concealed:
        """Decode a file in the same way as the function `codec.decompress`."""
        file, part = open_part(data, region, on_error, limits)
        return _decode(None if file.header.stored else self, file, part, on_error)

    def compress_batch(
        self, images: Sequence[Image], *, quality: float | None = None, effort: int = DEFAULT_EFFORT,
        limits: Limits = DEFAULT_LIMITS,
    ) -> list[bytes]:
        """Compress each picture to a file. The pictures may have different sizes.

        From effort 3 on, a file does not depend on the other pictures of the batch.
        """
        level = quality_level(DEFAULT_QUALITY if quality is None else quality)
        check_effort(effort)
        pictures = [to_picture(image, limits) for image in images]
        with self._running():
            return self._encode(pictures, level, effort)

    def compress_rows(
        self, images: Sequence[Image], rows: RowFormat, *, effort: int = DEFAULT_EFFORT,
        limits: Limits = DEFAULT_LIMITS,
    ) -> list[bytes]:
        """Compress each picture to a row of a dataset, at the quality of `rows`.

        This is `compress_batch` for rows; `rows.unpack` converts a row to a file. Raises
        `ValueError` if `rows` is for a model other than that of this codec.
        """
        if rows.model_id != self._loaded.model_id:
            raise ValueError(
                f"rows are for model {rows.model_id.hex()}, but this codec uses model {self.model_id}"
            )
        check_effort(effort)
        pictures = [to_picture(image, limits) for image in images]
        with self._running():
            files = self._encode(pictures, rows.level, effort)
        return [rows.pack(data) for data in files]

    def _encode(self, pictures: Sequence[Picture], level: int, effort: int, **options: Any) -> list[bytes]:
        from codec.engine.encoding import encode_pictures

        return encode_pictures(self._loaded, pictures, level, effort=EFFORTS[effort], **options)

    def _reach(
        self, picture: Picture, target: Target, effort: int, encode: Callable[[int, int, Progress], bytes],
        progress: Progress,
    ) -> bytes:
        """Return the file that meets `target`, or else the nearest file.

        Warns with `TargetMissed` or raises `TargetUnreachable` if no quality reaches the target.
        """
        from codec.coding.residual import last_level_without
        from codec.engine.decoding import decode_bands, whole

        def attempt(level: int, at: int, report: Progress) -> Trial:
            data = encode(level, at, report)
            psnr = None
            if target.kind == "psnr":
                file = container.read(memoryview(data))
                psnr = rate_control.psnr(picture, decode_bands(self._loaded, file, whole(file), None))
            return Trial(level, data, psnr, inspect(data).lossless)

        pixels = picture.height * picture.width
        knee = last_level_without(picture.depth)
        best, reached = rate_control.reach(target, pixels, attempt, effort, progress, knee)
        if not reached:
            about = f"cannot reach {target}: the nearest file has {best.describe(pixels)}"
            if target.kind == "bytes":
                raise TargetUnreachable(about)
            warnings.warn(TargetMissed(about), stacklevel=4)
        return best.data

    @memory_named()
    def decompress_batch(
        self, files: Sequence[Data], *, limits: Limits = DEFAULT_LIMITS
    ) -> list[Samples]:
        """Return the picture of each file. All files are checked before the first is decoded."""
        from codec.engine.decoding import decode_bands, decode_pictures, join

        opened = [open_part(data, None, "raise", limits) for data in files]
        pictures: dict[int, Samples] = {}
        by_model: dict[bytes, list[int]] = defaultdict(list)
        for index, (file, part) in enumerate(opened):
            if file.header.stored:
                pictures[index] = from_samples(join(file, part, decode_bands(None, file, part, None)))
            else:
                by_model[file.header.model_id].append(index)
        with self._running():
            models = {model_id: self.model_for(model_id) for model_id in by_model}
            for model_id, indexes in by_model.items():
                decoded = decode_pictures(models[model_id], [opened[index][0] for index in indexes])
                for index, samples in zip(indexes, decoded, strict=True):
                    pictures[index] = from_samples(samples)
        return [pictures[index] for index in range(len(opened))]

    def model_for(self, model_id: bytes) -> LoadedModel:
        """Return the model of a file. Raises `UnknownModel` if it is not a shipped model."""
        if model_id not in self._others:
            from codec.engine.loaded_model import load

            entry = registry.by_id(model_id)
            self._others[model_id] = load(entry.name, entry.read(), self.device)
        return self._others[model_id]

    def one_at_a_time(self, file: File, part: Box) -> Generator[Samples, None, None]:
        """Yield the bands of a part of a file with latents. Other calls may run between bands."""
        from codec.engine.decoding import decode_bands

        with self._running():
            bands = decode_bands(self.model_for(file.header.model_id), file, part, None)
        with contextlib.closing(bands):
            while True:
                with self._running():
                    band = next(bands, None)
                if band is None:
                    return
                yield band

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Run one call at a time, with the number of threads of this codec."""
        import torch

        # In inference mode the search would have no gradients, and later calls could not use the
        # tensors that were created in it.
        with running.exclusive(self.threads), memory_named(), torch.inference_mode(False):
            yield


@functools.lru_cache(maxsize=4)
def _shared(model: str | None, device: str | None) -> Codec:
    """Return the instance behind the public functions, so that weights are loaded once."""
    return Codec(model=model, device=device)


def shared_codec(model: str | os.PathLike[str] | None, device: str | None) -> Codec:
    """Return the codec behind the public functions. Its weights are loaded once."""
    return _shared(None if model is None else os.fspath(model), device)


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
            never below it if a quality reaches it. The file takes no more bits than a PSNR of 0.1
            dB above the target would (up to 0.6 dB where the error has a bound, because levels are
            that far apart there).
        effort: 1 (fastest) to 9 (smallest file at equal PSNR). From 4 on, the encoder searches for
            better latents; the decoder does not change. At 3, with a quality or a target size,
            every machine writes the same file, except for samples of more than 8 bits at qualities
            above 90. Otherwise files may differ between machines, but they decode in the same way.
        bit_depth: number of bits that uint16 samples use, 9 to 16. None selects the first of 10,
            12, 14 and 16 that holds all samples. Decoded samples have the same scale as the input.
        metadata: ICC profile, EXIF and XMP to write to the file; `Metadata.of(image)` returns those
            of a PIL image. By default no metadata is written.
        progress: called with the finished share of the work, from 0 to 1, in the calling thread.
        limits: maximum sizes to accept; see `Limits`.
        model: name or id of a shipped model or path of a weights file; None for the default.
        device: device on which the networks run; None for the CPU.

    Alpha is kept exactly. Colour is not kept where alpha is 0.

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
    limits: Limits = DEFAULT_LIMITS, device: str | None = None,
) -> Samples: ...


@overload
def decompress(
    data: Data, *, region: Region | None = None, on_error: Literal["conceal"],
    limits: Limits = DEFAULT_LIMITS, device: str | None = None,
) -> Concealed: ...


@memory_named()
def decompress(
    data: Data, *, region: Region | None = None, on_error: OnError = "raise",
    limits: Limits = DEFAULT_LIMITS, device: str | None = None,
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

    Raises `FormatError` (`Truncated`, `ChecksumMismatch`, `UnsupportedVersion`, `UnknownModel`) or
    `LimitExceeded` and no other error, whatever the bytes. Also raises `TypeError` if `data` is not
    bytes, and `ValueError` for a region that is not within the picture.
    """
    file, part = open_part(data, region, on_error, limits)
    # Stored pictures need no weights.
    return _decode(None if file.header.stored else shared_codec(None, device), file, part, on_error)


def _decode(worker: Codec | None, file: File, part: Box, on_error: OnError) -> Samples | Concealed:
    """Return the pixels of `part`. A file with latents needs a `worker`."""
    from codec.engine.decoding import Damage, decode_bands, join, lost_pixels

    damage = Damage() if on_error == "conceal" else None
    halo = 0
    if worker is None:
        samples = join(file, part, decode_bands(None, file, part, damage))
    else:
        with worker._running():
            model = worker.model_for(file.header.model_id)
            samples = join(file, part, decode_bands(model, file, part, damage))
        halo = model.halo
    picture = from_samples(samples)
    return picture if damage is None else (picture, lost_pixels(file, damage, part, halo))


def models() -> list[dict[str, Any]]:
    """Return the name, id, default, bytes and sha256 of each shipped model."""
    return [registry.describe(entry) for entry in registry.entries()]
