"""Texts and resolution of picture files, and the EXIF that holds them."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

import codec
from codec.pictures import exif
from codec.pictures.containers.found import Resolution
from tests.support import tagged

TEXTS = {
    "Title": "größer", "Author": "me", "Description": "a\ncastle", "Copyright": "mine", "Software": "it",
    "Comment": "a remark \U0001f600", "parameters": "ein Schloß\nSteps: 20, Seed: 1",
}


def test_texts_and_resolution_of_png_come_back_as_such(tmp_path: Path) -> None:
    chunks = PngImagePlugin.PngInfo()
    for keyword, text in TEXTS.items():
        chunks.add_text(keyword, text)
    tagged.picture().save(tmp_path / "in.png", pnginfo=chunks, dpi=(300, 150))
    codec.encode(tmp_path / "in.png", tmp_path / "x.cae")
    codec.decode(tmp_path / "x.cae", tmp_path / "out.png")
    with Image.open(tmp_path / "in.png") as before, Image.open(tmp_path / "out.png") as after:
        assert after.text == before.text == TEXTS  # type: ignore[attr-defined]
        assert after.info["dpi"] == before.info["dpi"]
    codec.encode(tmp_path / "out.png", tmp_path / "y.cae")  # which says them twice, with EXIF
    assert codec.read_metadata((tmp_path / "y.cae").read_bytes()) == codec.read_metadata(
        (tmp_path / "x.cae").read_bytes()
    )
    codec.decode(tmp_path / "x.cae", tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.info["comment"].decode() == TEXTS["Comment"]
        assert image.info["dpi"] == (300, 150)


def test_two_texts_with_one_keyword() -> None:
    metadata, lost = tagged.read(tagged.png((b"tEXt", b"Comment\0one"), (b"tEXt", b"Comment\0two")))
    assert exif.stated(metadata.exif or b"")[1] == {"Comment": "one"}
    assert lost == ("PNG text 'Comment'",)


@pytest.mark.parametrize("text", ["größer", "a\0b"])
def test_texts_that_exif_cannot_hold(text: str) -> None:
    """They are said, and no other text is there in their place."""
    chunk = (b"iTXt", b"Author\0\0\0\0\0" + text.encode())
    assert tagged.read(tagged.png(chunk)) == (codec.Metadata(), ("PNG text 'Author'",))


@pytest.mark.parametrize("kind", ["exif", "APP1"])
def test_exif_as_text(kind: str) -> None:
    prefix = b"Exif\0\0" if kind == "APP1" else b""
    assert tagged.read(tagged.png(tagged.raw_profile(kind, prefix + tagged.exif())))[0].exif == tagged.exif()
    xmp = tagged.raw_profile("APP1", b"http://ns.adobe.com/xap/1.0/\0" + tagged.XMP)
    assert tagged.read(tagged.png(xmp)) == (codec.Metadata(xmp=tagged.XMP), ())
    assert tagged.read(tagged.png((b"tEXt", b"Raw profile type exif\0\nexif\n 9\nzz")))[1] != ()


@pytest.mark.parametrize(
    ("density", "says"),
    [(b"\1\0\x48\0\x48", ()), (b"\2\0\x1c\0\x1c", ()), (b"\1\1\x2c\1\x2c", ("resolution of 300 dpi",))],
)
def test_an_exif_that_exists_is_not_changed(density: bytes, says: tuple[str, ...]) -> None:
    """What it lacks is said, and nothing is said that it states."""
    own = exif.small(Resolution(Fraction(72), Fraction(72), 2), {"Software": "it"})
    assert own is not None
    metadata, lost = tagged.read(tagged.jpeg((0xE1, b"Exif\0\0" + own), density=density))
    assert (metadata.exif, lost) == (own, says)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda own: tagged.jpeg(own, density=b"\1\0\x48\0\x48"), ()),
        (lambda own: tagged.jpeg(own, density=b"\2\0\x1c\0\x1c"), ()),
        (lambda own: tagged.png((b"eXIf", own[1][6:]), (b"pHYs", struct.pack(">IIB", 2835, 2835, 1))), ()),
        (lambda own: tagged.jpeg(own, density=b"\1\0\x60\0\x60"), ("resolution of 96 dpi",)),
        (lambda own: tagged.jpeg(own, density=b"\1\0\x48\0\x60"), ("resolution of 72×96 dpi",)),
    ],
)
def test_a_resolution_of_72_dpi_is_not_said_beside_an_exif(data: Any, says: tuple[str, ...]) -> None:
    """It is the default of EXIF. Without an EXIF, it is kept."""
    metadata, lost = tagged.read(data((0xE1, b"Exif\0\0" + tagged.exif())))
    assert (metadata.exif, lost) == (tagged.exif(), says)
    alone = tagged.read(tagged.jpeg(density=b"\1\0\x48\0\x48"))[0].exif
    assert exif.stated(alone or b"")[0] == Resolution(Fraction(72), Fraction(72), 2)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"P5\n# made by GIMP\n2 2\n255\nabcd", "made by GIMP"),
        (b"P6 # one\n#two \n\n1 1\n# gr\xc3\xb6\xc3\x9fer\n255\n#b\n", "one\ntwo\ngrößer"),
        (b"P5 2 # gr\xf6\xdfer\n2 65535\n" + bytes(8), "größer"),
        (b"P5\n#x\n2 2\n100\nabcd", "x"),
        (b"P4\n#x\n8 2\n#\n", "x"),
        (b"P3\n#x\n1 1\n255\n1 2 3 #y\n", "x\ny"),
        (b"P1\n#x\n2 2\n1 0 0 1\n", "x"),
        (b"P2 2 2 255 #x\n1 0 0 1\n", "x"),
        (b"P5\n2 2\n255\n#bcd", None), (b"P5\n#\n# \n2 2\n255\nabcd", None),
    ],
)
def test_comments_of_netpbm_files(data: bytes, text: str | None) -> None:
    metadata, lost = tagged.read(data)
    assert lost == ()
    assert exif.stated(metadata.exif or b"")[1] == ({} if text is None else {"Comment": text})


def test_a_comment_that_exif_cannot_hold() -> None:
    assert tagged.read(b"P5\n#a\0b\n2 2\n255\nabcd")[1] == ("comment",)


@pytest.mark.parametrize("order", [b"II", b"MM"])
def test_only_the_orientation_of_exif_changes(order: bytes) -> None:
    form = "<" if order == b"II" else ">"
    note = b"offsets from here"
    before = order + struct.pack(form + "HIH", 42, 8, 2) + struct.pack(form + "HHIHH", 0x0112, 3, 1, 6, 0)
    before += struct.pack(form + "HHII", 0x927C, 7, len(note), 60) + bytes(26) + note
    metadata, _ = tagged.read(tagged.jpeg((0xE1, b"Exif\0\0" + before)))
    assert metadata.exif == before.replace(struct.pack(form + "HH", 6, 0), struct.pack(form + "HH", 1, 0))
    for xmp in (b'<x tiff:Orientation="6"/>', b"<tiff:Orientation>8</tiff:Orientation>"):
        found = tagged.read(tagged.saved("JPEG", xmp=xmp))[0].xmp
        assert found == xmp.replace(b"6", b"1").replace(b"8", b"1")


def test_letters_in_tiff_tags(tmp_path: Path) -> None:
    """Pillow alone would write a question mark."""
    (tmp_path / "in.tif").write_bytes(tagged.tiff(t315=(2, "Zoë".encode())))
    codec.encode(tmp_path / "in.tif", tmp_path / "x.cae")
    codec.decode(tmp_path / "x.cae", tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as image:
        assert image.tag_v2[315].encode("latin-1").decode() == "Zoë"  # type: ignore[attr-defined]
