"""Chunks of arrays as `.cae` files: the common part of the Zarr and numcodecs codecs.

A chunk H×W, H×W×1 or H×W×3 is one picture and is stored as one file. A chunk N×H×W×1 or N×H×W×3 is
a stack of N pictures and is stored as N whole files, one after the other. The bytes contain nothing
else: shape and dtype are those of the array.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.api import Codec, shared_codec
from codec.coding.effort import DEFAULT_EFFORT, check_effort
from codec.engine.goal import DEFAULT_QUALITY, quality_level
from codec.engine.reading import inspect
from codec.engine.running import memory_named
from codec.errors import FormatError, InvalidImage, LimitExceeded, Truncated, UnknownModel
from codec.limits import DEFAULT
from codec.model import registry
from codec.pictures.picture import Samples, from_samples

Shape = tuple[int, ...]

_TAKEN = "a chunk must be H×W, H×W×1, H×W×3, N×H×W×1 or N×H×W×3"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings for coding chunks, as stored in the metadata of an array.

    Args:
        quality: 0 (smallest file) to 100 (best quality). Fractions are allowed.
        effort: 1 (fastest) to 9 (smallest file).
        model: name or id of a shipped model, or None for the default. The attribute is always the
            id.
        weights_sha256: SHA-256 of the model's weights as 64 hexadecimal digits, or None to use that
            of the shipped model.

    The bytes of a chunk may depend slightly on the other chunks of its batch and on the machine.
    Coding is lossy: pictures that are read are not exactly those that were written. If they are
    changed and written again, they lose quality again. The error is relative to the bit depth of a
    picture: 8 for uint8, otherwise the smallest of 10, 12, 14 and 16 that holds all samples. Chunks
    are decoded in float32. Their samples are the same on all machines within one level.

    A model that is given by its id and `weights_sha256` need not be installed. Metadata can then
    still be read, and `worker` raises `UnknownModel`. Raises `UnknownModel` if no shipped model has
    this name or id, and `TypeError` or `ValueError` for an invalid value. No weights are loaded
    before chunks are coded.
    """

    quality: float = DEFAULT_QUALITY
    effort: int = DEFAULT_EFFORT
    model: str | None = None
    weights_sha256: str | None = None

    def __post_init__(self) -> None:
        quality_level(self.quality)
        check_effort(self.effort)
        model, sha256 = _identify(self.model, self.weights_sha256)
        # Convert to types that JSON has, because NumPy numbers are accepted too.
        quality, effort = float(self.quality), int(self.effort)
        vars(self).update(quality=quality, effort=effort, model=model, weights_sha256=sha256)

    def worker(self) -> Codec:
        """Return the codec for these settings, with its weights loaded.

        Raises `UnknownModel` if the weights are not installed.
        """
        entry = next((entry for entry in registry.entries() if entry.sha256 == self.weights_sha256), None)
        if entry is None:
            installed = ", ".join(f"{entry.id.hex()} {entry.name}" for entry in registry.entries())
            raise UnknownModel(
                f"the array needs model {self.model} with weights of SHA-256 {self.weights_sha256}, "
                f"which are not installed (installed: {installed or 'none'})"
            )
        return shared_codec(None if entry.default else entry.name, None, "float32")


def _identify(model: Any, sha256: Any) -> tuple[str, str]:
    """Return the id of a model and the SHA-256 of its weights."""
    if model is not None and not isinstance(model, str):
        raise TypeError(f"model must be a name or an id, not {type(model).__name__}")
    if sha256 is None:
        entry = registry.named(model)
        return entry.id.hex(), entry.sha256
    if not isinstance(sha256, str):
        raise TypeError(f"weights_sha256 must be a string, not {type(sha256).__name__}")
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"weights_sha256 must be 64 hexadecimal digits, not {sha256!r}")
    if model is None or not re.fullmatch("[0-9a-f]{12}", model):
        model = registry.named(model).id.hex()
    if not sha256.startswith(model):
        raise ValueError(f"weights_sha256 {sha256} does not begin with the id of model {model}")
    return model, sha256


def encode_chunks(settings: Settings, chunks: Sequence[NDArray[Any]]) -> list[bytes]:
    """Return the bytes of each chunk. The pictures of all chunks are coded together.

    Chunks have the shapes described above and are uint8 or uint16. Raises `InvalidImage` for
    another shape or dtype, `LimitExceeded` for a chunk with too many pixels, and `UnknownModel`.
    """
    stacks = [_stack_of(chunk) for chunk in chunks]
    pictures = [from_samples(picture) for stack in stacks for picture in stack]
    files = iter(settings.worker().compress_batch(pictures, quality=settings.quality, effort=settings.effort))
    return [b"".join(itertools.islice(files, len(stack))) for stack in stacks]


