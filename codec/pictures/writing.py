"""Writing picture files.

Pillow is used, or imagecodecs for colour of more than eight bits. .npy, .ppm and .pgm files are
written row by row.
"""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import NotKept
from codec.format.metadata import Metadata
from codec.pictures import raster
from codec.pictures.picture import KINDS, Samples

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
