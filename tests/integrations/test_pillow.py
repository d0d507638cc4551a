"""Tests of `.cae` files in Pillow."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import ContainerIO, Image, ImageFile, UnidentifiedImageError

import codec
from codec import CodecImagePlugin
from codec.cli.main import main
from codec.CodecImagePlugin import CodecImageFile
from codec.format.header import SIGNATURE, VERSION
from codec.pictures.reading import read_image
from codec.pictures.writing import check_suffix
from tests.support.pictures import textured

ROOT = Path(__file__).parents[2]

ICC = b"not a profile, but kept"
XMP = b"<x:xmpmeta>tags</x:xmpmeta>"


def exif(orientation: int = 1) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = "A maker"
    return tags


def picture(samples: int, depth: int = 8) -> NDArray[Any]:
    """Return a picture of 66×70 pixels with this number of samples and bit depth."""
    rgb = textured(66, 70)
    array = np.dstack([rgb, rgb[:, ::-1, :1]])[:, :, {1: [0], 2: [0, 3], 3: [0, 1, 2]}.get(samples, ...)]
    array = array.squeeze()
    return array if depth == 8 else array.astype(np.uint16) << (depth - 8)


@pytest.fixture(scope="module")
def data() -> bytes:
    """A file with all kinds of metadata."""
    metadata = codec.Metadata(icc=ICC, exif=exif().tobytes(), xmp=XMP)
    return codec.compress(textured(66, 70), quality=60, metadata=metadata)


@pytest.fixture
def path(tmp_path: Path, data: bytes) -> Path:
    (tmp_path / "x.cae").write_bytes(data)
    return tmp_path / "x.cae"


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 66 * 70)


@pytest.fixture
def damaged_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)


def open_bytes(data: bytes) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(data))


def saved(image: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "CAE", **options)
    return out.getvalue()


def run_python(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=240
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


# Opening


@pytest.mark.parametrize(("samples", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_modes(samples: int, mode: str) -> None:
    data = codec.compress(picture(samples), quality=60)
    with open_bytes(data) as image:
        assert (image.format, image.mode, image.size) == ("CAE", mode, (70, 66))
        assert image.get_format_mimetype() == "image/x-cae"
        assert np.array_equal(np.asarray(image), codec.decompress(data))
        image.putpixel((0, 0), 0)


@pytest.mark.parametrize("depth", [9, 12, 16])
def test_deep_gray_keeps_its_samples(depth: int) -> None:
    data = codec.compress(picture(1, depth), quality=60, bit_depth=depth)
    with open_bytes(data) as image:
        assert image.mode == "I;16"
        assert image.info["bit_depth"] == depth
        assert np.array_equal(np.asarray(image), codec.decompress(data))
        assert codec.inspect(saved(image)).bit_depth == depth
        assert codec.inspect(saved(image, bit_depth=16)).bit_depth == 16
        image.putpixel((0, 0), 0xFFFF)
        assert codec.inspect(saved(image)).bit_depth == 16


@pytest.mark.parametrize("depth", [9, 16])
@pytest.mark.parametrize(("samples", "mode"), [(2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_deep_colour_is_cut(samples: int, mode: str, depth: int) -> None:
    array = picture(samples, depth)
    array[:2] = (1 << depth) - 1
    data = codec.compress(array, bit_depth=depth)
    image = open_bytes(data)
    assert image.mode == mode
    with pytest.warns(codec.NotKept, match=f"samples of {depth} bits") as caught:
        image.load()
    assert caught[0].filename == __file__
    exact = codec.decompress(data) * (255 / ((1 << depth) - 1))
    assert np.abs(np.asarray(image) - exact).max() <= 0.5
    assert codec.inspect(saved(image)).bit_depth == 8


def test_info(data: bytes) -> None:
    image = open_bytes(data)
    assert image.info == {
        "icc_profile": ICC, "exif": exif().tobytes(), "xmp": XMP, "bit_depth": 8,
        "lossless": False, "quality": 60.0,
    }
    assert image.getexif()[0x010F] == "A maker"
    flat = Image.new("P", (100, 90), 1)
    flat.putpalette([0, 0, 0, 9, 8, 7])
    assert open_bytes(saved(flat)).info == {"bit_depth": 8, "lossless": True, "source": "palette"}


def test_only_the_header_is_read(data: bytes) -> None:
    class Counted(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            found = super().read(size)
            self.count += len(found)
            return found

    bare = codec.compress(textured(66, 70), quality=60)
    file = Counted(bare)
    image = Image.open(file)
    header = codec.inspect(bare).header_bytes
    assert header <= file.count <= header + 100 < len(bare)
    image.load()
    file = Counted(data)
    image = Image.open(file)
    assert file.count < len(data) - 1000
    image.load()


def test_opening_needs_no_torch(path: Path) -> None:
    code = (
        "import sys, codec; assert 'PIL' not in sys.modules; codec.register_pillow()\n"
        f"from PIL import Image; image = Image.open({str(path)!r}); image.verify()\n"
        "print(image.size, len(image.info), 'torch' in sys.modules)"
    )
    assert run_python("-W", "error", "-c", code) == "(70, 66) 6 False\n"


def test_importing_the_plugin_is_enough(path: Path) -> None:
    code = f"import codec.CodecImagePlugin, PIL.Image; print(PIL.Image.open({str(path)!r}).format)"
    assert run_python("-W", "error", "-c", code) == "CAE\n"
    before = (list(Image.ID), dict(Image.OPEN), dict(Image.EXTENSION))
    codec.register_pillow()
    codec.worker_init()
    assert before == (Image.ID, Image.OPEN, Image.EXTENSION)


# Operations of Pillow on images


def test_the_ways_of_pillow(path: Path, data: bytes) -> None:
    expected = codec.decompress(data)
    with Image.open(path) as image:
        assert image.filename == str(path)
        assert np.array_equal(np.asarray(image.copy()), expected)
        assert image.fp is None
    with open(path, "rb") as file:
        image = Image.open(file)
        image.load()
        assert not file.closed
    image = Image.open(path)
    image.thumbnail((20, 20))
    assert image.size == (20, 19)
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image.crop((3, 4, 20, 30))), expected[4:30, 3:20])
        assert image.convert("L").mode == "L"
    stream = io.BufferedReader(Unseekable(data))
    assert np.array_equal(np.asarray(Image.open(stream)), expected)
    parser = ImageFile.Parser()
    for start in range(0, len(data), 100):
        parser.feed(data[start : start + 100])
    assert np.array_equal(np.asarray(parser.close()), expected)


class Unseekable(io.RawIOBase):
    """A file that cannot seek, like a pipe."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._data.readinto(buffer)


