"""Targets in bytes, bits per pixel or decibels: which quality level reaches them.

Sizes and PSNR rise with the level, nearly evenly in log size and in decibels, so a few encodes find
the level: a guess from the average photograph, then interpolation inside a shrinking bracket.
Where an encode is a long search, a fast one finds the level first.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

import numpy as np

from codec.coding.effort import DEFAULT_EFFORT, Progress
from codec.engine.goal import Kind, Target
from codec.format.header import MAX_LEVEL
from codec.format.tiling import Box
from codec.pictures.picture import Picture, Samples

MAX_TRIALS = 8
"""Encodes at most."""

TOLERANCE = 0.02
"""Of a size, relative; of a PSNR, in mean squared error: 0.086 dB."""

PSNR_MARGIN = 0.002
"""Decibels beyond the target that are asked for: on other machines a few pixels may differ by one level."""

# The average photograph: bits per pixel from 0.07 to 1.9, PSNR from 27 to 41 dB.
_LOG_SIZE_SLOPE = math.log(1.9 / 0.07) / MAX_LEVEL
_PSNR_SLOPE = (41 - 27) / MAX_LEVEL

_STRETCH: dict[Kind, float] = {"bpp": 7.0, "bytes": 7.0, "psnr": 24.0}
"""How much steeper sizes and PSNR rise where there is a residual layer."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One encode: its level, its file and the PSNR of what it decodes to (dB; infinite if exact)."""

    level: int
    data: bytes
    psnr: float | None = None
    stored: bool = False
    """Whether the picture was stored losslessly, whatever the level."""

    def describe(self, pixels: int) -> str:
        """What came out, for messages."""
        size = f"{len(self.data)} bytes ({8 * len(self.data) / pixels:.4g} bits per pixel)"
        what = size if self.psnr is None else f"{self.psnr:.2f} dB"
        how = "stored losslessly" if self.stored else f"at quality {self.level * 100 / MAX_LEVEL:g}"
        return f"{what} {how}"


Encode = Callable[[int, int, Progress], Trial]
"""(level, effort, progress) to the encode's result."""

_FAST_TRIALS = 5
"""Of the MAX_TRIALS, where the default effort finds the level for a higher one."""


def psnr(picture: Picture, bands: Iterable[Samples]) -> float:
    """Decibels of `bands`, the decoded rows from the top, against `picture`; infinite if they are equal.

    Over all samples of the colour where it shows: where alpha is 0 it does not count.
    """
    squares, count, row, channels = 0, 0, 0, picture.channels
    for band in bands:
        original = picture.read(Box(row, 0, row + len(band), picture.width))
        row += len(band)
        error = original[:, :, :channels].astype(np.int64) - band[:, :, :channels]
        if picture.has_alpha:
            error = error[original[:, :, channels] > 0]
        squares += int(np.sum(np.square(error)))
        count += error.size
    return 10 * math.log10(picture.full**2 * count / squares) if squares else math.inf


class _Scale:
    """A target in the unit in which results are even in the level: log bytes, or decibels."""

    def __init__(self, target: Target, pixels: int, knee: int) -> None:
        self.kind = target.kind
        self.knee, self.stretch = knee, _STRETCH[target.kind]
        if target.kind == "psnr":
            self.goal, self.slope = float(target.value) + PSNR_MARGIN, _PSNR_SLOPE
            self.at_zero, self.slack = 27.0, -10 * math.log10(1 - TOLERANCE)
        else:
            unit = 0.0 if target.kind == "bytes" else math.log(pixels / 8)
            self.goal, self.slope = math.log(target.value) + unit, _LOG_SIZE_SLOPE
            self.at_zero, self.slack = math.log(0.07 * pixels / 8), -math.log(1 - TOLERANCE)

    def position(self, level: float) -> float:
        """The level, stretched where the residual layer is: results are nearly even in it."""
        return level + (self.stretch - 1) * max(0.0, level - self.knee)

    def level(self, position: float) -> int:
        """The level nearest to a position, however far out."""
        beyond = max(0.0, position - self.knee)
        return round(min(max(position - beyond + beyond / self.stretch, -2.0 * MAX_LEVEL), 3.0 * MAX_LEVEL))

    def value(self, trial: Trial) -> float:
        if self.kind == "psnr":
            assert trial.psnr is not None
            return trial.psnr
        return math.log(len(trial.data))

    def allowed(self, trial: Trial) -> bool:
        """Never more bytes than asked for, never fewer decibels; bits per pixel go either way."""
        if self.kind == "bpp":
            return True
        value = self.value(trial)
        return value >= self.goal if self.kind == "psnr" else value <= self.goal

    def hit(self, trial: Trial) -> bool:
        """Good enough to stop: well within the tolerance, or exact and no larger than it may be."""
        if trial.stored and self.kind != "psnr" and self.value(trial) <= self.goal:
            return True
        return self.allowed(trial) and self.distance(trial) <= self.slack / 2

    def near(self, trial: Trial) -> bool:
        """Within the tolerance, on the side that is allowed."""
        return self.allowed(trial) and self.distance(trial) <= self.slack

    def distance(self, trial: Trial) -> float:
        return abs(self.value(trial) - self.goal)

    def first_guess(self) -> int:
        return min(max(self.level((self.goal - self.at_zero) / self.slope), 0), MAX_LEVEL)


