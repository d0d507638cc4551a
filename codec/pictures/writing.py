"""Writing picture files: with Pillow, or with imagecodecs for colour of more than eight bits.

.npy, .ppm and .pgm files are written row by row.
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
from codec.pictures import colour, exif, formats, metadata_options, raster
from codec.pictures.metadata import describe
from codec.pictures.picture import KINDS, Samples

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
}
"""Options for lossless or nearly lossless files, so that a decoded picture loses little more."""

_FORMATS: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]] = {
    "AVIF": ((1, 2, 3, 4), (), ("icc", "exif", "xmp", "cicp")),
    "BMP": ((1, 3), (), ()),
    "JPEG": ((1, 3), (), ("icc", "exif", "xmp")),
    "JPEG2000": ((1, 2, 3, 4), (1,), ()),
    "PNG": ((1, 2, 3, 4), (1, 2, 3, 4), ("icc", "exif", "xmp", "cicp")),
    "TGA": ((1, 2, 3, 4), (), ()),
    "TIFF": ((1, 2, 3, 4), (1, 3, 4), ("icc", "exif", "xmp")),
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
    deep = depth > 8 and shape[2] > 1
    kept, lost = _fitting(metadata, name, gray=shape[2] < 3, deep=deep)
    if lost:
        warnings.warn(NotKept(f"{name} files are written without {', '.join(lost)}", lost), stacklevel=2)
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


def _fitting(metadata: Metadata, name: str, *, gray: bool, deep: bool) -> tuple[Metadata, list[str]]:
    """Return the metadata that a file of this format can hold, and the kinds that are lost.

    What is written can be read back. Code points become an ICC profile where only that fits; those
    of sRGB are what a file without colour information means.
    """
    kept = _read_back(metadata, name, deep)
    lost = [kind for kind in metadata.names if kind not in kept.names]
    if "cicp" in lost and metadata.cicp == colour.SRGB:
        lost.remove("cicp")
    elif "cicp" in lost and metadata.cicp and not metadata.icc:
        profile = colour.profile_of(metadata.cicp, gray=gray)
        if profile and _read_back(Metadata(icc=profile), name, deep).icc:
            kept = dataclasses.replace(kept, icc=profile)
            lost.remove("cicp")
    if "exif" in lost and metadata.exif and _is_resolution_alone(metadata.exif, name, deep):
        kept = dataclasses.replace(kept, exif=metadata.exif)
        lost.remove("exif")
    return kept, lost


def _is_resolution_alone(about: bytes, name: str, deep: bool) -> bool:
    """Whether an EXIF states a resolution and nothing else, and a file without EXIF holds that."""
    resolution, texts = exif.stated(about)
    if not resolution or texts or not exif.is_small(about) or name not in ("BMP", "TIFF"):
        return False
    samples = np.zeros((16, 16, 3), np.uint16 if deep else np.uint8)
    back = _metadata_of(_write(samples, name, Metadata(exif=about)), name)
    return resolution.equals(exif.stated(back.exif or b"")[0])


def _read_back(metadata: Metadata, name: str, deep: bool) -> Metadata:
    """Return the kinds of metadata that come back from a file of this format."""
    kept = Metadata()
    kinds = _FORMATS[name][2] if name in _FORMATS else ()
    if deep and name == "TIFF":  # imagecodecs writes the profile alone
        kinds = ("icc",)
    for kind in metadata.names:
        if kind not in kinds:
            continue
        alone = Metadata(**{kind: getattr(metadata, kind)})
        try:
            back = _metadata_of(_write_with_pillow(np.zeros((16, 16), np.uint8), name, alone), name)
        except Exception:  # each reader of metadata raises its own exceptions
            continue
        # EXIF is rewritten on saving. The other kinds must be unchanged.
        value = getattr(back, kind)
        if value and (kind == "exif" or value == getattr(alone, kind)):
            kept = dataclasses.replace(kept, **{kind: getattr(metadata, kind)})
    return kept


def _metadata_of(data: bytes, name: str) -> Metadata:
    """Return the metadata of a picture file, as reading the file finds it."""
    file = io.BytesIO(data)
    with formats.open_image(formats.without_texts(file) if name == "PNG" else file) as image:
        image.load()
        image.getexif()
        return describe(image, file, name)[0]


def _write(samples: NDArray[Any], name: str, metadata: Metadata) -> bytes:
    if samples.dtype == np.uint16 and samples.shape[2] > 1:
        return _write_deep(samples, name, metadata)
    return _write_with_pillow(samples[:, :, 0] if samples.shape[2] == 1 else samples, name, metadata)


def _write_with_pillow(samples: NDArray[Any], name: str, metadata: Metadata) -> bytes:
    import PIL.Image

    options = _SAVE_OPTIONS.get(name, {}) | metadata_options.of(name, metadata)
    out = io.BytesIO()
    try:
        PIL.Image.fromarray(samples).save(out, name, **options)
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} files cannot store the picture: {error}") from None
    if name == "AVIF" and metadata.cicp:
        return metadata_options.with_code_points(out.getvalue(), metadata.cicp)
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
    resolution = exif.stated(metadata.exif)[0] if metadata.exif else None
    dpi = resolution.dpi if resolution else None  # TIFF's default unit is the inch
    return bytes(imagecodecs.tiff_encode(samples, iccprofile=metadata.icc, resolution=dpi))


def _with_chunks(png: bytes, donor: bytes) -> bytes:
    """Return the PNG file `png` with the chunks of `donor` that lie between header and pixels."""
    start, end = 8 + 25, 8 + 25  # signature, IHDR
    while donor[end + 4 : end + 8] != b"IDAT":
        end += 12 + int.from_bytes(donor[end : end + 4], "big")
    return png[:start] + donor[start:end] + png[start:]
