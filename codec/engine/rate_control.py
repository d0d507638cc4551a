"""Rate control: finds the quality level for a target in bytes, bits per pixel or decibels.

The logarithm of the size and the PSNR in decibels rise nearly linearly with the level, so a few
encodes find the level. The first level is a guess from the average photograph. The next ones are
interpolated inside a shrinking bracket. If an encode is a long search, fast encodes find the level
first.
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
"""Maximum number of encodes."""

TOLERANCE = 0.02
"""Relative tolerance of a size, or of the mean squared error for a PSNR: 0.088 dB."""

PSNR_MARGIN = 0.002
"""Decibels added to a PSNR target: a few pixels may differ by one level on other machines."""

# For the average photograph: bits per pixel from 0.07 to 1.9, PSNR from 27 to 41 dB.
_LOG_SIZE_SLOPE = math.log(1.9 / 0.07) / MAX_LEVEL
_PSNR_SLOPE = (41 - 27) / MAX_LEVEL

_STRETCH: dict[Kind, float] = {"bpp": 7.0, "bytes": 7.0, "psnr": 24.0}
"""The factor by which sizes and PSNR rise more steeply at levels with a residual layer."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One encode: level, file and PSNR of the decoded picture (dB; infinite if exact)."""

    level: int
    data: bytes
    psnr: float | None = None
    stored: bool = False
    """Whether the picture was stored losslessly, whatever the level."""

    def describe(self, pixels: int) -> str:
        """Return a description of the result for messages."""
        size = f"{len(self.data)} bytes ({8 * len(self.data) / pixels:.4g} bits per pixel)"
        what = size if self.psnr is None else f"{self.psnr:.2f} dB"
        how = ", stored losslessly" if self.stored else f" at quality {self.level * 100 / MAX_LEVEL:g}"
        return f"{what}{how}"


Encode = Callable[[int, int, Progress], Trial]
"""A function of (level, effort, progress) that encodes and returns the result."""

_FAST_TRIALS = 5
"""Trials, out of MAX_TRIALS, in which the default effort finds the level for a higher effort."""


