"""TIFF files: samples are read as they are meant, or refused with the true reason."""

from __future__ import annotations

import io
import logging
import struct
import sys
import warnings
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.pictures.reading import read_image
from codec.pictures.tiff import turn
from tests.support.pictures import textured

RGB = textured(48, 64)
GRAY = RGB[:, :, 0].copy()
DEEP = RGB.astype(np.uint16) * 257
GRAYS: dict[str, Any] = {"photometric": "minisblack"}


def tiff(array: NDArray[Any], **options: Any) -> io.BytesIO:
    """Return a TIFF file of `array`; the options are those of tifffile."""
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file


def tiffs(*pages: tuple[NDArray[Any], dict[str, Any]]) -> io.BytesIO:
    """Return a TIFF file of several pages."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for array, options in pages:
            writer.write(array, **options)
    return file


def samples(file: io.BytesIO, **options: Any) -> NDArray[Any]:
    picture, _ = read_image(file, **options)
    return np.asarray(picture.read(picture.box))


def many(count: int, dtype: Any) -> NDArray[Any]:
    top = np.iinfo(dtype).max
    return np.random.default_rng(count).integers(0, top, (48, 64, count), dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    ("count", "options"),
    [(2, {}), (3, {}), (4, {}), (5, {"tile": (16, 16)}), (10, {"compression": "deflate", "rowsperstrip": 8})],
)
def test_bands_are_named_or_chosen(dtype: Any, planar: bool, count: int, options: dict[str, Any]) -> None:
    array = many(count, dtype)
    if count == 3:
        options = {"photometric": "minisblack", **options}  # three bands, but no RGB
        extra = 2
    else:
        options = {"photometric": "rgb" if count > 3 else "minisblack", **options}
        extra = count - (3 if count > 3 else 1)
    file = tiff(
        array.transpose(2, 0, 1).copy() if planar else array, planarconfig="separate" if planar else "contig",
        extrasamples=[0] * extra, **options,
    )
    with pytest.raises(codec.InvalidImage, match=rf"{count} bands \(.*unspecified.*\): choose.* bands=\("):
        read_image(file)
    for bands in ((2,), (2, 1), (2, 1, 1), (1, 2, 2, 1), (count,)):
        chosen = samples(file, bands=bands)
        assert np.array_equal(chosen, array[:, :, [band - 1 for band in bands]])
    with pytest.raises(ValueError, match=f"has {count} bands, so there is no band {count + 1}"):
        read_image(file, bands=(1, 2, count + 1))


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (RGB, {"photometric": "rgb"}),
        (many(4, np.uint8), {"photometric": "rgb", "extrasamples": [2]}),
        (many(4, np.uint16), {"photometric": "rgb", "extrasamples": [2]}),
        (many(2, np.uint8), {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [2]}),
        (many(2, np.uint16), {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [2]}),
        (GRAY, {"photometric": "minisblack"}),
        (DEEP[:, :, 0].copy(), {"photometric": "minisblack", "byteorder": ">"}),
        (DEEP, {"photometric": "rgb", "byteorder": ">", "tile": (16, 32), "compression": "zstd"}),
        *[
            (array, {"photometric": "rgb", "compression": compression})
            for compression in ("lerc", "webp", "jpegxl", "jpeg2000", "lzma", "png")
            for array in (RGB, DEEP)
            if compression != "webp" or array is RGB
        ],
    ],
)
def test_what_is_read_as_it_is(array: NDArray[Any], options: dict[str, Any]) -> None:
    assert np.array_equal(samples(tiff(array, **options)).squeeze(), array)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_separate_planes(count: int, dtype: Any) -> None:
    array = many(count, dtype)
    options: dict[str, Any] = {"photometric": "rgb" if count > 2 else "minisblack"}
    if count != 3:
        options["extrasamples"] = [2]
    file = tiff(array.transpose(2, 0, 1).copy(), planarconfig="separate", **options)
    assert np.array_equal(samples(file), array)


@pytest.mark.parametrize("array", [GRAY, DEEP[:, :, 0].copy()])
def test_zero_is_white(array: NDArray[Any]) -> None:
    file = tiff(np.iinfo(array.dtype).max - array, photometric="miniswhite")
    assert np.array_equal(samples(file)[:, :, 0], array)


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("colour", [False, True])
def test_the_stated_depth(bits: int, colour: bool) -> None:
    array = DEEP >> (16 - bits) if colour else DEEP[:, :, 0] >> (16 - bits)
    picture, _ = read_image(tiff(array, photometric="rgb" if colour else "minisblack", bitspersample=bits))
    assert picture.depth == bits
    assert np.array_equal(picture.read(picture.box).squeeze(), array)


@pytest.mark.parametrize(
    ("dtype", "says"),
    [
        (np.int8, "signed 8-bit samples: add an offset and store them as uint8"),
        (np.int16, "signed 16-bit samples: add an offset and store them as uint16"),
        (np.int32, "signed 32-bit"), (np.uint32, "32-bit samples, which do not fit"),
        (np.float16, "floating-point 16-bit"), (np.float32, "floating-point 32-bit"),
        (np.float64, "floating-point 64-bit"), (np.complex64, "complex"),
    ],
)
@pytest.mark.parametrize("bands", [None, (1,)])
@pytest.mark.parametrize("colour", [False, True])
def test_numbers_that_are_no_samples(dtype: Any, says: str, bands: Any, colour: bool) -> None:
    array = RGB.astype(dtype) if colour else GRAY.astype(dtype)
    with pytest.raises(codec.InvalidImage, match=says):
        read_image(tiff(array, photometric="rgb" if colour else "minisblack"), bands=bands)


@pytest.mark.parametrize(
    ("array", "options", "says"),
    [
        (np.stack([GRAY] * 4), {**GRAYS, "volumetric": True, "tile": (4, 16, 16)}, "4 slices"),
        (many(4, np.uint8), {"photometric": "separated"}, "CMYK"),
        (RGB, {"photometric": "cielab"}, "CIELab"),
        (GRAY, {"photometric": "cfa"}, "camera raw file"),
        (DEEP, {"photometric": "linear_raw"}, "camera raw file"),
        (GRAY > 99, {"photometric": "mask"}, "mask"),
        (GRAY, {"subfiletype": 1}, "a preview"),
        (GRAY > 99, {"subfiletype": 4}, "a transparency mask"),
        (GRAY, {"extratags": [(50706, 1, 4, (1, 4, 0, 0), True)]}, "camera raw file"),
        (GRAY, {"extratags": [(50706, 1, 4, (1, 4, 0, 0), True)], "subfiletype": 1}, r"raw file \(DNG\)"),
        (many(4, np.uint16), {"photometric": "rgb", "extrasamples": [1]}, "multiplied by their alpha"),
        (many(2, np.uint8), {"photometric": "miniswhite", "planarconfig": "contig", "extrasamples": [2]},
         "0 is white"),
    ],
)
def test_what_is_no_picture_is_named(array: NDArray[Any], options: dict[str, Any], says: str) -> None:
    with pytest.raises(codec.InvalidImage, match=says):
        read_image(tiff(array, **options))


@pytest.mark.parametrize("array", [GRAY, DEEP[:, :, 0].copy()])
def test_samples_of_an_undefined_kind(array: NDArray[Any]) -> None:
    def made(kind: int) -> io.BytesIO:
        data = tiff(array, photometric="minisblack", extratags=[(65000, 3, 1, kind, True)]).getvalue()
        return io.BytesIO(data.replace(b"\xe8\xfd\3\0\1", b"\x53\1\3\0\1"))

    assert np.array_equal(samples(made(4))[:, :, 0], array)
    with pytest.raises(codec.InvalidImage, match=r"unknown kind \(SampleFormat 7\)"):
        read_image(made(7))


def test_tiff_files_that_no_library_reads() -> None:
    """The reason is not that they are no pictures."""
    for change, says in (((b"II*\0", b"MM\0+"), "big-endian BigTIFF"), ((), "kind that is not read")):
        data = tiff(many(2, np.uint8), photometric="minisblack", extrasamples=[2]).getvalue()
        data = data.replace(*change) if change else data.replace(b"\x08\0\x08\0", b"\x04\0\x04\0")
        with pytest.raises(codec.InvalidImage, match=says):
            read_image(io.BytesIO(data))


def test_bands_of_different_depths() -> None:
    data = tiff(RGB, photometric="rgb").getvalue()
    assert data.count(b"\x08\0\x08\0\x08\0") == 1
    with pytest.raises(codec.InvalidImage, match=r"different depths, \[5, 6\] bits"):
        read_image(io.BytesIO(data.replace(b"\x08\0\x08\0\x08\0", b"\x05\0\x06\0\x05\0")))


def test_pictures_within_the_first() -> None:
    """A larger picture in a SubIFD means that the first one is a preview, as in raw files."""
    small = (RGB[::4, ::4].copy(), {"photometric": "rgb", "subifds": 1})
    with pytest.raises(codec.InvalidImage, match="a preview of one of 64×48 pixels"):
        read_image(tiffs(small, (RGB, {"photometric": "rgb"})))
    with pytest.raises(codec.InvalidImage, match="camera raw file"):
        read_image(tiffs((RGB, {"photometric": "rgb", "subifds": 1}), (GRAY, {"photometric": "cfa"})))


def test_further_pages() -> None:
    rgb = {"photometric": "rgb"}
    with pytest.warns(codec.NotKept, match=r"not kept: 2 more pictures of 3 \(the largest is 64×48\)"):
        assert samples(tiffs((RGB[::2, ::2].copy(), rgb), (RGB, rgb), (DEEP, rgb))).shape == (24, 32, 3)
    # Smaller copies of the first page are no loss.
    copy = (RGB[::2, ::2].copy(), {**rgb, "subfiletype": 1})
    file = tiffs((RGB, rgb), copy, (GRAY > 9, {"subfiletype": 4}))
    with pytest.warns(codec.NotKept, match="not kept: transparency mask$"):
        assert np.array_equal(samples(file), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_chosen_bands_are_upright(orientation: int) -> None:
    array = many(5, np.uint8)
    options: dict[str, Any] = {"extratags": [(274, 3, 1, orientation, True)]}
    file = tiff(array, photometric="rgb", extrasamples=[0, 0], **options)
    assert np.array_equal(samples(file, bands=(5, 4, 3)), turn(array[:, :, [4, 3, 2]], orientation))


@pytest.mark.parametrize("missing", ["tifffile", "imagecodecs"])
def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(codec.InvalidImage, match=rf"need {missing}: pip install 'codec\[deep\]'"):
        read_image(tiff(DEEP, photometric="rgb"))
    assert np.array_equal(samples(tiff(RGB, photometric="rgb")), RGB)


def test_associated_alpha_of_eight_bits() -> None:
    """Pillow undoes it. Its rounding may differ by one."""
    array = many(4, np.uint8)
    array[:, :, 3] = 128
    array[:, :, :3] //= 2
    back = samples(tiff(array, photometric="rgb", extrasamples=[1]))
    assert np.abs(back[:, :, :3] - array[:, :, :3] * (255 / 128)).max() <= 1
    gray = tiff(array[:, :, 2:].copy(), photometric="minisblack", planarconfig="contig", extrasamples=[1])
    assert np.abs(samples(gray)[:, :, 0] - array[:, :, 2] * (255 / 128)).max() <= 1


def test_too_many_samples() -> None:
    file = tiff(np.zeros((40, 50, 20), np.uint8), photometric="rgb", extrasamples=[0] * 17)
    with pytest.raises(codec.LimitExceeded, match="20 bands of 40×50 pixels are over the limit of 2000"):
        read_image(file, codec.Limits(max_pixels=2000), bands=(1,))
    file = tiff(np.zeros((40, 50, 3), np.uint16), photometric="rgb", tile=(256, 256))
    with pytest.raises(codec.LimitExceeded, match=r"tiles of .256, 256, 3. samples are over the limit"):
        read_image(file, codec.Limits(max_pixels=2000))


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Pillow warns of damaged tags
def test_damage_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("tifffile").propagate = False  # pytest's own handler
    array = many(5, np.uint16)
    options: dict[str, Any] = {"photometric": "rgb", "extrasamples": [0, 0], "compression": "deflate"}
    data = tiff(array, rowsperstrip=8, **options).getvalue()
    try:
        for cut in (10, 200, 300, len(data) // 2, len(data) - 1):
            with pytest.raises(codec.InvalidImage):
                read_image(io.BytesIO(data[:cut]), bands=(1, 2, 3))
        rng = np.random.default_rng(0)
        for _ in range(150):
            damaged = bytearray(data)
            for at in rng.integers(0, 400, 3):
                damaged[at] = rng.integers(0, 256)
            try:
                read_image(io.BytesIO(bytes(damaged)), bands=(1, 2, 3))
            except (codec.CodecError, ValueError) as error:
                assert "\n" not in str(error)  # noqa: PT017 - it need not be raised
    finally:
        logging.getLogger("tifffile").propagate = True
    assert "tifffile" not in capfd.readouterr().err


def test_missing_strips_are_no_black_pixels() -> None:
    data = bytearray(tiff(DEEP, photometric="rgb", rowsperstrip=8).getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as opened:
        tag = opened.pages.first.tags["StripByteCounts"]
    data[tag.valueoffset : tag.valueoffset + 2] = b"\0\0"
    with pytest.raises(codec.InvalidImage, match="parts of the TIFF file are missing"):
        read_image(io.BytesIO(bytes(data)))


def test_a_pillow_file_of_each_kind_is_still_read() -> None:
    base = Image.fromarray(RGB)
    for mode, options in (
        ("1", {"compression": "group4"}), ("L", {}), ("P", {}), ("RGB", {"compression": "jpeg"}),
        ("RGBA", {}), ("LA", {}),
    ):
        file = io.BytesIO()
        base.convert(mode).save(file, "TIFF", **options)
        assert samples(file).shape[:2] == (48, 64)
    assert np.array_equal(samples(io.BytesIO(bytes(imagecodecs.tiff_encode(DEEP)))), DEEP)


def without_tag(file: io.BytesIO, tag: int) -> io.BytesIO:
    """Return a TIFF file in which a tag of the first page has become one that says nothing."""
    data = bytearray(file.getvalue())
    (count,) = struct.unpack_from("<H", data, 8)
    (at,) = (at for at in range(10, 10 + 12 * count, 12) if struct.unpack_from("<H", data, at) == (tag,))
    struct.pack_into("<HHII", data, at, 263, 3, 1, 1)
    return io.BytesIO(data)


BLACK, COLOUR = "0 is taken for black", "taken for RGB"


@pytest.mark.parametrize(
    ("array", "options", "assumed"),
    [
        (GRAY, {}, BLACK), (DEEP[:, :, 0].copy(), {}, BLACK), (GRAY, {"compression": "zstd"}, BLACK),
        (many(2, np.uint8), {"extrasamples": [2], "planarconfig": "contig"}, BLACK),
        (RGB, {"photometric": "rgb"}, COLOUR), (DEEP, {"photometric": "rgb"}, COLOUR),
        (many(4, np.uint8), {"photometric": "rgb", "extrasamples": [2]}, COLOUR),
    ],
)
def test_a_file_that_does_not_state_its_colour(
    array: NDArray[Any], options: dict[str, Any], assumed: str
) -> None:
    """It is read as libtiff does."""
    file = without_tag(tiff(array, **{**GRAYS, **options}), 262)
    says = rf"not kept: meaning of the samples, which the file does not state \({assumed}\)"
    with pytest.warns(codec.NotKept, match=says):
        assert np.array_equal(samples(file).squeeze(), array)


def test_colour_that_must_be_stated() -> None:
    with pytest.raises(codec.InvalidImage, match=r"does not say whether 0 is black .* with 1 bits"):
        read_image(without_tag(tiff(GRAY > 100, **GRAYS), 262))
    inks = many(4, np.uint8)
    for array, options in ((GRAY, {"compression": "jpeg"}), (inks, {"photometric": "separated"})):
        with pytest.raises(codec.InvalidImage, match="does not say what its samples mean"):
            read_image(without_tag(tiff(array, **{**GRAYS, **options}), 262))
    fax = io.BytesIO()
    Image.fromarray(GRAY > 100).save(fax, "TIFF", compression="group4")
    assert np.array_equal(samples(fax)[:, :, 0] > 0, GRAY > 100)


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize(("kind", "value"), [(2, "6"), (7, b"\6"), (5, (13, 2))])
def test_an_orientation_that_is_no_number(compression: str | None, kind: int, value: Any) -> None:
    for array in (GRAY, DEEP):
        photometric = "minisblack" if array is GRAY else "rgb"
        count = 1 if kind == 5 else len(value)
        file = tiff(
            array, photometric=photometric, compression=compression,
            extratags=[(274, kind, count, value, True)],
        )
        with pytest.warns(codec.NotKept, match="^not kept: orientation that cannot be read$"):
            assert np.array_equal(samples(file).squeeze(), array)


@pytest.mark.parametrize(
    ("tag", "value", "name"),
    [
        (280, 3, "MinSampleValue"), (281, 4095, "MaxSampleValue"), (340, 1, "SMinSampleValue"),
        (341, 65534, "SMaxSampleValue"), (280, 0, None), (281, 65535, None), (340, 0, None),
        (341, 65535, None),
    ],
)
@pytest.mark.parametrize("bands", [1, 3])
def test_the_range_of_samples(tag: int, value: int, name: str | None, bands: int) -> None:
    """The full range says nothing."""
    array = DEEP if bands == 3 else DEEP[:, :, 0].copy()
    options = {"photometric": "rgb"} if bands == 3 else GRAYS
    values = (value,) * bands
    file = tiff(array, metadata=None, extratags=[(tag, 3, bands, values, True)], **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_image(file)
    assert [str(one.message) for one in caught] == ([f"not kept: TIFF tag {name}"] if name else [])


@pytest.mark.parametrize(("kind", "says"), [(1, []), (0, ["not kept: pages within the page (SubIFDs)"])])
def test_smaller_copies_are_not_named(kind: int, says: list[str]) -> None:
    """Those in SubIFDs are not, as those on pages are not."""
    first = (RGB, {"photometric": "rgb", "subifds": 2})
    copy = (RGB[::2, ::2].copy(), {"photometric": "rgb", "subfiletype": 1})
    other = (RGB[::4, ::4].copy(), {"photometric": "rgb", "subfiletype": kind})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_image(tiffs(first, copy, other, copy), strip=True)
    assert [str(one.message) for one in caught] == says


def test_a_tile_that_states_another_size() -> None:
    """The decoder would allocate what it states."""
    data = bytearray(tiff(RGB, photometric="rgb", compression="lerc").getvalue())
    at = data.index(b"Lerc2 ")
    struct.pack_into("<I", data, at + 22, 973078531)  # the number of values per pixel
    with pytest.raises((codec.InvalidImage, codec.LimitExceeded)):
        read_image(io.BytesIO(data))