def reach(
    target: Target, pixels: int, encode: Encode, effort: int, progress: Progress, knee: int = MAX_LEVEL
) -> tuple[Trial, bool]:
    """The best of at most `MAX_TRIALS` encodes, and whether it is what was asked for.

    Bytes are never exceeded and decibels never missed where a level reaches them; if none does, the
    nearest end of the range comes back with False. Bits per pixel come within 2 %, as do the
    others on their side of the target, where levels are that fine. Levels over `knee` have a residual layer.
    """
    scale = _Scale(target, pixels, knee)
    done = 0.0  # how many encodes follow is not known: each takes three fifths of the progress left

    def run(level: int, at: int) -> Trial:
        nonlocal done
        begin, end = done, done + 0.6 * (1 - done)
        done = end
        return encode(level, at, lambda share: progress(begin + (end - begin) * share))

    def fast(level: int) -> Trial:
        return encode(level, min(effort, DEFAULT_EFFORT), lambda share: None)

    if effort <= DEFAULT_EFFORT:
        tried = _find(scale, scale.first_guess(), scale.slope, lambda n: run(n, effort), MAX_TRIALS)
        return _best(scale, tried)
    tried = _find(scale, scale.first_guess(), scale.slope, fast, _FAST_TRIALS)
    guess, slope = min(tried, key=scale.distance).level, _slope(scale, tried)
    safe = any(map(scale.allowed, tried))
    slow = _find(scale, guess, slope, lambda n: run(n, effort), MAX_TRIALS - len(tried), safe)
    best, _ = _best(scale, slow)
    # A fast encode may be nearer to the target, but is worse than a slow one that is near enough.
    return (best, True) if scale.near(best) else _best(scale, slow + tried)


def _find(
    scale: _Scale,
    level: int,
    slope: float,
    encode: Callable[[int], Trial],
    trials: int,
    safe: bool = False,
) -> list[Trial]:
    """Encodes that close in on the goal from `level` on, at most `trials`.

    Unless `safe`, the last one is the safest that is left if none was allowed before.
    """
    done: dict[int, Trial] = {}
    below, above = -1, MAX_LEVEL + 1  # levels known, or taken, to miss on either side
    while len(done) < trials:
        trial = done[level] = encode(level)
        if scale.hit(trial):
            break
        if scale.value(trial) < scale.goal:
            below = level
        else:
            above = level
        if above - below <= 1:
            break
        level = _next_level(scale, done, slope, below, above)
        if not safe and len(done) == trials - 1 and not any(map(scale.allowed, done.values())):
            level = below + 1 if scale.kind == "bytes" else above - 1
    return list(done.values())


def _next_level(scale: _Scale, done: dict[int, Trial], slope: float, below: int, above: int) -> int:
    """Where a line through the bracket's ends, or the nearer of them, meets the goal; inside the bracket."""
    # Aim for the middle of what is allowed, not for its edge.
    aim = scale.goal + {"psnr": 0.25, "bytes": -0.25, "bpp": 0.0}[scale.kind] * scale.slack
    known = [(n, scale.value(done[n])) for n in (below, above) if n in done]
    ends = [(scale.position(n), value) for n, value in known if math.isfinite(value)]
    if not ends:  # stored pictures have an infinite PSNR
        return (below + above) // 2
    if len(ends) == 2 and ends[1][1] > ends[0][1]:
        slope = (ends[1][1] - ends[0][1]) / (ends[1][0] - ends[0][0])
    elif len(done) > 1:
        slope = _slope(scale, list(done.values()))
    start, value = min(ends, key=lambda end: abs(end[1] - aim))
    step = (aim - value) / slope
    last = list(done)[-2:]
    if len(last) == 2 and (max(last) <= below or min(last) >= above):
        # Twice on the same side: go at least twice as far as before.
        before = scale.position(last[1]) - scale.position(last[0])
        step = math.copysign(max(abs(step), 2 * abs(before)), step)
    level = scale.level(start + step)
    if len(known) == 2 and not below < level < above:
        return (below + above) // 2
    return min(max(level, below + 1), above - 1)


def _slope(scale: _Scale, trials: list[Trial]) -> float:
    """Of the two trials made last, or the average photograph's where that makes no sense."""
    if len(trials) >= 2:
        a, b = trials[-2:]
        rise = scale.value(b) - scale.value(a)
        run = scale.position(b.level) - scale.position(a.level)
        if math.isfinite(rise) and rise / run > scale.slope / 4:
            return rise / run
    return scale.slope


def _best(scale: _Scale, trials: list[Trial]) -> tuple[Trial, bool]:
    """The allowed trial nearest to the goal, or the nearest of all; and whether it is what was asked for."""
    allowed = [trial for trial in trials if scale.allowed(trial)]
    best = min(allowed or trials, key=scale.distance)
    return best, bool(allowed) and (scale.kind != "bpp" or scale.near(best))
