"""Picture files: metadata, 16 bits, uncompressed files read by rows, and data that is not kept."""

from __future__ import annotations

import sys
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile
from PIL.PngImagePlugin import PngInfo

import codec
from codec import limits
from codec.cli.main import main
from codec.engine import decoding
from codec.pictures.reading import read_image
from codec.pictures.tiff import turn
from codec.pictures.writing import image_chunks
from tests.pictures.test_kinds import picture
from tests.support.pictures import textured

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>m\xc3\xbcd</x:xmpmeta>"


def exif(orientation: int = 1) -> bytes:
    tags = Image.Exif()
    tags[0x010F] = "maker"
    tags[0x0112] = orientation
    tags[0x8769] = {0x9003: "2020:01:02 03:04:05"}
    return tags.tobytes()


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    if path.suffix == ".png" and "xmp" in options:
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode())
    image.save(path, **options)
    return path


@pytest.mark.parametrize("source", [".png", ".jpg", ".webp", ".avif"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".webp", ".avif"])
def test_metadata_goes_through(tmp_path: Path, source: str, target: str) -> None:
    image = Image.fromarray(textured(40, 50))
    src = save(tmp_path / f"in{source}", image, icc_profile=ICC, exif=exif(), xmp=XMP)
    codec.encode(src, tmp_path / "x.cae")
    data = (tmp_path / "x.cae").read_bytes()
    assert codec.inspect(data).metadata == ("icc", "exif", "xmp")
    kept = codec.read_metadata(data)
    assert kept.icc == ICC
    assert kept.xmp == XMP
    assert kept.exif is not None
    assert kept.exif[:2] in (b"II", b"MM")
    codec.decode(tmp_path / "x.cae", tmp_path / f"out{target}")
    with Image.open(tmp_path / f"out{target}") as out:
        assert out.info["icc_profile"] == ICC
        assert out.getexif()[0x010F] == "maker"
        assert out.getexif().get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
        xmp = out.info["xmp"]
        assert (xmp.encode() if isinstance(xmp, str) else xmp) == XMP


def test_tiff_metadata_goes_through(tmp_path: Path) -> None:
    """The tags of a TIFF file that describe its pixel layout are not copied."""
    save(tmp_path / "in.tiff", Image.fromarray(textured(40, 50)), icc_profile=ICC, exif=exif())
    codec.encode(tmp_path / "in.tiff", tmp_path / "x.cae")
    codec.decode(tmp_path / "x.cae", tmp_path / "out.tiff")
    with Image.open(tmp_path / "out.tiff") as out:
        assert out.info["icc_profile"] == ICC
        assert out.getexif()[0x010F] == "maker"
        assert out.getexif().get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
        assert out.size == (50, 40)


def test_strip(tmp_path: Path) -> None:
    src = save(tmp_path / "in.png", Image.fromarray(textured(40, 50)), icc_profile=ICC, exif=exif(), xmp=XMP)
    codec.encode(src, tmp_path / "a.cae", strip=True)
    assert codec.inspect((tmp_path / "a.cae").read_bytes()).metadata == ()
    codec.encode(src, tmp_path / "b.cae")
    codec.decode(tmp_path / "b.cae", tmp_path / "b.png", strip=True)
    with Image.open(tmp_path / "b.png") as out:
        assert not {"icc_profile", "exif", "xmp"} & out.info.keys()
    run = CliRunner().invoke(main, ["compress", "--strip", str(src), str(tmp_path / "c.cae")])
    assert run.exit_code == 0
    assert (tmp_path / "c.cae").read_bytes() == (tmp_path / "a.cae").read_bytes()
    run = CliRunner().invoke(main, ["info", str(tmp_path / "b.cae")])
    assert "icc exif xmp" in run.stdout


def test_stripping_says_nothing_of_metadata_but_all_of_pictures(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("workflow", "…")
    images = [Image.fromarray(textured(20, 30)) for _ in range(2)]
    images[0].save(tmp_path / "in.png", save_all=True, append_images=images[1:], pnginfo=text)
    for strip, further in ((False, ", PNG text 'workflow'"), (True, "")):
        with pytest.warns(codec.NotKept, match=f"^not kept: 1 more picture of 2{further}$"):
            codec.encode(tmp_path / "in.png", tmp_path / "out.cae", strip=strip)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".tiff", ".ppm"])
