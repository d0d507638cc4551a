"""Containers: previews are refused, and pictures that are not read are named."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

import codec
from codec.pictures import further
from codec.pictures.reading import read_image
from tests.support.pictures import textured

RGB = textured(48, 64)
MASKS = (0xFF0000, 0xFF00, 0xFF, 0)
IMAGE = PIL.Image.fromarray(RGB)


def saved(name: str, image: PIL.Image.Image = IMAGE, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, name, **options)
    return file


def psd(
    mode: int = 3, bits: int = 8, channels: int = 3, merged: int | None = None, layers: bool = False
) -> io.BytesIO:
    """Return a PSD file whose merged picture is `RGB`, repeated for further channels."""
    height, width = RGB.shape[:2]
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, channels, height, width, bits, mode)
    resources = b""
    if merged is not None:
        info = struct.pack(">IB", 1, merged) + bytes(9)
        resources = b"8BIM" + struct.pack(">HHI", 1057, 0, len(info)) + info
    content = b""
    if layers:
        one = struct.pack(">4iHhI", 0, 0, 1, 1, 1, 0, 3) + b"8BIMnorm" + b"\xff\0\0\0" + bytes(4)
        info = struct.pack(">h", 1) + one + struct.pack(">H", 0) + b"\7"
        info += bytes(len(info) % 2)
        content = struct.pack(">I", len(info)) + info + bytes(4)
    planes = np.moveaxis(np.dstack([RGB] * 3)[:, :, :channels], -1, 0)
    data = struct.pack(">H", 0) + planes.astype(f">u{bits // 8 or 1}").tobytes()
    return io.BytesIO(
        head + struct.pack(">I", 0) + struct.pack(">I", len(resources)) + resources
        + struct.pack(">I", len(content)) + content + data
    )


def dds(
    flags: int = 0x40, code: bytes = bytes(4), bits: int = 24, masks: tuple[int, ...] = MASKS,
    caps: int = 0, depth: int = 0, levels: int = 0, dxgi: tuple[int, ...] = (),
) -> io.BytesIO:
    head = struct.pack("<4s7I44x", b"DDS ", 124, 0, 48, 64, 0, depth, levels)
    head += struct.pack("<2I4sI4I", 32, flags, code, bits, *masks) + struct.pack("<5I", 0, caps, 0, 0, 0)
    return io.BytesIO(head + struct.pack(f"<{len(dxgi)}I", *dxgi) + RGB[:, :, ::-1].tobytes())


def sgi_of_16_bits() -> io.BytesIO:
    head = struct.pack(">HBBHHHH", 474, 0, 2, 3, 64, 48, 3)
    return io.BytesIO(head.ljust(512, b"\0") + RGB.astype(">u2").tobytes())


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (psd(merged=0), "without a merged picture"), (psd(bits=16), "PSD files of 16 bits"),
        (psd(mode=4, channels=4), "CMYK"), (psd(mode=7), "multichannel"),
        (psd(mode=8, channels=1), "duotone"),
        (psd(mode=9), "Lab"),
        (dds(4, b"DX10", dxgi=(95, 3, 0, 1, 0)), "BC6H"), (dds(4, b"BC5S"), "signed"),
        (dds(4, b"DX10", dxgi=(84, 3, 0, 1, 0)), "signed"),
        (dds(bits=32, masks=(0x3FF00000, 0xFFC00, 0x3FF, 0)), "more than 8 bits per channel"),
        (sgi_of_16_bits(), "16-bit SGI"),
    ],
)
def test_what_pillow_would_reduce_or_replace(file: io.BytesIO, says: str) -> None:
    with pytest.raises(codec.InvalidImage, match=says):
        read_image(file)


def frames(count: int) -> dict[str, Any]:
    others = [PIL.Image.fromarray(np.roll(RGB, 7 * step, 1)) for step in range(1, count)]
    return {"save_all": True, "append_images": others}


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (saved("GIF", **frames(3)), "2 more pictures of 3"),
        (saved("PNG", **frames(2)), "1 more picture of 2"),
        (saved("WEBP", lossless=True, **frames(4)), "3 more pictures of 4"),
        (saved("AVIF", **frames(2)), "1 more picture of 2"),
        (saved("TIFF", **frames(3)), "2 more pictures of 3"),
        (saved("MPO", **frames(2)), "1 more picture of 2"),
        (saved("ICO", sizes=[(16, 12), (32, 24), (64, 48)]), r"2 more .* \(other sizes\)"),
        (saved("ICNS", IMAGE.resize((128, 128))), r"more pictures of \d+ \(other sizes\)"),
        (psd(layers=True), "1 layer$"), (psd(channels=5), "2 further channels"),
        (psd(mode=1, channels=2), "1 further channel$"),
        (dds(levels=5), r"4 smaller copies \(mipmaps\)"), (dds(caps=0x200), "faces of a cube map"),
        (dds(caps=0x200000, depth=4), "3 more pictures of 4"),
    ],
)
def test_what_is_not_read_is_named(file: io.BytesIO, says: str) -> None:
    with pytest.warns(codec.NotKept, match=f"not kept: .*{says}") as caught:
        read_image(file)
    assert len(caught) == 1


@pytest.mark.parametrize("file", [psd(), psd(merged=1), dds()])
def test_the_whole_picture_is_read(file: io.BytesIO) -> None:
    picture, _ = read_image(file)
    assert np.array_equal(picture.read(picture.box)[:, :, :3], RGB)


def test_a_file_of_many_kinds_of_loss_warns_once(tmp_path: Path) -> None:
    path = tmp_path / "x.tiff"
    IMAGE.save(path, **frames(3), tiffinfo={33550: (1.0, 1.0, 0.0)})
    with pytest.warns(codec.NotKept, match="33550|ModelPixelScale") as caught:
        codec.encode(path, tmp_path / "x.cae")
    assert len(caught) == 1
    assert "2 more pictures of 3" in str(caught[0].message)


def pnm(array: NDArray[np.uint8], rest: bytes) -> io.BytesIO:
    return io.BytesIO(b"P6 64 48 255\n" + array.tobytes() + rest)


def test_a_second_picture_of_a_ppm_file() -> None:
    for rest, says in ((b"\n", None), (b"P6 1 1 255\nabc", "14 bytes after the picture")):
        if says is None:
            picture, _ = read_image(pnm(RGB, rest))
        else:
            with pytest.warns(codec.NotKept, match=says):
                picture, _ = read_image(pnm(RGB, rest))
        assert np.array_equal(picture.read(picture.box), RGB)


@pytest.mark.parametrize("name", ["TGA", "PNG", "QOI"])
def test_alpha_that_hides_all_colour(name: str) -> None:
    """Some programs write alpha of 0 and do not mean it."""
    file = saved(name, PIL.Image.fromarray(np.dstack([RGB, np.zeros_like(RGB[:, :, :1])])))
    with pytest.warns(codec.NotKept, match="not kept: the colour, because alpha is 0 everywhere"):
        read_image(file)
    picture, _ = read_image(file, bands=(1, 2, 3))
    assert np.array_equal(picture.read(picture.box), RGB)


def test_the_hotspot_of_a_cursor() -> None:
    icon = saved("ICO", sizes=[(32, 24)], bitmap_format="bmp").getvalue()
    with pytest.warns(codec.NotKept, match="not kept: hotspot"):
        read_image(io.BytesIO(b"\0\0\2\0" + icon[4:]))


def test_the_warning_names_the_line_of_the_caller(tmp_path: Path) -> None:
    IMAGE.save(tmp_path / "x.gif", **frames(2))
    with pytest.warns(codec.NotKept) as caught:
        codec.encode(tmp_path / "x.gif", tmp_path / "x.cae")
    assert Path(caught[0].filename).name == Path(__file__).name


@pytest.mark.parametrize(
    ("kind", "name"), [(0x10001, None), (0x10002, None), (0x20002, "1 more picture of 2")]
)
def test_small_copies_in_jpeg_files_of_cameras_are_not_named(kind: int, name: str | None) -> None:
    data = bytearray(saved("MPO", save_all=True, append_images=[IMAGE.resize((32, 24))]).getvalue())
    at = data.index(b"MPF\0") + 4 + 50 + 16  # the index, its directory, and the entry of the first picture
    assert data[at : at + 4] == bytes(4)
    struct.pack_into("<I", data, at, kind)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_image(io.BytesIO(data))
    assert [str(warning.message) for warning in caught] == ([f"not kept: {name}"] if name else [])


HDRGM = b"<x hdrgm:Version='1.0' xmlns:hdrgm='http://ns.adobe.com/hdr-gain-map/1.0/'/>"
ULTRA_HDR = b'<x:a xmlns:x="adobe:ns:meta/"><rdf:Description hdrgm:Version="1.0"/></x:a>'
ISO = b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)


def jpeg(*segments: tuple[int, bytes], image: PIL.Image.Image = IMAGE) -> bytes:
    plain = saved("JPEG", image).getvalue()
    return plain[:20] + b"".join(segment(*one) for one in segments) + plain[20:]


def segment(kind: int, data: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(data) + 2) + data


def xmp(content: bytes) -> tuple[int, bytes]:
    return 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + content


def indexed(*pictures: bytes, kinds: tuple[int, ...] = (), order: str = "<") -> bytes:
    """Return a JPEG file of several pictures with an index (MPF)."""
    count = len(pictures)
    directory = struct.pack(order + "H", 2) + struct.pack(order + "HHII", 0xB001, 4, 1, count)
    directory += struct.pack(order + "HHII", 0xB002, 7, 16 * count, 38) + bytes(4)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + directory
    grown = len(segment(0xE2, b"MPF\0" + head + bytes(16 * count)))
    start = 20 + 8  # JFIF, the marker, its length and its signature
    entries, at = b"", 0
    for number, picture in enumerate(pictures):
        size = len(picture) + (grown if number == 0 else 0)
        kind = (0x030000, *kinds, *[0] * count)[number]
        entries += struct.pack(order + "3I", kind, size, at - start if number else 0) + bytes(4)
        at += size
    index = segment(0xE2, b"MPF\0" + head + entries)
    return pictures[0][:20] + index + pictures[0][20:] + b"".join(pictures[1:])


SMALL = jpeg(image=IMAGE.resize((32, 24)))
GAIN_MAP = jpeg(xmp(HDRGM), image=IMAGE.resize((32, 24)).convert("L"))
GAIN_MAP_OF_APPLE = jpeg(xmp(b"<HDRGainMapVersion>1</HDRGainMapVersion>"))
VIDEO = b"\0\0\0\x18ftypmp42" + b"\0\1\2\3" * 300
MOTION, OLD_MOTION = b'<x GCamera:MotionPhoto="1"/>', b"<GCamera:MicroVideo>1</GCamera:MicroVideo>"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (indexed(jpeg(xmp(ULTRA_HDR)), GAIN_MAP), "gain map"),
        (indexed(jpeg(xmp(ULTRA_HDR)), SMALL, order=">"), "gain map"),
        (indexed(jpeg(xmp(HDRGM)), GAIN_MAP), "gain map"),
        (indexed(jpeg((0xE2, ISO)), SMALL), "gain map"),
        (indexed(jpeg(), GAIN_MAP_OF_APPLE), "gain map"),
        (indexed(jpeg(xmp(ULTRA_HDR)), SMALL, GAIN_MAP, kinds=(0x10001,)), "gain map"),
        (indexed(jpeg(xmp(ULTRA_HDR)), SMALL, SMALL, kinds=(0x10002,)), "gain map"),
        (indexed(jpeg(xmp(ULTRA_HDR)), SMALL, GAIN_MAP), "1 more picture of 2, gain map"),
        (indexed(jpeg(xmp(ULTRA_HDR)), GAIN_MAP) + b"more" * 4,
         "gain map, 16 bytes after the end of the picture"),
        (jpeg(xmp(ULTRA_HDR)) + GAIN_MAP, "gain map"),
        (jpeg(xmp(ULTRA_HDR)), "gain map"),
        (jpeg() + SMALL, f"{len(SMALL)} bytes after the end of the picture"),
        (indexed(jpeg(), SMALL)[: -len(SMALL)], None),  # the second picture is gone
        (indexed(jpeg(), SMALL, SMALL), "2 more pictures of 3"),
        (jpeg() + VIDEO, "motion photo (video)"),
        (jpeg(xmp(MOTION)) + b"\0\1\2" + VIDEO, "motion photo (video)"),
        (jpeg(xmp(OLD_MOTION)) + b"\0\1\2" + VIDEO, "motion photo (video)"),
        (jpeg(xmp(MOTION)), None),
        (jpeg(xmp(MOTION.replace(b"1", b"0"))) + b"more", "4 bytes after the end of the picture"),
        (jpeg() + b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data" + VIDEO + b"SEFH", "motion photo (video)"),
        (indexed(jpeg(xmp(ULTRA_HDR + MOTION)), GAIN_MAP) + VIDEO, "gain map, motion photo (video)"),
    ],
)
def test_what_follows_a_jpeg_picture(data: bytes, says: str | None) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture, _ = read_image(io.BytesIO(data))
    assert (picture.height, picture.width) == (48, 64)
    assert [str(warning.message) for warning in caught] == ([f"not kept: {says}"] if says else [])


def test_damaged_indexes_of_jpeg_files() -> None:
    whole = indexed(jpeg(xmp(ULTRA_HDR)), GAIN_MAP)
    at = whole.index(b"MPF\0")
    rng = np.random.default_rng(11)
    for _ in range(200):
        data = bytearray(whole)
        for place in rng.integers(at + 4, at + 70, 4):
            data[place] = int(rng.choice([0, 1, 255, int(rng.integers(256))]))
        names = further.further(PIL.Image.open(io.BytesIO(whole)), io.BytesIO(data), "JPEG")
        assert all(name.startswith("1 more picture") for name in names)
