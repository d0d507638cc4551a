"""Reading picture files.

Pillow is used, or imagecodecs where Pillow would reduce samples to eight bits.
"""

from __future__ import annotations

import dataclasses
import io
import os
import warnings
from typing import Any, BinaryIO

from numpy.typing import NDArray

from codec.errors import CodecError, InvalidImage, LimitExceeded, NotKept
from codec.format.header import SIGNATURE, Source
from codec.format.metadata import Metadata
from codec.limits import DEFAULT, Limits
from codec.pictures import raster
from codec.pictures.picture import Picture, to_picture, to_picture_of_depth

_DEEP_FORMATS = {"PNG": "png", "TIFF": "tiff", "JPEG2000": "jpeg2k", "AVIF": "avif"}
"""Formats whose colour of more than eight bits Pillow reads as eight bits.

Keys are Pillow's names, values are those of imagecodecs.
"""

_HEAD = 1 << 16
"""Number of bytes at the start of a file that are searched for its sample depth."""

_ORIENTATION = 0x0112


def read_image(
    src: str | os.PathLike[str] | io.BytesIO, limits: Limits = DEFAULT, bit_depth: int | None = None
) -> tuple[Picture, Metadata]:
    """Read a picture file. Returns the picture and its metadata.

    The picture is turned upright according to its EXIF orientation. Samples of .npy, .ppm and .pgm
    files are read only when they are needed. If a file holds several pictures, the first is read,
    with the warning `NotKept`.

    Raises `InvalidImage` for a file that is not a picture, `LimitExceeded`, `OSError`.
    """
    file = src if isinstance(src, io.BytesIO) else _open(src)
    try:
        # Pillow can read these with a plugin, but compressing them again would lose quality.
        file.seek(0)
        if file.read(len(SIGNATURE)) == SIGNATURE:
            raise InvalidImage("the input is already a .cae file")
        found = raster.open_raster(file)
        if found is None:
            with file:
                return _read_with_pillow(file, limits, bit_depth)
    except BaseException:
        file.close()
        raise
    limits.check(found.shape[0], found.shape[1])
    return to_picture_of_depth(found, bit_depth or found.depth), Metadata()


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    file = open(path, "rb")  # noqa: SIM115 - its reader closes it
    if file.seekable():
        return file
    with file:
        return io.BytesIO(file.read())


def _read_with_pillow(
    file: BinaryIO, limits: Limits, bit_depth: int | None
) -> tuple[Picture, Metadata]:
    import PIL.Image

    notes: list[str] = []
    try:
        # Pass the file, not its name: Pillow's memory map scrambles TIFF files that are turned.
        with PIL.Image.open(file) as image:
            limits.check(image.height, image.width)
            kind, frames = image.format or "", getattr(image, "n_frames", 1)
            deep = _is_deep(image, kind, file)
            tags = dict(getattr(image, "tag_v2", {})) if kind == "TIFF" else {}
            if kind == "TIFF":
                _check_tiff(tags)
            if not deep:
                image.load()
            upright, metadata, orientation = _upright(image, kind, tags, deep, notes)
            keyed = "transparency" in image.info
            gamma = image.info.get("gamma") if kind == "PNG" and not metadata.icc else None
    except (CodecError, MemoryError):
        raise
    except PIL.UnidentifiedImageError:
        raise InvalidImage("not a picture that Pillow can read") from None
    except PIL.Image.DecompressionBombError as error:
        raise LimitExceeded(f"{error} Pillow's limit is PIL.Image.MAX_IMAGE_PIXELS.") from None
    except OSError as error:
        if error.errno is not None:  # an error of the file system, not of the decoder
            raise
        raise InvalidImage(f"the picture cannot be read: {error}") from None
    except Exception as error:  # Pillow's decoders raise any exception of their libraries
        raise InvalidImage(f"the picture cannot be read: {error}") from None
    for note in notes:
        _warn(note)
    if frames > 1 and kind != "MPO":  # an MPO file is a photograph with views that cameras add
        _warn(f"the file holds {frames} pictures; only the first is read")
    if gamma is not None and abs(gamma - 1 / 2.2) > 0.01:
        _warn(f"the file states a gamma of {gamma:g}, which is not kept")
    # White in a 16-bit file is the largest 16-bit value, whatever range its samples use.
    unsaid = kind in ("PNG", "TIFF") and (deep or upright.mode.startswith("I;16")) and bit_depth is None
    bit_depth = 16 if unsaid else bit_depth
    if deep:
        array = _turn(_read_deep(file, kind, tags), orientation)
        source = Source.TRANSPARENT_COLOUR if keyed else Source.NONE
        picture = dataclasses.replace(to_picture(array, limits, bit_depth), source=source)
    else:
        picture = to_picture(upright, limits, bit_depth)
    if unsaid and 0 < (largest := int(picture.colour(picture.box).max())) < 1 << 12:
        # Twelve-bit pictures in 16-bit files are common, and would lose most of their detail.
        bits = max(9, largest.bit_length())
        _warn(
            f"no sample is over {largest} of 65535, so little detail may be kept; if the samples have "
            f"{bits} bits, set bit_depth={bits} or --bit-depth {bits}"
        )
    return picture, metadata


