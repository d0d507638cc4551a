"""`.cae` files in Pillow: to import this registers them, as `codec.register_pillow` does.

    im = Image.open("x.cae")            # reads the header and the metadata; torch is loaded for pixels
    im.save("y.cae", quality=60)

`Image.open` gives mode L, LA, RGB, RGBA, or I;16 for gray of more than 8 bits, whose samples are as they are
in the file: `info["bit_depth"]` says how many bits they have. Pillow has no mode for colour or alpha of more
than 8 bits: they are scaled to 8 bits, with the warning `codec.NotKept` when pixels are loaded;
`codec.decompress` gives all bits. `info` holds "icc_profile", "exif" and "xmp" as far as the file has them,
"bit_depth", "lossless", "quality" unless it is lossless, and "source" if the picture was converted from a
palette, … (as `codec.Info` has it).

`Image.save` takes the options `quality`, `target_bpp`, `target_bytes`, `target_psnr` and `effort`, and
`bit_depth` for I;16, as `codec.compress` does. Without a quality or target, an image that was opened from a
`.cae` file is saved in the quality it had. `exif` (bytes or `PIL.Image.Exif`) and `xmp` are written if they
are given, `icc_profile` also if the image has one, unless it is given as None.

Damaged files raise `OSError` when pixels are loaded, or what is left of them is shown if
`PIL.ImageFile.LOAD_TRUNCATED_IMAGES` is set. `PIL.Image.MAX_IMAGE_PIXELS` is the limit of size.
"""

from __future__ import annotations

import os
import warnings
from typing import IO, TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from codec.api import EXTENSION, compress, decompress
from codec.coding.stored import unpack_metadata
from codec.engine.reading import info_of, verify
from codec.errors import CodecError, NotKept, TargetUnreachable
from codec.format import container
from codec.format.header import SIGNATURE, parse_header
from codec.format.metadata import EXIF_PREFIX, Metadata
from codec.limits import Limits
from codec.pictures.picture import Samples

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

FORMAT = "CAE"

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Of pictures of 8 bits, by the samples of a pixel."""

_GOALS = ("quality", "target_bpp", "target_bytes", "target_psnr")


class _Stream:
    """The bytes of an open file from its position on, read where they are asked for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._start = file.tell()
        self._size = file.seek(0, os.SEEK_END) - self._start

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._size)
        self._file.seek(self._start + start)
        return self._file.read(max(stop - start, 0))


class CodecImageFile(ImageFile.ImageFile):
    """A `.cae` file. Its header is read when it is opened, its pixels when they are needed."""

    format = FORMAT
    format_description = "Learned image codec (.cae)"

    def _open(self) -> None:
        assert self.fp is not None
        self._start = self.fp.tell()
        data = _Stream(self.fp)
        if not _accept(data[:16]):
            raise SyntaxError("not a .cae file")
        try:
            header, size = parse_header(data)
            info = info_of(header, size)
            # What is damaged here is left out: it shows when pixels are loaded, as any damage.
            metadata = unpack_metadata(container.File(header, data, size), [])
        except CodecError as error:
            # Not a SyntaxError: no other plugin takes the file, and this one knows what is wrong.
            raise UnidentifiedImageError(str(error)) from error
        self._size = (info.width, info.height)
        self._depth = info.bit_depth
        self._mode = "I;16" if info.bit_depth > 8 and info.channels == 1 else _MODES[info.channels]
        found = {
            "icc_profile": metadata.icc,
            # With the prefix that others of Pillow's formats take it with.
            "exif": metadata.exif and EXIF_PREFIX + metadata.exif,
            "xmp": metadata.xmp,
            "bit_depth": info.bit_depth,
            "lossless": info.lossless,
            "quality": info.quality,
            "source": info.source,
        }
        self.info = {name: value for name, value in found.items() if value is not None}
        self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, self.mode)]  # so far not loaded

    def load_seek(self, pos: int) -> None:
        """Its presence tells `ImageFile.Parser` that pixels are not to be had from a stretch of the file."""

    def load(self) -> PixelAccess | None:
        """Decode the file, unless that is done; `OSError` if it is damaged."""
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
        """Check every byte of the file against its checksums; `OSError` if it is damaged or cut short."""
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
        """The samples in Pillow's byte order."""
        # Pillow has let this size through.
        limits = Limits(max_pixels=self.width * self.height)
        try:
            if ImageFile.LOAD_TRUNCATED_IMAGES:
                samples, _ = decompress(self._read(), on_error="conceal", limits=limits)
            else:
                samples = decompress(self._read(), limits=limits)
        except CodecError as error:
            raise OSError(str(error)) from error
        if samples.dtype == np.uint16 and self.mode != "I;16":
            bits = f"{self._depth} bits a sample are cut to 8: Pillow has no mode for them"
            warnings.warn(NotKept(f"{bits}; codec.decompress keeps them"), stacklevel=3)
            full = (1 << self._depth) - 1
            samples = ((samples.astype(np.uint32) * 255 + full // 2) // full).astype(np.uint8)
        return samples.astype(samples.dtype.newbyteorder("<"), copy=False)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(SIGNATURE)


def _save(im: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    given = im.encoderinfo
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
    except TargetUnreachable:  # only for those who set one
        raise
    except CodecError as error:
        raise OSError(f"cannot write mode {im.mode} as {FORMAT}: {error}") from error
    fp.write(data)


def _metadata(im: Image.Image) -> Metadata:
    given = im.encoderinfo
    exif, xmp = given.get("exif"), given.get("xmp")
    return Metadata(
        icc=given.get("icc_profile", im.info.get("icc_profile")),
        exif=exif.tobytes() if isinstance(exif, Image.Exif) else exif,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
    )


def _bit_depth(im: Image.Image) -> int | None:
    """The depth that is asked for; of a `.cae` file its own, as long as samples fit."""
    depth: int | None = im.encoderinfo.get("bit_depth")
    if depth is None and isinstance(im, CodecImageFile) and im.mode == "I;16":
        depth = im.info.get("bit_depth")
        if depth is not None and int(np.asarray(im).max()) >> depth:
            return None
    return depth


def register() -> None:
    """Make Pillow know the format; again and again, if need be."""
    Image.register_open(FORMAT, CodecImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, EXTENSION)
    Image.register_mime(FORMAT, "image/x-cae")


register()
