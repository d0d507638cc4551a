"""Comparisons of a picture at equal file size: our codec, JPEG, AVIF and the original."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import metrics
from .baselines import Baseline, Unavailable, find
from .measure import CodecFailed, Worker, cores
from .pictures import Picture, read_again

Pixels = NDArray[np.uint8]

RIVALS = ("jpeg", "avif")
SIDE = 1024
"""Side in pixels. Only the middle of a larger picture is shown.

Bytes and figures are those of the whole picture."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """One version in a comparison: the output of a codec, or the original."""

    label: str
    bytes: int | None
    """None for the original."""
    figures: dict[str, float | None]
    """Values by metric key."""
    pixels: Pixels


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Versions of one picture to view side by side. The original is the last one."""

    picture: str
    images: list[Shown]


def largest_within(encode: Callable[[int], bytes], size: int, best: int = 95) -> tuple[bytes, int]:
    """The best file of at most `size` bytes, and its quality in 1…`best`.

    If no file is small enough, the smallest file is returned. The caller must report this case.
    File sizes are assumed to increase with quality.
    """
    low, high = 1, best + 1
    data = encode(low)
    while low + 1 < high:
        middle = (low + high) // 2
        candidate = encode(middle)
        if len(candidate) <= size:
            low, data = middle, candidate
        else:
            high = middle
    return data, low


def compare(
    pictures: Sequence[Picture], ours: Baseline, quality: float, timeout: float
) -> list[Comparison]:
    """Compare our file at a quality with rival files of no more bytes and with the original.

    A rival that has no file this small is shown with its smallest file. A codec that fails is left
    out.
    """
    shown = []
    for picture in pictures:
        image = read_again(picture.path)
        images: list[Shown] = []
        with contextlib.suppress(CodecFailed), _Codec(ours, picture, timeout) as codec:
            data = codec.encode(quality)
            images.append(codec.shown(f"quality {quality:g}", data))
            for name in RIVALS:
                with contextlib.suppress(CodecFailed, Unavailable):
                    images.append(_rival(find(name), picture, len(data), timeout))
        images.append(Shown("original", None, {}, _middle(image)))
        shown.append(Comparison(_name(picture), images))
    return shown


class _Codec:
    """A codec in its own process, and one picture."""

    def __init__(self, baseline: Baseline, picture: Picture, timeout: float) -> None:
        baseline.version()  # raises `Unavailable`
        self.label, self.picture = baseline.label, picture
        self._worker = Worker(baseline.name, cores(), timeout)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Codec:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        self._stack.enter_context(self._worker)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def encode(self, setting: float) -> bytes:
        out = self._folder / "file.bin"
        self._worker.ask(encode=str(self.picture.path.resolve()), setting=setting, out=str(out))
        return out.read_bytes()

    def shown(self, what: str, data: bytes) -> Shown:
        file, out = self._folder / "file.bin", self._folder / "pixels.npy"
        file.write_bytes(data)
        self._worker.ask(decode=str(file), out=str(out))
        decoded = np.load(out)
        figures = {
            "bpp": 8 * len(data) / self.picture.pixels,
            **metrics.measure(read_again(self.picture.path), decoded),
        }
        return Shown(f"{self.label}, {what}", len(data), figures, _middle(decoded))


def _rival(rival: Baseline, picture: Picture, size: int, timeout: float) -> Shown:
    with _Codec(rival, picture, timeout) as codec:
        data, quality = largest_within(codec.encode, size)
        return codec.shown(f"quality {quality}" if len(data) <= size else "its smallest file", data)


def _name(picture: Picture) -> str:
    height, width = min(picture.height, SIDE), min(picture.width, SIDE)
    if (height, width) == (picture.height, picture.width):
        return picture.name
    return f"{picture.name}, the middle {width}×{height} of {picture.width}×{picture.height}"


def _middle(image: Pixels) -> Pixels:
    top, left = (max(0, (length - SIDE) // 2) for length in image.shape[:2])
    return image[top : top + SIDE, left : left + SIDE]
