"""Parts of picture files that are not pixels: named, whatever they are, and hostile ones."""

from __future__ import annotations

import io
import struct
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

import codec
from codec.pictures import exif
from codec.pictures.containers.boxes import boxes
from codec.pictures.metadata import describe
from tests.support import tagged
from tests.support.pictures import textured


@pytest.mark.parametrize(
    ("chunk", "says"),
    [
        ((b"iTXt", "Author\0\0\0\0\0größer".encode()), "PNG text 'Author'"),
        ((b"iTXt", b"Comment\0\0\0de\0\0x"), "language of PNG text 'Comment'"),
        ((b"zTXt", b"Comment\0\0no zlib"), "PNG text 'Comment' that cannot be read"),
        ((b"iTXt", b"Comment\0\0\0\0\0\xff"), "PNG text 'Comment' that cannot be read"),
        ((b"tEXt", b"Comment\0"), "PNG text 'Comment'"),
        ((b"tEXt", b"a\x1b[2J\0x"), "PNG text 'a�[2J'"),
        ((b"tIME", bytes(7)), "time of the last change (tIME)"),
        ((b"bKGD", bytes(6)), "background colour (bKGD)"),
        ((b"sBIT", b"\5\6\5"), "significant bits (sBIT)"),
        ((b"pHYs", b"\0"), "resolution (pHYs) that is not valid"),
        ((b"caBX", b"?"), "content credentials (caBX)"),
    ],
)
def test_chunks_that_are_said(chunk: tuple[bytes, bytes], says: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(tagged.png()))
    assert describe(image, io.BytesIO(tagged.png(chunk)), "PNG")[1] == [says]


def test_many_names_are_counted() -> None:
    lost = tagged.read(tagged.png(*[(b"tEXt", b"key %d\0x" % number) for number in range(140)]))[1]
    assert len(lost) == 101
    assert lost[-1] == "40 more"


def icc_part(number: int, count: int, data: bytes) -> tuple[int, bytes]:
    return 0xE2, b"ICC_PROFILE\0" + bytes([number, count]) + data


@pytest.mark.parametrize(
    ("segments", "kept", "says"),
    [
        ([icc_part(2, 2, tagged.ICC[300:]), icc_part(1, 2, tagged.ICC[:300])], ["icc"], ()),
        ([icc_part(1, 2, tagged.ICC)], [], ("incomplete ICC profile",)),
        ([(0xFE, b"gr\xf6\xdfer")], ["exif"], ()),
        ([(0xFE, b"one"), (0xFE, b"two")], ["exif"], ("JPEG comment",)),
        ([(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(50))], [], ("extended XMP",)),
        ([(0xE2, b"urn:iso:std:iso:ts:21496:-1\0?")], [], ("gain map",)),
        ([(0xE2, b"FPXR\0?")], [], ("FlashPix data (APP2)",)),
        ([(0xE0, b"JFXX\0\x10?")], [], ("thumbnail (JFXX)",)),
        ([(0xEB, b"JP\0\1jumb")], [], ("JUMBF boxes (APP11)",)),
        ([(0xED, b"Photoshop 3.0\0" + tagged.IPTC + tagged.RESOURCE)], [], ("IPTC", "Photoshop resources")),
        ([(0xEE, b"Adobe\0\x64\0\0\0\0\1")], [], ()),
    ],
)
def test_segments_of_jpeg(segments: Any, kept: list[str], says: tuple[str, ...]) -> None:
    metadata, lost = tagged.read(tagged.jpeg(*segments))
    assert (list(metadata.names), lost) == (kept, says)


def test_segments_between_scans_and_after_pictures() -> None:
    image = Image.fromarray(textured(64, 80))
    plain = tagged.saved("JPEG", image, progressive=True)
    at = plain.rindex(b"\xff\xc4")
    comment = b"\xff\xff\xff\xfe\0\5abc"  # after two fill bytes
    metadata, lost = tagged.read(plain[:at] + comment + plain[at:])
    assert exif.stated(metadata.exif or b"")[1] == {"Comment": "abc"}
    assert lost == ()
    two = tagged.saved("MPO", image, save_all=True, append_images=[image.rotate(180)])
    assert not any("bytes after" in name for name in tagged.read(two)[1])
    assert "72 bytes after the end of the picture" in tagged.read(two + b"ftypmp42" * 9)[1]


def test_chunks_after_the_pixels_of_a_deep_picture(tmp_path: Path) -> None:
    """They are not read by Pillow, because such a picture is decoded by imagecodecs."""
    deep = bytes(imagecodecs.png_encode(textured(16, 24).astype(np.uint16) * 257))
    late = tagged.png((b"tEXt", b"workflow\0{}"), (b"cICP", tagged.PQ_POINTS))[33:81]
    metadata, lost = tagged.read(deep[:-12] + late[: 12 + 11 + 12 + 4] + deep[-12:])
    assert (metadata.cicp, lost) == (tagged.PQ_POINTS, ("PNG text 'workflow'",))
    picture = textured(16, 24).astype(np.uint16) * 257
    (tmp_path / "x.cae").write_bytes(codec.compress(picture, metadata=metadata))
    codec.decode(tmp_path / "x.cae", tmp_path / "x.png")
    assert tagged.read((tmp_path / "x.png").read_bytes())[0].cicp == tagged.PQ_POINTS


