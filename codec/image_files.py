"""Picture files in and out. Pillow does the work, imagecodecs where Pillow would drop to eight bits."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec import raster
from codec.errors import CodecError, InvalidImage, LimitExceeded, NotKept
from codec.image import Picture, Samples, to_picture, to_picture_of_depth
from codec.limits import DEFAULT, Limits
from codec.metadata import Metadata

_DEEP_FORMATS = {"PNG": "png", "TIFF": "tiff", "JPEG2000": "jpeg2k", "AVIF": "avif"}
"""Pillow's and imagecodecs' names of formats whose deeper colour Pillow reads as eight bits."""

_HEAD = 1 << 16
"""Bytes from the start of a file within which it says how deep its samples are."""


def read_image(
    src: str | os.PathLike[str] | io.BytesIO, limits: Limits = DEFAULT, bit_depth: int | None = None
) -> tuple[Picture, Metadata]:
    """A picture file, upright as its EXIF says, and its metadata.

    Samples of .npy, .ppm and .pgm stay in the file until they are needed. Of files with several pictures the
    first is taken, with the warning `NotKept`.

    Raises `InvalidImage` for a file that is no picture, `LimitExceeded`, `OSError`.
    """
    found = raster.open_raster(src) if isinstance(src, (str, os.PathLike)) else None
    if found is not None:
        limits.check(found.shape[0], found.shape[1])
        return to_picture_of_depth(found, bit_depth or found.depth), Metadata()
    return _read_with_pillow(src, limits, bit_depth)


def _read_with_pillow(src: Any, limits: Limits, bit_depth: int | None) -> tuple[Picture, Metadata]:
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(src) as image:
            limits.check(image.height, image.width)
            kind, frames = image.format or "", getattr(image, "n_frames", 1)
            deep = kind in _DEEP_FORMATS and image.mode[:2] != "I;" and _is_deep(image, kind, src)
            image.load()
            upright = PIL.ImageOps.exif_transpose(image)
            # A TIFF file's EXIF is not where its pixels are turned; others lose their orientation with that.
            metadata = Metadata.of(image if kind == "TIFF" else upright)
            orientation = image.getexif().get(0x0112, 1)
    except (CodecError, MemoryError):
        raise
    except PIL.UnidentifiedImageError:
        raise InvalidImage("not a picture that Pillow can read") from None
    except PIL.Image.DecompressionBombError as error:
        raise LimitExceeded(f"{error} Pillow's limit is PIL.Image.MAX_IMAGE_PIXELS.") from None
    except OSError as error:
        if error.errno is not None:  # the file system's, not the decoder's
            raise
        raise InvalidImage(f"the picture cannot be read: {error}") from None
    except Exception as error:  # Pillow's decoders raise whatever their libraries do
        raise InvalidImage(f"the picture cannot be read: {error}") from None
    if frames > 1 and kind != "MPO":  # a photograph and views of it that cameras add
        warnings.warn(NotKept(f"the file holds {frames} pictures; only the first is taken"), stacklevel=4)
    if deep:
        array = _turn(_read_deep(src, _DEEP_FORMATS[kind]), orientation)
        return to_picture(array, limits, bit_depth), metadata
    return to_picture(upright, limits, bit_depth), metadata


def _is_deep(image: Any, kind: str, src: Any) -> bool:
    """Whether an image that is not loaded yet has samples of more than eight bits in its file."""
    if kind in ("PNG", "TIFF"):
        return any(";16" in str(tile[3]) for tile in image.tile)
    head = _bytes_of(src, _HEAD)
    if kind == "AVIF":  # AV1's configuration record: its third byte has the bit high_bitdepth
        at = head.find(b"av1C") + 6
        return 6 <= at < len(head) and bool(head[at] & 0x40)
    at = head.find(b"\xff\x4f\xff\x51") + 42  # the codestream's SIZ marker, and in it the first Ssiz
    return 42 <= at < len(head) and head[at] & 0x7F > 7


def _bytes_of(src: Any, count: int = -1) -> bytes:
    if isinstance(src, (str, os.PathLike)):
        with open(src, "rb") as file:
            return file.read(count)
    whole: bytes = src.getvalue()
    return whole if count < 0 else whole[:count]


def _read_deep(src: Any, name: str) -> NDArray[Any]:
    try:
        import imagecodecs
    except ImportError:
        raise InvalidImage(
            f"16-bit colour in {name.upper()} files needs imagecodecs: pip install 'codec[deep]'"
        ) from None
    data = _bytes_of(src)
    try:
        array: NDArray[Any] = getattr(imagecodecs, f"{name}_decode")(data)
    except Exception as error:  # each library has its own
        raise InvalidImage(f"the picture cannot be read: {error}") from None
    return array


def _turn(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """As `PIL.ImageOps.exif_transpose`."""
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
"""Writing a decoded picture should not lose more: lossless or nearly so."""

_METADATA_OPTIONS = {
    "AVIF": ("icc", "exif", "xmp"),
    "JPEG": ("icc", "exif", "xmp"),
    "PNG": ("icc", "exif", "xmp"),
    "TIFF": ("icc", "exif"),
    "WEBP": ("icc", "exif", "xmp"),
}
"""What Pillow writes into files of each format."""


def check_suffix(suffix: str) -> str:
    """The name of the format with the extension `suffix`; `ValueError` if none is written."""
    import PIL.Image

    suffix = suffix.lower()
    if suffix in raster.SUFFIXES:
        return suffix[1:].upper()
    PIL.Image.init()
    name = PIL.Image.registered_extensions().get(suffix)
    if name is None or name not in PIL.Image.SAVE:
        raise ValueError(f"no picture format can be written for the extension {suffix!r}")
    return name


def image_chunks(
    bands: Iterable[Samples], shape: tuple[int, int, int], depth: int, suffix: str,
    metadata: Metadata | None = None,
) -> Iterator[bytes]:
    """A picture file of the format of `suffix`, of H×W×C samples that come a few rows at a time.

    Files of .npy, .ppm and .pgm are made row by row, others from the whole picture. Metadata that the format
    does not hold gives the warning `NotKept`. Raises `ValueError` for samples that it does not hold.
    """
    name = check_suffix(suffix)
    metadata = metadata or Metadata()
    lost = [kind for kind in metadata.names if kind not in _METADATA_OPTIONS.get(name, ())]
    if lost:
        warnings.warn(NotKept(f"{name} files are written without {', '.join(lost)}"), stacklevel=2)
    suffix = suffix.lower()
    if suffix in raster.SUFFIXES:
        yield raster.header(suffix, shape, depth)
        for band in bands:
            yield raster.rows(suffix, band)
        return
    dtype = np.uint8 if depth == 8 else np.uint16
    # What does not fit shall fail now, not after minutes of decoding.
    _write(np.zeros((16, 16, shape[2]), dtype), name, Metadata())
    samples = np.empty(shape, dtype)
    row = 0
    for band in bands:
        samples[row : row + len(band)] = band
        row += len(band)
    yield _write(samples, name, metadata)


def _write(samples: NDArray[Any], name: str, metadata: Metadata) -> bytes:
    if samples.dtype == np.uint16 and samples.shape[2] > 1:
        return _write_deep(samples, name, metadata)
    return _write_with_pillow(samples[:, :, 0] if samples.shape[2] == 1 else samples, name, metadata)


def _write_with_pillow(samples: NDArray[Any], name: str, metadata: Metadata) -> bytes:
    import PIL.Image
    import PIL.PngImagePlugin

    options = dict(_SAVE_OPTIONS.get(name, {}))
    kept = {kind: getattr(metadata, kind) for kind in _METADATA_OPTIONS.get(name, ())}
    kept = {kind: value for kind, value in kept.items() if value}
    if "icc" in kept:
        options["icc_profile"] = kept["icc"]
    if "exif" in kept:
        options["exif"] = b"Exif\0\0" + kept["exif"]
    if "xmp" in kept and name == "PNG":
        options["pnginfo"] = PIL.PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", kept["xmp"].decode("utf-8", "replace"))
    elif "xmp" in kept:
        options["xmp"] = kept["xmp"]
    out = io.BytesIO()
    image = PIL.Image.fromarray(samples)
    try:
        image.save(out, name, **options)
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} files cannot hold it: {error}") from None
    return out.getvalue()


def _write_deep(samples: NDArray[np.uint16], name: str, metadata: Metadata) -> bytes:
    if name not in ("PNG", "TIFF") or (name == "TIFF" and samples.shape[2] == 2):
        raise ValueError(f"{name} files cannot hold 16-bit samples of this kind: use .png or .npy")
    try:
        import imagecodecs
    except ImportError:
        raise ValueError(
            f"16-bit colour in {name} files needs imagecodecs: pip install 'codec[deep]'"
        ) from None
    data: bytes = getattr(imagecodecs, f"{_DEEP_FORMATS[name]}_encode")(samples)
    if metadata and name == "PNG":
        return _with_chunks(data, _write_with_pillow(np.zeros((1, 1), np.uint8), "PNG", metadata))
    if metadata:
        warnings.warn(NotKept(f"16-bit {name} files are written without metadata"), stacklevel=2)
    return data


def _with_chunks(png: bytes, donor: bytes) -> bytes:
    """A PNG file with the metadata of another: its chunks between the header and the pixels."""
    start, end = 8 + 25, 8 + 25  # signature, IHDR
    while donor[end + 4 : end + 8] != b"IDAT":
        end += 12 + int.from_bytes(donor[end : end + 4], "big")
    return png[:start] + donor[start:end] + png[start:]
