"""Arrays of pictures in Zarr, format 3, with each chunk a `.cae` file, or several.

    from codec.integrations.zarr import Cae

    zarr.create_array(store, shape=(1000, 256, 256, 3), chunks=(1, 256, 256, 3), dtype="uint8",
                      serializer=Cae(quality=75), compressors=None)

Zarr finds the codec by its name when it opens the array: nothing has to be imported to read it.
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
    """A Zarr codec from arrays to bytes, with loss. Arguments, errors: `codec.integrations.chunks.Settings`.

    It turns arrays into bytes, and so is a `serializer`. In `compressors`, which turn bytes into bytes, Zarr
    refuses it with a `TypeError`; give `compressors=None`, for files do not get smaller.

    Chunks are H×W, H×W×1, H×W×3, or stacks N×H×W×1 or N×H×W×3, uint8 or uint16; a `transpose` filter may be
    what makes them so. An array whose chunks cannot be is refused with `InvalidImage` when it is made, or
    when it is first written: if a filter might have helped, or if it has shards and Zarr is older than 3.4.

    Pictures are coded together if a chunk is a stack of them; and several chunks at a time, in a shard too,
    with `zarr.config.set({"codec_pipeline.batch_size": 16})`.
    """

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The codec of an entry in `zarr.json`; without a configuration it is that of `Cae()`."""
        _, configuration = parse_named_configuration(data, _NAME, require_configuration=False)
        return cls(**(configuration or {}))  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """The entry in `zarr.json`."""
        return {"name": _NAME, "configuration": dataclasses.asdict(self)}

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """This codec; `InvalidImage` for a dtype or a number of axes that it does not take, in shards too."""
        check_dtype(array_spec.dtype.to_native_dtype())
        check_rank(array_spec.shape)
        return self

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """`InvalidImage` for a dtype, or for chunks of a shape, that no filter makes one that is taken."""
        check_dtype(dtype.to_native_dtype())
        # Grids that are not regular have no shape of all chunks.
        chunk = getattr(chunk_grid, "chunk_shape", shape)
        # Axes may be those before a transposition: three channels can be anywhere, one after a stack's first.
        if not (3 in chunk or (len(chunk) == 4 and chunk[1] == 1)):
            layout(chunk)
        check_rank(chunk)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """`NotImplementedError`, as Zarr expects where `is_fixed_size` is false: it does not ask then."""
        raise NotImplementedError("the size of a chunk depends on its pictures")

    async def encode(
        self, chunks_and_specs: Iterable[tuple[NDBuffer | None, ArraySpec]]
    ) -> list[Buffer | None]:
        """The bytes of chunks, None for None; errors as for `encode_chunks`. The event loop goes on."""
        return await asyncio.to_thread(self._encode_all, list(chunks_and_specs))

    async def decode(
        self, chunks_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]
    ) -> list[NDBuffer | None]:
        """The arrays of chunks, None for None; errors as for `decode_chunks`. The event loop goes on."""
        return await asyncio.to_thread(self._decode_all, list(chunks_and_specs))

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    # Pipelines that do without an event loop call these two.

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
    """The bytes of a chunk, and the shape and dtype that they are to have."""
    return chunk.to_bytes(), spec.shape, spec.dtype.to_native_dtype()
