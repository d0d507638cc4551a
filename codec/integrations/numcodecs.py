"""The numcodecs codec: pictures in arrays of Zarr format 2, and in other users of numcodecs.

    zarr.create_array(store, shape=(1000, 256, 256, 3), chunks=(1, 256, 256, 3), dtype="uint8",
                      zarr_format=2, compressors=numcodecs.get_codec({"id": "cae", "quality": 75}))

numcodecs finds the codec by its id, so nothing has to be imported. For Zarr format 3 use
`codec.integrations.zarr`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from codec.errors import InvalidImage
from codec.extras import missing
from codec.integrations.chunks import Settings, decode_chunks, encode_chunks, measure
from codec.pictures.picture import Samples

try:
    from numcodecs.abc import Codec
    from numcodecs.compat import ensure_bytes
except ImportError as error:
    raise missing("numcodecs", "zarr") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cae(Settings, Codec):  # type: ignore[misc]  # numcodecs has no types
    """A lossy numcodecs codec.

    See `codec.integrations.chunks.Settings` for arguments and errors.
    """

    codec_id: ClassVar[str] = "cae"

    def encode(self, buf: Any) -> bytes:
        """Return the bytes of an ndarray H×W, H×W×1, H×W×3, N×H×W×1 or N×H×W×3, uint8 or uint16.

        Raises `InvalidImage` for anything else, and `LimitExceeded` or `UnknownModel`.
        """
        if not isinstance(buf, np.ndarray):
            raise InvalidImage(f"a chunk must be an ndarray with its shape, not {type(buf).__name__}")
        # Zarr would assume this order for the decoded array too, but the bytes do not store it.
        if buf.flags.f_contiguous and not buf.flags.c_contiguous:
            raise InvalidImage("a chunk must not be in Fortran order: create the array with order='C'")
        return encode_chunks(self, [buf])[0]

    def decode(self, buf: Any, out: Any = None) -> Samples:
        """Return the array in the bytes of a chunk, uint8 or uint16.

        The array is H×W or H×W×3 for one picture, and N×H×W×C for several. For one picture, the
        bytes do not store the channel axis of gray, nor the first axis of a stack. If `out` is
        given, it must be an ndarray with the shape and dtype of the chunk. It is filled and
        returned.

        All errors that bytes can cause are subclasses of `CodecError`: `FormatError` if the bytes
        are damaged or do not match `out`, `LimitExceeded`, and `UnknownModel`. Raises `TypeError`
        if `out` is not an ndarray.
        """
        data = ensure_bytes(buf)
        if out is None:
            return decode_chunks(self, [(data, *measure(data))])[0]
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out must be an ndarray of the chunk's shape, not {type(out).__name__}")
        out[...] = decode_chunks(self, [(data, out.shape, out.dtype)])[0]
        return out
