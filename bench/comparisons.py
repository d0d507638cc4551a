"""The same picture in the same number of bytes: ours, JPEG and AVIF beside the original."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from . import metrics
from .baselines import Baseline, Unavailable, find
from .measure import cores
from .pictures import Picture, read_again

Pixels = NDArray[np.uint8]

RIVALS = ("jpeg", "avif")
SIDE = 1024
"""A larger picture is shown as its middle; bytes and figures are those of the whole."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """One picture of a comparison: what a codec made of it, or the original."""

    label: str
    bytes: int | None
    """None for the original."""
    figures: dict[str, float | None]
    """By key of metric."""
    pixels: Pixels


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Versions of one picture to look at side by side; the original is the last."""

    picture: str
    images: list[Shown]


def largest_within(encode: Callable[[int], bytes], size: int, best: int = 95) -> tuple[bytes, int]:
    """The best file of at most `size` bytes, and its quality in 1…`best`.

    If none is small enough, the smallest: the caller must say so. Sizes are taken to rise with quality.
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


def compare(pictures: Sequence[Picture], ours: Baseline, quality: float) -> list[Comparison]:
    """Each picture as our file at a quality, as its rivals of no more bytes, and as it was."""
    encode, decode = ours.start(cores())
    shown = []
    for picture in pictures:
        image = read_again(picture.path)
        data = encode(image, quality)
        images = [_shown(f"{ours.label}, quality {quality:g}", image, data, decode(data))]
        images += [item for name in RIVALS if (item := _rival(find(name), image, len(data)))]
        images.append(Shown("original", None, {}, _middle(image)))
        shown.append(Comparison(picture.name, images))
    return shown


def _rival(rival: Baseline, image: Pixels, size: int) -> Shown | None:
    try:
        encode, decode = rival.start(cores())
    except Unavailable:
        return None
    data, quality = largest_within(functools.partial(encode, image), size)
    what = f"quality {quality}" if len(data) <= size else "its smallest"
    return _shown(f"{rival.label}, {what}", image, data, decode(data))


def _shown(label: str, image: Pixels, data: bytes, decoded: Pixels) -> Shown:
    bpp = 8 * len(data) / (image.shape[0] * image.shape[1])
    return Shown(label, len(data), {"bpp": bpp, **metrics.measure(image, decoded)}, _middle(decoded))


def _middle(image: Pixels) -> Pixels:
    top, left = (max(0, (length - SIDE) // 2) for length in image.shape[:2])
    return image[top : top + SIDE, left : left + SIDE]
