"""The container reader of the package agrees with one written only from FORMAT.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray

import codec
from codec.coding.stored import pack, unpack
from codec.format.header import parse_header
from tests.support import layout, stored
from tests.support.make_goldens import GOLDEN
from tests.support.pictures import noise


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v2-*/*.cae")), ids=lambda path: path.stem)
def test_both_read_goldens(path: Path) -> None:
    data = path.read_bytes()
    fields, payloads = layout.parse(data)
    info = codec.inspect(data)
    bound = 0 if fields.mode & layout.STORED else fields.step // 2 if fields.mode & layout.RESIDUAL else None
    assert (fields.width, fields.height, fields.depth) == (info.width, info.height, info.bit_depth)
    assert (bool(fields.mode & layout.STORED), bound) == (info.lossless, info.max_error)
    assert (fields.version, 64 * fields.side) == (info.format_version, info.tile_size)
    assert len(fields.tiles) == info.tiles
    if info.lossless:
        colour, alpha, _ = stored.read(data)
        assert colour is not None
        expected = colour if alpha is None else np.dstack([colour, alpha])
        assert np.array_equal(expected, codec.decompress(data).reshape(expected.shape))
    else:
        assert fields.model.hex() == info.model
        assert round(fields.level * 100 / 1024, 1) == info.quality
    assert layout.build(fields, payloads) == data
    assert layout.reseal(data) == data


@pytest.mark.parametrize("name", sorted(stored.examples()))
def test_what_is_written_is_read(name: str) -> None:
    """The second reader and writer agree on every feature."""
    data = stored.examples()[name]
    fields, payloads = layout.parse(data)
    colour, alpha, metadata = stored.read(data)
    assert colour is not None
    assert colour.shape[2] == (3 if "RGB" in name else 1)
    assert (alpha is not None) == ("alpha" in name)
    again = stored.write(
        colour, alpha=alpha, depth=fields.depth, source=fields.source, metadata=metadata, side=fields.side,
        alpha_filter=int(name[-1]) if alpha is not None else 0,
    )
    assert again == data
    assert layout.build(fields, payloads) == data


@pytest.mark.parametrize("name", sorted(stored.examples()))
def test_the_package_reads_what_is_written(name: str) -> None:
    data = stored.examples()[name]
    colour, alpha, metadata = stored.read(data)
    assert colour is not None
    expected = colour if alpha is None else np.dstack([colour, alpha])
    picture = codec.decompress(data)
    assert picture.dtype == expected.dtype
    assert picture.shape == layout.parse(data)[0].shape
    assert np.array_equal(picture.reshape(expected.shape), expected)
    found = codec.read_metadata(data)
    kinds = (found.icc, found.exif, found.xmp, found.cicp)
    assert kinds == tuple(metadata.get(kind) for kind in (1, 2, 3, 4))


@pytest.mark.parametrize("name", sorted(stored.examples()))
def test_what_the_package_writes_is_read(name: str) -> None:
    example = stored.examples()[name]
    picture, metadata = codec.decompress(example), codec.read_metadata(example)
    depth = int(name.split("-")[1])
    data = codec.compress(picture, metadata=metadata, bit_depth=depth if depth > 8 else None)
    assert codec.inspect(data).lossless
    colour, alpha, found = stored.read(data)
    assert colour is not None
    shown = colour if alpha is None else np.dstack([np.where(alpha[..., None] > 0, colour, 0), alpha])
    expected = picture.reshape(shown.shape).copy()
    if alpha is not None:
        expected[alpha == 0, :-1] = 0
    assert np.array_equal(shown, expected)
    given = {1: metadata.icc, 2: metadata.exif, 3: metadata.xmp, 4: metadata.cicp}
    assert found == {kind: value for kind, value in given.items() if value}


def test_examples_have_everything() -> None:
    parsed = [layout.parse(data)[0] for data in stored.examples().values()]
    modes = 0
    for fields in parsed:
        modes |= fields.mode
    assert modes == 63
    assert {fields.source for fields in parsed} == set(range(5))
    assert {len(fields.tiles) for fields in parsed} == {1, 2}
    assert {len(fields.metadata) for fields in parsed} == {0, 1, 2, 3, 4}


def test_filters() -> None:
    """Compare the filters with the table in FORMAT.md, computed for one sample at a time."""
    rng = np.random.default_rng(0)
    for kind, bits in ((np.uint8, 8), (np.uint16, 16)):
        samples: NDArray[Any] = rng.integers(0, 1 << bits, (5, 6)).astype(kind)
        a = np.pad(samples.astype(int), ((1, 0), (1, 0)))  # 0 beyond the edge; indexes grow by 1
        tables = [samples.copy() for _ in range(3)]
        for r, c in np.ndindex(samples.shape):
            tables[1][r, c] = (a[r + 1, c + 1] - a[r + 1, c]) % (1 << bits)
            tables[2][r, c] = (a[r + 1, c + 1] - a[r + 1, c] - a[r, c + 1] + a[r, c]) % (1 << bits)
        for number, table in enumerate(tables):
            assert np.array_equal(stored.filtered(samples, number), table)
            assert np.array_equal(stored.unfiltered(table, number), samples)


def test_content_as_long_as_its_frame_is_kept_as_it_is() -> None:
    """Otherwise the frame would be read as the content."""
    random = noise(4, 25).tobytes()
    contents = [random + bytes(zeros) for zeros in range(40)]
    assert any(len(zstandard.compress(content, 19)) == len(content) for content in contents)
    for content in contents:
        assert unpack(pack(content, 19), len(content), "it") == content


def test_resealing() -> None:
    """`reseal` corrects all CRCs of header and payloads after a change of any single byte."""
    data = stored.examples()["RGB-8-alpha1"]
    header = layout.parse_header(data)[1]
    seen = set()
    for position in range(10, len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x15
        sealed = layout.reseal(bytes(changed))
        assert len(sealed) == len(data)
        if position >= header:
            assert sealed[header:] == changed[header:]
            layout.parse(sealed)
        try:
            layout.parse(sealed)
        except layout.Refused as error:
            seen.add(error.error)
    assert "ChecksumMismatch" not in seen
    assert {"FormatError", "Truncated", "UnsupportedVersion"} <= seen


def random_header(rng: np.random.Generator) -> bytes:
    """Return a header of random fields with a correct CRC and without payloads."""
    mode = int(rng.choice([0, 1, 2, 3, int(rng.integers(128)), 255]))
    sides = [0, 1, 64, 65, 700, (1 << 20) + 1, (1 << 35) - 1]
    width, height = (int(rng.choice(sides, p=[0.02, 0.2, 0.3, 0.3, 0.14, 0.02, 0.02])) for _ in range(2))
    fields = layout.Fields(
        mode, width, height, [],
        side=int(rng.choice([0, 1, 2, 16, 64, 65], p=[0.05, 0.2, 0.3, 0.3, 0.1, 0.05])),
        depth=int(rng.integers(7, 19)), source=int(rng.integers(0, 6)), level=int(rng.integers(0, 1100)),
        step=int(rng.choice([0, 1, 255, 256, 511, 512, 65535, 65536])),
    )
    count = len(fields.tiles) if fields.side and max(width, height) < 1 << 20 else 1
    fields.index = [layout.Entry(int(rng.integers(0, 200)), 1, 2)] * (count * fields.planes)
    count = int(rng.choice([0, 1, 2, 3, 4, 5], p=[0.3, 0.2, 0.1, 0.1, 0.2, 0.1]))
    fields.metadata = [
        layout.Metadata(kind, 3, int(rng.choice([4, 5, 9])) if kind == 4 else 9, 3)
        for kind in range(1, 1 + count)
    ]
    body = b"".join(layout.build_parts(fields).values())
    return layout.seal(body[: len(body) - int(rng.random() < 0.1)] + b"x" * int(rng.random() < 0.1))


def test_both_refuse_or_accept_any_header() -> None:
    """The readers also agree on the error."""
    rng = np.random.default_rng(5)
    accepted = 0
    for _ in range(3000):
        data = random_header(rng)
        expected = found = None
        try:
            layout.parse_header(data)
        except layout.Refused as refused:
            expected = refused.error
        try:
            parse_header(data)
            accepted += 1
        except codec.CodecError as error:
            found = type(error).__name__
        assert found == expected, data.hex()
    assert accepted > 300
