"""Writes golden files of the current format version; existing ones are never touched.

    python -m tests.make_goldens --new-version

Goldens are immortal: every later release must decode them to the same symbols, or refuse them by
name if their model is no longer shipped. Run this only when the format version or the default model
changes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import click
import numpy as np

import codec
from codec import container
from codec.training.data import read_rgb
from tests.determinism_worker import symbols_digest
from tests.pictures import SAMPLES, Pixels, noise, textured

GOLDEN = Path(__file__).parent / "golden"


def pictures() -> dict[str, tuple[Pixels, float]]:
    """Name, picture and quality of every golden."""
    photographs = {path.stem: read_rgb(path) for path in sorted(SAMPLES.glob("*.jpg"))}
    made: dict[str, tuple[Pixels, float]] = {
        f"{name}-q{quality}": (image[100:292, 200:456], quality)
        for name, image in photographs.items()
        for quality in (0, 25, 50, 75, 100)
    }
    made["gray"] = (photographs["brushes"][:75, :99, 0], 60)
    made["one-pixel"] = (np.full((1, 1, 3), 200, np.uint8), 50)
    made["row"] = (textured(1, 1000), 50)
    made["column"] = (textured(1000, 1), 50)
    made["odd"] = (photographs["mountains"][:113, :177], 33.3)
    made["constant"] = (np.full((300, 400, 3), 40, np.uint8), 75)
    made["noise"] = (noise(24, 24), 90)
    return made


def picture_digest(pixels: Pixels) -> str:
    """SHA-256 of shape and pixels."""
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()


@click.command()
@click.option("--new-version", is_flag=True, required=True, help="Yes, this release changes the bytes.")
def main(new_version: bool) -> None:
    """Write the goldens of the current default model into a folder of their own."""
    worker = codec.Codec()
    folder = GOLDEN / f"v{container.VERSION}-{worker.model_id}"
    folder.mkdir()
    expected = {}
    for name, (image, quality) in pictures().items():
        data = worker.compress(image, quality=quality)
        (folder / f"{name}.cae").write_bytes(data)
        info = codec.inspect(data)
        entry = {"bytes": len(data), "shape": list(image.shape), "lossless": info.lossless}
        if info.lossless:
            entry["picture"] = picture_digest(worker.decompress(data))
        else:
            entry["symbols"] = symbols_digest(worker, data)
            entry["mean"] = float(worker.decompress(data).mean())
        expected[name] = entry
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
