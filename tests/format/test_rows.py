"""Tests of dataset rows: small pictures that share a header (FORMAT.md, "Rows")."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from codec.format import container
from codec.format.header import SIGNATURE, Header
from codec.format.index import make_tile
from codec.format.rows import RowFormat
from tests.support.pictures import Pixels, noise, textured

SHARED = RowFormat(bytes.fromhex("0123456789ab"), 614, 32, 32)


def rows_for(worker: codec.Codec, **fields: int) -> RowFormat:
    model_id = bytes.fromhex(worker.model_id)
    return dataclasses.replace(SHARED, model_id=model_id, **fields)


@pytest.mark.parametrize(
    ("picture", "overhead"),
    [
        (textured(32, 32), 5),
        (textured(33, 32), 6),
        (textured(96, 96), 6),
        (textured(128, 128), 6),
        (textured(129, 128), 9),
        (textured(32, 32)[:, :, 0], 5),
        (textured(32, 96)[:, :, 0], 7),
    ],
    ids=lambda value: str(getattr(value, "shape", value)),
)
def test_a_row_says_little_beside_its_payload(
    tiny: codec.Codec, never_stored: None, picture: Pixels, overhead: int
) -> None:
    shared = rows_for(tiny)
    (row,) = tiny.compress_rows([picture], shared)
    data = shared.unpack(row)
    payload = bytes(container.read(data).payload(0))
    # In the file, the payload is padded to whole words.
    assert len(payload) - 4 < len(row) - overhead <= len(payload)
    assert data == tiny.compress(picture, quality=shared.level / 10.24)
    assert shared.pack(data) == row


@pytest.mark.parametrize("side", [1, 2, 5, 16, 17, 31, 32, 40])
def test_stored_pictures(
    tiny: codec.Codec, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.coding.latents.Encoder.finish", lambda self: bytes(1 << 16))
    shared = rows_for(tiny)
    picture = noise(side, side)
    (row,) = tiny.compress_rows([picture], shared)
    assert codec.inspect(shared.unpack(row)).lossless
    assert len(row) <= picture.size + 6
    assert np.array_equal(tiny.decompress(shared.unpack(row)), picture)


def test_what_a_row_does_not_say_stays_a_file(tiny: codec.Codec) -> None:
    shared = rows_for(tiny)
    pictures: dict[str, np.ndarray] = {
        "alpha": np.dstack([textured(20, 20), textured(20, 20)[:, :, 0]]),
        "deep": textured(20, 20).astype(np.uint16) * 257,
        "large": textured(16, 1040),
    }
    rows = tiny.compress_rows(list(pictures.values()), shared)
    for row, picture in zip(rows, pictures.values(), strict=True):
        assert row.startswith(SIGNATURE)
        assert shared.unpack(row) == row
        assert tiny.decompress(row).shape == picture.shape
    files = {
        "another quality": tiny.compress(textured(32, 32), quality=10),
        "metadata": tiny.compress(textured(32, 32), quality=60, metadata=codec.Metadata(xmp=b"x")),
        "another model": codec.compress(textured(32, 32), quality=60),
    }
    for data in files.values():
        assert shared.pack(data) == data


def test_rows_are_of_the_model_that_they_name(tiny: codec.Codec) -> None:
    with pytest.raises(ValueError, match="rows are for model 0123456789ab"):
        tiny.compress_rows([textured(32, 32)], SHARED)


def test_many_sizes_at_once(tiny: codec.Codec) -> None:
    shared = rows_for(tiny)
    pictures = [textured(side, side + side % 7, side) for side in range(1, 70)]
    rows = tiny.compress_rows(pictures, shared)
    decoded = tiny.decompress_batch([shared.unpack(row) for row in rows])
    for side, (picture, row, found) in enumerate(zip(pictures, rows, decoded, strict=True), 1):
        assert found.shape == picture.shape, side
        alone = tiny.decompress(shared.unpack(row))
        assert np.abs(found.astype(int) - alone).max() <= 1, side


def test_every_changed_byte_is_noticed(tiny: codec.Codec, never_stored: None) -> None:
    shared = rows_for(tiny)
    (row,) = tiny.compress_rows([textured(17, 40)], shared)
    expected = tiny.decompress(shared.unpack(row))
    refused = same = 0
    for position in range(len(row)):
        for bit in range(8):
            changed = bytearray(row)
            changed[position] ^= 1 << bit
            try:
                found = tiny.decompress(shared.unpack(bytes(changed)))
            except codec.FormatError:
                refused += 1
                continue
            # The size has no checksum. Another size with as many latents shows another part.
            if position < 2:
                assert found.shape != expected.shape
                continue
            # The last bits of a payload may have no effect.
            assert np.array_equal(found, expected)
            same += 1
    assert refused > 8 * (len(row) - 6)
    assert same <= 32


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_row_or_refused_by_name(data: bytes) -> None:
    for kind in (b"", b"\xc0", b"\xc1", b"\xc2", b"\xc7\x30\x81\x01"):
        try:
            file = SHARED.unpack(kind + data)
            assert codec.inspect(file).width > 0
            codec.decompress(file)
        except codec.CodecError:
            pass


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"", "empty"),
        (b"\x10", "inside its size"),
        (b"\xc0\0\0", "before its payload"),
        (b"\xc0\0\0\0\0\1\0", "zeros"),
        (b"\xc0\0\0\0\0\1\0\0\0", "zeros"),
        (b"\xc0\0\0\0\0\1\1\1\1\0\0", "zeros"),
        (b"\x0f\x9f\0\0\0\0\1", "states the shared size"),
        (b"\xc2\x20\x20\0\0\0\0\1", "shortest form"),
        (b"\xc2\x21\x20\0\0\0\0\1", "shortest form"),
        (b"\xc6\x20\x20\0\0\0\0\1", "shortest form"),
        (b"\xc2\x00\x20\0\0\0\0\1", "row size: 0×32"),
        (b"\xc2\x81\x08\x20\0\0\0\0\1", "row size: 1025×32"),
        (b"\xc2\xa0", "inside a field"),
        (b"\x88\0\0\0\0\1", "kind 136"),
        (b"\xc8\0\0\0\0\1", "kind 200"),
        (b"\xff\0\0\0\0\1", "kind 255"),
    ],
)
def test_rows_that_are_refused(row: bytes, message: str) -> None:
    with pytest.raises(codec.FormatError, match=message):
        SHARED.unpack(row)


def test_the_example_of_the_specification() -> None:
    row = bytes.fromhex("C5 0F A5 BD 47 C8")
    shared = dataclasses.replace(SHARED, height=1, width=1)
    data = shared.unpack(row)
    assert data == bytes.fromhex(
        "89434145 0D0A1A0A 02 0D 02 0101 10 01 0FA5BD47 0FA5BD47 86B5083B C8"
    )
    assert shared.pack(data) == row


@pytest.mark.parametrize("word", [0, 1, 1 << 24, 1 << 16, 0xFF, 0xFFFFFFFF], ids=hex)
def test_rows_and_files_are_one_to_one(word: int) -> None:
    """This holds for any last word of a payload, even for a word of zeros."""
    payload = (12345).to_bytes(4, "little") + word.to_bytes(4, "little")
    header = Header(
        32, 32, 3, False, SHARED.model_id, SHARED.level, 1024, (make_tile(payload, 7),)
    )
    data = container.pack(header, [payload])
    row = SHARED.pack(data)
    assert len(row) <= len(data) - 30
    assert SHARED.unpack(row) == data


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_payloads_that_are_no_words_stay_files(size: int) -> None:
    """No encoder writes them. A dataset that is packed from such a file keeps it as it is."""
    payload = bytes(range(1, size + 1))
    header = Header(32, 32, 3, False, SHARED.model_id, SHARED.level, 1024, (make_tile(payload, 7),))
    data = container.pack(header, [payload])
    assert SHARED.pack(data) == data
    assert SHARED.unpack(data) == data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "version 1 .* codec 0.10 is the last"),
        ({"version": 3}, "version 3"),
        ({"version": None}, "version None"),
        ({"model_id": "6cbc"}, "6 bytes"),
        ({"model_id": "no such"}, "hexadecimal"),
        ({"model_id": 5}, "hexadecimal"),
        ({"level": 1025}, "level"),
        ({"level": 1.5}, "level"),
        ({"height": 0}, "0×32"),
        ({"width": 1025}, "32×1025"),
        ({"channels": 2}, "channels"),
        ({"extra": 1}, "extra"),
    ],
)
def test_formats_that_are_refused(change: dict[str, object], message: str) -> None:
    fields = SHARED.as_dict()
    assert RowFormat.from_dict(fields) == SHARED
    with pytest.raises(codec.FormatError, match=message):
        RowFormat.from_dict({**fields, **change})
    with pytest.raises(codec.FormatError, match="not an object"):
        RowFormat.from_dict([])
