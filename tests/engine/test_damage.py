"""Damaged and hostile bytes raise a specific error. They never give a wrong picture."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import codec
from codec import limits
from codec.format import container
from codec.format.fields import write_varint
from codec.format.header import SIGNATURE, VERSION, Header, parse_header
from codec.format.index import make_tile
from tests.support.pictures import noise, textured
from tests.support.tiles import encode, unpack


@pytest.fixture(scope="module")
def small(tiny: codec.Codec) -> bytes:
    data = tiny.compress(textured(40, 40), quality=30)
    assert not codec.inspect(data).lossless
    assert len(data) < 1500
    return data


def test_damage_is_named(small: bytes) -> None:
    with pytest.raises(codec.ChecksumMismatch, match="header"):
        codec.decompress(small[:12] + bytes([small[12] ^ 1]) + small[13:])
    with pytest.raises(codec.ChecksumMismatch, match="tile 0"):
        codec.decompress(small[:-1] + bytes([small[-1] ^ 1]))


def test_random_payloads(tiny: codec.Codec, small: bytes) -> None:
    """Random payloads with correct CRCs raise `FormatError` for every error of the range coder."""
    rng = np.random.default_rng(1)
    header, _ = parse_header(small)
    for _ in range(200):
        payload = rng.bytes(int(rng.integers(0, 400)))
        tile = make_tile(payload, 0)
        data = container.pack(Header(**{**header.__dict__, "tiles": (tile,)}), [payload])
        with pytest.raises(codec.FormatError):
            tiny.decompress(data)


def test_trailing_bytes_and_two_files(tiny: codec.Codec, small: bytes) -> None:
    for data in (small + b"\0", small + small):
        with pytest.raises(codec.FormatError, match="follow"):
            tiny.decompress(data)


def _header(**changes: object) -> bytes:
    """Return a header of a 32×32 picture with one empty tile, changed fields and a correct CRC."""
    fields: dict[str, bytes] = {
        "mode": b"\x01", "width": b"\x20", "height": b"\x20", "model": bytes(6), "level": b"\x05",
        "tile": b"\x10", "index": b"\x00" + bytes(8),
    }
    fields.update(changes)  # type: ignore[arg-type]
    body = b"".join(fields.values())
    front = SIGNATURE + bytes([VERSION]) + write_varint(len(body)) + body
    return front + zlib.crc32(front).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"mode": b"\x42"}, codec.UnsupportedVersion),
        ({"mode": b"\x80"}, codec.UnsupportedVersion),
        ({"mode": b"\xff"}, codec.UnsupportedVersion),
        ({"width": b"\x00"}, codec.FormatError),
        ({"width": b"\xa0\x00"}, codec.FormatError),
        ({"width": b"\xff" * 5}, codec.FormatError),
        ({"width": b"\xff\xff\xff\xff\x0f"}, codec.LimitExceeded),
        ({"width": write_varint(1 << 15), "height": write_varint(1 << 15)},
         codec.FormatError),
        ({"width": write_varint(1 << 15), "height": write_varint(1 << 15),
          "tile": b"\x40", "index": 64 * bytes(9)}, codec.LimitExceeded),
        ({"width": write_varint(1 << 14), "height": write_varint(1 << 14),
          "tile": b"\x01"}, codec.FormatError),
        ({"level": write_varint(1025)}, codec.FormatError),
        ({"tile": b"\x00"}, codec.FormatError),
        ({"tile": b"\x41"}, codec.FormatError),
        ({"index": b"\xff\xff\xff\xff\x0f" + bytes(8)}, codec.Truncated),
        ({"index": b"\x00" + bytes(9)}, codec.FormatError),
        ({"index": b"\x00" + bytes(7)}, codec.FormatError),
        ({}, codec.ChecksumMismatch),
        ({"index": b"\x00" + bytes(8), "model": b"nosuch"}, codec.FormatError),
    ],
)
def test_lying_headers(
    tiny: codec.Codec, changes: dict[str, bytes], error: type[codec.CodecError]
) -> None:
    with pytest.raises(error if changes else codec.CodecError):
        tiny.decompress(_header(**changes))


@pytest.mark.parametrize("side", ["width", "height"])
def test_a_picture_without_pixels_is_refused_even_without_tiles(side: str) -> None:
    with pytest.raises(codec.FormatError, match="pixels"):
        codec.inspect(_header(**{side: b"\0", "index": b""}))


def test_an_unknown_model_is_named(tiny: codec.Codec) -> None:
    with pytest.raises(codec.UnknownModel, match="6e6f73756368"):
        tiny.decompress(_header(model=b"nosuch"))


def test_an_unknown_version_is_named(small: bytes) -> None:
    with pytest.raises(codec.UnsupportedVersion, match="version 9"):
        codec.inspect(small[:8] + b"\x09" + small[9:])


def test_a_header_that_is_too_long() -> None:
    length = write_varint(limits.MAX_HEADER + 1)
    with pytest.raises(codec.LimitExceeded):
        codec.inspect(SIGNATURE + bytes([VERSION]) + length + bytes(100))
    header = Header(32, 32, 3, True, bytes(6), 0, 1024, (make_tile(b"", 0),) * (1 << 18))
    with pytest.raises(codec.LimitExceeded, match="header"):
        container.pack(header, [])


def test_lack_of_memory_has_a_name(tiny: codec.Codec, small: bytes) -> None:
    """A small file may declare a large picture. Too little memory raises `LimitExceeded`."""
    header, payloads = unpack(small)
    tile = header.tiles[0]
    big = Header(**{**header.__dict__, "width": 16384, "height": 16384, "tile_size": 1024,
                    "tiles": (tile,) * 256})
    data = container.pack(big, [bytes(payloads[0])] * 256)
    from codec.engine import tile_decoding

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tile_decoding, "decode_symbols", fail)
        with pytest.raises(codec.LimitExceeded, match="memory"):
            tiny.decompress(data)


def test_one_damaged_tile_is_named(tiny: codec.Codec) -> None:
    data = bytearray(encode(tiny, noise(200, 200), 100, 64))
    header, position = parse_header(bytes(data))
    position += sum(tile.length for tile in header.tiles[:5])
    data[position] ^= 1
    with pytest.raises(codec.ChecksumMismatch, match="tile 5 of 16"):
        tiny.decompress(bytes(data))
