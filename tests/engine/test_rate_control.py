"""Targets are reached within 2 %, on the correct side, with at most eight encodes."""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import codec
from codec.cli.main import main
from codec.engine import encoding, rate_control
from codec.engine.goal import Kind, Target
from codec.engine.rate_control import MAX_TRIALS, Trial, reach
from codec.pictures.picture import to_picture
from codec.training.data import read_rgb
from tests.support.pictures import SAMPLES, Pixels, noise


@pytest.fixture(scope="module")
def photo() -> Pixels:
    return read_rgb(SAMPLES / "mountains.jpg")[:240, :320]


@pytest.fixture
def trials(tiny: codec.Codec, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """List of the levels at which the tiny codec encodes."""
    levels: list[int] = []
    encode = encoding.encode_pictures

    def counted(model: Any, pictures: Any, level: int, **options: Any) -> list[bytes]:
        levels.append(level)
        return encode(model, pictures, level, **options)

    monkeypatch.setattr(encoding, "encode_pictures", counted)
    yield levels
    assert len(levels) <= MAX_TRIALS


def psnr(a: Pixels, b: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b).mean()))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
@pytest.mark.parametrize("effort", [3, 4])
def test_sizes(tiny: codec.Codec, photo: Pixels, trials: list[int], share: float, effort: int) -> None:
    low, high = (len(tiny.compress(photo, quality=quality)) for quality in (0, 100))
    trials.clear()
    size = round(low * (high / low) ** share)
    data = tiny.compress(photo, target_bytes=size, effort=effort)
    assert 0.98 * size <= len(data) <= size
    assert len(trials) <= MAX_TRIALS
    trials.clear()
    bpp = 8 * size / photo[:, :, 0].size
    data = tiny.compress(photo, target_bpp=bpp, effort=effort)
    assert abs(codec.inspect(data).bits_per_pixel / bpp - 1) <= 0.02


@pytest.mark.parametrize(("share", "effort"), [(0.02, 2), (0.5, 2), (0.98, 2), (0.5, 4)])
@pytest.mark.parametrize("gray", [False, True])
def test_psnr(trained_for_mse: codec.Codec, photo: Pixels, share: float, effort: int, gray: bool) -> None:
    worker, image = trained_for_mse, photo[:128, :160, 1] if gray else photo[:128, :160]
    low, high = (psnr(image, worker.decompress(worker.compress(image, quality=q))) for q in (0, 100))
    goal = low + share * (high - low)
    reached = psnr(image, worker.decompress(worker.compress(image, target_psnr=goal, effort=effort)))
    assert goal <= reached <= goal + 0.09


def test_out_of_reach(tiny: codec.Codec, photo: Pixels) -> None:
    with pytest.raises(codec.TargetUnreachable, match=r"cannot reach 30 bytes: .* at quality 0"):
        tiny.compress(photo, target_bytes=30)
    with pytest.warns(codec.TargetMissed, match=r"cannot reach 0.001 bits per pixel"):
        data = tiny.compress(photo, target_bpp=0.001)
    assert codec.inspect(data).quality_limit == "lowest"
    with pytest.warns(codec.TargetMissed, match=r"cannot reach 70 dB: .* at quality 100"):
        data = tiny.compress(photo, target_psnr=70)
    assert codec.inspect(data).quality_limit == "highest"
    assert codec.inspect(tiny.compress(photo, quality=50)).quality_limit is None


