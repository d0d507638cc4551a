"""TIFF files: what the samples are, by their tags, and those that Pillow does not read.

The tags are checked before anything is decoded. TIFF 6.0; the numbers of tags are explained below.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from codec.errors import InvalidImage, LimitExceeded
from codec.limits import Limits
from codec.pictures.decoded import too_many
from codec.pictures.further import more

_LOG = logging.NullHandler()
"""Keeps messages of tifffile on damaged tags from stderr; the logs of a program still get them."""
_MAX_PAGES = 1000
_MAX_SUBFILES = 16

_PHOTOMETRIC = {
    4: "transparency masks", 5: "CMYK", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32844: "LogL",
    32845: "LogLuv", 51177: "depth maps",
}
_RAW = (32803, 34892)
"""Photometric kinds of sensors: colour filter array and linear raw."""
_RAW_COMPRESSION = (32767, 32769, 32770, 34713, 65000, 65535)
"""Compression kinds of Sony, Epson, Samsung, Nikon, Kodak and Pentax."""
_OF_PILLOW = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34925, 50000)
"""Compression kinds that Pillow reads."""
_FAX = (2, 3, 4, 32771)
"""Compression kinds of CCITT."""
_YCBCR = 6
_UNDEFINED = 4
"""Kind of samples that are taken for unsigned integers."""
_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the samples of the first picture of a file are."""

    height: int
    width: int
    bands: int
    bits: int
    inverted: bool
    """Whether 0 is white."""
    by_pillow: bool
    """Whether Pillow reads these samples as they are. Otherwise tifffile does."""
    orientation: int
    lost: tuple[str, ...] = ()
    """What the tags do not say, or not so that it can be read, and what is assumed."""


@functools.cache
def _tags_only() -> Any:
    from PIL.TiffImagePlugin import TiffImageFile

    class TagsOnly(TiffImageFile):
        """A TIFF file of which only tags are read: Pillow would refuse some kinds of samples."""

        def _setup(self) -> None:
            self._mode, self._size, self.tile = "L", (1, 1), []
            self._tile_size = (1, 1)
            self.info["compression"] = "raw"
            if 34675 in self.tag_v2:
                self.info["icc_profile"] = self.tag_v2[34675]

    return TagsOnly


def open_tags(file: BinaryIO) -> Any:
    """Return a PIL image with the tags of the file, but without samples."""
    file.seek(0)
    return _tags_only()(file)


def examine(image: Any, bands: tuple[int, ...] | None) -> Kind:
    """Return what the samples are. Raises `InvalidImage` for those that would be misread."""
    tags = image.tag_v2
    _check_raw(image)
    _check_subfile(tags)
    height, width = _one(tags, 257), _one(tags, 256)
    count, bits = _one(tags, 277, 1), set(_all(tags, 258, (1,)))
    compression = _one(tags, 259, 1)
    photometric, lost = _photometric(tags, count, compression)
    if compression in (6, 7) and 277 not in tags and photometric in (2, _YCBCR):
        count = 3
    extra = _all(tags, 338, ())
    formats = _all(tags, 339, (1,))
    _check_format(bits, formats)
    depth = bits.pop()
    if photometric in _PHOTOMETRIC or (photometric > 6 and photometric not in _RAW):
        name = _PHOTOMETRIC.get(photometric, f"photometric kind {photometric}")
        raise InvalidImage(f"TIFF files with {name} are not supported: convert it to RGB")
    colours = {0: 1, 1: 1, 2: 3, 3: 1, _YCBCR: 3 if count >= 3 else 1}[photometric]
    known = count == colours or (count == colours + 1 and extra in ((1,), (2,)))
    if not known and bands is None:
        raise too_many(count, _names(count, colours, extra))
    if photometric == 0 and count > 1:
        raise InvalidImage("TIFF files of several bands in which 0 is white are not supported: invert them")
    planes = _one(tags, 284, 1) == 2 and count > colours  # Pillow reads such planes only of some kinds
    stated = 262 in tags or photometric == 0  # without a statement, Pillow takes 0 for white
    small = depth <= 8 and known and not planes and stated
    if depth in (1, 2, 4) and not stated:
        raise InvalidImage(
            f"the TIFF file does not say whether 0 is black (PhotometricInterpretation): with {depth} bits, "
            "it must"
        )
    if depth in (1, 2, 4) and not small:
        raise InvalidImage(f"TIFF files of {count} bands with {depth} bits are not supported: store 8 bits")
    gray = depth == 16 and count == 1 and photometric == 1 and stated
    by_pillow = compression in _OF_PILLOW and (small or gray) and _UNDEFINED not in formats
    if not by_pillow and photometric not in (0, 1, 2):
        what = {3: "a palette", _YCBCR: "YCbCr"}[photometric]
        raise InvalidImage(
            f"TIFF files of {depth} bits with {what} and compression {compression} are not supported: "
            "convert it to RGB"
        )
    if not by_pillow and known and 1 in extra:
        raise InvalidImage(
            f"{depth}-bit TIFF files whose colour is multiplied by their alpha are not supported"
        )
    orientation, unread = _orientation(tags)
    return Kind(height, width, count, depth, photometric == 0, by_pillow, orientation, (*lost, *unread))


