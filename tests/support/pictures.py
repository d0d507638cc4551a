"""Pictures for tests. They are computed with integers, so they are the same on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SAMPLES = Path(__file__).parents[2] / "bench" / "samples"

Pixels = NDArray[np.uint8]


def textured(height: int, width: int, seed: int = 0) -> Pixels:
    """Smooth colours with edges and some noise, H×W×3, as a substitute for a photograph."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    red = (rows * 3 + columns * 2 + 40 * seed) % 256
    green = np.abs((rows * columns // 16 + 31 * seed) % 510 - 255)
    blue = np.where((rows // 11 + columns // 7) % 2, 60, 190)
    noise = rng.integers(-12, 13, (height, width, 3))
    return np.clip(np.stack([red, green, blue], -1) + noise, 0, 255).astype(np.uint8)


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    """Incompressible white noise, H×W×3."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
