"""The public functions, and the class `Codec` behind them. Torch is imported when first needed."""

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
"""A picture, and where it is not what it was."""

EXTENSION = ".cae"


class Codec:
    """A codec whose weights are loaded once. Safe to share between threads, which take turns.

    Args:
        model: name or id of a shipped model, path of a `.safetensors` file, or None for the default.
            Files written with any shipped model are decoded whatever is chosen here.
        device: "cpu", "cuda", …; None for the CPU.
            Symbols are meant to be the same on either; this has not been run on a GPU yet.
        threads: CPU threads to use during calls; None leaves torch's setting alone. In a process that was
            forked from one that had loaded torch it is always one: more would hang.

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
        """Twelve hexadecimal digits that name the weights."""
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
        """As the function `codec.compress`."""
        goal = choose_goal(quality, target_bpp, target_bytes, target_psnr)
        check_effort(effort)
        if metadata is not None and not isinstance(metadata, Metadata):
            raise TypeError(f"metadata must be codec.Metadata, not {type(metadata).__name__}")
        picture = to_picture(image, limits, bit_depth)
        report = progress or (lambda share: None)
        if isinstance(goal, Target) and goal.kind == "bytes" and metadata:
            taken = sum(map(len, pack_metadata(metadata)[1]))
            if taken >= goal.value:
                raise TargetUnreachable(f"{goal} is out of reach: metadata alone takes {taken} bytes")
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
        """As the function `codec.decompress`."""
        file, part = open_part(data, region, on_error, limits)
        return _decode(None if file.header.stored else self, file, part, on_error)

    def compress_batch(
        self, images: Sequence[Image], *, quality: float | None = None, effort: int = DEFAULT_EFFORT,
        limits: Limits = DEFAULT_LIMITS,
    ) -> list[bytes]:
        """One file for each picture; sizes may differ. From effort 3 on files do not depend on the batch."""
        level = quality_level(DEFAULT_QUALITY if quality is None else quality)
        check_effort(effort)
        pictures = [to_picture(image, limits) for image in images]
        with self._running():
            return self._encode(pictures, level, effort)

    def compress_rows(
        self, images: Sequence[Image], rows: RowFormat, *, effort: int = DEFAULT_EFFORT,
        limits: Limits = DEFAULT_LIMITS,
    ) -> list[bytes]:
        """As `compress_batch`, at the quality of `rows`, to rows of a dataset; `rows.unpack` makes files of
        them. `ValueError` if `rows` is for another model than this codec's."""
        if rows.model_id != self._loaded.model_id:
            raise ValueError(f"rows of model {rows.model_id.hex()}, and this codec has {self.model_id}")
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
        """The file that meets `target`; warns of `TargetMissed` or raises `TargetUnreachable`."""
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
            about = f"{target} is out of reach: {best.describe(pixels)}"
            if target.kind == "bytes":
                raise TargetUnreachable(about)
            warnings.warn(TargetMissed(about), stacklevel=4)
        return best.data

    @memory_named()
    def decompress_batch(
        self, files: Sequence[Data], *, limits: Limits = DEFAULT_LIMITS
    ) -> list[Samples]:
        """The picture of each file; all files are checked before the first is decoded."""
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
            models = {model_id: self.loaded_model(model_id) for model_id in by_model}
            for model_id, indexes in by_model.items():
                decoded = decode_pictures(models[model_id], [opened[index][0] for index in indexes])
                for index, samples in zip(indexes, decoded, strict=True):
                    pictures[index] = from_samples(samples)
        return [pictures[index] for index in range(len(opened))]

    def loaded_model(self, model_id: bytes) -> LoadedModel:
        """The model of a file; `UnknownModel` if it does not ship."""
        if model_id not in self._others:
            from codec.engine.loaded_model import load

            entry = registry.by_id(model_id)
            self._others[model_id] = load(entry.name, entry.read(), self.device)
        return self._others[model_id]

    def one_at_a_time(self, file: File, part: Box) -> Generator[Samples, None, None]:
        """The bands of a part of a file of latents; others may call between two of them."""
        from codec.engine.decoding import decode_bands

        with self._running():
            bands = decode_bands(self.loaded_model(file.header.model_id), file, part, None)
        with contextlib.closing(bands):
            while True:
                with self._running():
                    band = next(bands, None)
                if band is None:
                    return
                yield band

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """One call at a time, with this codec's threads."""
        import torch

        # Inference mode would keep the search from its gradients, and its tensors from later calls.
        with running.exclusive(self.threads), memory_named(), torch.inference_mode(False):
            yield