@pytest.mark.parametrize("strange", [b"garbage", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", bytes(70_000)])
def test_strange_metadata_never_keep_a_picture(tmp_path: Path, suffix: str, strange: bytes) -> None:
    """Metadata that a format rejects is left out with a warning. The picture is still written."""
    metadata = codec.Metadata(icc=strange, exif=strange, xmp=b"\xff" + strange)
    (tmp_path / "x.cae").write_bytes(codec.compress(textured(20, 30), metadata=metadata))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", codec.NotKept)
        codec.decode(tmp_path / "x.cae", tmp_path / f"x{suffix}")
    back, _ = read_image(tmp_path / f"x{suffix}")
    assert back.samples.shape == (20, 30, 3)


def test_conceal_keeps_the_metadata_that_are_left(tmp_path: Path) -> None:
    metadata = codec.Metadata(icc=ICC, xmp=XMP)
    data = bytearray(codec.compress(textured(20, 30), metadata=metadata))
    data[codec.inspect(bytes(data)).header_bytes + 20] ^= 1
    (tmp_path / "x.cae").write_bytes(data)
    names = [str(tmp_path / "x.cae"), str(tmp_path / "x.png")]
    run = CliRunner().invoke(main, ["decompress", "--conceal", *names])
    assert run.exit_code == 1
    assert "icc lost" in run.stderr
    with Image.open(tmp_path / "x.png") as out:
        assert "icc_profile" not in out.info
        assert "xmp" in out.info


@pytest.mark.parametrize("suffix", [".avif", ".webp", ".gif", ".bmp", ".jpg", ".tga"])
def test_16_bit_gray_is_not_written_as_white(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "x.cae").write_bytes(codec.compress(picture(20, 30, 1, 16)))
    with pytest.raises(ValueError, match=r"gray of 16 bits|extension"):
        codec.decode(tmp_path / "x.cae", tmp_path / f"x{suffix}")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("depth", [8, 16])
def test_tiff_files_are_upright(tmp_path: Path, orientation: int, samples: int, depth: int) -> None:
    array = picture(40, 60, samples, depth)
    path = tmp_path / "x.tiff"
    path.write_bytes(with_orientation(bytes(imagecodecs.tiff_encode(array)), orientation))
    opened, _ = read_image(path)
    expected = turn(array.reshape(40, 60, samples), orientation)
    assert np.array_equal(opened.read(opened.box), expected)


def with_orientation(tiff: bytes, orientation: int) -> bytes:
    """Return a little-endian TIFF file with one more tag and its directory moved to the end."""
    at = int.from_bytes(tiff[4:8], "little")
    count = int.from_bytes(tiff[at : at + 2], "little")
    entries = [tiff[at + 2 + 12 * k : at + 14 + 12 * k] for k in range(count)]
    entries = [entry for entry in entries if entry[:2] != (274).to_bytes(2, "little")]
    entries.append(
        (274).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little")
        + orientation.to_bytes(4, "little")
    )
    entries.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
    tiff += bytes(len(tiff) % 2)
    directory = len(entries).to_bytes(2, "little") + b"".join(entries) + bytes(4)
    return tiff[:4] + len(tiff).to_bytes(4, "little") + tiff[8:] + directory


@pytest.mark.parametrize(("largest", "depth"), [(256, 9), (300, 9), (511, 9), (1000, 10), (4095, 12)])
def test_every_largest_sample_of_pgm(tmp_path: Path, largest: int, depth: int) -> None:
    """White stays white: the range of samples is stretched to the next power of two minus one."""
    array = np.linspace(0, largest, 400).round().astype(">u2").reshape(20, 20)
    path = tmp_path / "x.pgm"
    path.write_bytes(f"P5 20 20 {largest}\n".encode() + array.tobytes())
    opened, _ = read_image(path)
    full = (1 << depth) - 1
    assert opened.depth == depth
    expected = (array.astype(int) * full + largest // 2) // largest
    assert np.array_equal(opened.read(opened.box)[:, :, 0], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_pictures_are_upright(tmp_path: Path, orientation: int, deep: bool) -> None:
    """Decoded pixels have the orientation that a viewer shows. EXIF does not rotate them again."""
    flat = np.zeros((40, 60, 3), np.uint8)
    flat[:10, :20] = 255
    path = save(tmp_path / "in.png", Image.fromarray(flat), exif=exif(orientation))
    if deep:
        donor, array = path.read_bytes(), flat.astype(np.uint16) * 257
        from codec.pictures.writing import _with_chunks

        path.write_bytes(_with_chunks(bytes(imagecodecs.png_encode(array)), donor))
    codec.encode(path, tmp_path / "x.cae")
    codec.decode(tmp_path / "x.cae", tmp_path / "out.png")
    with Image.open(path) as source:
        from PIL import ImageOps

        expected = np.asarray(ImageOps.exif_transpose(source).convert("RGB"))
    with Image.open(tmp_path / "out.png") as out:
        assert np.array_equal(np.asarray(out.convert("RGB")), expected)
        assert out.getexif().get(0x0112, 1) == 1
        assert out.getexif()[0x010F] == "maker"


def test_metadata_given_to_compress(tiny: codec.Codec) -> None:
    image = textured(40, 50)
    metadata = codec.Metadata(icc=ICC, exif=b"Exif\0\0II*\0", xmp=b"")
    assert metadata.names == ("icc", "exif")
    data = tiny.compress(image, metadata=metadata)
    assert codec.read_metadata(data) == codec.Metadata(icc=ICC, exif=b"II*\0")
    assert np.array_equal(tiny.decompress(data), tiny.decompress(tiny.compress(image)))
    assert tiny.compress(image, metadata=codec.Metadata()) == tiny.compress(image)
    assert codec.read_metadata(tiny.compress(image)) == codec.Metadata()
    with pytest.raises(TypeError, match="metadata"):
        tiny.compress(image, metadata={"icc": ICC})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="icc must be bytes"):
        codec.Metadata(icc="profile")  # type: ignore[arg-type]
    with pytest.raises(codec.LimitExceeded, match="exif"):
        codec.Metadata(exif=bytes(limits.MAX_METADATA + 1))


def test_metadata_in_the_place_of_the_files_own(tmp_path: Path) -> None:
    source, target = tmp_path / "x.png", tmp_path / "x.cae"
    Image.fromarray(textured(20, 30)).save(source, icc_profile=ICC)
    given = codec.Metadata(xmp=b"<x/>")
    for strip in (False, True):
        codec.encode(source, target, strip=strip, metadata=given)
        assert codec.read_metadata(target.read_bytes()) == given


def test_metadata_larger_than_the_target(tiny: codec.Codec) -> None:
    """The error with the reason is raised at once, not after eight encodes."""
    calls: list[float] = []
    with pytest.raises(codec.TargetUnreachable, match="metadata alone takes"):
        tiny.compress(
            textured(40, 50), target_bytes=300, metadata=codec.Metadata(icc=ICC), progress=calls.append
        )
    assert calls == []


def test_damaged_metadata_is_named(tiny: codec.Codec) -> None:
    data = bytearray(tiny.compress(textured(40, 50), metadata=codec.Metadata(icc=ICC)))
    data[codec.inspect(bytes(data)).header_bytes + 20] ^= 1
    for function in (codec.verify, codec.read_metadata, tiny.decompress):
        with pytest.raises(codec.ChecksumMismatch, match=r"metadata \(icc\) is damaged"):
            function(bytes(data))
    picture, mask = tiny.decompress(bytes(data), on_error="conceal")
    assert not mask.any()
    assert picture.shape == (40, 50, 3)
    with pytest.raises(codec.Truncated, match=r"metadata \(icc\)"):
        codec.read_metadata(bytes(data[: codec.inspect(bytes(data)).header_bytes + 20]))


@pytest.mark.parametrize(
    ("suffix", "depth", "options"),
    [(".jp2", 16, {"level": 0, "reversible": True}), (".jp2", 12, {"level": 0, "reversible": True}),
     (".avif", 10, {"level": 90, "bitspersample": 10}), (".avif", 12, {"level": 90, "bitspersample": 12})],
)
def test_deep_colour_in_formats_of_the_web(
    tmp_path: Path, suffix: str, depth: int, options: dict[str, Any]
) -> None:
    """Pillow would reduce these pictures to eight bits without a warning."""
    array = picture(40, 50, 3, depth)
    array[0, 0] = (1 << depth) - 1
    name = {".jp2": "jpeg2k", ".avif": "avif"}[suffix]
    more = {"bitspersample": depth} if suffix == ".jp2" else {}
    (tmp_path / f"in{suffix}").write_bytes(
        getattr(imagecodecs, f"{name}_encode")(array, **options, **more)
    )
    opened, _ = read_image(tmp_path / f"in{suffix}")
    assert opened.depth == depth
    assert np.abs(opened.read(opened.box).astype(int) - array).mean() < 1 << (depth - 6)
    eight = picture(40, 50, 3, 8)
    (tmp_path / f"in{suffix}").write_bytes(getattr(imagecodecs, f"{name}_encode")(eight, level=90))
    assert read_image(tmp_path / f"in{suffix}")[0].depth == 8


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".ppm", ".npy"])
def test_16_bit_colour_files(tmp_path: Path, suffix: str) -> None:
    array = picture(40, 50, 3, 16)
    array[0, 0] = 65535
    path = tmp_path / f"in{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    elif suffix == ".ppm":
        path.write_bytes(b"P6 50 40\n# a comment\n65535\n" + array.astype(">u2").tobytes())
    else:
        path.write_bytes(getattr(imagecodecs, f"{suffix[1:]}_encode")(array))
    codec.encode(path, tmp_path / "x.cae", quality=100, strip=True)
    data = (tmp_path / "x.cae").read_bytes()
    assert data == codec.compress(array, quality=100)
    codec.decode(tmp_path / "x.cae", tmp_path / f"out{suffix}")
    back, _ = read_image(tmp_path / f"out{suffix}")
    assert np.array_equal(back.read(back.box), codec.decompress(data))


@pytest.mark.parametrize(
    ("samples", "depth"), [(1, 8), (1, 12), (2, 8), (2, 16), (3, 8), (3, 12), (4, 8), (4, 16)]
)
@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_every_kind_fits_png_and_npy(tmp_path: Path, suffix: str, samples: int, depth: int) -> None:
    array = picture(40, 50, samples, depth)
    (tmp_path / "x.cae").write_bytes(codec.compress(array))
    codec.decode(tmp_path / "x.cae", tmp_path / f"x{suffix}")
    back, _ = read_image(tmp_path / f"x{suffix}", bit_depth=None if depth == 8 else depth)
    expected = codec.decompress((tmp_path / "x.cae").read_bytes()).reshape(40, 50, samples)
    assert back.depth == depth
    assert np.array_equal(back.read(back.box), expected)


def test_16_bit_colour_without_imagecodecs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.png"
    path.write_bytes(imagecodecs.png_encode(picture(8, 9, 3, 16)))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(codec.InvalidImage, match=r"codec\[deep\]"):
        codec.encode(path, tmp_path / "x.cae")
    (tmp_path / "x.cae").write_bytes(codec.compress(picture(8, 9, 3, 16)))
    with pytest.raises(ValueError, match=r"codec\[deep\]"):
        codec.decode(tmp_path / "x.cae", tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("samples", "depth", "suffix", "says"),
    [(4, 8, ".jpg", "JPEG"), (2, 8, ".ppm", "gray with alpha"), (3, 8, ".pgm", "RGB"), (1, 8, ".ppm", "gray"),
     (3, 12, ".jpg", "of 16"),
     (2, 12, ".tiff", "of 16 bits"), (1, 12, ".jpg", "JPEG"), (3, 8, ".xyz", "xyz")],
)
def test_what_formats_cannot_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: int, depth: int, suffix: str, says: str
) -> None:
    (tmp_path / "x.cae").write_bytes(codec.compress(picture(80, 90, samples, depth)))

    def decode(*args: Any) -> Any:  # must not be called
        raise AssertionError

    monkeypatch.setattr(decoding, "_rows_of_tiles", decode)
    with pytest.raises(ValueError, match=says):
        codec.decode(tmp_path / "x.cae", tmp_path / f"x{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["x.cae"]


def test_what_is_not_kept_is_said(tmp_path: Path) -> None:
    frames = [Image.new("L", (20, 10), shade) for shade in (0, 200)]
    frames[0].save(tmp_path / "two.tiff", save_all=True, append_images=frames[1:])
    with pytest.warns(codec.NotKept, match="1 more picture of 2"):
        codec.encode(tmp_path / "two.tiff", tmp_path / "two.cae")
    src = save(tmp_path / "in.png", Image.fromarray(textured(40, 50)), icc_profile=ICC)
    codec.encode(src, tmp_path / "x.cae")
    with pytest.warns(codec.NotKept, match="BMP files are written without icc"):
        codec.decode(tmp_path / "x.cae", tmp_path / "x.bmp")
    run = CliRunner().invoke(main, ["decompress", str(tmp_path / "x.cae"), str(tmp_path / "x.ppm")])
    assert run.exit_code == 0
    assert run.stderr == f"codec: {tmp_path / 'x.cae'}: PPM files are written without icc\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"P6 9 9 255\n" + bytes(9 * 27 - 1), r"has 253 of 254 bytes"),
        (b"P5 0 9 255\n", "empty"),
        (b"\x93NUMPY\x01\x00", "cannot be read"),
        (b"\x93NUMPY\x09\x00\x10\x00", "9.0"),
    ],
)
def test_broken_uncompressed_files(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(codec.InvalidImage, match=says):
        codec.encode(tmp_path / "x.bin", tmp_path / "x.cae")


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((4, 5), np.float32), "float32"),
        (np.zeros((4, 5), np.int16), "int16: add an offset"),
        (np.zeros((3, 40, 50), np.uint8), "not C×H×W"),
        (np.zeros((4, 5, 0), np.uint8), "4×5×0"),
        (np.zeros((4, 5, 3, 2), np.uint8), "4×5×3×2"),
        (np.zeros((0, 5), np.uint8), "empty"),
        (np.asfortranarray(np.zeros((4, 5), np.uint8)), "Fortran"),
        (np.array([{}, 1]), "object"),
    ],
)
def test_arrays_that_are_no_pictures(tmp_path: Path, array: Any, says: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(codec.InvalidImage, match=says):
        codec.encode(tmp_path / "x.npy", tmp_path / "x.cae")


def test_a_file_that_is_cut_short_while_it_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", textured(64, 64))
    opened, _ = read_image(tmp_path / "x.npy")
    with open(tmp_path / "x.npy", "r+b") as file:
        file.truncate(1000)
    with pytest.raises(codec.InvalidImage, match="ends before its last row"):
        codec.compress(opened)


def test_rows_go_from_file_to_file(tiny: codec.Codec, tmp_path: Path) -> None:
    """Neither direction holds the whole picture in memory.

    A tall picture needs the memory of its file and of a few rows of tiles.
    """
    height, width = 24_000, 600
    shape = (height, width, 3)
    band = textured(600, width)
    path = tmp_path / "tall.npy"
    with open(path, "wb") as file:
        file.writelines(image_chunks((band for _ in range(height // 600)), shape, 8, ".npy"))
    size = height * width * 3
    tracemalloc.start()
    opened, _ = read_image(path)
    data = tiny.compress(opened, quality=10)
    compressing = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert codec.inspect(data).tiles == 24
    # Memory for two copies of the window of each thread in float32, of 9 MB each, and there are up
    # to eight threads.
    assert size == 43_200_000
    assert compressing < 150e6
    with open(path, "rb") as file:
        whole = np.load(file)
    assert tiny.compress(whole, quality=10) == data


def test_writing_rows_holds_no_picture() -> None:
    """Each band is written at once and then released."""
    tracemalloc.start()
    band = np.zeros((100, 1000, 3), np.uint8)
    bands = (band.copy() for _ in range(500))
    count = sum(len(chunk) for chunk in image_chunks(bands, (50_000, 1000, 3), 8, ".ppm"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count > 150_000_000
    assert peak < 2e6


def test_decode_takes_a_region(tmp_path: Path) -> None:
    image = textured(100, 120)
    (tmp_path / "x.cae").write_bytes(codec.compress(image))
    codec.decode(tmp_path / "x.cae", tmp_path / "x.png", region=(10, 20, 30, 40))
    with Image.open(tmp_path / "x.png") as out:
        expected = codec.decompress((tmp_path / "x.cae").read_bytes())[10:40, 20:60]
        assert np.array_equal(np.asarray(out), expected)


def test_limits_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "in.png", Image.fromarray(textured(40, 50)))
    np.save(tmp_path / "in.npy", textured(40, 50))
    for source in (path, tmp_path / "in.npy"):
        with pytest.raises(codec.LimitExceeded, match="limit of 1999"):
            codec.encode(source, tmp_path / "x.cae", limits=codec.Limits(max_pixels=1999))
        names = [str(source), str(tmp_path / "x.cae")]
        run = CliRunner().invoke(main, ["compress", "--max-pixels", "1999", *names])
        assert run.exit_code == 1
        assert "1999" in run.stderr
    assert not (tmp_path / "x.cae").exists()
    opened, _ = read_image(path)
    with pytest.raises(codec.LimitExceeded, match="limit of 1999"):
        codec.compress(opened, limits=codec.Limits(max_pixels=1999))
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)  # the check reads no pixel
    for source in (path, tmp_path / "in.npy"):
        with pytest.raises(codec.LimitExceeded, match="limit of 1999"):
            read_image(source, codec.Limits(max_pixels=1999))


def test_the_command_line_has_one_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of Pillow, which belongs to the process, applies only to the library."""
    path = save(tmp_path / "in.png", Image.fromarray(textured(40, 50)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(codec.LimitExceeded, match=r"PIL\.Image\.MAX_IMAGE_PIXELS"):
        codec.encode(path, tmp_path / "x.cae")
    run = CliRunner().invoke(main, ["compress", str(path), str(tmp_path / "x.cae")])
    assert run.exit_code == 0, run.stderr


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("colour", [False, True])
def test_twelve_bits_in_a_file_of_sixteen(tmp_path: Path, suffix: str, colour: bool) -> None:
    """Little of the precision would be kept, so a warning says this and names the remedy."""
    source, target = tmp_path / f"x{suffix}", tmp_path / "x.cae"
    array = textured(60, 80).astype(np.uint16) << 4
    array[0] = 4095
    array = np.ascontiguousarray(array if colour else array[:, :, 0])
    source.write_bytes(getattr(imagecodecs, f"{suffix[1:]}_encode")(array))
    message = r"no sample is over 4095 of 65535, .* bit_depth=12 or --bit-depth 12$"
    with pytest.warns(codec.NotKept, match=message) as caught:
        codec.encode(source, target)
    assert Path(caught[0].filename).name == Path(__file__).name
    assert codec.inspect(target.read_bytes()).bit_depth == 16
    codec.encode(source, target, bit_depth=12, quality=100)
    info = codec.inspect(target.read_bytes())
    assert info.bit_depth == 12
    assert info.max_error is not None
    codec.decode(target, source, strip=True)
    opened, _ = read_image(source, bit_depth=12)
    assert np.abs(opened.read(opened.box).squeeze().astype(int) - array).max() <= info.max_error + 1


def test_a_mixed_folder(tmp_path: Path) -> None:
    """Each file of `bench.studies.mixed` makes a round trip or is refused with a reason."""
    from bench.studies import mixed

    mixed.make_folder(tmp_path / "in")
    outcomes = mixed.check_folder(tmp_path / "in", tmp_path / "out")
    assert [outcome for outcome in outcomes if outcome.failed] == []
    refused = {outcome.name for outcome in outcomes if not outcome.kind}
    assert refused == {
        "counts, 32 bits.tiff", "cut short.jpg", "drawing.svg", "empty.png", "five bands.npy", "float.npy",
        "folder.png", "heights, float.tiff", "print, CMYK.jpg", "print, Lab.tiff", "text.png",
    }
    assert all(outcome.result.startswith("refused: ") for outcome in outcomes if outcome.name in refused)
    assert len(outcomes) - len(refused) >= 25
    # The reader returns the arrays that were written. They do not come from the reader itself.
    rgb = mixed.photograph_of_samples()
    deep = mixed.deepened(rgb)
    written: dict[str, NDArray[Any]] = {
        "old.bmp": rgb, "wavelets.jp2": rgb, "name with\nnewline ü.png": rgb,
        "satellite, 16 bits.tiff": deep, "array.npy": deep,
        "16 bits with alpha.png": np.dstack([deep, deep[:, :, :1]]),
        "medical, 12 bits.pgm": deep[:, :, 1:2] >> 4, "medical, 12 bits.png": deep[:, :, 1:2] >> 4,
    }
    for name, expected in written.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", codec.NotKept)
            opened, _ = read_image(tmp_path / "in" / name)
        assert np.array_equal(opened.read(opened.box), expected), name
