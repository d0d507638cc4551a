"""Pillow plugin for `.cae` files. Importing it registers them, as `codec.register_pillow` does.

    im = Image.open("x.cae")     # reads the header and the metadata; torch is loaded for pixels
    im.save("y.cae", quality=60)

`Image.open` returns mode L, LA, RGB or RGBA, or I;16 for gray of more than 8 bits. I;16 samples
have the same values as in the file, and `info["bit_depth"]` is their number of bits. Pillow has no
mode for colour or alpha of more than 8 bits. Such samples are scaled to 8 bits, with the warning
`codec.NotKept` when pixels are loaded; `codec.decompress` returns all bits. `info` contains
"icc_profile", "exif", "xmp" and "cicp" (four bytes) if the file has them, "bit_depth", "lossless",
"quality" unless the file is lossless, and "source" if the picture was converted from a palette, …
(see `codec.Info`).

`Image.save` accepts the options `quality`, `target_bpp`, `target_bytes`, `target_psnr` and
`effort`, and `bit_depth` for I;16, as `codec.compress` does. Without a quality or target, an image
that was opened from a `.cae` file is saved with the quality of that file. `exif` (bytes or
`PIL.Image.Exif`) and `xmp` are written if they are given. `icc_profile` and `cicp` are also written
if the image has them, unless they are given as None. As with other formats of Pillow, nothing else
in `info` is written, and nothing is said about it.

Options that other formats have are not ignored silently. `lossless=True` raises `ValueError`, since
there is no lossless mode, and so do several frames and `append=True`: a file holds one picture.
Metadata that a file cannot hold, such as `dpi` and `comment`, causes the warning `codec.NotKept`.
Any other option causes a `UserWarning`. Options that are None or False ask for nothing.

Damaged files raise `OSError` when pixels are loaded. If `PIL.ImageFile.LOAD_TRUNCATED_IMAGES` is
set, the undamaged part is loaded instead. `PIL.Image.MAX_IMAGE_PIXELS` limits the size.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from codec.api import EXTENSION, compress, decompress
from codec.coding.stored import unpack_metadata
from codec.engine.reading import info_of, verify
from codec.errors import CodecError, NotKept, TargetUnreachable
from codec.format import container
from codec.format.header import SIGNATURE, parse_header
from codec.format.metadata import EXIF_PREFIX, Metadata
from codec.format.readable import OpenFile
from codec.limits import Limits
from codec.pictures.picture import Samples

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

FORMAT = "CAE"

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Modes of 8-bit pictures, by the number of samples per pixel."""

_GOALS = ("quality", "target_bpp", "target_bytes", "target_psnr")

_OPTIONS = (*_GOALS, "effort", "bit_depth", "icc_profile", "exif", "xmp", "cicp")

_METADATA_OPTIONS = {
    "artist", "background", "comment", "comments", "copyright", "date_time", "description", "dpi", "gamma",
    "iptc", "pnginfo", "resolution", "resolution_unit", "software", "tiffinfo", "transparency",
    "x_resolution", "y_resolution",
}
"""Options of other formats of Pillow that say something about the picture."""