def further_pages(image: Any) -> list[str]:
    """Return names of the pictures after the first. Smaller copies of it are not named."""
    first = _one(image.tag_v2, 256), _one(image.tag_v2, 257)
    pages, masks, larger = 0, 0, first
    inside = _pages_within(image)
    for page in range(1, _MAX_PAGES):
        try:
            image.seek(page)
        except EOFError:
            break
        except Exception:  # a damaged directory; the first one was read
            return [f"pictures after the first {page}, which cannot be read", *inside]
        subfile = _one(image.tag_v2, 254, 0)
        size = _one(image.tag_v2, 256, 0), _one(image.tag_v2, 257, 0)
        masks += bool(subfile & _MASK)
        pages += not subfile & (_MASK | _REDUCED)
        larger = max(larger, size, key=math.prod)
    else:
        return [f"more than {_MAX_PAGES - 1} pictures of the file", *inside]
    image.seek(0)
    names = more(pages + 1)
    if larger != first:
        names[-1:] = [f"{' '.join(names[-1:]) or 'a picture'} (the largest is {larger[0]}×{larger[1]})"]
    return names + inside + ["transparency mask"] * bool(masks)


def read_samples(file: BinaryIO, kind: Kind, limits: Limits) -> NDArray[Any]:
    """Return all bands H×W×C of the first picture, read with tifffile."""
    try:
        import imagecodecs  # noqa: F401 - tifffile decompresses with it
        import tifffile
    except ImportError as error:
        raise InvalidImage(
            f"TIFF files of this kind (bands: {kind.bands}, bits: {kind.bits}) "
            f"need {error.name}: pip install 'codec[deep]'"
        ) from None
    logging.getLogger("tifffile").addHandler(_LOG)
    file.seek(0)
    with tifffile.TiffFile(file) as opened:
        page = opened.pages.first
        if math.prod(page.chunks) > 4 * limits.max_pixels:
            raise LimitExceeded(f"tiles of {page.chunks} samples are over the limit of {limits.max_pixels}")
        size = file.seek(0, 2)
        counts, offsets = page.databytecounts, page.dataoffsets
        needed = math.prod(page.chunked)
        if len(counts) < needed or any(
            count == 0 or offset == 0 or offset + count > size
            for count, offset in zip(counts, offsets, strict=False)
        ):
            raise InvalidImage("the picture cannot be read: parts of the TIFF file are missing")
        try:
            array: NDArray[Any] = page.asarray(maxworkers=1)
        except MemoryError:  # also if a strip or tile states a size that is not that of its tags
            raise LimitExceeded("the TIFF file needs more memory than is available") from None
        if page.planarconfig == 2 and kind.bands > 1:
            array = np.moveaxis(array, 0, -1)
    array = array.reshape(kind.height, kind.width, kind.bands)
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise InvalidImage(f"the picture cannot be read: its samples are {array.dtype}")
    if kind.inverted:
        array = ((1 << kind.bits) - 1) - array
    if kind.bits > 8:
        array = array.astype(np.uint16, copy=False)
    return array


def turn(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn an array upright, as `PIL.ImageOps.exif_transpose` does."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _all(tags: Any, tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
    value = tags.get(tag, default)
    values = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(one, int) for one in values):
        raise InvalidImage(f"the picture cannot be read: TIFF tag {tag} is {value!r:.40}")
    return values


def _one(tags: Any, tag: int, default: int | None = None) -> int:
    values = _all(tags, tag, () if default is None else (default,))
    if not values:
        raise InvalidImage(f"the picture cannot be read: TIFF tag {tag} is missing")
    return values[0]


def _photometric(tags: Any, count: int, compression: int) -> tuple[int, list[str]]:
    """Return what the samples mean, as libtiff assumes it where it is not stated, and a name then.

    Fax is black on white, one band is gray with 0 as black, and three are RGB.
    """
    if 262 in tags:
        return _one(tags, 262), []
    colours = count - len(_all(tags, 338, ()))
    if compression in _FAX:
        return 0, []
    if compression in (6, 7) or colours not in (1, 3):
        raise InvalidImage("the TIFF file does not say what its samples mean (PhotometricInterpretation)")
    assumed = "0 is taken for black" if colours == 1 else "taken for RGB"
    return 1 if colours == 1 else 2, [f"meaning of the samples, which the file does not state ({assumed})"]