def test_more_than_is_needed(tiny: codec.Codec, photo: Pixels) -> None:
    """A file below its size limit or a picture above its target gives no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = tiny.compress(photo, target_bytes=10**9)
        assert codec.inspect(data).quality == 100
        data = tiny.compress(photo, target_psnr=3)
        assert codec.inspect(data).quality == 0


def test_stored_pictures(tiny: codec.Codec, trials: list[int]) -> None:
    """The size of stored pictures does not depend on the level, and their PSNR is infinite."""
    flat = np.full((64, 64, 3), 7, np.uint8)
    data = tiny.compress(flat, target_psnr=60)
    assert np.array_equal(tiny.decompress(data), flat)
    trials.clear()
    with pytest.warns(codec.TargetMissed, match="stored losslessly"):
        tiny.compress(flat, target_bpp=5)
    assert len(trials) == 1  # no other level can be better than lossless
    trials.clear()
    with pytest.raises(codec.TargetUnreachable):
        tiny.compress(noise(16, 16), target_bytes=36)


@pytest.mark.parametrize("options", [
    {"quality": 50, "target_bpp": 1}, {"target_bytes": 100, "target_psnr": 30},
    {"target_bpp": 0}, {"target_bytes": -5}, {"target_psnr": math.nan}, {"target_bpp": math.inf},
    {"target_psnr": 1e308}, {"target_bytes": 10**400},
])
def test_wrong_values(tiny: codec.Codec, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"target|give only one of"):
        tiny.compress(np.zeros((4, 4), np.uint8), **options)


@pytest.mark.parametrize("options", [{"target_bpp": "1"}, {"target_bytes": True}, {"target_psnr": 1j}])
def test_wrong_types(tiny: codec.Codec, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="target"):
        tiny.compress(np.zeros((4, 4), np.uint8), **options)


@pytest.mark.parametrize("curve", ["steep", "flat", "stairs", "late"])
@pytest.mark.parametrize("goal", [40, 900, 5000, 30000])
@pytest.mark.parametrize("effort", [3, 9])
def test_odd_curves(curve: str, goal: int, effort: int) -> None:
    """With any curve, the trials are limited, and no file is too large if a small one exists."""
    shapes: dict[str, Callable[[int], int]] = {
        "steep": lambda n: 20 + n**2 // 30,
        "flat": lambda n: 1000 + n // 50,
        "stairs": lambda n: 100 * 2 ** (n // 128),
        "late": lambda n: 100 + (0 if n < 1000 else 40 * (n - 1000) ** 2),
    }
    size = shapes[curve]
    asked: list[tuple[int, int]] = []

    def encode(level: int, at: int, progress: Any) -> Trial:
        assert 0 <= level <= 1024
        asked.append((level, at))
        return Trial(level, bytes(size(level)))

    best, reached = reach(Target("bytes", goal), 10_000, encode, effort, lambda share: None)
    assert len(asked) <= MAX_TRIALS
    assert len(set(asked)) == len(asked)
    assert reached == (len(best.data) <= goal) == (size(0) <= goal)


def random_curve(rng: random.Random) -> Callable[[float], float]:
    """Return a rising curve from 0…1 to about 0…1 that is bent and slightly noisy."""
    bend, salt = rng.uniform(-0.3, 0.3), rng.random()
    return lambda t: t + bend * t * (1 - t) + 5e-4 * math.sin(1e4 * (t + salt))


@pytest.mark.parametrize("kind", ["bytes", "bpp", "psnr"])
@pytest.mark.parametrize("effort", [3, 9])
def test_random_curves(kind: Kind, effort: int) -> None:
    """Targets within reach are reached, even if a higher effort shifts the whole curve."""
    rng = random.Random(0)
    pixels, missed = 100_000, 0
    for _ in range(300):
        curve, span, low = random_curve(rng), rng.uniform(1.5, 4), rng.uniform(6, 8)
        shift = rng.uniform(-0.05, 0.02)

        def encode(level: int, at: int, progress: Any) -> Trial:
            value = curve(level / 1024) + (shift if at > 3 else 0)  # noqa: B023
            size = round(math.exp(low + span * value))  # noqa: B023
            return Trial(level, bytes(size), 26 + 14 * value)

        goal = encode(rng.randint(60, 960), effort, None)
        value = {"bytes": len(goal.data), "bpp": 8 * len(goal.data) / pixels, "psnr": goal.psnr}[kind]
        assert value is not None
        best, reached = reach(Target(kind, value), pixels, encode, effort, lambda share: None)
        assert reached
        if kind == "psnr":
            assert best.psnr is not None
            assert best.psnr >= value
            missed += best.psnr > value + 0.09
        else:
            off = len(best.data) / len(goal.data) - 1
            assert kind == "bpp" or off <= 0
            missed += abs(off) > 0.0205
    assert missed <= 2


@pytest.mark.parametrize(("slope", "stored_from"), [(0.008, 800), (0.0137, 500), (0.02, 300), (0.03, 250)])
def test_psnr_of_pictures_that_are_stored_at_high_quality(slope: float, stored_from: int) -> None:
    def encode(level: int, at: int, progress: Any) -> Trial:
        psnr = 30 + slope * level if level < stored_from else math.inf
        return Trial(level, b"", psnr, level >= stored_from)

    for goal in np.linspace(30.1, 30 + slope * (stored_from - 12), 20):
        best, reached = reach(Target("psnr", float(goal)), 1000, encode, 3, lambda share: None)
        assert reached
        assert best.psnr is not None
        assert goal <= best.psnr <= goal + 0.09


@pytest.mark.parametrize(("kind", "value"), [("psnr", 1e11), ("bpp", 1e-320), ("bytes", 1e12), ("bpp", 1e12)])
def test_absurd_values_do_not_overflow(kind: Kind, value: float) -> None:
    def encode(level: int, at: int, progress: Any) -> Trial:
        return Trial(level, bytes(100 + level), 30 + level / 100)

    reach(Target(kind, value), 1, encode, 3, lambda share: None)


def test_progress_rises_to_one(tiny: codec.Codec, photo: Pixels) -> None:
    shares: list[float] = []
    tiny.compress(photo[:64, :64], target_bpp=0.3, effort=4, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_psnr_of_equal_pictures_is_infinite(photo: Pixels) -> None:
    assert rate_control.psnr(to_picture(photo), [photo]) == math.inf


def test_command_line(tiny_weights: Path, photo: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["compress", str(path), "-f", "-m", str(tiny_weights), *arguments])

    assert run("--target-bytes", "3000", "-e", "4").exit_code == 0
    assert 2940 <= path.with_suffix(".cae").stat().st_size <= 3000
    result = run("--target-bytes", "9")
    assert result.exit_code == 1
    assert "cannot reach" in result.stderr
    assert path.with_suffix(".cae").stat().st_size > 2900  # the old file remains
    result = run("--target-psnr", "80")
    assert result.exit_code == 0
    assert "cannot reach 80 dB" in result.stderr
    shown = CliRunner().invoke(main, ["info", str(path.with_suffix(".cae"))])
    assert "quality 100 (the highest)" in shown.stdout
    about = CliRunner().invoke(main, ["info", "--json", str(path.with_suffix(".cae"))])
    assert json.loads(about.stdout)["quality_limit"] == "highest"
    for arguments in (("-q", "3", "--target-bpp", "1"), ("--target-bpp", "-1"), ("-e", "0"), ("-e", "ten")):
        assert run(*arguments).exit_code == 2
