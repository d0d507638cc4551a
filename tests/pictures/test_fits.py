"""FITS files: numbers with an offset, a sign or a scale are read right or refused by name."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import codec
from codec.pictures.reading import read_image
from tests.support.pictures import textured

VALUES = textured(48, 64)[:, :, 0].astype(np.int64) * 200


def fits(array: NDArray[Any], bits: int, *cards: str, rest: bytes = b"", **changes: Any) -> io.BytesIO:
    """Return a FITS file. `changes` replaces values of the structural cards."""
    head: dict[str, Any] = {"SIMPLE": "T", "BITPIX": bits, "NAXIS": array.ndim}
    head |= {f"NAXIS{axis}": length for axis, length in enumerate(reversed(array.shape), 1)}
    head |= changes
    text = "".join(f"{name:8}= {value!s:>20}".ljust(80) for name, value in head.items())
    text += "".join(card.ljust(80) for card in (*cards, "END"))
    data = array.astype({8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}.get(bits, ">i2"))
    padded = [part.ljust(-(-len(part) // 2880) * 2880, fill) for part, fill in
              ((text.encode(), b" "), (data.tobytes(), b"\0"))]
    return io.BytesIO(b"".join(padded) + rest)


def card(name: str, value: Any) -> str:
    return f"{name:8}= {value!s:>20}"


OFFSET = card("BZERO", 32768)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (fits(VALUES - 32768, 16, OFFSET), VALUES),
        (fits(VALUES - 32768, 16, card("BZERO", "3.2768D4"), card("BSCALE", "1.0")), VALUES),
        (fits(VALUES - 32768, 16, card("BZERO", "32768 / offset")), VALUES),
        (fits((VALUES - 32768)[None, None], 16, OFFSET), VALUES),  # trailing axes of length 1
        (fits(VALUES // 200, 8), VALUES // 200),
        (fits(VALUES - 32768, 16, OFFSET, card("BLANK", -32768 + 7)), VALUES),  # a value that no pixel has
    ],
)
def test_unsigned_samples(file: io.BytesIO, expected: NDArray[Any]) -> None:
    picture, metadata = read_image(file)
    assert np.array_equal(picture.read(picture.box)[::-1, :, 0], expected)  # the first row is the lowest
    assert metadata == codec.Metadata()


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (fits(VALUES - 20000, 16), "16 bits are signed"),
        (fits(VALUES // 200, 8, card("BZERO", -128)), "8 bits are signed"),
        (fits(VALUES - 32768, 16, OFFSET, card("BSCALE", 0.5)), "scaled by 0.5 and offset by 32768"),
        (fits(VALUES - 32768, 16, card("BZERO", 1000)), "offset by 1000"),
        (fits(VALUES, 32), "32 bits do not fit"), (fits(VALUES, 64), "64 bits do not fit"),
        (fits(VALUES, -32), "floats"), (fits(VALUES, -64), "floats"),
        (fits(VALUES - 32768, 16, OFFSET, card("BLANK", -32768 + int(VALUES[3, 5]))), "BLANK"),
        (fits(VALUES[:0, :0], 16, NAXIS=0), "extension"),
        (fits(VALUES[0], 16, OFFSET), "size 64 is not a picture"),
        (fits(np.zeros((2, 2, 8, 9)), 16, OFFSET), "size 9×8×2×2 is not"),
        (fits(VALUES, 16, OFFSET, NAXIS1=0), "is not a picture"),
        (fits(VALUES, 16, OFFSET, NAXIS1=-64), "is not a picture"),
        (fits(VALUES, 16, OFFSET, NAXIS1="many"), "NAXIS1 is no number"),
        (fits(VALUES, 16, OFFSET, NAXIS1="nan"), "NAXIS1 is no number"),
        (fits(VALUES, 16, OFFSET, NAXIS="1e999"), "NAXIS is no number"),
        (fits(VALUES, 16, OFFSET, NAXIS1=200), "ends before its last row"),
        (io.BytesIO(fits(VALUES, 16, OFFSET).getvalue()[:2000]), "header has no end"),
        (io.BytesIO(b"SIMPLE  =" + b" " * 20000), "header has no end"),
        (io.BytesIO(b"SIMPLE  =".ljust(2880 * 1000) + b"END".ljust(2880)), "header has no end"),
    ],
)
def test_what_is_refused(file: io.BytesIO, says: str) -> None:
    with pytest.raises(codec.InvalidImage, match=says):
        read_image(file)


def test_sizes_are_checked_before_memory_is_taken() -> None:
    with pytest.raises(codec.LimitExceeded):
        read_image(fits(VALUES, 16, OFFSET, NAXIS1=100_000, NAXIS2=100_000))


def test_planes_are_chosen() -> None:
    planes = np.stack([VALUES - 32768 + step for step in range(5)])
    with pytest.raises(codec.InvalidImage, match="5 bands"):
        read_image(fits(planes, 16, OFFSET))
    picture, _ = read_image(fits(planes, 16, OFFSET), bands=(5, 1, 2))
    assert np.array_equal(picture.read(picture.box)[::-1], np.moveaxis(planes[[4, 0, 1]] + 32768, 0, -1))


def test_what_is_not_kept_is_said() -> None:
    with pytest.warns(codec.NotKept, match="not kept: FITS keyword OBJECT, further FITS extensions"):
        read_image(fits(VALUES - 32768, 16, OFFSET, "OBJECT  = 'M31'", rest=bytes(2880)))