def _orientation(tags: Any) -> tuple[int, list[str]]:
    """Return how the picture is turned, and a name if that cannot be read."""
    value = tags.get(274, 1)
    try:
        number = int(value)
        if number == value:
            return number if number in range(1, 9) else 1, []
    except (TypeError, ValueError, ArithmeticError):
        pass
    return 1, ["orientation that cannot be read"]


def _check_subfile(tags: Any) -> None:
    kind = _one(tags, 254, 0)
    if kind & (_REDUCED | _MASK) or _one(tags, 255, 1) == 2:
        what = "a transparency mask" if kind & _MASK else "a preview (NewSubfileType 1)"
        raise InvalidImage(
            f"the first picture of the TIFF file is {what}, not the picture itself: extract the full picture"
        )
    if _one(tags, 32997, 1) > 1:
        raise InvalidImage(
            f"the TIFF file is a volume of {_one(tags, 32997)} slices (ImageDepth): save each as a picture"
        )


def _subfiles(image: Any) -> list[Any]:
    """Return the tags of the pages within the first page (SubIFDs)."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags, found = image.tag_v2, []
    for offset in _all(tags, 330, ())[:_MAX_SUBFILES]:
        directory = ImageFileDirectory_v2(b"II*\0\0\0\0\0" if tags._endian == "<" else b"MM\0*\0\0\0\0")
        directory._bigtiff = tags._bigtiff
        try:
            image.fp.seek(offset)
            directory.load(image.fp)
            found.append(directory)
        except Exception:  # damaged, or no directory; it is not needed
            continue
    return found


def _pages_within(image: Any) -> list[str]:
    """Return a name for pages within the first page, unless all are smaller copies of it."""
    found = _subfiles(image)
    copies = sum(bool(_one(one, 254, 0) & _REDUCED) for one in found)
    return ["pages within the page (SubIFDs)"] if copies < len(_all(image.tag_v2, 330, ())) else []


def _check_raw(image: Any) -> None:
    tags = image.tag_v2
    found = 50706 in tags  # DNGVersion
    directories = [tags, *_subfiles(image)]
    found |= any(_one(one, 262, 0) in _RAW or _one(one, 259, 1) in _RAW_COMPRESSION for one in directories)
    if found:
        kind = "DNG" if 50706 in tags else "such as NEF, ARW or PEF"
        raise InvalidImage(
            f"the file is a camera raw file ({kind}), whose first picture is a preview or sensor data: "
            "develop it with a raw converter and save a 16-bit TIFF"
        )
    area = math.prod((_one(tags, 256, 0), _one(tags, 257, 0)))
    for one in directories[1:]:
        size = _one(one, 256, 0), _one(one, 257, 0)
        if not _one(one, 254, 0) & (_REDUCED | _MASK) and math.prod(size) > area:
            raise InvalidImage(
                f"the first picture of the TIFF file is a preview of one of {size[0]}×{size[1]} pixels: "
                "extract the full picture"
            )


def _check_format(bits: set[int], formats: tuple[int, ...]) -> None:
    deepest = max(bits)
    if 2 in formats:
        raise InvalidImage(
            f"the TIFF file has signed {deepest}-bit samples: add an offset and store them as "
            f"uint{8 if deepest <= 8 else 16}"
        )
    if 5 in formats or 6 in formats:
        raise InvalidImage("the TIFF file has complex samples: store their magnitude as uint16")
    if 3 in formats:
        raise InvalidImage(
            f"the TIFF file has floating-point {deepest}-bit samples, without a fixed range: "
            "scale them to uint16"
        )
    if not {*formats} <= {1, _UNDEFINED}:
        raise InvalidImage(f"the TIFF file has samples of an unknown kind (SampleFormat {max(formats)})")
    if deepest > 16:
        raise InvalidImage(f"the TIFF file has {deepest}-bit samples, which do not fit: scale them to uint16")
    if len(bits) > 1:
        raise InvalidImage(f"the TIFF file has bands of different depths, {sorted(bits)} bits: use one")
    if deepest not in (1, 2, 4, *range(8, 17)):
        raise InvalidImage(f"TIFF samples of {deepest} bits are not supported: store them with 8 bits")


def _names(count: int, colours: int, extra: tuple[int, ...]) -> str:
    rest = count - colours
    if rest <= 0 or colours + len(extra) != count:
        return ", and does not say what they are"
    others = [{1: "alpha", 2: "alpha"}.get(one, "unspecified") for one in extra]
    return f" ({'RGB' if colours == 3 else 'gray'} and {', '.join(others[:4])}{', …' * (rest > 4)})"