class CodecImageFile(ImageFile.ImageFile):
    """A `.cae` file. The header is read when it is opened, the pixels when they are needed."""

    format = FORMAT
    format_description = "Learned image codec (.cae)"

    def _open(self) -> None:
        assert self.fp is not None
        self._start = self.fp.tell()
        data = OpenFile(cast(BinaryIO, self.fp))
        if not _accept(data[:16]):
            raise SyntaxError("not a .cae file")
        try:
            header, size = parse_header(data)
            info = info_of(header, size)
            # Damaged metadata is left out here. Loading the pixels reports it, like any damage.
            metadata = unpack_metadata(container.File(header, data, size), [])
        except CodecError as error:
            # Not a SyntaxError, after which Pillow would try other plugins: none of them reads the
            # file, and this error says what is wrong.
            raise UnidentifiedImageError(str(error)) from error
        self._size = (info.width, info.height)
        self._depth = info.bit_depth
        self._mode = "I;16" if info.bit_depth > 8 and info.channels == 1 else _MODES[info.channels]
        found = {
            "icc_profile": metadata.icc,
            # Pillow's other formats expect this prefix.
            "exif": metadata.exif and EXIF_PREFIX + metadata.exif,
            "xmp": metadata.xmp,
            "cicp": metadata.cicp,
            "bit_depth": info.bit_depth,
            "lossless": info.lossless,
            "quality": info.quality,
            "source": info.source,
        }
        self.info = {name: value for name, value in found.items() if value is not None}
        self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, self.mode)]  # not loaded yet

    def load_seek(self, pos: int) -> None:
        # Its presence tells `ImageFile.Parser` that it cannot read pixels from a part of the file.
        pass

    def load(self) -> PixelAccess | None:
        """Decode the file if it is not decoded yet. Raises `OSError` if it is damaged."""
        if self.tile:
            samples = self._decode()
            self.load_prepare()
            self.frombytes(samples)
            self.tile = []
            self.readonly = 0
            if self._exclusive_fp and self.fp is not None:
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Check every byte of the file against its checksums. Raises `OSError` if it is damaged."""
        try:
            if self.fp is not None:
                verify(self._read())
        except CodecError as error:
            raise OSError(str(error)) from error
        finally:
            super().verify()  # closes the file

    def _read(self) -> bytes:
        if self.fp is None:
            raise ValueError("the file is closed")
        self.fp.seek(self._start)
        return self.fp.read()

    def _decode(self) -> Samples:
        """Return the samples in Pillow's byte order."""
        # Pillow has already accepted this size.
        limits = Limits(max_pixels=self.width * self.height)
        try:
            if ImageFile.LOAD_TRUNCATED_IMAGES:
                samples, _ = decompress(self._read(), on_error="conceal", limits=limits)
            else:
                samples = decompress(self._read(), limits=limits)
        except CodecError as error:
            raise OSError(str(error)) from error
        if samples.dtype == np.uint16 and self.mode != "I;16":
            bits = f"samples of {self._depth} bits are reduced to 8 bits: Pillow has no mode for them"
            warnings.warn(NotKept(f"{bits}; codec.decompress keeps all bits"), stacklevel=3)
            full = (1 << self._depth) - 1
            samples = ((samples.astype(np.uint32) * 255 + full // 2) // full).astype(np.uint8)
        return samples.astype(samples.dtype.newbyteorder("<"), copy=False)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(SIGNATURE)


def _save(im: Image.Image, fp: IO[bytes], filename: str | bytes, *, stacklevel: int = 4) -> None:
    given = im.encoderinfo
    _check_options(given, stacklevel)
    options = {name: given[name] for name in _GOALS if given.get(name) is not None}
    if not options and isinstance(im, CodecImageFile):
        options["quality"] = im.info.get("quality")
    if "effort" in given:
        options["effort"] = given["effort"]
    try:
        data = compress(
            im, bit_depth=_bit_depth(im), metadata=_metadata(im),
            limits=Limits(max_pixels=max(1, im.width * im.height)), **options,
        )
    except TargetUnreachable:  # raised only if a target is given
        raise
    except CodecError as error:
        raise OSError(f"cannot write mode {im.mode} as {FORMAT}: {error}") from error
    fp.write(data)


def _save_all(im: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    others = im.encoderinfo.pop("append_images", None) or ()
    frames = sum(getattr(image, "n_frames", 1) for image in (im, *others))
    if frames > 1:
        raise ValueError(f"a {EXTENSION} file holds one picture, not {frames}: save each to its own file")
    _save(im, fp, filename, stacklevel=5)


def _check_options(given: Mapping[str, Any], stacklevel: int) -> None:
    """Raise or warn for options that have no effect here, but ask for something."""
    asked = [name for name, value in given.items() if value is not None and value is not False]
    if "lossless" in asked:
        raise ValueError(
            f"there is no lossless mode in {EXTENSION} files: quality=100 is nearest to the picture "
            "(flat graphics are stored exactly without being asked for)"
        )
    if "append" in asked:
        raise ValueError(f"a {EXTENSION} file holds one picture: nothing can be appended to it")
    metadata = [name for name in asked if name in _METADATA_OPTIONS]
    if metadata:
        about = f"{EXTENSION} files are written without {', '.join(metadata)}"
        warnings.warn(NotKept(about, metadata), stacklevel=stacklevel)
    unknown = [name for name in asked if name not in _OPTIONS and name not in _METADATA_OPTIONS]
    if unknown:
        about = f"options that {EXTENSION} files do not have are ignored: {', '.join(unknown)}"
        warnings.warn(f"{about} (there are {', '.join(_OPTIONS)})", UserWarning, stacklevel=stacklevel)


def _metadata(im: Image.Image) -> Metadata:
    given = im.encoderinfo
    exif, xmp = given.get("exif"), given.get("xmp")
    found = im.info.get("cicp")
    cicp = given.get("cicp", found if isinstance(found, bytes) else None)
    return Metadata(
        icc=given.get("icc_profile", im.info.get("icc_profile")),
        exif=exif.tobytes() if isinstance(exif, Image.Exif) else exif,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        cicp=bytes(cicp) if isinstance(cicp, (tuple, list)) else cicp,
    )


def _bit_depth(im: Image.Image) -> int | None:
    """Return the requested depth, or that of the opened `.cae` file if all samples fit it."""
    depth: int | None = im.encoderinfo.get("bit_depth")
    if depth is None and isinstance(im, CodecImageFile) and im.mode == "I;16":
        depth = im.info.get("bit_depth")
        if depth is not None and int(np.asarray(im).max()) >> depth:
            return None
    return depth


def register() -> None:
    """Register the format with Pillow. Repeated calls are allowed."""
    Image.register_open(FORMAT, CodecImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_save_all(FORMAT, _save_all)
    Image.register_extension(FORMAT, EXTENSION)
    Image.register_mime(FORMAT, "image/x-cae")


register()