@functools.lru_cache(maxsize=4)
def _shared(model: str | None, device: str | None) -> Codec:
    """The instance behind the functions, so that weights load once."""
    return Codec(model=model, device=device)


def shared_codec(model: str | os.PathLike[str] | None, device: str | None) -> Codec:
    """The codec behind the functions; its weights load once."""
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
        image: ndarray H×W (gray), H×W×2 (gray and alpha), H×W×3 (RGB) or H×W×4 (RGB and alpha), uint8 or
            uint16; a torch tensor C×H×W of as many channels, uint8, uint16 or float in [0,1]; a PIL image of
            mode L, LA, RGB, RGBA, I;16, or 1, P and PA, which are converted. Any size from 1×1 up. An array
            that is a memory map is read as it is needed.
        quality: 0 (smallest) to 100 (best); fractions count. 75 if neither it nor a target is given. From
            90.1 on the error of every sample of more than 8 bits has a bound: `Info.max_error`.
        target_bpp: bits per pixel of the whole file, reached within 2 % where a quality does.
        target_bytes: size that the file never exceeds, and comes within 2 % of where a quality does.
        target_psnr: decibels that the decoded picture never falls short of where a quality reaches
            them, over all samples, with as few bits as 0.1 dB more allow (up to 0.6 dB where the error has a
            bound, for there levels are that far apart).
        effort: 1 (fastest) to 9 (smallest file at equal PSNR). From 4 on the encoder searches for better
            latents, through a decoder that stays as it is. At 3, with a quality or a size, every
            machine writes the same file (but for more than 8 bits at qualities over 90); otherwise files may
            differ, and decode alike.
        bit_depth: 9 to 16, the bits that uint16 samples use; None takes the first of 10, 12, 14 and 16 that
            holds them all. They come back on the scale that they had.
        metadata: ICC profile, EXIF and XMP to put into the file; `Metadata.of(image)` are those of a PIL
            image. Nothing by default.
        progress: called with the share of the work that is done, from 0 to 1, in the thread that called.
        limits: what to take at most; see `Limits`.
        model: name or id of a shipped model or path of a weights file; None for the default.
        device: where the networks run; None for the CPU.

    Alpha is kept exactly, colour where alpha is 0 is not.

    A target takes eight encodes at most. One that no quality reaches gives the nearest file and the
    warning `TargetMissed`; `inspect` then shows quality 0 or 100 as the limit (or a lossless file).

    Raises `InvalidImage` or `LimitExceeded` for a picture that cannot be taken, `UnknownModel`,
    `TargetUnreachable` if even quality 0 takes more than `target_bytes`, `ValueError` or
    `TypeError` for a wrong argument.
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
    """The picture in a file: H×W (gray) or H×W×C, uint8, or uint16 if it has more than 8 bits.

    Args:
        data: the file; of a memoryview of a memory map only what is needed is read.
        region: (top, left, height, width) in pixels, to decode a part of the picture: the same pixels that
            the whole picture has there, in a time that depends on the part, not on the whole.
        on_error: "raise", or "conceal" to get what is left of a file whose tiles are damaged or
            missing: a pair of the picture, flat where a tile is lost, opaque where alpha is, and a mask H×W
            bool that is True where pixels may differ from those of the undamaged file. A damaged header
            still raises.
        limits: what to spend at most; see `Limits`.
        device: where the networks run; None for the CPU.

    Raises `FormatError` (`Truncated`, `ChecksumMismatch`, `UnsupportedVersion`, `UnknownModel`) or
    `LimitExceeded`, whatever the bytes; `TypeError` if `data` is not bytes, `ValueError` for a region
    that does not lie within the picture.
    """
    file, part = open_part(data, region, on_error, limits)
    # Stored pictures need no weights.
    return _decode(None if file.header.stored else shared_codec(None, device), file, part, on_error)


def _decode(worker: Codec | None, file: File, part: Box, on_error: OnError) -> Samples | Concealed:
    """The pixels of `part`; a file of latents needs a `worker`."""
    from codec.engine.decoding import Damage, decode_bands, join, lost_pixels

    damage = Damage() if on_error == "conceal" else None
    halo = 0
    if worker is None:
        samples = join(file, part, decode_bands(None, file, part, damage))
    else:
        with worker._running():
            model = worker.loaded_model(file.header.model_id)
            samples = join(file, part, decode_bands(model, file, part, damage))
        halo = model.halo
    picture = from_samples(samples)
    return picture if damage is None else (picture, lost_pixels(file, damage, part, halo))


def models() -> list[dict[str, Any]]:
    """The shipped models: name, id, default, bytes, sha256."""
    return [registry.describe(entry) for entry in registry.entries()]
