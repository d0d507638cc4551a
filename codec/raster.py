"""Uncompressed files, read and written a few rows at a time: .npy, .ppm and .pgm of any size."""

from __future__ import annotations

import dataclasses
import io
import os
import re
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import InvalidImage
from codec.image import Samples

SUFFIXES = (".npy", ".pgm", ".ppm")

_PNM_HEADER = re.compile(rb"P([56])" + rb"(?:\s|#[^\n]*\n)+(\d{1,9})" * 3 + rb"\s")

_Found = tuple[int, tuple[int, int, int], np.dtype[Any], int | None]
"""Where the samples begin, their shape, dtype and, if it is stated, depth."""

_PNM_HEADER_BYTES = 1 << 12
"""More than a header takes, comments included."""


@dataclasses.dataclass(frozen=True)
class Raster:
    """Samples H×W×C in a file. Only those that are asked for are read."""

    path: str
    offset: int
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    depth: int | None = None
    """Bits of a sample, if the file states more than eight."""

    def __getitem__(self, slices: tuple[slice, slice], /) -> NDArray[Any]:
        rows, columns = (range(*part.indices(size)) for part, size in zip(slices, self.shape, strict=False))
        _, width, channels = self.shape
        sample = channels * self.dtype.itemsize
        part = bytearray(len(rows) * len(columns) * sample)
        row_bytes = len(columns) * sample
        with open(self.path, "rb", buffering=0) as file:
            for k, row in enumerate(rows):
                file.seek(self.offset + (row * width + columns.start) * sample)
                # Not a memory map: a file that is cut short while it is read must raise, not crash.
                view = memoryview(part)[k * row_bytes : (k + 1) * row_bytes]
                if _read_into(file, view) < row_bytes:
                    raise InvalidImage("the picture cannot be read: the file ends before its last row")
        return np.frombuffer(part, self.dtype).reshape(len(rows), len(columns), channels)


def _read_into(file: io.RawIOBase, view: memoryview) -> int:
    count = 0
    while count < len(view):
        got = file.readinto(view[count:])
        if not got:
            break
        count += got
    return count


def open_raster(path: str | os.PathLike[str]) -> Raster | None:
    """The samples of an uncompressed file; None for a file that needs a decoder.

    Raises `InvalidImage` for a file that is uncompressed but no picture.
    """
    with open(path, "rb") as file:
        start = file.read(8)
        file.seek(0)
        found: _Found | None
        if start.startswith(np.lib.format.MAGIC_PREFIX):
            found = _npy(file)
        elif start[:2] in (b"P5", b"P6"):
            found = _pnm(file)
        else:
            return None
        if found is None:
            return None
        offset, shape, dtype, depth = found
        size = os.fstat(file.fileno()).st_size
    needed = offset + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size < needed:
        raise InvalidImage(f"the picture cannot be read: the file has {size} of {needed} bytes")
    return Raster(os.fspath(path), offset, shape, dtype, depth)


def _npy(file: IO[bytes]) -> _Found:
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"its format is {version[0]}.{version[1]}")
        shape, fortran, dtype = readers[version](file)
    except ValueError as error:
        raise InvalidImage(f"the array cannot be read: {error}") from None
    if fortran and len(shape) > 1:
        raise InvalidImage("the array cannot be read: it is in Fortran order")
    if dtype.kind != "u" or dtype.itemsize > 2:
        raise InvalidImage(f"an array must be uint8 or uint16, not {dtype}")
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (2, 3, 4))):
        text = "×".join(map(str, shape)) or "no dimensions"
        raise InvalidImage(f"an array must be H×W, H×W×2, H×W×3 or H×W×4, not {text}")
    if 0 in shape:
        raise InvalidImage(f"the picture is empty: {shape[0]}×{shape[1]}")
    return file.tell(), (shape[0], shape[1], shape[2] if len(shape) == 3 else 1), dtype, None


def _pnm(file: IO[bytes]) -> _Found | None:
    match = _PNM_HEADER.match(file.read(_PNM_HEADER_BYTES))
    if not match:
        return None
    kind, width, height, largest = (int(group) for group in match.groups())
    if largest != 255 and not 256 <= largest <= 65535:
        return None  # Pillow stretches these
    if not width or not height:
        raise InvalidImage(f"the picture is empty: {height}×{width}")
    dtype = np.dtype(np.uint8) if largest == 255 else np.dtype(">u2")
    depth = largest.bit_length() if largest > 511 else None
    return match.end(), (height, width, 3 if kind == 6 else 1), dtype, depth


def header(suffix: str, shape: tuple[int, int, int], depth: int) -> bytes:
    """What comes before the samples in a file of this extension; `ValueError` if it cannot hold them."""
    height, width, samples = shape
    if suffix == ".npy":
        out = io.BytesIO()
        dtype = np.dtype("u1" if depth == 8 else "<u2")
        np.lib.format.write_array_header_1_0(out, {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": (height, width) if samples == 1 else shape,
        })
        return out.getvalue()
    kind = {".pgm": 1, ".ppm": 3}[suffix]
    if samples != kind:
        what = {1: "gray", 2: "gray with alpha", 3: "RGB", 4: "RGB with alpha"}[samples]
        raise ValueError(f"{suffix} files cannot hold {what}")
    return f"P{5 if kind == 1 else 6}\n{width} {height}\n{(1 << depth) - 1}\n".encode()


def rows(suffix: str, samples: Samples) -> bytes:
    """The bytes of some rows."""
    dtype = samples.dtype.newbyteorder("<" if suffix == ".npy" else ">")
    return samples.astype(dtype, copy=False).tobytes()
