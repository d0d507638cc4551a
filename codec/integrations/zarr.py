"""The codec for Zarr format 3: arrays of pictures in which each chunk is one or more `.cae` files.

    from codec.integrations.zarr import Cae

    zarr.create_array(store, shape=(1000, 256, 256, 3), chunks=(1, 256, 256, 3), dtype="uint8",
                      serializer=Cae(quality=75), compressors=None)

Zarr finds the codec by its name when it opens the array, so nothing has to be imported to read it.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from codec.extras import missing
from codec.integrations.chunks import Settings, check_dtype, check_rank, decode_chunks, encode_chunks, layout

try:
    from zarr.abc.codec import ArrayBytesCodec
    from zarr.core.common import parse_named_configuration
except ImportError as error:
    raise missing("zarr", "zarr") from error

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

_NAME = "cae"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cae(Settings, ArrayBytesCodec):
    """A lossy Zarr codec from arrays to bytes.

    See `codec.integrations.chunks.Settings` for arguments and errors.

    The codec turns arrays into bytes, so it is used as the `serializer`. `compressors` turn bytes
    into bytes, and Zarr rejects this codec there with a `TypeError`. Pass `compressors=None`,
    because compressing the files again does not make them smaller.

    Chunks are H×W, H×W×1, H×W×3, or stacks N×H×W×1 or N×H×W×3, uint8 or uint16. A `transpose`
    filter may produce these shapes. Other arrays are rejected with `InvalidImage` when they are
    created. They are rejected when they are first written if a filter could have produced a
    supported shape, or if the array has shards and Zarr is older than 3.4.

    The pictures of a chunk are coded together. Several chunks are coded together, also within a
    shard, with `zarr.config.set({"codec_pipeline.batch_size": 16})`.
    """

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the codec of an entry in `zarr.json`. Without a configuration this is `Cae()`."""
        _, configuration = parse_named_configuration(data, _NAME, require_configuration=False)
        return cls(**(configuration or {}))  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return the entry for `zarr.json`."""
        return {"name": _NAME, "configuration": dataclasses.asdict(self)}

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Return this codec.

        Raises `InvalidImage` for an unsupported dtype or number of axes, also in shards.
        """
        check_dtype(array_spec.dtype.to_native_dtype())
        check_rank(array_spec.shape)
        return self

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raise `InvalidImage` for an unsupported dtype or chunk shape.

        Shapes that a filter could turn into a supported one are accepted.
        """
        check_dtype(dtype.to_native_dtype())
        # Irregular grids have no common shape of chunks.
        chunk = getattr(chunk_grid, "chunk_shape", shape)
        # Axes may be those before a transposition. Three channels can be on any axis then, and one
        # channel can be on the second axis of a stack.
        if not (3 in chunk or (len(chunk) == 4 and chunk[1] == 1)):
            layout(chunk)
        check_rank(chunk)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Raise `NotImplementedError`, as Zarr expects if `is_fixed_size` is false.

        Zarr does not call this method then.
        """
        raise NotImplementedError("the size of a chunk depends on its pictures")

    async def encode(
        self, chunks_and_specs: Iterable[tuple[NDBuffer | None, ArraySpec]]
    ) -> list[Buffer | None]:
        """Return the bytes of chunks, and None for None. The event loop is not blocked.

        Errors are those of `encode_chunks`.
        """
        return await asyncio.to_thread(self._encode_all, list(chunks_and_specs))

    async def decode(
        self, chunks_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]
    ) -> list[NDBuffer | None]:
        """Return the arrays of chunks, and None for None. The event loop is not blocked.

        Errors are those of `decode_chunks`.
        """
        return await asyncio.to_thread(self._decode_all, list(chunks_and_specs))

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    # Pipelines without an event loop call the next two methods.

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        [data] = encode_chunks(self, [chunk_data.as_numpy_array()])
        return chunk_spec.prototype.buffer.from_bytes(data)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        [array] = decode_chunks(self, [_with_form(chunk_data, chunk_spec)])
        return chunk_spec.prototype.nd_buffer.from_numpy_array(array)

    def _encode_all(self, items: list[tuple[NDBuffer | None, ArraySpec]]) -> list[Buffer | None]:
        there = [chunk.as_numpy_array() for chunk, _ in items if chunk is not None]
        files = iter(encode_chunks(self, there) if there else [])
        return [
            None if chunk is None else spec.prototype.buffer.from_bytes(next(files)) for chunk, spec in items
        ]

    def _decode_all(self, items: list[tuple[Buffer | None, ArraySpec]]) -> list[NDBuffer | None]:
        there = [_with_form(chunk, spec) for chunk, spec in items if chunk is not None]
        arrays = iter(decode_chunks(self, there) if there else [])
        return [
            None if chunk is None else spec.prototype.nd_buffer.from_numpy_array(next(arrays))
            for chunk, spec in items
        ]


def _with_form(chunk: Buffer, spec: ArraySpec) -> tuple[bytes, tuple[int, ...], np.dtype[Any]]:
    """Return the bytes of a chunk, and its expected shape and dtype."""
    return chunk.to_bytes(), spec.shape, spec.dtype.to_native_dtype()
