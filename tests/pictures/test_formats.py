"""Which files are opened: a list of formats. All else is named, and nothing is run."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.EpsImagePlugin
import PIL.Image
import PIL.ImageFile
import pytest

import codec
from codec.pictures import formats
from codec.pictures.reading import read_image
from tests.support import tagged
from tests.support.pictures import textured

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n%%EndComments\n0 0 moveto showpage\n%%EOF\n"
MP4 = b"\0\0\0\x20ftyp%s\0\0\2\0%s"


def at(offset: int, signature: bytes, start: bytes = b"") -> bytes:
    return start.ljust(offset, b"\0") + signature


FILES = {
    "PostScript": [EPS, b"\x04" + EPS, b"\xc5\xd0\xd3\xc6" + bytes(26) + EPS, b"%!\n"],
    "PDF": [b"%PDF-1.7\n", b"junk\n%PDF-1.4\n"],
    "WMF": [b"\xd7\xcd\xc6\x9a" + bytes(40), b"\1\0\x09\0\0\3" + bytes(40)],
    "EMF": [at(40, b" EMF", b"\1\0\0\0")],
    "CR2": [at(8, b"CR\2\0", b"II*\0\x10\0\0\0")], "CRW": [b"II\x1a\0\0\0HEAPCCDR"],
    "CR3": [MP4 % (b"crx ", b"crx ")],
    "RAF": [b"FUJIFILMCCD-RAW 0201"], "ORF": [b"IIRO\x08\0\0\0", b"MMOR\0\0\0\x08"],
    "RW2": [b"IIU\0\x18\0\0\0"],
    "X3F": [b"FOVb"], "MRW": [b"\0MRM"], "IIQ": [at(8, b"IIII", b"II*\0")],
    "JPEG XL": [b"\xff\x0a" + bytes(30), b"\0\0\0\x0cJXL \r\n\x87\n"], "JPEG XR": [b"II\xbc\1"],
    "JPEG-LS": [b"\xff\xd8\xff\xf7\0\x0b"],
    "PSB": [b"8BPS\0\2" + bytes(20)], "XCF": [b"gimp xcf v011"],
    "DjVu": [b"AT&TFORM"], "KTX": [b"\xabKTX 11"],
    "DPX": [b"SDPX", b"XPDS"], "PAM": [b"P7\nWIDTH 2\n"], "PFM": [b"PF\n2 2\n-1\n", b"Pf\n2 2\n-1\n"],
    "OpenEXR": [b"\x76\x2f\x31\x01\2"], "Radiance": [b"#?RADIANCE\n", b"#?RGBE\n"],
    "Photo CD": [at(2048, b"PCD_IPI")], "DICOM": [at(128, b"DICM")],
    "NIfTI": [at(344, b"n+1\0", b"\x5c\1")],
    "NRRD": [b"NRRD0004\n"], "HDF5": [b"\x89HDF\r\n\x1a\n"], "NetCDF": [b"CDF\1"],
    "GRIB": [b"GRIB"], "BUFR": [b"BUFR"],
    "Parquet": [b"PAR1"], "Matroska": [b"\x1a\x45\xdf\xa3"], "AVI": [at(8, b"AVI LIST", b"RIFF")],
    "MPEG": [b"\0\0\1\xba", b"\0\0\1\xb3"],
    "MP4": [MP4 % (b"isom", b"mp41"), MP4 % (b"qt  ", b"qt  "), MP4 % (b"mp42", b"avc1")],
    "zip": [b"PK\3\4"], "gzip": [b"\x1f\x8b\x08"], "zstd": [b"\x28\xb5\x2f\xfd"], "tar": [at(257, b"ustar")],
    "OLE": [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"], "AppleDouble": [b"\0\5\x16\7\0\2\0\0"],
    "Git LFS": [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"],
    "SVG": [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<?xml version='1.0'?>\n<!-- x --><svg >"],
    "web page": [b"<!DOCTYPE html><html>", b"\n<html>"],
    "empty": [b""],
    "SPIFF": [b"\xff\xd8\xff\xe8\0\x20SPIFF\0\1"], "CgBI": [at(12, b"CgBI", b"\x89PNG\r\n\x1a\n")],
    "CZI": [b"ZISRAWFILE"], "ND2": [b"\xda\xce\xbe\x0a"],
    "the JPEG file is damaged": [b"\xff\xd8\xff"], "the GIF file is damaged": [b"GIF89a"],
    "not a picture that this package can read": [b"text", bytes(100), b"BM is text"],
}


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, files in FILES.items() for data in files])
def test_other_files_are_named(name: str, data: bytes) -> None:
    with pytest.raises(codec.InvalidImage, match=name):
        read_image(io.BytesIO(data))


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.eps"])
def test_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """PostScript starts no Ghostscript, and plugins of others are not asked."""
    ran: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **_: ran.append(args))
    monkeypatch.setattr(os, "system", ran.append)
    monkeypatch.setattr(PIL.EpsImagePlugin, "Ghostscript", lambda *args: ran.append(args))
    PIL.Image.init()
    monkeypatch.setattr(PIL.Image, "ID", [*PIL.Image.ID, "ANYTHING"])
    monkeypatch.setitem(PIL.Image.OPEN, "ANYTHING", (lambda *args: ran.append(args), None))
    (tmp_path / name).write_bytes(EPS)
    with pytest.raises(codec.InvalidImage, match="PostScript"):
        codec.encode(tmp_path / name, tmp_path / "x.cae")
    for data in (b"text", bytes(100)):
        with pytest.raises(codec.InvalidImage, match="can read"):
            read_image(io.BytesIO(data))
    assert ran == []
    with PIL.Image.open(tmp_path / name) as image:  # Pillow itself is as before
        assert image.format == "EPS"


def test_no_plugin_of_the_list_runs_anything() -> None:
    """Plugins of the list that may start a program only do so for saving or on a call by name."""
    PIL.Image.init()
    forbidden = "EPS PDF WMF FPX MIC PCD HDF5 GRIB BUFR XVTHUMB IPTC MPEG SPIDER IM"
    assert not {*forbidden.split()} & {*formats.FORMATS}
    stubs = PIL.ImageFile.StubImageFile
    for name in formats.FORMATS:
        factory = PIL.Image.OPEN[name][0]
        assert not (isinstance(factory, type) and issubclass(factory, stubs))


@pytest.mark.parametrize("suffix", [".jpg", ".txt", ""])
def test_content_decides_not_the_name(tmp_path: Path, suffix: str) -> None:
    image = textured(20, 30)
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "PNG")
    path = tmp_path / f"x{suffix}"
    path.write_bytes(file.getvalue())
    picture, _ = read_image(path)
    assert np.array_equal(picture.read(picture.box), image)


@pytest.mark.parametrize(
    "name", ["PNG", "BMP", "DIB", "TGA", "SGI", "PCX", "QOI", "PPM", "ICO", "GIF", "WEBP", "TIFF"]
)
def test_formats_of_the_list_are_read(name: str) -> None:
    image = PIL.Image.fromarray(textured(32, 32))
    known: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "ICO": {"sizes": [(32, 32)]}}
    image = image.convert("P") if name == "GIF" else image
    file = io.BytesIO()
    image.save(file, name, **known.get(name, {}))
    picture, _ = read_image(file)
    samples = np.asarray(picture.read(picture.box))
    assert np.array_equal(samples[:, :, :3], np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("end", [False, True])
def test_png_files_with_large_texts_and_profiles_are_read(end: bool) -> None:
    """Pillow refuses more than 1 MiB of each."""
    profile, text = bytes(3 << 19), zlib.compress(b'{"a":1}' * 300_000)
    parts = tagged.png(
        (b"iCCP", b"wide\0\0" + zlib.compress(profile)), (b"zTXt", b"workflow\0\0" + text),
        tagged.raw_profile("exif", b"Exif\0\0" + tagged.exif(6)), image=PIL.Image.new("RGB", (30, 20)),
    )
    late = tagged.png((b"zTXt", b"workflow\0\0" + text), image=PIL.Image.new("RGB", (20, 30)))
    if end:  # after the pixels
        start, stop = late.index(b"zTXt") - 4, late.index(b"zTXt") + 4 + 4 + len(b"workflow\0\0" + text)
        parts = late[:start] + late[stop:-12] + late[start:stop] + late[-12:]
    with pytest.warns(codec.NotKept, match="'workflow'"):
        picture, metadata = read_image(io.BytesIO(parts))
    assert (picture.height, picture.width) == (30, 20)
    assert metadata.icc == (None if end else profile)


def test_suffixes() -> None:
    found = formats.picture_suffixes()
    pictures = ".jpg .jpeg .png .tif .tiff .webp .avif .mpo .npy .ppm .pgm .heic .heif .fits .bmp .gif .jp2"
    assert {*pictures.split()} <= found
    others = ".eps .ps .pdf .wmf .emf .mpg .h5 .pcd .cae .pfm .txt"
    assert not {*others.split()} & found
    assert all(suffix == suffix.lower() for suffix in found)


def test_files_of_the_caller_stay_open(tmp_path: Path) -> None:
    image = textured(20, 30)
    np.save(tmp_path / "x.npy", image)
    PIL.Image.fromarray(image).save(tmp_path / "x.png")
    for name in ("x.npy", "x.png"):
        with open(tmp_path / name, "rb") as file:
            for _ in range(2):
                picture, _ = read_image(file)
                assert np.array_equal(picture.read(picture.box), image)
                del picture
            assert not file.closed


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts descriptors in /proc")
def test_files_by_name_are_closed(tmp_path: Path) -> None:
    PIL.Image.fromarray(textured(20, 30)).save(tmp_path / "x.png")
    (tmp_path / "bad.png").write_bytes(b"text")
    np.save(tmp_path / "x.npy", textured(20, 30))
    before = len(os.listdir("/proc/self/fd"))
    for bands in (None, (1,)):
        picture, _ = read_image(tmp_path / "x.png", bands=bands)
        assert len(os.listdir("/proc/self/fd")) == before
        with pytest.raises(codec.InvalidImage):
            read_image(tmp_path / "bad.png")
        picture, _ = read_image(tmp_path / "x.npy", bands=bands)
        assert len(os.listdir("/proc/self/fd")) == before + 1
        assert picture.read(picture.box).shape[:2] == (20, 30)
        del picture
    assert len(os.listdir("/proc/self/fd")) == before
