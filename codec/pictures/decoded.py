"""What a reader finds in a picture file, and the choice of its bands."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import InvalidImage, LimitExceeded
from codec.format.header import Source
from codec.format.metadata import Metadata
from codec.limits import Limits
from codec.pictures.picture import Lazy


@dataclasses.dataclass
class Decoded:
    """The samples of a picture file, before bands are chosen, and what belongs to them."""

    samples: Lazy
    """H×W×C, uint8 or uint16."""
    depth: int | None = None
    """Bits per sample that the file states, if they are more than eight."""
    source: Source = Source.NONE
    metadata: Metadata = dataclasses.field(default_factory=Metadata)
    lost: list[str] = dataclasses.field(default_factory=list)
    """Pictures and parts of the picture that the file holds and the result does not."""
    lost_metadata: list[str] = dataclasses.field(default_factory=list)
    """What the file says beside its pixels and `metadata` does not."""
    depth_is_stated: bool = True
    """Whether `depth` follows from the picture, and not merely from the width of its samples."""


@dataclasses.dataclass(frozen=True)
class _Chosen:
    """Some bands of samples, which are read on access."""

    samples: Lazy
    bands: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.samples.shape[:2], len(self.bands))

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.samples.dtype

    def __getitem__(self, slices: tuple[slice, slice], /) -> NDArray[Any]:
        return self.samples[slices][:, :, list(self.bands)]


def check_bands(bands: Iterable[int] | None) -> tuple[int, ...] | None:
    """Return band numbers from 0 on. Raises `TypeError` or `ValueError` for what is no choice."""
    if bands is None:
        return None
    chosen = tuple(bands)
    if not all(isinstance(band, (int, np.integer)) and not isinstance(band, bool) for band in chosen):
        raise TypeError(f"bands must be integers, not {chosen}")
    if not 1 <= len(chosen) <= 4:
        raise ValueError(f"bands must name 1 to 4 bands, not {len(chosen)}")
    if min(chosen) < 1:
        raise ValueError(f"bands are counted from 1, so {min(chosen)} is no band")
    return tuple(int(band) - 1 for band in chosen)


def choose(decoded: Decoded, bands: Sequence[int] | None) -> Decoded:
    """Return `decoded` with only these bands, counted from 0; without a choice, with all of them.

    Raises `ValueError` for a band that the picture does not have, and `InvalidImage` for a picture
    of more than four bands without a choice.
    """
    count = decoded.samples.shape[2]
    if bands is None:
        if count > 4:
            raise too_many(count)
        return decoded
    if max(bands) >= count:
        have = "1 band" if count == 1 else f"{count} bands"
        raise ValueError(f"the picture has {have}, so there is no band {max(bands) + 1}")
    source = decoded.source
    if len(bands) in (1, 3):  # without alpha
        source = {
            Source.TRANSPARENT_PALETTE: Source.PALETTE, Source.TRANSPARENT_COLOUR: Source.NONE,
        }.get(source, source)
    return dataclasses.replace(decoded, samples=_Chosen(decoded.samples, tuple(bands)), source=source)


def check_size(height: int, width: int, bands: int, limits: Limits) -> None:
    """Raise `LimitExceeded` for a picture that is too large, or has too many bands for its size."""
    limits.check(height, width)
    if height * width * bands > 4 * limits.max_pixels:
        raise LimitExceeded(
            f"{bands} bands of {height}×{width} pixels are over the limit of {limits.max_pixels} pixels of 4 "
            "bands"
        )


def too_many(count: int, what: str = "") -> InvalidImage:
    """Return the error for a picture of `count` bands of which none are chosen."""
    example = "bands=(1, 2, 3) or --bands 1,2,3" if count > 2 else "bands=(1,) or --bands 1"
    return InvalidImage(f"the picture has {count} bands{what}: choose those to keep, for example {example}")