@memory_named()
def decode_chunks(settings: Settings, chunks: Sequence[tuple[bytes, Shape, np.dtype[Any]]]) -> list[Samples]:
    """Return the array of each chunk. The pictures of all chunks are decoded together.

    Each chunk is given with its shape and dtype. Headers are compared with shape and dtype before
    anything is decoded. All errors that bytes can cause are subclasses of `CodecError`:
    `FormatError` if the bytes do not match shape and dtype, `InvalidImage` and `LimitExceeded` as
    for `encode_chunks`, and `UnknownModel` if the model of a file, or of `settings`, is not
    installed.
    """
    files = [_split(data, shape, dtype) for data, shape, dtype in chunks]
    pictures = iter(settings.worker().decompress_batch([file for parts in files for file in parts]))
    return [
        np.stack(list(itertools.islice(pictures, len(parts)))).reshape(shape)
        for parts, (_, shape, _) in zip(files, chunks, strict=True)
    ]


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Raise `InvalidImage` unless samples are uint8 or uint16 in the machine's byte order."""
    if dtype in (np.uint8, np.uint16):
        return
    if dtype.newbyteorder() in (np.uint8, np.uint16):
        raise InvalidImage(f"samples are not in native byte order, {dtype.str}: convert them to uint16")
    hints = {
        "f": "scale them to 0…255 or 0…65535 and round them", "i": "add an offset that makes them positive",
        "u": "scale them to 16 bits", "b": "make them 0 and 255",
    }
    hint = hints.get(dtype.kind, "only pictures can be coded")
    raise InvalidImage(f"samples must be uint8 or uint16, not {dtype}: {hint}")


def check_rank(shape: Shape) -> None:
    """Raise `InvalidImage` unless there are two to four axes."""
    if not 2 <= len(shape) <= 4:
        raise InvalidImage(f"{_TAKEN}, not {_written(shape)}: reshape the array")


def layout(shape: Shape) -> tuple[int, int, int, int]:
    """Return the number of pictures, height, width and channels of a chunk's shape.

    Raises `InvalidImage` or `LimitExceeded`.
    """
    check_rank(shape)
    written = _written(shape)
    if 0 in shape:
        raise InvalidImage(f"a chunk of {written} is empty")
    channels = shape[-1] if len(shape) > 2 else 1
    if channels in (2, 4):
        raise InvalidImage(f"{_TAKEN}, not {written}: keep alpha in an array of its own")
    if channels not in (1, 3):
        raise InvalidImage(
            f"{_TAKEN}, not {written}: channels come last, and a stack of gray pictures needs a channel axis"
        )
    count, height, width = (1, *shape[:2]) if len(shape) < 4 else shape[:3]
    if count * height * width > DEFAULT.max_pixels:
        raise LimitExceeded(
            f"a chunk of {written} has over {DEFAULT.max_pixels} pixels: choose smaller chunks"
        )
    return count, height, width, channels


def measure(data: bytes) -> tuple[Shape, np.dtype[Any]]:
    """Return the shape and dtype of a chunk according to its bytes. Only headers are read.

    The shape is H×W or H×W×3 for one file, and N×H×W×C for several. Raises `FormatError` or a
    subclass, or `LimitExceeded`.
    """
    first = inspect(data)
    count, rest = 0, memoryview(data)
    while rest:
        info = inspect(rest)
        rest = rest[info.bytes :]
        count += 1
    shape: Shape = (count, first.height, first.width, first.channels)
    if count == 1:
        shape = shape[1:] if first.channels > 1 else shape[1:3]
    return shape, np.dtype(np.uint8 if first.bit_depth == 8 else np.uint16)


def _written(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "a scalar"


def _stack_of(chunk: NDArray[Any]) -> NDArray[Any]:
    """Return a chunk as N×H×W×C."""
    check_dtype(chunk.dtype)
    return chunk.reshape(layout(chunk.shape))


def _split(data: bytes, shape: Shape, dtype: np.dtype[Any]) -> list[memoryview]:
    """Split a chunk into its files. Their headers must match shape and dtype."""
    check_dtype(dtype)
    count, height, width, channels = layout(shape)
    depths = range(8, 9) if dtype.itemsize == 1 else range(9, 17)
    files, rest = [], memoryview(data)
    for number in range(count):
        if not rest:
            raise Truncated(f"the chunk ends after {number} of {count} pictures")
        info = inspect(rest)
        found = (info.height, info.width, info.channels)
        if found != (height, width, channels) or info.bit_depth not in depths:
            raise FormatError(
                f"picture {number} of the chunk is {_written(found)} with {info.bit_depth} bits, "
                f"expected {height}×{width}×{channels} of {dtype}"
            )
        files.append(rest[: info.bytes])
        rest = rest[info.bytes :]
    if rest:
        raise FormatError(f"{len(rest)} bytes follow the {count} pictures of the chunk")
    return files
