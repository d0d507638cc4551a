"""The class `Codec`: a loaded model, its settings, and the calls that run it.

Torch is imported on first use.
"""

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
from codec.engine.reading import Data, OnError, Region, open_part
from codec.engine.running import memory_named
from codec.errors import TargetMissed, TargetUnreachable, UnknownModel
from codec.format import container
from codec.format.container import File
from codec.format.metadata import Metadata
from codec.format.rows import RowFormat
from codec.format.tiling import Box
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits, integer
from codec.model import registry
from codec.pictures.picture import Picture, Samples, from_samples, to_picture

if TYPE_CHECKING:
    from codec.engine.loaded_model import LoadedModel
    from codec.model.runtime import Precision

Image = Any
"""ndarray H×W or H×W×C, PIL image, or torch tensor C×H×W; see `compress`."""

Concealed = tuple[Samples, NDArray[np.bool_]]
"""A picture, and a mask H×W bool that is True where it may differ from the undamaged file."""


class Codec:
    """A codec whose weights are loaded once. Threads may share it; their calls run one at a time.

    Args:
        model: name or id of a shipped model, path of a `.safetensors` file, or None for the
            default. Files written with any shipped model are decoded, whatever is chosen here.
        device: "cpu", "cuda", …, on which the float networks run; None for the CPU. Symbols are
            decoded on the CPU in any case. This has not been run on a GPU yet.
        precision: "float32" or "bfloat16", in which pictures of 8 bits are decoded; see
            `codec.decompress`. With `target_psnr`, the PSNR is that of this precision.
        threads: number of CPU threads during calls; None keeps torch's setting. In a process that
            was forked from a process that had loaded torch, one thread is always used, because more
            would hang.

    The same call on the same machine, with the same number of threads, returns the same file. Files
    of other machines may differ in a few symbols. Every file decodes to the same symbols on all
    machines. Results do not depend on settings of torch or NumPy, such as a default dtype or
    autocast.

    A codec can be copied, pickled and sent to other processes. A pickle holds the id of a shipped
    model, or the path of the weights file, and no weights. They are loaded where it is unpickled,
    once in a process. `UnknownModel` is raised there if the same weights are not available.

    Raises `UnknownModel` for an unknown name or damaged weights, and `ValueError` or `TypeError`
    for an invalid argument.
    """

    def __init__(
        self,
        *,
        model: str | os.PathLike[str] | None = None,
        device: str | None = None,
        precision: Precision | None = None,
        threads: int | None = None,
    ) -> None:
        if threads is not None:
            threads = integer(threads, "threads")
            if threads < 1:
                raise ValueError(f"threads must be at least 1, not {threads}")
        check_precision(precision)
        self.device = device or "cpu"
        self.precision = precision
        self.threads = threads
        from codec.engine.loaded_model import load

        wanted = None if model is None else os.fsdecode(model)
        self.model, data = registry.find(wanted)
        self.weights_sha256 = hashlib.sha256(data).hexdigest()
        # The folder may change before a copy of this codec reads the weights.
        self._source = os.path.abspath(wanted) if registry.is_path(wanted) else self.weights_sha256[:12]
        self._loaded = load(self.model, data, self.device, precision)
        self._others: dict[bytes, LoadedModel] = {self._loaded.model_id: self._loaded}

    def __getstate__(self) -> dict[str, Any]:
        names = ("model", "weights_sha256", "device", "precision", "threads", "_source")
        return {name: self.__dict__[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._loaded = _restored(self.model, self._source, self.weights_sha256, self.device, self.precision)
        self._others = {self._loaded.model_id: self._loaded}

    def __copy__(self) -> Codec:
        """Return a codec that shares the loaded weights, which never change."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Codec:
        return self.__copy__()

    def __repr__(self) -> str:
        return (
            f"Codec(model={self.model!r}, device={self.device!r}, precision={self.precision!r}, "
            f"threads={self.threads})"
        )

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
        effort = check_effort(effort)
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
        return decode_part(None if file.header.stored else self, file, part, on_error)

    def compress_batch(
        self, images: Sequence[Image], *, quality: float | None = None, effort: int = DEFAULT_EFFORT,
        limits: Limits = DEFAULT_LIMITS,
    ) -> list[bytes]:
        """Compress each picture to a file. The pictures may have different sizes.

        Pictures of equal size run through the networks together. A file may therefore differ in a
        few symbols from that of a picture which is compressed alone.
        """
        level = quality_level(DEFAULT_QUALITY if quality is None else quality)
        effort = check_effort(effort)
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
        effort = check_effort(effort)
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
            file = container.read(memoryview(data))
            psnr = None
            if target.kind == "psnr":
                psnr = rate_control.psnr(picture, decode_bands(self._loaded, file, whole(file), None))
            return Trial(level, data, psnr, file.header.stored)

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
    def decompress_batch(self, files: Sequence[Data], *, limits: Limits = DEFAULT_LIMITS) -> list[Samples]:
        """Return the picture of each file. All files are checked before the first is decoded.

        Pictures of equal size run through the networks together. In float32, samples may therefore
        differ by one level from those of a picture that is decoded alone.
        """
        from codec.engine.batch_decoding import decode_pictures
        from codec.engine.decoding import decode_region

        opened = [open_part(data, None, "raise", limits) for data in files]
        pictures: dict[int, Samples] = {}
        by_model: dict[bytes, list[int]] = defaultdict(list)
        for index, (file, part) in enumerate(opened):
            if file.header.stored:
                pictures[index] = decode_region(None, file, part, None)
            else:
                by_model[file.header.model_id].append(index)
        with self._running():
            models = {model_id: self.model_for(model_id) for model_id in by_model}
            for model_id, indexes in by_model.items():
                decoded = decode_pictures(models[model_id], [opened[index][0] for index in indexes])
                pictures.update(zip(indexes, decoded, strict=True))
        return [from_samples(pictures[index]) for index in range(len(opened))]

    def model_for(self, model_id: bytes) -> LoadedModel:
        """Return the model of a file. Raises `UnknownModel` if it is not a shipped model."""
        if model_id not in self._others:
            from codec.engine.loaded_model import load

            entry = registry.by_id(model_id)
            self._others[model_id] = load(entry.name, entry.read(), self.device, self.precision)
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
        with running.exclusive(self.threads), memory_named():
            yield


def check_precision(precision: Any) -> None:
    """Raise `TypeError` or `ValueError` unless `precision` is None, "float32" or "bfloat16"."""
    if precision is not None and not isinstance(precision, str):
        raise TypeError(f"precision must be a string, not {type(precision).__name__}")
    if precision not in (None, "float32", "bfloat16"):
        raise ValueError(f"precision must be 'float32' or 'bfloat16', not {precision!r}")


@functools.lru_cache(maxsize=4)
def _restored(name: str, source: str, sha256: str, device: str, precision: Precision | None) -> LoadedModel:
    """Return the model of a codec that was pickled."""
    from codec.engine.loaded_model import load

    try:
        _, data = registry.find(source)
    except OSError as error:
        raise UnknownModel(f"the weights of the unpickled codec are not available: {error}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise UnknownModel(
            f"the unpickled codec needs weights of SHA-256 {sha256}, but {source} has {found}"
        )
    return load(name, data, device, precision)


def decode_part(worker: Codec | None, file: File, part: Box, on_error: OnError) -> Samples | Concealed:
    """Return the pixels of `part`. A file with latents needs a `worker`."""
    from codec.engine.decoding import Damage, decode_region, lost_pixels

    damage = Damage() if on_error == "conceal" else None
    halo = 0
    if worker is None:
        samples = decode_region(None, file, part, damage)
    else:
        with worker._running():
            model = worker.model_for(file.header.model_id)
            samples = decode_region(model, file, part, damage)
        halo = model.networks.config.halo
    picture = from_samples(samples)
    return picture if damage is None else (picture, lost_pixels(file, damage, part, halo))
