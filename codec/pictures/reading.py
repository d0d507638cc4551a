"""Reading picture files: with Pillow, and others where Pillow would reduce or change samples."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from codec.errors import CodecError, InvalidImage, LimitExceeded, NotKept
from codec.format.header import SIGNATURE, Source
from codec.format.metadata import Metadata
from codec.limits import DEFAULT, Limits
from codec.pictures import deep, fits, formats, further, heif, jpeg2000, metadata, raster, tiff
from codec.pictures.containers.large_tags import without_large_tags
from codec.pictures.decoded import Decoded, check_bands, check_size, choose
from codec.pictures.picture import Picture, from_pillow, to_picture_of_depth
from codec.pictures.signatures import is_heif
from codec.pictures.tiff import turn

_ORIENTATION = 0x0112

_JPEG2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
_TIFF = (b"II*\0", b"MM\0*", b"MM*\0", b"II\0*", b"II+\0")


def read_image(
    src: str | os.PathLike[str] | BinaryIO, limits: Limits = DEFAULT, bit_depth: int | None = None,
    bands: Iterable[int] | None = None, strip: bool = False,
) -> tuple[Picture, Metadata]:
    """Read a picture file. Returns the picture and its metadata.

    `src` is a path, or a binary file that can seek. The picture is turned upright according to its
    EXIF orientation. Samples of .npy, .ppm and .pgm files are read only when they are needed, so a
    file object must stay open until then.

    `bands` chooses 1 to 4 bands, counted from 1. It is required for a picture of which the file
    does not say that it is gray or RGB, with alpha or without.

    What is not kept of the file, such as further pictures, is named by one warning `NotKept`. If
    `strip` is set, the metadata is left out, and the warning does not name any.

    Raises `InvalidImage` for a file that is not a picture, `LimitExceeded`, `OSError`, and
    `ValueError` for bands that the picture does not have.
    """
    chosen = check_bands(bands)
    owned = isinstance(src, (str, os.PathLike))
    file = _open(src) if isinstance(src, (str, os.PathLike)) else src
    with contextlib.ExitStack() as stack:
        if owned:
            stack.callback(file.close)
        decoded = _decode(file, owned, limits, chosen)
        lazy = isinstance(decoded.samples, raster.Raster)
        decoded = choose(decoded, chosen)
        picture = to_picture_of_depth(decoded.samples, bit_depth or decoded.depth, decoded.source)
        if lazy:  # the file is closed with its samples
            stack.pop_all()
    if not lazy and picture.has_alpha and _all_is_hidden(picture):
        decoded.lost.append("the colour, because alpha is 0 everywhere")
    lost = decoded.lost if strip else [*decoded.lost, *decoded.lost_metadata]
    metadata.warn_not_kept(list(dict.fromkeys(lost)))
    if bit_depth is None and not decoded.depth_is_stated:
        _warn_of_few_bits(picture)
    return picture, Metadata() if strip else decoded.metadata


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    file = open(path, "rb")  # noqa: SIM115 - its reader closes it
    if file.seekable():
        return file
    with file:
        return io.BytesIO(file.read())


def _all_is_hidden(picture: Picture) -> bool:
    """Whether the picture has colour that nobody sees, as if the file did not mean its alpha."""
    return not picture.alpha(picture.box).any() and bool(picture.colour(picture.box).any())


def _warn_of_few_bits(picture: Picture) -> None:
    """Warn if a file of 16 bits seems to hold 12: most of their detail would be lost."""
    largest = int(picture.colour(picture.box).max())
    if 0 < largest < 1 << 12:
        bits = max(9, largest.bit_length())
        warnings.warn(NotKept(
            f"no sample is over {largest} of 65535, so little detail may be kept; if the samples have "
            f"{bits} bits, set bit_depth={bits} or --bit-depth {bits}"
        ), stacklevel=4)


def _decode(file: BinaryIO, owned: bool, limits: Limits, bands: tuple[int, ...] | None) -> Decoded:
    # Pillow can read .cae files with a plugin, but compressing them again would lose quality.
    file.seek(0)
    if file.read(len(SIGNATURE)) == SIGNATURE:
        raise InvalidImage("the input is already a .cae file")
    found = raster.open_raster(file, owned)
    if found is not None:
        limits.check(found.shape[0], found.shape[1])
        rest = [f"{found.further} bytes after the picture"] if found.further else []
        decoded = Decoded(found, found.depth, lost=rest)
        return _described(decoded, None, file, "PPM") if found.is_netpbm else decoded
    head = formats.read_head(file)
    if head.startswith(fits.SIGNATURE):
        return fits.read(file, limits)
    with _errors_of_decoders():
        if is_heif(head):
            return _described(*heif.read(file, limits), file, "HEIF")
        if head.startswith(_TIFF):
            return _decode_tiff(file, limits, bands)
        if head.startswith(_JPEG2000):
            return _decode_jpeg2000(file, limits, bands)
        further.check_pillow_reads_the_picture(file, head)
        return _decode_with_pillow(file, limits)


@contextlib.contextmanager
def _errors_of_decoders() -> Iterator[None]:
    import PIL.Image

    try:
        yield
    except (CodecError, MemoryError):
        raise
    except PIL.Image.DecompressionBombError as error:
        raise LimitExceeded(f"{error} Pillow's limit is PIL.Image.MAX_IMAGE_PIXELS.") from None
    except OSError as error:
        if error.errno is not None:  # an error of the file system, not of the decoder
            raise
        raise InvalidImage(f"the picture cannot be read: {error}") from None
    except Exception as error:  # decoders raise any exception of their libraries
        raise InvalidImage(f"the picture cannot be read: {error}") from None


def _described(decoded: Decoded, image: Any, file: BinaryIO, kind: str) -> Decoded:
    kept, lost = metadata.describe(image, file, kind)
    return dataclasses.replace(decoded, metadata=kept, lost_metadata=lost)


def _decode_with_pillow(file: BinaryIO, limits: Limits) -> Decoded:
    try:
        return _decode_opened(file, file, limits)
    except ValueError as error:
        if "MAX_TEXT" not in str(error):
            raise
        # Pillow refuses a PNG file for its texts or its profile. The pixels do not depend on them.
        return _decode_opened(file, formats.without_texts(file), limits)


def _decode_opened(file: BinaryIO, pixels: BinaryIO, limits: Limits) -> Decoded:
    """Decode a file. Pillow reads `pixels`, which is `file` or has the same picture."""
    with formats.open_image(pixels) as image:
        kind: str = image.format or ""
        limits.check(image.height, image.width)
        depth = deep.depth_beyond_pillow(image, kind, file)
        if depth is None:
            _widen_transparency(image)
            image.load()
            upright, lost = _upright(image)
            samples, source = from_pillow(upright, limits)
            depth = 16 if samples.dtype == np.uint16 else None
        else:
            samples, source = deep.read(file, kind), Source.NONE
            orientation, lost = _of_exif(lambda: image.getexif().get(_ORIENTATION, 1), 1)
            samples = turn(samples, orientation if orientation in range(1, 9) else 1)
            if "transparency" in image.info:
                source = Source.TRANSPARENT_COLOUR
        lost += further.further(image, file, kind)
        decoded = Decoded(samples, depth, source, lost=lost, depth_is_stated=kind != "PNG" or depth is None)
        return _described(decoded, image, file, kind)


def _widen_transparency(image: Any) -> None:
    """Scale the transparent gray of a PNG file of 2 or 4 bits, as Pillow scales its samples."""
    key, mode = image.info.get("transparency"), image.tile[0][3] if image.tile else ""
    if image.format == "PNG" and mode in ("L;2", "L;4") and isinstance(key, int):
        image.info["transparency"] = key * (85 if mode == "L;2" else 17) & 0xFF


def _upright(image: Any) -> tuple[Any, list[str]]:
    """Return the image turned as its EXIF says, and a name for an orientation that is unknown."""
    import PIL.ImageOps

    return _of_exif(lambda: PIL.ImageOps.exif_transpose(image), image)


def _of_exif(read: Callable[[], Any], otherwise: Any) -> tuple[Any, list[str]]:
    """Return what `read` returns; for EXIF that cannot be read, `otherwise` and a name for it."""
    try:
        return read(), []
    except (OSError, MemoryError):
        raise
    except Exception:  # Pillow's readers of EXIF raise many kinds of exceptions
        return otherwise, ["orientation in EXIF that cannot be read"]


def _decode_tiff(file: BinaryIO, limits: Limits, bands: tuple[int, ...] | None) -> Decoded:
    bounded = without_large_tags(file)
    image = tiff.open_tags(bounded)
    kind = tiff.examine(image, bands)
    check_size(kind.height, kind.width, kind.bands, limits)
    if kind.by_pillow:
        with formats.open_image(bounded) as opened:
            opened.load()
            upright, _ = _upright(opened)
            upright = upright.convert("LA") if upright.mode == "La" else upright
            samples, source = from_pillow(upright, limits)
    else:
        samples, source = turn(tiff.read_samples(bounded, kind, limits), kind.orientation), Source.NONE
    depth = kind.bits if kind.bits > 8 else None
    decoded = _described(Decoded(samples, depth, source, depth_is_stated=depth != 16), image, file, "TIFF")
    decoded.lost += [*tiff.further_pages(image), *kind.lost]
    return decoded


def _decode_jpeg2000(file: BinaryIO, limits: Limits, bands: tuple[int, ...] | None) -> Decoded:
    import PIL.Image

    kind = jpeg2000.examine(file, bands)
    check_size(kind.height, kind.width, kind.count, limits)
    source = Source.NONE
    if kind.needs_imagecodecs:
        samples = deep.read(file, "JPEG2000")
        image = PIL.Image.new("L", (1, 1))
    else:
        image = formats.open_image(file)
        image.load()
        samples, source = from_pillow(image, limits)
        samples = kind.unscaled(samples)
    depth = kind.depth if kind.depth > 8 and not kind.palette else None
    decoded = Decoded(samples, depth, source, lost=further.more(kind.pictures), depth_is_stated=depth != 16)
    return _described(decoded, image, file, "JPEG2000")
