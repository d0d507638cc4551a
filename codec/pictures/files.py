"""Reading and writing of picture files.

Pillow is used, or imagecodecs where Pillow would reduce samples to eight bits.
"""

from __future__ import annotations

import dataclasses
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from codec.errors import CodecError, InvalidImage, LimitExceeded, NotKept
from codec.format.header import SIGNATURE, Source
from codec.format.metadata import Metadata
from codec.limits import DEFAULT, Limits
from codec.pictures import raster
from codec.pictures.picture import KINDS, Picture, Samples, to_picture, to_picture_of_depth

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


_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
}
"""Options for lossless or nearly lossless files, so that a decoded picture loses little more."""

_FORMATS: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]] = {
    "AVIF": ((1, 2, 3, 4), (), ("icc", "exif", "xmp")),
    "BMP": ((1, 3), (), ()),
    "JPEG": ((1, 3), (), ("icc", "exif", "xmp")),
    "JPEG2000": ((1, 2, 3, 4), (1,), ()),
    "PNG": ((1, 2, 3, 4), (1, 2, 3, 4), ("icc", "exif", "xmp")),
    "TGA": ((1, 2, 3, 4), (), ()),
    "TIFF": ((1, 2, 3, 4), (1, 3, 4), ("icc", "exif")),
    "WEBP": ((1, 2, 3, 4), (), ("icc", "exif", "xmp")),
}
"""Formats that can store pictures unchanged.

Each has the numbers of samples per pixel that it can store with eight bits and with 16 bits, and
the kinds of metadata. Other formats that Pillow writes silently drop alpha, reduce to a palette or
change the size.
"""


def check_suffix(suffix: str) -> str:
    """Return the name of the format with the extension `suffix`; `ValueError` if there is none."""
    import PIL.Image

    suffix = suffix.lower()
    if suffix in raster.SUFFIXES:
        return suffix[1:].upper()
    PIL.Image.init()
    name = PIL.Image.registered_extensions().get(suffix)
    if name not in _FORMATS or name not in PIL.Image.SAVE:
        raise ValueError(f"cannot write a picture with the extension {suffix!r}")
    return str(name)


def image_chunks(
    bands: Iterable[Samples], shape: tuple[int, int, int], depth: int, suffix: str,
    metadata: Metadata | None = None,
) -> Iterator[bytes]:
    """Yield the bytes of a picture file in the format of `suffix`.

    `bands` gives the H×W×C samples a few rows at a time. Files of .npy, .ppm and .pgm are made row
    by row, others from the whole picture. Metadata that the format cannot store causes the warning
    `NotKept`. Raises `ValueError` for samples that the format cannot store.
    """
    name = check_suffix(suffix)
    suffix = suffix.lower()
    metadata = metadata or Metadata()
    # Report what does not fit now, not after minutes of decoding.
    kept = _fitting(metadata, name)
    lost = [kind for kind in metadata.names if kind not in kept.names]
    if lost:
        warnings.warn(NotKept(f"{name} files are written without {', '.join(lost)}"), stacklevel=2)
    if suffix in raster.SUFFIXES:
        yield raster.header(suffix, shape, depth)
        for band in bands:
            yield raster.rows(suffix, band)
        return
    if shape[2] not in _FORMATS[name][0 if depth == 8 else 1]:
        raise ValueError(f"{name} files cannot store {KINDS[shape[2]]} of {8 if depth == 8 else 16} bits")
    dtype = np.uint8 if depth == 8 else np.uint16
    _write(np.zeros((16, 16, shape[2]), dtype), name, Metadata())
    samples = np.empty(shape, dtype)
    row = 0
    for band in bands:
        samples[row : row + len(band)] = band
        row += len(band)
    yield _write(samples, name, kept)


def _fitting(metadata: Metadata, name: str) -> Metadata:
    """Return the metadata that can be written to a file of this format and read back."""
    import PIL.Image

    kept = Metadata()
    for kind in metadata.names:
        if name not in _FORMATS or kind not in _FORMATS[name][2]:
            continue
        alone = Metadata(**{kind: getattr(metadata, kind)})
        try:
            file = io.BytesIO(_write_with_pillow(np.zeros((16, 16), np.uint8), name, alone))
            with PIL.Image.open(file) as image:
                image.load()
                image.getexif()
                back = Metadata.of(image)
        except Exception:  # each reader of metadata raises its own exceptions
            continue
        # EXIF is rewritten on saving. The other kinds must be unchanged.
        if back.names == (kind,) and (kind == "exif" or back == alone):
            kept = dataclasses.replace(kept, **{kind: getattr(metadata, kind)})
    return kept


def _write(samples: NDArray[Any], name: str, metadata: Metadata) -> bytes:
    if samples.dtype == np.uint16 and samples.shape[2] > 1:
        return _write_deep(samples, name, metadata)
    return _write_with_pillow(samples[:, :, 0] if samples.shape[2] == 1 else samples, name, metadata)


def _write_with_pillow(samples: NDArray[Any], name: str, metadata: Metadata) -> bytes:
    import PIL.Image
    import PIL.PngImagePlugin

    options = dict(_SAVE_OPTIONS.get(name, {}))
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.exif:
        options["exif"] = b"Exif\0\0" + metadata.exif
    if metadata.xmp and name == "PNG":
        options["pnginfo"] = PIL.PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", metadata.xmp.decode())
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    out = io.BytesIO()
    try:
        PIL.Image.fromarray(samples).save(out, name, **options)
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} files cannot store the picture: {error}") from None
    return out.getvalue()


def _write_deep(samples: NDArray[np.uint16], name: str, metadata: Metadata) -> bytes:
    try:
        import imagecodecs
    except ImportError:
        raise ValueError(
            f"16-bit colour in {name} files needs imagecodecs: pip install 'codec[deep]'"
        ) from None
    if name == "PNG":
        data = bytes(imagecodecs.png_encode(samples))
        donor = _write_with_pillow(np.zeros((1, 1), np.uint8), "PNG", metadata)
        return _with_chunks(data, donor)
    if metadata.exif:
        warnings.warn(NotKept("16-bit TIFF files are written without exif"), stacklevel=2)
    return bytes(imagecodecs.tiff_encode(samples, iccprofile=metadata.icc))


def _with_chunks(png: bytes, donor: bytes) -> bytes:
    """Return the PNG file `png` with the chunks of `donor` that lie between header and pixels."""
    start, end = 8 + 25, 8 + 25  # signature, IHDR
    while donor[end + 4 : end + 8] != b"IDAT":
        end += 12 + int.from_bytes(donor[end : end + 4], "big")
    return png[:start] + donor[start:end] + png[start:]
