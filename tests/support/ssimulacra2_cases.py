"""Pairs of pictures whose SSIMULACRA2 scores are in `bench/reference/ssimulacra2.json`.

    python -m tests.support.ssimulacra2_cases PROGRAM

The program scores the pairs again with the `ssimulacra2` of libjxl and writes that file. The
pictures are computed with integers, so they do not depend on the version of an encoder. Only the
crops of the sample photographs depend on the JPEG decoder. They may differ by one level in places.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.pictures import SAMPLES, Pixels

REFERENCE = Path(__file__).parents[2] / "bench" / "reference" / "ssimulacra2.json"

SOURCE = (
    "ssimulacra2 of libjxl 0.11.2 (metric version 2.1 of April 2023): Debian 13 (trixie), package "
    "libjxl-devtools 0.11.2-0.1~deb13u3, amd64. Both pictures are given to it as PNG without a "
    "colour profile."
)
REPEAT = "python -m tests.support.ssimulacra2_cases ssimulacra2"

Integers = NDArray[np.int64]


def _hashed(rows: Integers, columns: Integers, seed: int) -> Integers:
    """Hash the coordinates to 0…255. The stream of a random generator could change."""
    value = (rows * 73856093) ^ (columns * 19349663) ^ (seed * 83492791)
    for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39)):
        value = (value ^ (value >> shift)) * factor & 0xFFFFFFFF
    return (value >> 8) & 255


def _pixels(levels: Integers) -> Pixels:
    return np.clip(levels, 0, 255).astype(np.uint8)


def drawn(height: int, width: int) -> Pixels:
    """Gradients with patches of several sizes, and grain that increases to the right."""
    rows, columns = np.mgrid[:height, :width].astype(np.int64)
    planes = []
    for channel, (across, down) in enumerate(((90, 60), (70, 100), (110, 40))):
        plane = 40 + across * columns // width + down * rows // height
        for side, depth in ((32, 60), (8, 24)):
            cells = rows // side, columns // side
            patch = _hashed(*cells, side) + _hashed(*cells, channel)
            plane = plane + depth * (patch - 256) // 512
        grain = _hashed(rows, columns, 100) * 3 + _hashed(rows, columns, 200 + channel) - 512
        planes.append(plane + 24 * columns * grain // (512 * width))
    return _pixels(np.stack(planes, -1))


def quantised(image: Pixels, step: int) -> Pixels:
    """Replace each sample with the middle of its quantization step."""
    return _pixels(image.astype(np.int64) // step * step + step // 2)


def patterned(image: Pixels, depth: int) -> Pixels:
    """Add a checkerboard of ±depth."""
    places: Integers = np.indices((*image.shape[:2], 1), np.int64).sum(0)
    return _pixels(image + depth * (places % 2 * 2 - 1))


def box_blurred(image: Pixels, radius: int) -> Pixels:
    """Rounded mean of a square window, with repeated borders."""
    side = 2 * radius + 1
    padded = np.pad(image.astype(np.int64), ((radius, radius), (radius, radius), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (0, 1))
    return _pixels((windows.sum((-2, -1)) + side * side // 2) // side**2)


def averaged(image: Pixels, side: int) -> Pixels:
    """Replace each block with its rounded mean."""
    height, width = image.shape[:2]
    padded = np.pad(image.astype(np.int64), ((0, -height % side), (0, -width % side), (0, 0)), "edge")
    blocks = padded.reshape(padded.shape[0] // side, side, padded.shape[1] // side, side, 3)
    means: Integers = (blocks.sum((1, 3)) + side * side // 2) // side**2
    return _pixels(means.repeat(side, 0).repeat(side, 1)[:height, :width])


def coarse_colour(image: Pixels, side: int) -> Pixels:
    """Average red minus green and blue minus green in blocks, as chroma subsampling does.

    Green does not change.
    """
    green = image[..., 1:2].astype(np.int64)
    halved = averaged(_pixels((image.astype(np.int64) - green) // 2 + 128), side)
    return _pixels(green + (halved.astype(np.int64) - 128) * 2)


DISTORTIONS: dict[str, tuple[Callable[[Pixels, int], Pixels], int]] = {
    "checkerboard of 2 levels": (patterned, 2),
    "checkerboard of 6 levels": (patterned, 6),
    "quantised by 8": (quantised, 8),
    "quantised by 16": (quantised, 16),
    "quantised by 32": (quantised, 32),
    "colour in blocks of 4": (coarse_colour, 4),
    "blocks of 2": (averaged, 2),
    "blocks of 3": (averaged, 3),
    "box blur of 3": (box_blurred, 1),
}

PAIRS = (
    ("drawn 256×320", "checkerboard of 2 levels"),
    ("drawn 256×320", "checkerboard of 6 levels"),
    ("drawn 256×320", "quantised by 8"),
    ("drawn 256×320", "quantised by 16"),
    ("drawn 256×320", "quantised by 32"),
    ("drawn 256×320", "colour in blocks of 4"),
    ("drawn 256×320", "blocks of 2"),
    ("drawn 256×320", "box blur of 3"),
    # With this size, the last of the six scales has fewer than 8 pixels, and every side that is
    # halved is odd.
    ("drawn 131×199", "quantised by 16"),
    ("drawn 131×199", "blocks of 2"),
    ("mountains 256×320 at row 100, column 200", "quantised by 32"),
    ("mountains 256×320 at row 100, column 200", "blocks of 2"),
    ("brushes 256×320 at row 100, column 200", "blocks of 3"),
    ("dandelions 256×320 at row 100, column 200", "box blur of 3"),
)


def picture(name: str) -> Pixels:
    """Return the undistorted picture with this name."""
    source, _, rest = name.partition(" ")
    height, width = (int(side) for side in rest.split(" ")[0].split("×"))
    if source == "drawn":
        return drawn(height, width)
    with Image.open(SAMPLES / f"{source}.jpg") as image:
        return np.asarray(image.convert("RGB"))[100 : 100 + height, 200 : 200 + width].copy()


def distorted(image: Pixels, name: str) -> Pixels:
    """Return the picture with the distortion that has this name."""
    distort, amount = DISTORTIONS[name]
    return distort(image, amount)


def digest(*images: Pixels) -> str:
    """Return a digest that shows whether this machine drew the same pictures."""
    return hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()


def _score(program: str, folder: Path, images: tuple[Pixels, Pixels]) -> float:
    paths = [folder / "original.png", folder / "distorted.png"]
    for path, pixels in zip(paths, images, strict=True):
        Image.fromarray(pixels).save(path)
    done = subprocess.run([program, *map(str, paths)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@click.command()
@click.argument("program")
def main(program: str) -> None:
    """Score the pairs with PROGRAM and write the reference file."""
    cases: list[dict[str, str | float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, distortion in PAIRS:
            original = picture(name)
            images = (original, distorted(original, distortion))
            case: dict[str, str | float] = {"picture": name, "distortion": distortion}
            case["reference"] = _score(program, Path(folder), images)
            if name.startswith("drawn"):
                case["sha256"] = digest(*images)
            cases.append(case)
    found = {"source": SOURCE, "repeat": REPEAT, "cases": cases}
    REFERENCE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
