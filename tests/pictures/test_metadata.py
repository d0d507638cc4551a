"""What picture files say beside their pixels is kept or said, as docs/metadata.md states."""

from __future__ import annotations

import io
import pickle
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
from codec.pictures import colour, exif
from codec.pictures.containers.found import Resolution
from codec.pictures.writing import image_chunks
from tests.pictures.test_colour import assert_profile
from tests.support import tagged
from tests.support.pictures import textured

DOCUMENT = Path(__file__).parents[2] / "docs" / "metadata.md"


def tables() -> list[dict[str, dict[str, str]]]:
    """Return the cells of the tables in the document, by first cell of the row and by column."""
    found: list[dict[str, dict[str, str]]] = []
    columns: list[str] = []
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            columns = []
        elif not columns:
            columns = cells[1:]
            found.append({})
        elif not cells[0].startswith("---"):
            found[-1][cells[0]] = dict(zip(columns, cells[1:], strict=True))
    return found


READING, WRITING = tables()
READ_CELLS = [
    (what, name, cell) for what, row in READING.items() for name, cell in row.items() if cell != "–"
]
WRITE_CELLS = [(what, name, cell) for what, row in WRITING.items() for name, cell in row.items()]


def test_the_document_has_every_file() -> None:
    cells = {(what, name) for what, name, _ in READ_CELLS}
    assert cells == {(what, name) for what, row in tagged.FILES.items() for name in row}


@pytest.mark.parametrize(("what", "name", "cell"), READ_CELLS)
def test_reading(what: str, name: str, cell: str) -> None:
    metadata, lost = tagged.read(tagged.FILES[what][name]())
    assert bool(lost) == (cell == "said")
    match cell:
        case "kept" if what == "EXIF":
            assert metadata.exif is not None
            tags = Image.Exif()
            tags.load(metadata.exif)
            assert (tags[0x010F], tags.get_ifd(0x8769)[0x9003]) == ("maker", "2020:01:02 03:04:05")
        case "kept":
            kind = {"ICC profile": "icc", "XMP": "xmp", "code points (cICP, nclx)": "cicp"}[what]
            icc = tagged.ICC * (40 if name == "JPEG" else 1)  # more than one segment holds
            expected = {"icc": icc, "xmp": tagged.XMP, "cicp": tagged.PQ_POINTS}
            assert getattr(metadata, kind) == expected[kind]
        case "EXIF":
            resolution, texts = exif.stated(metadata.exif or b"")
            if what == "resolution":
                assert resolution is not None
                assert resolution.dpi == pytest.approx((300, 300), abs=0.01)
            else:
                assert texts
        case "CICP":
            assert (metadata.cicp, metadata.icc) == (tagged.SRGB_POINTS, None)
        case "ICC":
            assert metadata.icc is not None
            assert_profile(metadata.icc, tagged.ADOBE[0], tagged.ADOBE[1:], lambda v: v**2.2)
        case _:
            assert cell == "said"


DPI_300 = Resolution(Fraction(300), Fraction(300), 2)
WHAT: dict[str, dict[str, bytes]] = {
    "ICC profile": {"icc": tagged.ICC}, "EXIF": {"exif": tagged.exif()}, "XMP": {"xmp": tagged.XMP},
    "EXIF with a resolution alone": {"exif": exif.small(DPI_300, {}) or b""},
    "CICP of sRGB": {"cicp": tagged.SRGB_POINTS}, "CICP of Display P3": {"cicp": tagged.P3_POINTS},
    "CICP of PQ or HLG": {"cicp": tagged.PQ_POINTS},
}
SUFFIXES = {
    "PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "TIFF, 16-bit colour": ".tif", "WebP": ".webp",
    "AVIF": ".avif", "BMP": ".bmp", "JPEG 2000": ".jp2", "TGA": ".tga", "PPM": ".ppm",
}


def written(name: str, metadata: codec.Metadata) -> tuple[bytes, list[str]]:
    """Return a picture file with metadata, and the names of what it lacks."""
    deep = "16-bit" in name
    samples = textured(16, 24).astype(np.uint16) * 257 if deep else textured(16, 24)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = b"".join(image_chunks([samples], (16, 24, 3), 16 if deep else 8, SUFFIXES[name], metadata))
    return data, [item for warning in caught for item in warning.message.items]  # type: ignore[union-attr]


@pytest.mark.parametrize(("what", "name", "cell"), WRITE_CELLS)
def test_writing(what: str, name: str, cell: str) -> None:
    given = codec.Metadata(**WHAT[what])
    data, lost = written(name, given)
    assert lost == (list(given.names) if cell == "said" else [])
    back, unread = tagged.read(data)
    assert unread == ()
    if cell == "kept" and what == "EXIF":
        assert back.exif is not None
        assert b"maker" in back.exif
    elif cell == "kept" and what.startswith("EXIF"):
        resolution, _ = exif.stated(back.exif or b"")
        assert resolution is not None
        assert resolution.dpi == pytest.approx((300, 300), abs=0.01)
        with Image.open(io.BytesIO(data)) as image:
            assert name in ("WebP", "AVIF") or image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    elif cell == "kept":
        kind = given.names[0]
        assert getattr(back, kind) == getattr(given, kind)
    elif cell == "ICC":
        assert back.icc == colour.profile_of(tagged.P3_POINTS, gray=False)
    else:
        assert not back.names or (name == "AVIF" and back.names == ("cicp",))


def test_a_profile_counts_more_than_code_points_that_do_not_fit() -> None:
    data, lost = written("JPEG", codec.Metadata(icc=tagged.ICC, cicp=tagged.P3_POINTS))
    assert (tagged.read(data)[0].icc, lost) == (tagged.ICC, ["cicp"])


@pytest.mark.parametrize("kind", ["icc", "xmp"])
@pytest.mark.parametrize("name", ["PNG", "TIFF", "WebP", "AVIF"])
def test_what_is_larger_than_pillow_reads(kind: str, name: str) -> None:
    """Pillow refuses PNG files with more than a megabyte of it."""
    content = np.random.default_rng(1).bytes(1_500_000).hex().encode()
    given = codec.Metadata(**{kind: content})
    data, lost = written(name, given)
    back, unread = tagged.read(data)
    assert (lost, unread, getattr(back, kind)) == ([], (), content)


def test_code_points_have_four_bytes() -> None:
    with pytest.raises(ValueError, match="cicp must have 4 bytes, not 3"):
        codec.Metadata(cicp=b"\1\2\3")
    assert codec.Metadata(cicp=b"").cicp is None
    assert codec.Metadata(cicp=tagged.PQ_POINTS).names == ("cicp",)


def test_items_of_the_warning() -> None:
    note = pickle.loads(pickle.dumps(codec.NotKept("not kept: a, b", ["a", "b"])))
    assert (str(note), note.items) == ("not kept: a, b", ("a", "b"))
    assert codec.NotKept("it").items == ("it",)


def test_the_warning_points_at_the_caller(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(tagged.png((b"tEXt", b"workflow\0{}")))
    with pytest.warns(codec.NotKept, match="^not kept: PNG text 'workflow'$") as caught:
        codec.encode(tmp_path / "x.png", tmp_path / "x.cae")
    assert Path(caught[0].filename).name == Path(__file__).name
