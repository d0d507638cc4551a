"""Picture files that say something beside their pixels: one for each format and kind of statement.

The parts are built here byte by byte, not by the package. `make` returns the bytes of a file.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2

import codec
from codec.pictures.reading import read_image
from tests.support.pictures import textured

SRGB_POINTS = bytes([1, 13, 0, 1])
PQ_POINTS = bytes([9, 16, 0, 1])
P3_POINTS = bytes([12, 13, 0, 1])
"""Code points of primaries, transfer, matrix and range."""

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>m\xc3\xbcd</x:xmpmeta>"
IPTC = b"8BIM\x04\x04\0\0" + struct.pack(">I", 10) + b"\x1c\x02\x78\0\5a text"[:10]
RESOURCE = b"8BIM\x04\x22\0\0" + struct.pack(">I", 4) + bytes(4)
SRGB = [(0.3127, 0.3290), (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)]
ADOBE = [(0.3127, 0.3290), (0.64, 0.33), (0.21, 0.71), (0.15, 0.06)]
"""Chromaticities of white, red, green and blue."""


def exif(orientation: int = 1) -> bytes:
    """Return an EXIF with a maker, starting at its TIFF header."""
    tags = Image.Exif()
    tags[0x010F], tags[0x0112] = "maker", orientation
    tags[0x8769] = {0x9003: "2020:01:02 03:04:05"}
    return tags.tobytes().removeprefix(b"Exif\0\0")


def picture(mode: str = "RGB") -> Image.Image:
    """Return a picture of 24×16 pixels."""
    return Image.fromarray(textured(16, 24)).convert(mode)


def saved(name: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """Return a picture file as Pillow writes it."""
    out = io.BytesIO()
    (image or picture()).save(out, name, **options)
    return out.getvalue()


def png(*chunks: tuple[bytes, bytes], end: bytes = b"", image: Image.Image | None = None) -> bytes:
    """Return a PNG file with chunks after its header, and bytes after its end."""
    made = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    plain = saved("PNG", image)
    return plain[:33] + made + plain[33:] + end


def jpeg(*segments: tuple[int, bytes], end: bytes = b"", density: bytes = b"\0\0\1\0\1") -> bytes:
    """Return a JPEG file with segments after JFIF, whose unit and density are given."""
    plain = saved("JPEG")
    made = b"".join(bytes([0xFF, kind]) + struct.pack(">H", len(data) + 2) + data for kind, data in segments)
    jfif = plain[:13] + density + plain[18:20]
    return jfif + made + plain[20:] + end


def tiff(**tags: tuple[int, Any]) -> bytes:
    """Return a TIFF file; tags are given as `t33550=(12, (1.0, 2.0))`, with their type."""
    ifd = ImageFileDirectory_v2()
    for name, (kind, value) in tags.items():
        ifd.tagtype[int(name[1:])] = kind
        ifd[int(name[1:])] = value
    return saved("TIFF", tiffinfo=ifd)


def webp(*chunks: tuple[bytes, bytes], end: bytes = b"") -> bytes:
    """Return a WebP file with chunks at its end."""
    plain = saved("WEBP", exif=b"Exif\0\0" + exif())  # with VP8X
    for kind, data in chunks:
        plain += kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return plain[:4] + struct.pack("<I", len(plain) - 8) + plain[8:] + end


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + kind + data


def jp2(*boxes: bytes, header: bytes = b"") -> bytes:
    """Return a JP2 file with boxes before the codestream, and boxes in its header."""
    plain = saved("JPEG2000")
    at, size = plain.index(b"jp2h") - 4, int.from_bytes(plain[32:36], "big")
    assert plain[at : at + 4] == struct.pack(">I", size)
    inner = plain[at + 8 : at + size] + header
    return plain[:at] + box(b"jp2h", inner) + b"".join(boxes) + plain[at + size :]


def jp2_colour(method: int, data: bytes) -> bytes:
    """Return a JP2 file with another colour box."""
    plain = jp2()
    at = plain.index(b"colr") - 4
    colour = box(b"colr", bytes([method, 0, 0]) + data)
    header = plain.index(b"jp2h") - 4
    grown = int.from_bytes(plain[header : header + 4], "big") + len(colour) - 15
    return plain[:header] + struct.pack(">I", grown) + plain[header + 4 : at] + colour + plain[at + 15 :]


def with_property(avif: bytes, made: bytes) -> bytes:
    """Return an AVIF or HEIC file with one more property, and its items moved accordingly."""
    data = bytearray(avif)
    at = data.index(b"ipco") - 4
    end = at + int.from_bytes(data[at : at + 4], "big")
    for name in (b"meta", b"iprp", b"ipco"):
        start = data.index(name) - 4
        size = int.from_bytes(data[start : start + 4], "big") + len(made)
        data[start : start + 4] = struct.pack(">I", size)
    start = data.index(b"iloc") + 4
    version = data[start]
    assert version in (0, 1)
    assert data[start + 4] == 0x44
    base = data[start + 5] >> 4
    place = start + 8
    for _ in range(int.from_bytes(data[start + 6 : start + 8], "big")):
        method = int.from_bytes(data[place + 2 : place + 4], "big") if version else 0
        place += 4 + 2 * version + base
        extents = int.from_bytes(data[place : place + 2], "big")
        place += 2
        for _ in range(extents):
            if not method:
                moved = int.from_bytes(data[place : place + 4], "big") + len(made)
                data[place : place + 4] = struct.pack(">I", moved)
            place += 8
    return bytes(data[:end] + made + data[end:])


def avif(made: bytes = b"", **options: Any) -> bytes:
    plain = saved("AVIF", **options)
    return with_property(plain, made) if made else plain


def nclx(data: bytes, primaries: int, transfer: int) -> bytes:
    """Return an AVIF or HEIC file with other code points."""
    at = data.index(b"nclx") + 4
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def heic(made: bytes = b"", **options: Any) -> bytes:
    """Return a HEIC file. Needs pillow-heif."""
    import pillow_heif

    out = io.BytesIO()
    pillow_heif.from_pillow(picture()).save(out, **options)
    return with_property(out.getvalue(), made) if made else out.getvalue()


def gif(*extensions: bytes, end: bytes = b"", aspect: int = 0) -> bytes:
    """Return a GIF file with extensions after its palette."""
    plain = saved("GIF")
    at = 13 + (3 << (plain[10] & 7) + 1)
    return plain[:12] + bytes([aspect]) + plain[13:at] + b"".join(extensions) + plain[at:] + end


def blocks(data: bytes) -> bytes:
    """Return data as a chain of sub-blocks of GIF."""
    parts = [data[at : at + 255] for at in range(0, len(data), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def bmp(space: int = 0x73524742, profile: bytes = b"", colours: bytes = bytes(48), ppm: int = 0) -> bytes:
    """Return a BMP file with a header of version 5."""
    pixels = np.asarray(picture())[::-1, :, ::-1].tobytes()
    head = struct.pack("<IiiHHIIiiII", 124, 24, 16, 1, 24, 0, len(pixels), ppm, ppm, 0, 0) + bytes(16)
    head += struct.pack("<I", space) + colours
    head += struct.pack("<IIII", 4, 124 + len(pixels), len(profile), 0)
    body = head + pixels + profile
    return b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, 14 + 124) + body


def psd(*resources: tuple[int, bytes]) -> bytes:
    """Return a flat PSD file with image resources."""
    made = b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + bytes(len(data) % 2)
        for number, data in resources
    )
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 16, 24, 8, 3) + bytes(4)
    planes = np.asarray(picture()).transpose(2, 0, 1).tobytes()
    return head + struct.pack(">I", len(made)) + made + bytes(4) + bytes(2) + planes


def tga(area: dict[int, bytes]) -> bytes:
    """Return a TGA file with texts or numbers in its extension area, by position."""
    plain = saved("TGA").removesuffix(bytes(8) + b"TRUEVISION-XFILE.\0")
    extension = bytearray(struct.pack("<H", 495) + bytes(493))
    for at, value in area.items():
        extension[at : at + len(value)] = value
    footer = struct.pack("<II", len(plain), 0) + b"TRUEVISION-XFILE.\0"
    return plain + bytes(extension) + footer


def raw_profile(kind: str, data: bytes) -> tuple[bytes, bytes]:
    """Return a chunk with a profile as ImageMagick writes it."""
    digits = data.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = f"\n{kind}\n{len(data):8d}\n{lines}\n".encode()
    return b"zTXt", f"Raw profile type {kind}".encode() + b"\0\0" + zlib.compress(text)


def chrm(points: list[tuple[float, float]]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(value * 1e5) for point in points for value in point))


def bmp_colour(points: list[tuple[float, float]], gamma: float) -> bytes:
    """Return the endpoints and gammas of a BMP header."""
    white, *primaries = points

    def xyz(x: float, y: float) -> list[float]:
        return [x / y, 1.0, (1 - x - y) / y]

    matrix = np.array([xyz(*point) for point in primaries]).T
    columns = matrix * np.linalg.solve(matrix, xyz(*white))
    numbers = [round(value * 2**30 / 4) for value in columns.T.ravel()]
    return struct.pack("<9I", *numbers) + struct.pack("<3I", *[round(gamma * 65536)] * 3)


PHYS = (b"pHYs", struct.pack(">IIB", 11811, 11811, 1))
RESC = struct.pack(">HHHHbb", 300, 254, 300, 254, 4, 4)
UUID = {
    "XMP": "be7acfcb97a942e89c71999491e3afac", "EXIF": "4a706754696666457869662d3e4a5032",
    "IPTC": "33c7a4d2b81d4723a0baf1a3e097ad38", "GeoTIFF": "b14bf8bd083d4b43a5ae8cd7d5a6ce03",
}


def uuid(name: str, data: bytes) -> bytes:
    return box(b"uuid", bytes.fromhex(UUID[name]) + data)


CLLI, MYSTERY = box(b"clli", b"\3\xe8\0\xc8"), box(b"wxyz", b"?")
_GIF_XMP = b"!\xff\x0bXMP DataXMP" + XMP + b"\1" + bytes(range(255, -1, -1)) + b"\0"

Maker = Callable[[], bytes]

FILES: dict[str, dict[str, Maker]] = {
    "ICC profile": {
        "PNG": lambda: saved("PNG", icc_profile=ICC), "JPEG": lambda: saved("JPEG", icc_profile=ICC * 40),
        "TIFF": lambda: saved("TIFF", icc_profile=ICC), "WebP": lambda: saved("WEBP", icc_profile=ICC),
        "AVIF": lambda: saved("AVIF", icc_profile=ICC), "HEIC": lambda: heic(icc_profile=ICC),
        "JPEG 2000": lambda: jp2_colour(2, ICC),
        "GIF": lambda: gif(b"!\xff\x0bICCRGBG1012" + blocks(ICC)),
        "BMP": lambda: bmp(0x4D424544, ICC), "PSD": lambda: psd((1039, ICC)),
    },
    "EXIF": {
        "PNG": lambda: png((b"eXIf", exif())), "JPEG": lambda: jpeg((0xE1, b"Exif\0\0" + exif())),
        "TIFF": lambda: saved("TIFF", exif=b"Exif\0\0" + exif()), "WebP": webp,
        "AVIF": lambda: saved("AVIF", exif=b"Exif\0\0" + exif()), "HEIC": lambda: heic(exif=exif()),
        "JPEG 2000": lambda: jp2(uuid("EXIF", exif())), "PSD": lambda: psd((1058, exif())),
    },
    "XMP": {
        "PNG": lambda: png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
        "JPEG": lambda: saved("JPEG", xmp=XMP), "TIFF": lambda: tiff(t700=(1, XMP)),
        "WebP": lambda: saved("WEBP", xmp=XMP), "AVIF": lambda: saved("AVIF", xmp=XMP),
        "HEIC": lambda: heic(xmp=XMP), "JPEG 2000": lambda: jp2(uuid("XMP", XMP)),
        "GIF": lambda: gif(_GIF_XMP), "PSD": lambda: psd((1060, XMP)),
    },
    "code points (cICP, nclx)": {
        "PNG": lambda: png((b"cICP", bytes([9, 16, 0, 1]))), "AVIF": lambda: nclx(avif(), 9, 16),
        "HEIC": lambda: nclx(heic(), 9, 16),
        "JPEG 2000": lambda: jp2_colour(5, struct.pack(">HHHB", 9, 16, 0, 128)),
    },
    "statement of sRGB": {"PNG": lambda: png((b"sRGB", b"\0")), "BMP": bmp},
    "measured colour (gAMA, cHRM, …)": {
        "PNG": lambda: png((b"gAMA", struct.pack(">I", 45455)), chrm(ADOBE)),
        "TIFF": lambda: tiff(t318=(5, ADOBE[0]), t319=(5, sum(ADOBE[1:], ()))),
        "BMP": lambda: bmp(0, colours=bmp_colour(ADOBE, 2.2)),
    },
    "light levels of HDR": {
        "PNG": lambda: png((b"cLLI", bytes(8))), "AVIF": lambda: avif(CLLI), "HEIC": lambda: heic(CLLI),
    },
    "resolution": {
        "PNG": lambda: png(PHYS), "JPEG": lambda: jpeg(density=b"\1\1\x2c\1\x2c"),
        "TIFF": lambda: saved("TIFF", dpi=(300, 300)), "BMP": lambda: bmp(ppm=11811),
        "JPEG 2000": lambda: jp2(header=box(b"res ", box(b"resc", RESC))),
        "PSD": lambda: psd((1005, struct.pack(">IHHIHH", 300 << 16, 1, 1, 300 << 16, 1, 1))),
    },
    "comment": {
        "PNG": lambda: png((b"iTXt", "Comment\0\0\0\0\0größer".encode())),
        "JPEG": lambda: jpeg((0xFE, b"a remark")),
        "JPEG 2000": lambda: saved("JPEG2000", comment="a remark"),
        "GIF": lambda: gif(b"!\xfe" + blocks(b"a remark")),
        "TGA": lambda: tga({43: b"a remark"}),
    },
    "author, copyright, description, software": {
        "PNG": lambda: png(
            (b"tEXt", b"Author\0me"), (b"tEXt", b"Copyright\0mine"), (b"tEXt", b"Software\0it"),
            (b"zTXt", b"Description\0\0" + zlib.compress(b"a castle")),
        ),
        "TIFF": lambda: tiff(t315=(2, "me"), t33432=(2, "mine"), t270=(2, "a castle")),
        "TGA": lambda: tga({2: b"me"}),
    },
    "title, prompt (`parameters`)": {
        "PNG": lambda: png((b"tEXt", b"parameters\0a castle\nSteps: 20"), (b"tEXt", b"Title\0one")),
    },
    "other text": {
        "PNG": lambda: png((b"tEXt", b"workflow\0{}")), "TIFF": lambda: tiff(t316=(2, "host")),
        "JPEG 2000": lambda: jp2(box(b"xml ", b"<a/>")), "TGA": lambda: tga({379: b"job"}),
    },
    "IPTC": {
        "PNG": lambda: png(raw_profile("iptc", IPTC)),
        "JPEG": lambda: jpeg((0xED, b"Photoshop 3.0\0" + IPTC)),
        "TIFF": lambda: tiff(t33723=(7, b"\x1c\x02\0\0\0")),
        "JPEG 2000": lambda: jp2(uuid("IPTC", b"\x1c\2")),
        "GIF": lambda: gif(b"!\xff\x0bMGKIPTC0000" + blocks(b"\x1c\2")),
        "PSD": lambda: psd((1028, b"\x1c\2")),
    },
    "Photoshop resources": {
        "JPEG": lambda: jpeg((0xED, b"Photoshop 3.0\0" + RESOURCE)),
        "TIFF": lambda: tiff(t34377=(1, RESOURCE)),
        "PSD": lambda: psd((1034, b"\0")),
    },
    "place on Earth (GeoTIFF, …)": {
        "TIFF": lambda: tiff(t33550=(12, (10.0, 10.0, 0.0)), t42113=(2, "-9999")),
        "JPEG 2000": lambda: jp2(uuid("GeoTIFF", b"II*\0")),
    },
    "gain map, depth map, thumbnail": {
        "JPEG": lambda: saved("JPEG", xmp=b"<x hdrgm:Version='1.0'/>"),
        "AVIF": lambda: avif(box(b"auxC", bytes(4) + b"urn:mpeg:hevc:2015:auxid:2\0")),
        "HEIC": lambda: heic(box(b"auxC", bytes(4) + b"urn:com:apple:photo:2020:aux:hdrgainmap\0")),
    },
    "pixels that are not square": {
        "PNG": lambda: png((b"pHYs", struct.pack(">IIB", 2, 1, 0))),
        "JPEG": lambda: jpeg(density=b"\0\0\2\0\1"), "GIF": lambda: gif(aspect=113),
        "AVIF": lambda: avif(box(b"pasp", struct.pack(">II", 2, 1))),
        "HEIC": lambda: heic(box(b"pasp", struct.pack(">II", 2, 1))),
    },
    "parts that are not known": {
        "PNG": lambda: png((b"abCd", b"?")), "JPEG": lambda: jpeg((0xE9, b"mine\0?")),
        "TIFF": lambda: tiff(t65123=(3, 7)), "WebP": lambda: webp((b"abcd", b"?")),
        "AVIF": lambda: avif(MYSTERY), "HEIC": lambda: heic(MYSTERY), "JPEG 2000": lambda: jp2(MYSTERY),
        "GIF": lambda: gif(b"!\xff\x0bSOMETHING 1" + blocks(b"?")), "BMP": lambda: bmp(0x12345678),
        "PSD": lambda: psd((4000, b"?")),
    },
    "bytes after the end": {
        "PNG": lambda: png(end=b"more"), "JPEG": lambda: jpeg(end=b"ftypmp42"),
        "WebP": lambda: webp(end=b"more"), "GIF": lambda: gif(end=b"more"),
    },
}
"""Makers of files, by what they say and by their format."""


def read(data: bytes) -> tuple[codec.Metadata, tuple[str, ...]]:
    """Return what is kept of a picture file, and the names of what is not."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, metadata = read_image(io.BytesIO(data))
    notes = [warning.message for warning in caught if isinstance(warning.message, codec.NotKept)]
    assert len(notes) <= 1
    assert [str(warning.message) for warning in caught if warning.category is not codec.NotKept] == []
    for note in notes:
        assert str(note) == f"not kept: {', '.join(note.items)}"
    return metadata, notes[0].items if notes else ()
