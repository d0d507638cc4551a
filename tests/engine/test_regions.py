"""Regions and undamaged parts of pictures have exactly the pixels of the whole picture."""

from __future__ import annotations

import dataclasses
import itertools
import weakref
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import codec
from codec.engine import decoding
from codec.format import container
from tests.support.pictures import noise, textured
from tests.support.tiles import encode

SIZE = (330, 410)
TILE = 128

Pixels = NDArray[np.uint8]


def blocks(height: int, width: int) -> Pixels:
    """Random squares with sides of 13 pixels. Such flat graphics are stored losslessly."""
    small = noise(height // 13 + 1, width // 13 + 1)
    return small.repeat(13, 0).repeat(13, 1)[:height, :width].copy()


@pytest.fixture(scope="module", params=["RGB", "gray", "stored"])
def tiled(tiny: codec.Codec, request: pytest.FixtureRequest) -> tuple[bytes, Pixels]:
    """A file of twelve tiles and its decoded picture."""
    image = blocks(*SIZE) if request.param == "stored" else textured(*SIZE)
    image = image[:, :, :1] if request.param == "gray" else image
    data = encode(tiny, image, 1024 if request.param == "stored" else 400, TILE)
    info = codec.inspect(data)
    assert info.tiles == 12
    assert info.lossless == (request.param == "stored")
    return data, tiny.decompress(data)


def regions() -> list[tuple[int, int, int, int]]:
    rng = np.random.default_rng(0)
    made = [
        (0, 0, *SIZE), (0, 0, 1, 1), (329, 409, 1, 1), (128, 128, 128, 128), (127, 255, 2, 2), (0, 0, 330, 1),
        (200, 0, 1, 410), (16, 16, 16, 16),
    ]
    for _ in range(24):
        top, left = int(rng.integers(0, SIZE[0])), int(rng.integers(0, SIZE[1]))
        height, width = int(rng.integers(1, SIZE[0] - top + 1)), int(rng.integers(1, SIZE[1] - left + 1))
        made.append((top, left, height, width))
    return made


def test_a_region_is_the_same_part_of_the_whole(tiny: codec.Codec, tiled: tuple[bytes, Pixels]) -> None:
    data, picture = tiled
    for top, left, height, width in regions():
        part = tiny.decompress(data, region=(top, left, height, width))
        assert np.array_equal(part, picture[top : top + height, left : left + width])
        assert part.flags.c_contiguous or part.ndim == 2


def test_only_the_tiles_that_are_needed_are_decoded(
    tiny: codec.Codec, tiled: tuple[bytes, Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding a region reads few payloads and works if distant tiles are damaged."""
    data, picture = tiled
    file = container.read(data)
    damaged = bytearray(data)
    for tile in (3, 7, 8, 9, 10, 11):  # the right column and the bottom row
        damaged[file._starts[1][tile]] ^= 255
    part = tiny.decompress(bytes(damaged), region=(0, 0, 100, 100))
    assert np.array_equal(part, picture[:100, :100])
    with pytest.raises(codec.ChecksumMismatch, match=r"tile (7|10|11) of 12 is damaged"):
        tiny.decompress(bytes(damaged), region=(300, 400, 10, 10))
    looked_at = set()
    original = container.File.payload

    def payload(self: container.File, tile: int) -> bytes | memoryview:
        looked_at.add(tile)
        return original(self, tile)

    monkeypatch.setattr(container.File, "payload", payload)
    tiny.decompress(data, region=(10, 10, 20, 20))
    # The window of this tile, with its halo, overlaps three neighbours.
    assert looked_at <= {0, 1, 4, 5}


@pytest.mark.parametrize(
    "region",
    [(-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 0, 5), (0, 0, 5, 0), (0, 0, 331, 5), (0, 0, 5, 411), (329, 0, 2, 1),
     (1 << 40, 0, 1, 1), (0, 0, 1 << 70, 1)],
)
def test_regions_outside(tiny: codec.Codec, tiled: tuple[bytes, Pixels], region: Any) -> None:
    with pytest.raises(ValueError, match="330×410"):
        tiny.decompress(tiled[0], region=region)


@pytest.mark.parametrize("region", [(0, 0, 5), (0, 0, 5, 5, 5), 5, "abcd", (0.0, 0, 5, 5), (None,) * 4])
def test_regions_that_are_none(tiny: codec.Codec, tiled: tuple[bytes, Pixels], region: Any) -> None:
    with pytest.raises(TypeError, match="four integers"):
        tiny.decompress(tiled[0], region=region)


def test_an_undamaged_file_has_an_empty_mask(tiny: codec.Codec, tiled: tuple[bytes, Pixels]) -> None:
    data, picture = tiled
    again, mask = tiny.decompress(data, on_error="conceal")
    assert np.array_equal(again, picture)
    assert mask.shape == SIZE
    assert mask.dtype == bool
    assert not mask.any()


@pytest.mark.parametrize("tile", range(12))
def test_one_damaged_tile(tiny: codec.Codec, tiled: tuple[bytes, Pixels], tile: int) -> None:
    """The error names the damaged tile.

    With concealment, all pixels outside the reach of its latents are exact.
    """
    data, picture = tiled
    file = container.read(data)
    damaged = bytearray(data)
    damaged[file._starts[1][tile] + file.header.tiles[tile].length // 2] ^= 1
    with pytest.raises(codec.ChecksumMismatch, match=f"tile {tile} of 12"):
        tiny.decompress(bytes(damaged))
    again, mask = tiny.decompress(bytes(damaged), on_error="conceal")
    assert again.shape == picture.shape
    assert np.array_equal(again[~mask], picture[~mask])
    row, column = divmod(tile, 4)
    own = np.zeros(SIZE, bool)
    own[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] = True
    assert mask[own].all()
    assert not np.array_equal(again[own], picture[own])
    reach = 0 if file.header.stored else 16 * tiny._loaded.networks.config.halo
    near = np.zeros(SIZE, bool)
    near[max(row * TILE - reach, 0) : (row + 1) * TILE + reach,
         max(column * TILE - reach, 0) : (column + 1) * TILE + reach] = True
    assert np.array_equal(mask, near)
    # A region has the same pixels and the same mask.
    part, part_mask = tiny.decompress(bytes(damaged), region=(50, 60, 200, 300), on_error="conceal")
    assert np.array_equal(part[~part_mask], picture[50:250, 60:360][~part_mask])
    assert np.array_equal(part_mask, mask[50:250, 60:360])


@pytest.mark.parametrize("level", [200, 1024])
def test_each_of_64_tiles(tiny: codec.Codec, level: int) -> None:
    """The error names the damaged tile.

    The pixels of other tiles are exact outside the reach of its latents.
    """
    image = blocks(512, 512) if level == 1024 else textured(512, 512)
    data = encode(tiny, image, level)
    file = container.read(data)
    assert file.header.stored == (level == 1024)
    lengths = [entry.length for entry in file.header.tiles]
    starts = list(itertools.accumulate(lengths, initial=len(data) - sum(lengths)))
    picture = tiny.decompress(data)
    reach = 0 if file.header.stored else 16 * tiny._loaded.networks.config.halo
    for tile in range(64):
        damaged = bytearray(data)
        damaged[starts[tile]] ^= 128
        for function in (tiny.decompress, codec.verify):
            with pytest.raises(codec.ChecksumMismatch, match=f"tile {tile} of 64 is damaged"):
                function(bytes(damaged))
        if reach and tile % 9:
            continue  # decoding latents takes longer
        top, left = (64 * index for index in divmod(tile, 8))
        region = (max(top - 64, 0), max(left - 64, 0), min(192, 512 - max(top - 64, 0)), 64)
        again, mask = tiny.decompress(bytes(damaged), region=region, on_error="conceal")
        y, x, height, width = region
        rows, columns = np.arange(y, y + height)[:, None], np.arange(x, x + width)
        near = (rows >= top - reach) & (rows < top + 64 + reach) & (columns >= left - reach)
        near = near & (columns < left + 64 + reach)
        assert np.array_equal(mask, near)
        assert np.array_equal(again[~mask], picture[y : y + height, x : x + width][~mask])
    again, mask = tiny.decompress(bytes(damaged), on_error="conceal")
    assert mask.sum() == (64 + reach) ** 2
    assert np.array_equal(again[~mask], picture[~mask])


def test_damage_that_crcs_do_not_show(tiny: codec.Codec, tiled: tuple[bytes, Pixels]) -> None:
    """If a payload and its CRC are replaced, the checksum of the decoded content finds the tile."""
    data, picture = tiled
    file = container.read(data)
    payloads = [bytes(file.payload(tile)) for tile in range(12)]
    payloads[5] = payloads[6]
    tiles = list(file.header.tiles)
    tiles[5] = dataclasses.replace(tiles[5], length=len(payloads[5]), payload_crc=zlib.crc32(payloads[5]))
    forged = container.pack(dataclasses.replace(file.header, tiles=tuple(tiles)), payloads)
    with pytest.raises(codec.FormatError, match="tile 5"):
        tiny.decompress(forged)
    again, mask = tiny.decompress(forged, on_error="conceal")
    assert mask[TILE : 2 * TILE, TILE : 2 * TILE].all()
    assert np.array_equal(again[~mask], picture[~mask])


def test_a_file_that_ends_early(tiny: codec.Codec, tiled: tuple[bytes, Pixels]) -> None:
    data, picture = tiled
    file = container.read(data)
    cut = data[: file._starts[1][8] + 3]
    with pytest.raises(codec.Truncated):
        tiny.decompress(cut)
    again, mask = tiny.decompress(cut, on_error="conceal")
    assert mask[2 * TILE :].all()
    assert np.array_equal(again[~mask], picture[~mask])
    assert not mask[: 2 * TILE - 16 * tiny._loaded.networks.config.halo].any()
    # Bytes after the end are not concealed: they are not damage but another file.
    with pytest.raises(codec.FormatError, match="follow"):
        tiny.decompress(data + b"x", on_error="conceal")
    with pytest.raises(codec.ChecksumMismatch, match="header"):
        tiny.decompress(data[:12] + bytes([data[12] ^ 1]) + data[13:], on_error="conceal")


def test_latents_of_three_rows_of_tiles_are_held(
    tiny: codec.Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tile is decoded once and released when no window needs it any more."""
    data = encode(tiny, textured(700, 200), 300, 64)
    rows, columns = -(-700 // 64), 4
    alive: dict[int, weakref.ref[Any]] = {}
    held: list[int] = []
    decode, synthesise = decoding._decode_tiles, decoding._synthesise

    def watch(*args: Any) -> Any:
        found = decode(*args)
        for tile, values in found.items():
            assert tile not in alive
            height, width, channels = values.shape
            padded = (height + height % 2) * (width + width % 2) * channels
            assert values.untyped_storage().nbytes() == 4 * padded  # not a view of more than this
            alive[tile] = weakref.ref(values)
        return found

    def count(*args: Any) -> Any:
        held.append(len({tile // columns for tile, values in alive.items() if values() is not None}))
        return synthesise(*args)

    monkeypatch.setattr(decoding, "_decode_tiles", watch)
    monkeypatch.setattr(decoding, "_synthesise", count)
    tiny.decompress(data)
    assert sorted(alive) == list(range(rows * columns))
    assert max(held) == 3


def test_one_tile_of_many() -> None:
    from codec.format import tiling

    for size in ((330, 410), (1, 1), (128, 129), (64, 500)):
        boxes = tiling.tiles(*size, TILE)
        rows, columns = (range(0, -(-side // 16), TILE // 16) for side in size)
        ends = [-(-side // 16) for side in size]
        assert boxes == [
            tiling.Box(top, left, min(top + TILE // 16, ends[0]), min(left + TILE // 16, ends[1]))
            for top in rows for left in columns
        ]
        for box in boxes:
            window = tiling.window(box, 5, *size)
            expected = [number for number, other in enumerate(boxes) if other.overlaps(window)]
            assert tiling.tiles_within(window, *size, TILE) == expected


def test_limits(tiny: codec.Codec, tiled: tuple[bytes, Pixels]) -> None:
    data, picture = tiled
    few = codec.Limits(max_pixels=330 * 410 - 1)
    with pytest.raises(codec.LimitExceeded, match="330×410"):
        tiny.decompress(data, limits=few)
    assert np.array_equal(tiny.decompress(data, region=(0, 0, 330, 409), limits=few), picture[:, :409])
    assert np.array_equal(tiny.decompress(data, limits=codec.Limits(max_pixels=330 * 410)), picture)
    assert np.array_equal(tiny.decompress(data, limits=codec.Limits(max_tile_pixels=TILE**2)), picture)
    small = codec.Limits(max_tile_pixels=TILE**2 - 1)
    if codec.inspect(data).lossless:  # stored tiles take no more memory than their pixels
        assert np.array_equal(tiny.decompress(data, limits=small), picture)
        return
    for refused in (
        lambda: tiny.decompress(data, limits=small),
        lambda: tiny.decompress(data, region=(0, 0, 1, 1), on_error="conceal", limits=small),
        lambda: tiny.decompress_batch([data], limits=small),
    ):
        with pytest.raises(codec.LimitExceeded, match="tiles of 128×128 pixels are over the limit of 16383"):
            refused()


def test_tiles_that_are_held_at_the_same_time_are_limited(tiny: codec.Codec, never_stored: None) -> None:
    """One row of a wide picture has few pixels, but needs latents of up to three rows of tiles."""
    data = encode(tiny, textured(200, 1300), 300, 64)
    limits = codec.Limits(max_pixels=100_000, max_tile_pixels=64 * 64)
    assert tiny.decompress(data, region=(100, 70, 1, 300), limits=limits).shape == (1, 300, 3)
    with pytest.raises(codec.LimitExceeded, match=r"tiles of 192×1300 pixels are needed .* limit of 100000"):
        tiny.decompress(data, region=(100, 0, 1, 1300), limits=limits)
    more = codec.Limits(max_pixels=192 * 1300, max_tile_pixels=64 * 64)
    assert tiny.decompress(data, region=(100, 0, 1, 1300), limits=more).shape == (1, 1300, 3)


def test_limits_that_are_none() -> None:
    for value, error in ((0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="max_pixels"):
            codec.Limits(max_pixels=value)  # type: ignore[arg-type]


def test_on_error_has_two_values(tiny: codec.Codec, tiled: tuple[bytes, Pixels]) -> None:
    with pytest.raises(ValueError, match="on_error"):
        tiny.decompress(tiled[0], on_error="ignore")  # type: ignore[call-overload]


def test_the_functions_do_the_same(tiny: codec.Codec) -> None:
    data = encode(tiny, blocks(200, 200), 1024, 128)
    assert codec.inspect(data).lossless
    part, mask = codec.decompress(data, region=(100, 100, 50, 60), on_error="conceal")
    assert np.array_equal(part, codec.decompress(data)[100:150, 100:160])
    assert not mask.any()
    photograph = codec.compress(textured(90, 80), quality=50)
    assert np.array_equal(
        codec.decompress(photograph, region=(20, 10, 30, 40)), codec.decompress(photograph)[20:50, 10:50]
    )
