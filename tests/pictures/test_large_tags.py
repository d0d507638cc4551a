"""Tags of TIFF files that are larger than metadata may be: they are not read."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.pictures.containers.large_tags import OTHER, large_tags, without_large_tags
from codec.pictures.reading import read_image
from tests.pictures.test_tiff import DEEP, GRAY, RGB, samples, tiff, tiffs
from tests.support import tagged

LARGE = 1 << 22
LIMIT = 1 << 12


class Counting(io.BytesIO):
    """A file that counts the bytes that are read."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


def large(array: Any, tag: int, kind: int = 1, **options: Any) -> Counting:
    """Return a TIFF file of `array` with a tag of `LARGE` bytes."""
    unit = {1: 1, 2: 1, 7: 1, 12: 8}[kind]
    value: Any = (1.5,) * (LARGE // unit) if kind == 12 else b"x" * LARGE
    file = tiff(array, metadata=None, extratags=[(tag, kind, LARGE // unit, value, True)], **options)
    return Counting(file.getvalue())


@pytest.fixture(autouse=True)
def _limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codec.limits.MAX_METADATA", LIMIT)


@pytest.mark.parametrize(
    ("tag", "kind", "says"),
    [
        (33550, 12, "GeoTIFF tag ModelPixelScale"), (65000, 7, "TIFF tag OMEXML"), (33723, 7, "IPTC"),
        (34377, 1, "Photoshop resources"), (37724, 7, "TIFF tag ImageSourceData"),
        (315, 2, f"TIFF tag Artist of {LARGE + 1} bytes, over the limit of {LIMIT}"),
        (700, 1, f"XMP of {LARGE} bytes, over the limit of {LIMIT}"),
        (34675, 7, f"ICC profile of {LARGE} bytes, over the limit of {LIMIT}"),
    ],
)
@pytest.mark.parametrize(
    ("array", "options"),
    [
        (GRAY, {}), (GRAY, {"bigtiff": True}), (GRAY, {"byteorder": ">"}),
        (DEEP, {"compression": "zstd"}),  # read with tifffile
    ],
)
def test_large_tags_are_named_and_not_read(
    tag: int, kind: int, says: str, array: NDArray[Any], options: dict[str, Any]
) -> None:
    photometric = "minisblack" if array is GRAY else "rgb"
    file = large(array, tag, kind, photometric=photometric, **options)
    with pytest.warns(codec.NotKept) as caught:
        picture, _ = read_image(file)
    assert np.array_equal(np.asarray(picture.read(picture.box)).squeeze(), array)
    assert caught[0].message.items == (says,)  # type: ignore[union-attr]
    assert file.total < LARGE // 4


def test_compressed_files_on_disk(tmp_path: Path) -> None:
    """libtiff reads those from the descriptor of the file."""
    for array, compression in ((RGB, "lzw"), (DEEP, "deflate")):
        path = tmp_path / "x.tif"
        path.write_bytes(large(array, 65000, 7, photometric="rgb", compression=compression).getvalue())
        with pytest.warns(codec.NotKept, match="TIFF tag OMEXML"):
            picture, _ = read_image(path)
        assert np.array_equal(picture.read(picture.box), array)


def test_large_tags_of_exif_and_of_further_pages() -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    exif[0x8769] = {0x9003: "2020:01:02 03:04:05", 0x927C: b"m" * LARGE}
    data = tagged.saved("TIFF", exif=exif.tobytes())
    assert [(one.tag, one.directory) for one in large_tags(io.BytesIO(data))] == [(0x927C, 0x8769)]
    metadata, lost = tagged.read(data)
    assert lost == (f"EXIF tag 37500 of {LARGE} bytes, over the limit of {LIMIT}",)
    kept = Image.Exif()
    kept.load(metadata.exif or b"")
    assert (kept[0x010F], kept.get_ifd(0x8769)[0x9003]) == ("maker", "2020:01:02 03:04:05")
    extra = [(65000, 7, LARGE, b"x" * LARGE, True)]
    file = Counting(tiffs((GRAY, {}), (GRAY, {"extratags": extra, "metadata": None})).getvalue())
    assert [one.directory for one in large_tags(file)] == [OTHER]
    with pytest.warns(codec.NotKept, match="^not kept: 1 more picture of 2$"):
        read_image(file)
    assert file.total < LARGE // 4


def test_a_list_of_strips_that_is_too_long() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((3000, 8), np.uint8), rowsperstrip=1, photometric="minisblack")
    with pytest.raises(codec.LimitExceeded, match=r"strips or tiles \(TIFF tag 273\) has 12000 bytes"):
        read_image(file)
    assert samples(tiff(GRAY, rowsperstrip=1, photometric="minisblack")).shape == (48, 64, 1)


def test_a_file_without_large_tags_is_used_as_it_is() -> None:
    file = tiff(RGB, photometric="rgb")
    assert without_large_tags(file) is file


@pytest.mark.parametrize("big", [False, True])
def test_directories_that_are_no_tree(big: bool) -> None:
    """Loops, positions outside the file and counts over its size end at once."""
    data = bytearray(tiff(GRAY, photometric="minisblack", bigtiff=big).getvalue())
    rng = np.random.default_rng(5)
    for _ in range(300):
        changed = bytearray(data)
        for at in rng.integers(4, min(len(data), 400), 6):
            changed[at] = int(rng.choice([0, 1, 8, 16, 127, 255]))
        try:
            large_tags(io.BytesIO(changed))
        except codec.LimitExceeded:
            continue
    start = 16 if big else 8
    entry = struct.pack("<HHQQ" if big else "<HHII", 330, 13, 1, start)
    loop = struct.pack("<Q" if big else "<H", 1) + entry + struct.pack("<Q" if big else "<I", start)
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) if big else struct.pack("<2sHI", b"II", 42, 8)
    assert large_tags(io.BytesIO(head + loop)) == []