def test_within_another_file(data: bytes) -> None:
    expected = codec.decompress(data)
    file = io.BytesIO(b"before" + data + b"after")
    part: Any = ContainerIO.ContainerIO(file, 6, len(data))
    assert np.array_equal(np.asarray(Image.open(part)), expected)
    file = io.BytesIO(b"before" + data)
    file.seek(6)
    assert np.array_equal(np.asarray(CodecImageFile(file)), expected)
    with pytest.raises(SyntaxError, match=r"not a \.cae file"):
        CodecImageFile(io.BytesIO(b"before" + data))


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("depth", [8, 12])
def test_pickling(loaded: bool, depth: int) -> None:
    image = open_bytes(codec.compress(picture(1, depth), bit_depth=depth))
    if loaded:
        image.load()
    back = pickle.loads(pickle.dumps(image))
    assert (back.format, back.mode, back.info) == ("CAE", image.mode, image.info)
    assert np.array_equal(np.asarray(back), np.asarray(image))
    assert saved(back) == saved(image)


def test_closed_images(path: Path) -> None:
    with Image.open(path) as image:
        pass
    with pytest.raises(ValueError, match="closed"):
        image.load()
    image = Image.open(path)
    image.verify()
    assert image.fp is None


@pytest.mark.usefixtures("small_limit")
def test_pillows_limit_is_the_limit(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    open_bytes(data).load()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 66 * 70 - 1)
    with pytest.raises(Image.DecompressionBombWarning, match="4620 pixels"):
        open_bytes(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 66 * 70 // 2 - 1)
    with pytest.raises(Image.DecompressionBombError, match="4620 pixels"):
        open_bytes(data)


def test_pillow_has_no_second_limit(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that pass the limit of Pillow are decoded, and any picture in memory is saved."""
    asked: list[codec.Limits] = []

    def record(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            asked.append(options["limits"])
            return function(*arguments, **options)

        return call

    for name in ("compress", "decompress"):
        monkeypatch.setattr(CodecImagePlugin, name, record(getattr(CodecImagePlugin, name)))
    saved(open_bytes(data))
    assert [limits.max_pixels for limits in asked] == [66 * 70, 66 * 70]


# Saving


def test_saving(tmp_path: Path) -> None:
    image = Image.fromarray(textured(66, 70))
    tried: list[dict[str, Any]] = [
        {}, {"quality": 30}, {"quality": 30, "effort": 1}, {"target_bytes": 900}, {"quality": None}
    ]
    for options in tried:
        image.save(tmp_path / "x.cae", **options)
        assert (tmp_path / "x.cae").read_bytes() == codec.compress(image, **options)
    assert codec.inspect(saved(image, target_psnr=22)).quality is not None
    assert len(saved(image, target_bpp=2)) <= 2 * 66 * 70 / 8 * 1.02
    for mode in ("1", "P", "L", "LA", "RGBA"):
        assert open_bytes(saved(image.convert(mode))).size == (70, 66)


def test_saving_again_keeps_the_quality(data: bytes, path: Path) -> None:
    with open_bytes(data) as image:
        assert codec.inspect(saved(image)).quality == 60
        assert codec.inspect(saved(image, quality=20)).quality == 20
        assert len(saved(image, target_bytes=900)) <= 900
        assert codec.inspect(saved(image.resize((60, 60)))).quality == 75
    stranger = Image.fromarray(textured(66, 70))
    stranger.info["quality"] = 10
    assert codec.inspect(saved(stranger)).quality == 75
    with Image.open(path) as image:
        image.save(path)  # overwrites its own file
    assert codec.inspect(path.read_bytes()).quality == 60


def test_metadata(data: bytes) -> None:
    with open_bytes(data) as image:
        assert codec.read_metadata(saved(image)) == codec.Metadata(icc=ICC)
        assert codec.read_metadata(saved(image, icc_profile=None)) == codec.Metadata()
        kept = saved(image, exif=image.getexif(), xmp=image.info["xmp"], icc_profile=b"other")
        assert codec.read_metadata(kept).icc == b"other"
        assert open_bytes(kept).getexif()[0x010F] == "A maker"
        assert open_bytes(kept).info["xmp"] == XMP
        kept = saved(image, exif=image.info["exif"])
        assert codec.read_metadata(kept).exif == codec.read_metadata(data).exif
        assert codec.read_metadata(saved(image, xmp=XMP.decode())).xmp == XMP
        # Metadata is also saved in files of other formats.
        out = io.BytesIO()
        image.save(out, "JPEG", exif=image.info["exif"])
        with Image.open(out) as jpeg:
            assert jpeg.getexif()[0x010F] == "A maker"


@pytest.mark.parametrize("mode", ["CMYK", "F", "I", "LAB", "HSV", "YCbCr"])
def test_modes_that_are_not_taken(tmp_path: Path, mode: str) -> None:
    with pytest.raises(OSError, match=f"cannot write mode {mode} as CAE"):
        Image.new(mode, (9, 9)).save(tmp_path / "x.cae")
    assert not (tmp_path / "x.cae").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"quality": 101}, ValueError), ({"quality": "high"}, TypeError), ({"effort": 99}, ValueError),
        ({"quality": 50, "target_bpp": 1.0}, ValueError), ({"bit_depth": 12}, ValueError),
        ({"target_bytes": 10}, codec.TargetUnreachable), ({"icc_profile": "sRGB"}, TypeError),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Image.fromarray(textured(20, 20)).save(tmp_path / "x.cae", **options)
    assert not (tmp_path / "x.cae").exists()


def test_there_is_no_lossless_mode(tmp_path: Path) -> None:
    image = Image.fromarray(textured(20, 20))
    with pytest.raises(ValueError, match=r"no lossless mode in \.cae files: quality=100"):
        image.save(tmp_path / "x.cae", lossless=True)
    assert not (tmp_path / "x.cae").exists()
    assert saved(image, lossless=False, exif=None, optimize=False) == saved(image)


@pytest.mark.parametrize(
    ("options", "ignored"),
    [
        ({"qualty": 20}, "qualty"), ({"subsampling": 0, "method": 6}, "subsampling, method"),
        ({"optimize": True, "progressive": True, "exif": None}, "optimize, progressive"),
    ],
)
def test_unknown_options_are_said(options: dict[str, Any], ignored: str) -> None:
    image = Image.fromarray(textured(20, 20))
    for more in ({}, {"save_all": True}):
        with pytest.warns(UserWarning, match=rf"are ignored: {ignored} \(there are quality, ") as caught:
            data = saved(image, **options, **more)
        assert [(warning.category, warning.filename) for warning in caught] == [(UserWarning, __file__)]
    assert data == saved(image)


def test_metadata_options_that_are_not_kept() -> None:
    image = Image.fromarray(textured(20, 20))
    with pytest.warns(codec.NotKept, match="written without dpi, comment") as caught:
        data = saved(image, dpi=(300, 300), comment=b"text", quality=40)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert caught[0].message.items == ("dpi", "comment")  # type: ignore[union-attr]
    assert data == saved(image, quality=40)


def test_what_pillow_knows_of_an_image_is_not_an_option() -> None:
    """As with other formats, `info` of an image from another format is left out without a word."""
    image = Image.fromarray(textured(20, 20))
    plain = saved(image)
    image.info.update(dpi=(72, 72), comment=b"text", gamma=0.45, exif=b"Exif", cicp="not bytes")
    assert saved(image) == plain


def test_several_frames(tmp_path: Path) -> None:
    image, other = Image.fromarray(textured(20, 20)), Image.fromarray(textured(20, 21))
    assert saved(image, save_all=True) == saved(image, save_all=True, append_images=[]) == saved(image)
    image.save(tmp_path / "x.gif", save_all=True, append_images=[other, image])
    with Image.open(tmp_path / "x.gif") as frames:
        frames.seek(1)
        saved(frames)  # the current frame alone, as with other formats
        more: list[tuple[Image.Image, list[Image.Image], int]] = [
            (image, [other], 2), (image, [other, frames], 5), (frames, [], 3)
        ]
        for picture, others, count in more:
            with pytest.raises(ValueError, match=f"a .cae file holds one picture, not {count}: save each"):
                picture.save(tmp_path / "x.cae", save_all=True, append_images=others)
    with pytest.raises(ValueError, match="one picture"):
        image.save(tmp_path / "x.cae", append_images=[other])
    assert not (tmp_path / "x.cae").exists()
    image.save(tmp_path / "x.cae")
    with pytest.raises(ValueError, match="nothing can be appended"):
        other.save(tmp_path / "x.cae", append=True)
    assert (tmp_path / "x.cae").read_bytes() == saved(image)


def test_code_points_of_colour() -> None:
    """They are kept as an ICC profile is: unless they are given as None."""
    cicp = bytes((9, 16, 0, 1))
    image = open_bytes(codec.compress(textured(20, 20), metadata=codec.Metadata(cicp=cicp)))
    assert image.info["cicp"] == cicp
    assert codec.read_metadata(saved(image)).cicp == cicp
    assert codec.read_metadata(saved(image, cicp=None)).cicp is None
    assert codec.read_metadata(saved(Image.fromarray(textured(20, 20)), cicp=(1, 13, 0, 1))).cicp == bytes(
        (1, 13, 0, 1)
    )
    with pytest.raises(ValueError, match="cicp must have 4 bytes"):
        saved(image, cicp=b"abc")


# Damage


def test_truncated_files(data: bytes) -> None:
    info = codec.inspect(data)
    for end in range(len(SIGNATURE), info.header_bytes):
        with pytest.raises(UnidentifiedImageError):
            open_bytes(data[:end])
    with pytest.raises(UnidentifiedImageError, match="inside its header, at byte 30"):
        open_bytes(data[:30])
    for end in range(info.header_bytes, len(data), 7):
        image = open_bytes(data[:end])
        assert image.size == (70, 66)
        for _ in range(2):  # the second call fails in the same way
            with pytest.raises(OSError, match="file ends at byte"):
                image.load()
    with pytest.raises(OSError, match="1 bytes follow"):
        open_bytes(data + b"x").load()


@pytest.mark.parametrize("version", [1, VERSION + 1])
def test_files_of_another_version(version: int, data: bytes) -> None:
    other = bytearray(data)
    other[len(SIGNATURE)] = version
    with pytest.raises(UnidentifiedImageError, match=f"format version {version}"):
        open_bytes(bytes(other))


def test_damaged_payloads(data: bytes, path: Path) -> None:
    damaged = bytearray(data)
    damaged[-1] ^= 1
    image = open_bytes(bytes(damaged))
    with pytest.raises(OSError, match="tile 0 of 1 is damaged") as caught:
        image.load()
    assert isinstance(caught.value.__cause__, codec.ChecksumMismatch)
    path.write_bytes(damaged)
    with pytest.raises(OSError, match="tile 0 of 1 is damaged"):
        Image.open(path).verify()
    damaged = bytearray(data)
    damaged[codec.inspect(data).header_bytes] ^= 1
    image = open_bytes(bytes(damaged))
    assert "icc_profile" not in image.info
    assert image.info["xmp"] == XMP
    with pytest.raises(OSError, match=r"metadata \(icc\) is damaged"):
        image.load()


@pytest.mark.usefixtures("damaged_shown")
def test_what_is_left_of_damaged_files(data: bytes) -> None:
    image = textured(66, 1100)  # two tiles
    whole = codec.compress(image, quality=20)
    expected = codec.decompress(whole)
    shown = np.asarray(open_bytes(whole[:-9]))
    assert np.array_equal(shown[:, :800], expected[:, :800])
    assert not np.array_equal(shown, expected)
    assert open_bytes(data[: codec.inspect(data).header_bytes]).convert("L").size == (70, 66)


def broken(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """Copies with one changed byte, each with a flag for a corrected header checksum."""
    end = codec.inspect(data).header_bytes - 4
    for at in range(len(data)):
        for bit in (1, 128):
            bad = bytearray(data)
            bad[at] ^= bit
            yield bytes(bad), False
            if at < end:
                bad[end : end + 4] = zlib.crc32(bad[:end]).to_bytes(4, "little")
                yield bytes(bad), True


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("stored", [False, True])
def test_damage_anywhere(stored: bool, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any bytes give a picture or an error that users of Pillow expect."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", shown)
    image = np.zeros((40, 40), np.uint16) if stored else textured(24, 30)
    data = codec.compress(image, quality=1, metadata=codec.Metadata(xmp=XMP))
    for bad, sealed in broken(data):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                open_bytes(bad).load()
        except (OSError, Image.DecompressionBombError):
            continue
        assert shown or sealed


# Processes


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_workers_of_a_data_loader(path: Path, context: str) -> None:
    assert run_python("-m", "tests.support.pillow_worker", str(path), context).endswith("done\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_fork_in_the_middle_of_a_call(path: Path) -> None:
    assert run_python("-m", "tests.support.pillow_worker", str(path), "locked").endswith("done\n")


# The package's own commands do not change


def test_cae_files_are_no_pictures_to_compress(tmp_path: Path, path: Path, data: bytes) -> None:
    with pytest.raises(codec.InvalidImage, match=r"already a \.cae file"):
        codec.encode(path, tmp_path / "y.cae")
    with pytest.raises(codec.InvalidImage, match=r"already a \.cae file"):
        read_image(io.BytesIO(data))
    shutil.copy(path, tmp_path / "x.png")
    run = CliRunner().invoke(main, ["compress", str(tmp_path / "x.png"), str(tmp_path / "y.cae")])
    assert run.exit_code == 1
    assert "already a .cae file" in run.stderr
    for suffix in (".cae", ".CAE"):
        with pytest.raises(ValueError, match="cannot write a picture"):
            check_suffix(suffix)
        with pytest.raises(ValueError, match="cannot write a picture"):
            codec.decode(path, tmp_path / f"y{suffix}")
    assert not (tmp_path / "y.cae").exists()