GAMMA_1_5 = tuple(int((value / 255) ** 1.5 * 65535) for value in range(256))


@pytest.mark.parametrize(
    ("data", "kept", "says"),
    [
        (lambda: tagged.jp2_colour(3, tagged.ICC), ["icc"], ""),
        (lambda: tagged.jp2_colour(4, bytes(16)), [], "colour of method 4 (colr)"),
        (lambda: tagged.tiff(t301=(3, GAMMA_1_5)), ["icc"], ""),
        (lambda: tagged.tiff(t318=(5, (0.3, 0.3))), [], "colour (WhitePoint"),
        (lambda: tagged.tiff(t42112=(2, "<GDALMetadata/>")), [], "TIFF tag GDAL_METADATA"),
        (lambda: tagged.tiff(t37724=(7, b"x")), [], "TIFF tag ImageSourceData"),
        (lambda: tagged.bmp(0x4C494E4B), [], "ICC profile in another file"),
        (lambda: tagged.bmp(0x57696E20), [], ""),
        (lambda: tagged.bmp(0), [], ""),
        (lambda: tagged.tga({478: struct.pack("<HH", 22, 10)}), [], "TGA gamma"),
        (lambda: tagged.saved("TGA", id_section=b"hello"), [], "TGA identification"),
        (lambda: tagged.gif(b"!\x01" + tagged.blocks(b"x" * 12)), [], "GIF plain text"),
        (lambda: tagged.saved("PCX"), ["exif"], ""),
        (lambda: tagged.psd((1034, b"\0"), (1050, b"\0")), [], "Photoshop resources 1034, 1050"),
    ],
)
def test_places_of_other_formats(data: Any, kept: list[str], says: str) -> None:
    metadata, lost = tagged.read(data())
    assert list(metadata.names) == kept
    assert ", ".join(lost).startswith(says)
    assert bool(lost) == bool(says)


def test_metadata_over_the_limit_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codec.limits.MAX_METADATA", 3000)
    bomb = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000)))
    for data in (tagged.png((b"eXIf", b"II*\0" + bytes(4000))), tagged.png(bomb)):
        image = Image.open(io.BytesIO(tagged.png()))
        metadata, lost = describe(image, io.BytesIO(data), "PNG")
        assert metadata == codec.Metadata()
        assert len(lost) == 1


def test_damaged_containers_raise_nothing() -> None:
    """Any bytes end in names, in a short time, and the position of the file does not change."""
    rng = np.random.default_rng(3)
    for row in tagged.FILES.values():
        for name, make in row.items():
            if name == "HEIC":
                continue
            data = make()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = Image.open(io.BytesIO(data))
            for turn in range(12):
                changed = bytearray(data[: int(rng.integers(1, len(data) + 1))] if turn % 3 == 0 else data)
                for at in rng.integers(0, min(len(changed), 700), int(rng.integers(1, 9))):
                    changed[at] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
                file = io.BytesIO(bytes(changed))
                file.seek(1)
                metadata, lost = describe(image, file, image.format or "")
                assert isinstance(metadata, codec.Metadata)
                assert all(item and item.isprintable() for item in lost)
                assert file.tell() == 1


def nested(kind: bytes) -> bytes:
    """Return 9,000 boxes, each in the one before it."""
    return b"".join(struct.pack(">I", 8 * (9000 - number)) + kind for number in range(9000))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("JPEG", tagged.jpeg()[:20] + b"\xff" * 1_000_000),
        ("JPEG", tagged.jpeg()[:20] + b"\xff\xda\0\2" * 300_000),
        ("JPEG", tagged.jpeg()[:20] + b"\xff\xe9\0\2" * 300_000),
        ("PNG", tagged.png()[:33] + b"\0\0\0\0aaAa\0\0\0\0" * 100_000),
        ("GIF", tagged.gif()[:781] + b"!\xfe\1a" * 300_000),
        ("JPEG2000", tagged.jp2()[:12] + b"\0\0\0\x08free" * 200_000),
        ("JPEG2000", tagged.jp2()[:12] + nested(b"jp2h")),
        ("AVIF", tagged.avif()[:32] + nested(b"meta")),
    ],
)
def test_hostile_containers_take_no_time(name: str, data: bytes) -> None:
    image = Image.open(io.BytesIO(tagged.saved(name)))
    start = time.process_time()
    _, lost = describe(image, io.BytesIO(data), name)
    assert time.process_time() - start < 3
    assert not any("recursion" in item for item in lost)


@pytest.mark.parametrize("length", [b"\0\0\0\7", b"\0\0\0\xff", b"\0\0\0\1"])
def test_boxes_of_impossible_lengths(length: bytes) -> None:
    """They are shorter than their head or longer than the file; the last is 8 in 64 bits."""
    good = tagged.box(b"good", b"?")
    data = good + length + b"evil" + (8).to_bytes(8, "big") + good
    assert list(boxes(io.BytesIO(data), 0, len(data))) == [(b"good", 8, 9)]