def _warn(message: str) -> None:
    warnings.warn(NotKept(message), stacklevel=5)


def _upright(
    image: Any, kind: str, tags: dict[int, Any], deep: bool, notes: list[str]
) -> tuple[Any, Metadata, int]:
    """Return the image turned upright (if not `deep`), its metadata and its orientation."""
    import PIL.Image
    import PIL.ImageOps

    try:
        orientation = tags.get(_ORIENTATION) or image.getexif().get(_ORIENTATION, 1)
        # Turning a TIFF image drops its EXIF, so its metadata is taken from the original. For other
        # formats, turning removes only the orientation from the EXIF.
        if deep:
            small = PIL.Image.new("1", (1, 1))
            small.info = dict(image.info)
            upright = PIL.ImageOps.exif_transpose(small)
        else:
            upright = PIL.ImageOps.exif_transpose(image)
        metadata = Metadata.of(image if kind == "TIFF" else upright)
    except (OSError, MemoryError, CodecError):
        raise
    except Exception as error:  # Pillow's readers of EXIF raise many kinds of exceptions
        notes.append(f"the EXIF cannot be read and is left out: {error}")
        return image, Metadata(icc=image.info.get("icc_profile")), 1
    return upright, metadata, orientation if orientation in range(1, 9) else 1


def _check_tiff(tags: dict[int, Any]) -> None:
    """Refuse 16-bit TIFF files whose samples would be misinterpreted."""
    deepest = max(tags.get(258) or (1,))
    if deepest <= 8:
        return
    photometric, extra = tags.get(262, 1), tags.get(338) or ()
    if photometric == 0:
        raise InvalidImage(f"{deepest}-bit TIFF files in which 0 is white are not supported: invert them")
    if photometric not in (1, 2):
        raise InvalidImage(
            f"{deepest}-bit TIFF files of photometric kind {photometric} are not supported: convert to RGB"
        )
    if tags.get(284, 1) != 1 and tags.get(277, 1) > 1:
        raise InvalidImage(f"{deepest}-bit TIFF files in separate planes are not supported: interleave them")
    if 1 in extra:
        raise InvalidImage("16-bit TIFF files whose colour is multiplied by their alpha are not supported")


def _is_deep(image: Any, kind: str, file: BinaryIO) -> bool:
    """Whether an image has colour of more than eight bits that Pillow would reduce to eight.

    `image` is not loaded yet.
    """
    if image.mode.startswith("I;"):
        return False
    if kind == "TIFF":
        return max(image.tag_v2.get(258) or (1,)) > 8 and image.tag_v2.get(277, 1) > 1
    if kind in ("AVIF", "JPEG2000"):
        file.seek(0)
        head = file.read(_HEAD)
        if kind == "AVIF":  # the third byte of the AV1 configuration record has the bit high_bitdepth
            at = head.find(b"av1C") + 6
            return 6 <= at < len(head) and bool(head[at] & 0x40)
        at = head.find(b"\xff\x4f\xff\x51") + 42  # the first Ssiz after the SIZ marker of the codestream
        return 42 <= at < len(head) and head[at] & 0x7F > 7
    deep = any(";16" in str(tile[3]) for tile in image.tile)
    if deep and kind not in _DEEP_FORMATS:
        raise InvalidImage(f"16-bit colour in {kind} files is not supported: use .png, .tiff, .ppm or .npy")
    return deep


def _read_deep(file: BinaryIO, kind: str, tags: dict[int, Any]) -> NDArray[Any]:
    name = _DEEP_FORMATS[kind]
    try:
        import imagecodecs
    except ImportError:
        raise InvalidImage(
            f"16-bit colour in {kind} files needs imagecodecs: pip install 'codec[deep]'"
        ) from None
    file.seek(0)
    try:
        array: NDArray[Any] = getattr(imagecodecs, f"{name}_decode")(file.read())
    except Exception as error:  # each library has its own exceptions
        raise InvalidImage(f"the picture cannot be read: {error}") from None
    if kind == "TIFF" and array.ndim == 3:
        # Extra samples other than alpha (2) do not belong to the picture.
        extra = tags.get(338) or ()
        array = array[:, :, : array.shape[2] - sum(what != 2 for what in extra)]
    return array


def _turn(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn an array upright, as `PIL.ImageOps.exif_transpose` does."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
