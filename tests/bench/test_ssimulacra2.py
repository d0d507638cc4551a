"""SSIMULACRA2 agrees with the reference, and the unchanged package does not."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import ssimulacra2 as package
from PIL import Image

from bench.suite.ssimulacra2 import score
from codec.training.ssimulacra2 import TAPS
from tests.support.pictures import Pixels
from tests.support.ssimulacra2_cases import PAIRS, REFERENCE, digest, distorted, picture

CASES: list[dict[str, Any]] = json.loads(REFERENCE.read_text(encoding="utf-8"))["cases"]
ODD = [case for case in CASES if case["picture"] == "drawn 131×199"]


def tolerance(reference: float) -> float:
    """Return the score difference that rounding in the reference may cause.

    The reference blurs recursively in float32. Its rounding errors count as distortion where there
    is little other distortion. The blur here is exact. Over these pairs and 24 decoded JPEG and
    WebP files of 640×480, it scored at most 0.04 more below 70 and 0.36 more above. With the
    float32 recursion of the reference, including fused multiply-adds, all of these pairs agreed
    within 0.04.
    """
    return 0.1 if reference < 70 else 0.5


def as_it_is(original: Pixels, decoded: Pixels) -> float:
    files = [io.BytesIO(), io.BytesIO()]
    for file, pixels in zip(files, (original, decoded), strict=True):
        Image.fromarray(pixels).save(file, "PNG")
    return float(package.compute_ssimulacra2(*files))


def pair(case: dict[str, Any]) -> tuple[Pixels, Pixels]:
    original = picture(case["picture"])
    return original, distorted(original, case["distortion"])


def name(case: dict[str, Any]) -> str:
    return f"{case['picture']}, {case['distortion']}"


def test_reference_has_every_pair() -> None:
    assert [(case["picture"], case["distortion"]) for case in CASES] == list(PAIRS)


@pytest.mark.parametrize("case", [case for case in CASES if "sha256" in case], ids=name)
def test_drawn_pictures_are_those_that_were_scored(case: dict[str, Any]) -> None:
    assert digest(*pair(case)) == case["sha256"]


@pytest.mark.parametrize("case", CASES, ids=name)
def test_score_agrees_with_the_reference(case: dict[str, Any]) -> None:
    reference = case["reference"]
    assert score(*pair(case)) == pytest.approx(reference, abs=tolerance(reference))


def test_taps_are_normalised() -> None:
    taps = np.array(TAPS)
    assert taps.sum() == pytest.approx(1, abs=1e-15)
    assert taps @ np.arange(-4, 5) ** 2 == pytest.approx(1.5**2, abs=1e-14)


def test_sides_count_alike() -> None:
    """Height and width are treated alike. The package pads only one axis."""
    original, decoded = pair(ODD[0])
    turned = score(original.swapaxes(0, 1), decoded.swapaxes(0, 1))
    assert turned == pytest.approx(score(original, decoded), abs=0.01)


def test_identical_pictures_score_100() -> None:
    image, _ = pair(ODD[0])
    assert score(image, image.copy()) == 100


def test_package_as_it_is_still_needs_mending() -> None:
    """The package (version 0.3.0) is 9 points off for these pairs.

    If this test fails, the package has changed. Check whether it can then be used unchanged.
    """
    for case in ODD:
        assert abs(as_it_is(*pair(case)) - case["reference"]) > 5
