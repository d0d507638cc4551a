"""Uncompressed .npy, .ppm and .pgm files of any size, read and written a few rows at a time."""

from __future__ import annotations

import dataclasses
import io
import math
import os
import re
import threading
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from codec.errors import InvalidImage
from codec.pictures.picture import KINDS, Samples, check_dtype, check_shape

SUFFIXES = (".npy", ".pgm", ".ppm")

_PNM_HEADER = re.compile(rb"P([2356])" + rb"(?:\s|#[^\n]*\n)+(\d{1,9})" * 3 + rb"\s")

_PNM_HEADER_BYTES = 1 << 12
"""Number of bytes read for a header. It exceeds the size of a header with comments."""


class Raster:
    """Samples H×W×C in a file. Only the requested samples are read."""

    def __init__(self, file: BinaryIO, layout: Layout, owned: bool) -> None:
        self._file = file
        self._owned = owned
        self._layout = layout
        self._lock = threading.Lock()
        self.shape = layout.shape
        self.depth = layout.depth
        self.dtype = np.dtype(np.uint16) if layout.rescale else layout.dtype
        self.further = 0
        """Number of bytes after the picture, such as those of a second one."""
        self.is_netpbm = False

    def __del__(self) -> None:
        if self._owned:
            self._file.close()

    def __getitem__(self, slices: tuple[slice, slice], /) -> NDArray[Any]:
        height, width, channels = self.shape
        rows, columns = range(*slices[0].indices(height)), range(*slices[1].indices(width))
        sample = channels * self._layout.dtype.itemsize
        row_bytes = len(columns) * sample
        part = bytearray(len(rows) * row_bytes)
        for k, row in enumerate(rows):
            # No memory map: a file that is truncated while it is read must raise, not crash.
            start = self._layout.offset + (row * width + columns.start) * sample
            part[k * row_bytes : (k + 1) * row_bytes] = self._read(start, row_bytes)
        array: NDArray[Any] = np.frombuffer(part, self._layout.dtype)
        array = array.reshape(len(rows), len(columns), channels)
        largest = self._layout.rescale
        if not largest:
            return array
        full = (1 << largest.bit_length()) - 1
        array = (np.minimum(array, largest).astype(np.uint32) * full + largest // 2) // largest
        return array.astype(np.uint16)

    def _read(self, start: int, count: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            data = self._file.read(count)
        if len(data) < count:
            raise InvalidImage("the picture cannot be read: the file ends before its last row")
        return data


@dataclasses.dataclass(frozen=True)
class Layout:
    """Position and form of the samples in a file."""

    offset: int
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    depth: int | None = None
    """Bits per sample, if the file states more than eight."""
    rescale: int = 0
    """The file's maximum sample value if that is not a power of two minus one, else 0."""


def open_raster(file: BinaryIO, owned: bool) -> Raster | None:
    """Return the samples of an uncompressed file, or None for a file that needs a decoder.

    `file` must stay open. It is closed with the samples if it is `owned`. Raises `InvalidImage` for
    an uncompressed file that is not a picture.
    """
    file.seek(0)
    start = file.read(8)
    file.seek(0)
    layout: Layout | None = None
    if start.startswith(np.lib.format.MAGIC_PREFIX):
        layout = _npy(file)
    elif start[:1] == b"P" and start[1:2] in b"2356":
        layout = _pnm(file)
    if layout is None:
        return None
    size = file.seek(0, os.SEEK_END)
    needed = layout.offset + math.prod(layout.shape) * layout.dtype.itemsize
    if size < needed:
        raise InvalidImage(f"the picture cannot be read: the file has {size} of {needed} bytes")
    raster = Raster(file, layout, owned)
    raster.is_netpbm = start.startswith(b"P")
    file.seek(needed)
    raster.further = size - needed if file.read(1 << 10).strip(b"\0\r\n ") else 0
    return raster


def _npy(file: BinaryIO) -> Layout:
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"unsupported .npy format version {version[0]}.{version[1]}")
        shape, fortran, dtype = readers[version](file)
    except OSError:
        raise
    except Exception as error:  # numpy parses the header as Python, which raises many kinds of exceptions
        raise InvalidImage(f"the array cannot be read: {error}") from None
    if fortran and len(shape) > 1:
        raise InvalidImage("the array is in Fortran order: save np.ascontiguousarray(array)")
    check_dtype(dtype)
    if any(type(length) is not int or length < 0 for length in shape):
        raise InvalidImage(f"the array cannot be read: its shape is {shape}")
    height, width, bands = check_shape(shape, bands_can_be_chosen=True)
    if not height or not width:
        raise InvalidImage(f"the picture is empty: {height}×{width}")
    return Layout(file.tell(), (height, width, bands), dtype)


def _pnm(file: BinaryIO) -> Layout | None:
    match = _PNM_HEADER.match(file.read(_PNM_HEADER_BYTES))
    if not match:
        return None
    kind, width, height, largest = (int(group) for group in match.groups())
    if largest < 256 and (largest != 255 or kind < 5):
        return None  # Pillow reads these and scales them to 255
    if kind < 5:
        raise InvalidImage("16-bit samples as text are not supported: use binary .pgm or .ppm")
    if largest > 65535:
        raise InvalidImage(f"the picture cannot be read: its maximum sample value {largest} is over 65535")
    if not width or not height:
        raise InvalidImage(f"the picture is empty: {height}×{width}")
    shape = (height, width, 3 if kind == 6 else 1)
    if largest == 255:
        return Layout(match.end(), shape, np.dtype(np.uint8))
    depth = largest.bit_length()
    return Layout(match.end(), shape, np.dtype(">u2"), depth, 0 if largest == (1 << depth) - 1 else largest)


def header(suffix: str, shape: tuple[int, int, int], depth: int) -> bytes:
    """Return the bytes before the samples in a file with the extension `suffix`.

    Raises `ValueError` if such a file cannot store the samples.
    """
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
        raise ValueError(f"{suffix} files cannot store {KINDS[samples]}")
    return f"P{5 if kind == 1 else 6}\n{width} {height}\n{(1 << depth) - 1}\n".encode()


def rows(suffix: str, samples: Samples) -> bytes:
    """Return the bytes of some rows of samples."""
    dtype = samples.dtype.newbyteorder("<" if suffix == ".npy" else ">")
    return samples.astype(dtype, copy=False).tobytes()
