"""Lossless data: stored tiles, alpha and metadata, either as zstd frames or uncompressed."""

from __future__ import annotations

import math
import zlib

import numpy as np

from codec.errors import ChecksumMismatch, FormatError, UnsupportedVersion
from codec.format.container import File
from codec.format.header import METADATA_KINDS, Section
from codec.format.metadata import Metadata
from codec.pictures.picture import Samples

_FILTERS = 3
_METADATA_ZSTD_LEVEL = 19


def pack(raw: bytes, zstd_level: int) -> bytes:
    """Return `raw` as a zstd frame, or `raw` itself if that is not longer."""
    import zstandard  # loaded when first needed, so that `import codec` stays light

    packed = zstandard.ZstdCompressor(level=zstd_level).compress(raw)
    # On a tie use `raw`: a payload as long as its content is read as the content itself.
    return packed if len(packed) < len(raw) else raw


def unpack(payload: bytes | memoryview, size: int, what: str) -> bytes:
    """Return the `size` bytes that `pack` was given. Raises `FormatError`, which names `what`."""
    import zstandard

    if len(payload) == size:
        return bytes(payload)
    if len(payload) > size:
        raise FormatError(f"{what} is longer than its uncompressed content")
    payload = bytes(payload)
    try:
        # The frame must state the size, and it is checked here: `max_output_size` is ignored then.
        if zstandard.get_frame_parameters(payload).content_size != size:
            raise FormatError(f"{what}: its zstd frame does not state the content size of {size} bytes")
        return zstandard.ZstdDecompressor().decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FormatError(f"{what} is not a valid zstd frame: {error}") from None


def to_bytes(samples: Samples) -> bytes:
    """Return the bytes of samples in row order. All upper bytes of 16-bit samples come first."""
    if samples.dtype == np.uint8:
        return samples.tobytes()
    return (samples >> 8).astype(np.uint8).tobytes() + samples.astype(np.uint8).tobytes()


def from_bytes(raw: bytes, shape: tuple[int, ...], depth: int, what: str) -> Samples:
    """Inverse of `to_bytes`.

    Raises `FormatError`, which names `what`, if a sample does not fit into `depth` bits.
    """
    planes: Samples = np.frombuffer(raw, np.uint8).reshape(-1, *shape)
    samples: Samples = planes[0]
    if depth == 8:
        return samples
    samples = planes[0].astype(np.uint16) << 8 | planes[1]
    if int(samples.max()) >> depth:
        raise FormatError(f"{what} has samples of more than {depth} bits")
    return samples


def bytes_of(shape: tuple[int, ...], depth: int) -> int:
    """Return the length of the result of `to_bytes`."""
    return math.prod(shape) * (1 if depth == 8 else 2)


def unpack_samples(
    payload: bytes | memoryview, shape: tuple[int, ...], depth: int, content_crc: int, what: str
) -> Samples:
    """Decode the samples of a stored tile.

    Raises `FormatError` or `ChecksumMismatch`, whose message names `what`.
    """
    raw = unpack(payload, bytes_of(shape, depth), what)
    _check(raw, content_crc, what)
    return from_bytes(raw, shape, depth, what)


def pack_alpha(alpha: Samples, zstd_level: int) -> tuple[bytes, int]:
    """Encode the alpha H×W of a tile with the filter that takes the fewest bytes.

    Returns the payload and the content CRC.
    """
    payloads = []
    for number in range(_FILTERS):
        filtered = pack(to_bytes(_filter(alpha, number)), zstd_level)
        payloads.append(bytes([number]) + filtered)
    return min(payloads, key=len), zlib.crc32(to_bytes(alpha))


def unpack_alpha(
    payload: bytes | memoryview, shape: tuple[int, int], depth: int, content_crc: int, what: str
) -> Samples:
    """Inverse of `pack_alpha`; raises as `unpack_samples`."""
    if not len(payload):
        raise FormatError(f"{what} is empty")
    if payload[0] >= _FILTERS:
        raise UnsupportedVersion(f"{what}: filter {payload[0]} is not known to this version")
    raw = unpack(payload[1:], bytes_of(shape, depth), what)
    alpha = _undo_filter(from_bytes(raw, shape, 16 if depth > 8 else 8, what), payload[0])
    _check(to_bytes(alpha), content_crc, what)
    if depth < 16 and int(alpha.max()) >> depth:
        raise FormatError(f"{what} has samples of more than {depth} bits")
    return alpha


def _filter(alpha: Samples, number: int) -> Samples:
    """Return differences to the left (filters 1 and 2), then to the row above (filter 2).

    Values wrap around. Filter 0 changes nothing.
    """
    if number >= 1:
        alpha = np.diff(alpha, axis=1, prepend=alpha.dtype.type(0))
    if number == 2:
        alpha = np.diff(alpha, axis=0, prepend=alpha.dtype.type(0))
    return alpha


def _undo_filter(filtered: Samples, number: int) -> Samples:
    if number == 2:
        filtered = np.cumsum(filtered, axis=0, dtype=filtered.dtype)
    if number >= 1:
        filtered = np.cumsum(filtered, axis=1, dtype=filtered.dtype)
    return filtered


def _check(raw: bytes, content_crc: int, what: str) -> None:
    if zlib.crc32(raw) != content_crc:
        raise ChecksumMismatch(f"{what} is damaged: its samples do not match their CRC-32")


def pack_metadata(metadata: Metadata) -> tuple[list[Section], list[bytes]]:
    """Return the header entries of the metadata and their payloads."""
    sections, payloads = [], []
    for kind, name in METADATA_KINDS.items():
        content = getattr(metadata, name)
        if content:
            payload = pack(content, _METADATA_ZSTD_LEVEL)
            sections.append(Section(kind, len(payload), len(content), zlib.crc32(payload)))
            payloads.append(payload)
    return sections, payloads


def unpack_metadata(file: File, damaged: list[str] | None = None) -> Metadata:
    """Return the metadata of a file.

    The names of damaged kinds are appended to `damaged`. If it is None, the error is raised.
    """
    found = {}
    for number, section in enumerate(file.header.metadata):
        name = METADATA_KINDS[section.kind]
        try:
            payload = file.metadata_payload(number)
            found[name] = unpack(payload, section.size, f"metadata ({name})")
        except FormatError:
            if damaged is None:
                raise
            damaged.append(name)
    return Metadata(**found)
