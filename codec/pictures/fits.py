"""FITS files: the picture in the primary header and data unit (FITS standard 4.0, sections 3–5)."""

from __future__ import annotations

import math
import re
from typing import BinaryIO

import numpy as np

from codec.errors import InvalidImage
from codec.limits import Limits
from codec.pictures.decoded import Decoded, check_size

SIGNATURE = b"SIMPLE  ="

_BLOCK = 2880
_MAX_BLOCKS = 1000
"""Maximum number of blocks of the header. It holds 36,000 cards."""

_OF_THE_PIXELS = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|BZERO|BSCALE|BLANK|DATAMIN|DATAMAX|CHECKSUM|DATASUM|"
)


def read(file: BinaryIO, limits: Limits) -> Decoded:
    """Read the picture. Raises `InvalidImage`, which names the reason, or `LimitExceeded`."""
    cards, start = _cards(file)
    bits, axes = _number(cards, "BITPIX", 0), _number(cards, "NAXIS", 0)
    if axes == 0:
        raise InvalidImage(
            "this FITS file has its data in an extension: save the picture as the primary data unit, or "
            "its array as .npy"
        )
    shape = [_number(cards, f"NAXIS{axis}", 0) for axis in range(1, min(int(axes), 99) + 1)]
    if axes < 2 or any(length < 1 or length % 1 for length in shape) or math.prod(shape[3:]) != 1:
        text = "×".join(f"{length:g}" for length in shape)
        raise InvalidImage(f"FITS data of the size {text} is not a picture")
    width, height, planes = (int(length) for length in (*shape[:2], *shape[2:3], 1)[:3])
    check_size(height, width, planes, limits)
    _check_samples(bits, _number(cards, "BZERO", 0), _number(cards, "BSCALE", 1))
    dtype = np.dtype(np.uint8 if bits == 8 else ">u2")
    needed = width * height * planes * dtype.itemsize
    if file.seek(0, 2) < start + needed:  # before memory is taken
        raise InvalidImage("the picture cannot be read: the file ends before its last row")
    file.seek(start)
    samples = np.frombuffer(file.read(needed), dtype).reshape(planes, height, width)
    stored = samples.view(">i2") if bits == 16 else samples
    if "BLANK" in cards and (stored == _number(cards, "BLANK", 0)).any():
        raise InvalidImage("this FITS file has pixels without a value (BLANK): fill them first")
    if bits == 16:
        samples = samples.astype(np.uint16) ^ 0x8000  # BZERO is 32768
    lost = [f"FITS keyword {name}" for name in cards if not _OF_THE_PIXELS.fullmatch(name)]
    if len(lost) > 5:
        lost = [f"{len(lost)} FITS keywords"]
    if file.seek(0, 2) > start + -(-needed // _BLOCK) * _BLOCK:
        lost.append("further FITS extensions")
    return Decoded(np.moveaxis(samples[:, ::-1], 0, -1), lost=lost)  # the first row is the lowest


def _check_samples(bits: float, zero: float, scale: float) -> None:
    way_out = "unsigned samples of 16 bits (BZERO = 32768), or save the array as .npy"
    kind = f"FITS samples of {bits:g} bits"
    if bits in (-32, -64):
        raise InvalidImage(f"FITS samples without a fixed range (floats): scale them to {way_out}")
    if bits not in (8, 16):
        raise InvalidImage(f"{kind} do not fit: scale them to {way_out}")
    if (bits, zero, scale) in ((16, 0, 1), (8, -128, 1)):
        raise InvalidImage(f"{kind} are signed: add an offset for {way_out}")
    if (bits, zero, scale) not in ((16, 32768, 1), (8, 0, 1)):
        raise InvalidImage(f"{kind} are scaled by {scale:g} and offset by {zero:g}: convert to {way_out}")


def _cards(file: BinaryIO) -> tuple[dict[str, str], int]:
    """Return the values of the primary header by keyword, and the start of the data."""
    file.seek(0)
    cards: dict[str, str] = {}
    for _ in range(_MAX_BLOCKS):
        block = file.read(_BLOCK)
        if len(block) < _BLOCK:
            break
        for at in range(0, _BLOCK, 80):
            card = block[at : at + 80].decode("latin-1")
            name = card[:8].rstrip()
            if name == "END":
                return cards, file.tell()
            cards.setdefault(name, card[10:].split("/")[0].strip() if card[8:10] == "= " else "")
    raise InvalidImage("the picture cannot be read: its FITS header has no end")


def _number(cards: dict[str, str], name: str, default: float) -> float:
    try:
        number = float(cards[name].replace("D", "E")) if name in cards else default
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidImage(f"the picture cannot be read: the FITS keyword {name} is no number")
    return number