def psnr(picture: Picture, bands: Iterable[Samples]) -> float:
    """Return the PSNR in dB of `bands`, the decoded rows from the top, against `picture`.

    It is infinite if they are equal. It covers all samples of the colour, except where alpha is 0.
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
    """A target in the unit in which results are linear in the level: log bytes, or decibels."""

    def __init__(self, target: Target, pixels: int, knee: int) -> None:
        self.kind = target.kind
        self.knee, self.stretch = knee, _STRETCH[target.kind]
        if target.kind == "psnr":
            self.goal, self.slope = target.value + PSNR_MARGIN, _PSNR_SLOPE
            self.at_zero, self.slack = 27.0, -10 * math.log10(1 - TOLERANCE)
        else:
            unit = 0.0 if target.kind == "bytes" else math.log(pixels / 8)
            self.goal, self.slope = math.log(target.value) + unit, _LOG_SIZE_SLOPE
            self.at_zero, self.slack = math.log(0.07 * pixels / 8), -math.log(1 - TOLERANCE)

    def position(self, level: float) -> float:
        """Return the level, stretched where there is a residual layer.

        Results are nearly linear in this position.
        """
        return level + (self.stretch - 1) * max(0.0, level - self.knee)

    def level(self, position: float) -> int:
        """Return the level nearest to a position, which may be far outside the range of levels."""
        beyond = max(0.0, position - self.knee)
        return round(min(max(position - beyond + beyond / self.stretch, -2.0 * MAX_LEVEL), 3.0 * MAX_LEVEL))

    def value(self, trial: Trial) -> float:
        if self.kind == "psnr":
            assert trial.psnr is not None
            return trial.psnr
        return math.log(len(trial.data))

    def allowed(self, trial: Trial) -> bool:
        """Return whether the trial has no more bytes, or no fewer decibels, than the target.

        A target in bits per pixel allows both sides.
        """
        if self.kind == "bpp":
            return True
        value = self.value(trial)
        return value >= self.goal if self.kind == "psnr" else value <= self.goal

    def hit(self, trial: Trial) -> bool:
        """Return whether the trial is good enough to stop.

        It must be well within the tolerance, or lossless and no larger than the target size.
        """
        if trial.stored and self.kind != "psnr" and self.value(trial) <= self.goal:
            return True
        return self.allowed(trial) and self.distance(trial) <= self.slack / 2

    def near(self, trial: Trial) -> bool:
        """Return whether the trial is within the tolerance, on the allowed side."""
        return self.allowed(trial) and self.distance(trial) <= self.slack

    def distance(self, trial: Trial) -> float:
        return abs(self.value(trial) - self.goal)

    def first_guess(self) -> int:
        return min(max(self.level((self.goal - self.at_zero) / self.slope), 0), MAX_LEVEL)


def reach(
    target: Target, pixels: int, encode: Encode, effort: int, progress: Progress, knee: int = MAX_LEVEL
) -> tuple[Trial, bool]:
    """Return the best of at most `MAX_TRIALS` encodes, and whether it meets the target.

    If a level reaches the target, the result never has more bytes or fewer decibels than the
    target. If no level does, the result is the nearest end of the range and False. The result is
    within 2 % of the target where levels are fine enough: on either side for bits per pixel, on the
    allowed side for bytes and decibels. Levels above `knee` have a residual layer.
    """
    scale = _Scale(target, pixels, knee)
    # The number of encodes is not known: each takes three fifths of the remaining progress.
    done = 0.0

    def run(level: int) -> Trial:
        nonlocal done
        begin, end = done, done + 0.6 * (1 - done)
        done = end
        return encode(level, effort, lambda share: progress(begin + (end - begin) * share))

    def fast(level: int) -> Trial:
        return encode(level, DEFAULT_EFFORT, lambda share: None)

    if effort <= DEFAULT_EFFORT:
        return _best(scale, _find(scale, scale.first_guess(), scale.slope, run, MAX_TRIALS))
    tried = _find(scale, scale.first_guess(), scale.slope, fast, _FAST_TRIALS)
    guess, slope = min(tried, key=scale.distance).level, _slope(scale, tried)
    safe = any(map(scale.allowed, tried))
    slow = _find(scale, guess, slope, run, MAX_TRIALS - len(tried), safe)
    best, _ = _best(scale, slow)
    # A slow encode that is near enough is better than a fast one that is nearer to the target.
    return (best, True) if scale.near(best) else _best(scale, slow + tried)


def _find(
    scale: _Scale, level: int, slope: float, encode: Callable[[int], Trial], trials: int, safe: bool = False
) -> list[Trial]:
    """Return at most `trials` encodes that approach the goal, starting at `level`.

    Unless `safe` is set, the last one uses the safest remaining level if no earlier one is allowed.
    """
    done: dict[int, Trial] = {}
    below, above = -1, MAX_LEVEL + 1  # levels known or assumed to miss on either side
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
    """Return the level, inside the bracket, at which a line meets the goal.

    The line passes through both ends of the bracket, or through the end nearer to the goal.
    """
    # Aim for the middle of the allowed range, not for its edge.
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
        # Two trials missed on the same side: move at least twice as far as before.
        before = scale.position(last[1]) - scale.position(last[0])
        step = math.copysign(max(abs(step), 2 * abs(before)), step)
    level = scale.level(start + step)
    if len(known) == 2 and not below < level < above:
        return (below + above) // 2
    return min(max(level, below + 1), above - 1)


def _slope(scale: _Scale, trials: list[Trial]) -> float:
    """Return the slope of the last two trials.

    If it is implausible, return that of the average photograph.
    """
    if len(trials) >= 2:
        a, b = trials[-2:]
        rise = scale.value(b) - scale.value(a)
        run = scale.position(b.level) - scale.position(a.level)
        if math.isfinite(rise) and rise / run > scale.slope / 4:
            return rise / run
    return scale.slope


def _best(scale: _Scale, trials: list[Trial]) -> tuple[Trial, bool]:
    """Return the best trial, and whether it meets the target.

    The best trial is the allowed one nearest to the goal, or the nearest of all if none is allowed.
    """
    allowed = [trial for trial in trials if scale.allowed(trial)]
    best = min(allowed or trials, key=scale.distance)
    return best, bool(allowed) and (scale.kind != "bpp" or scale.near(best))
