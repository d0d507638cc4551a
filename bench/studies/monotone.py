"""Test whether a higher quality always gives more bytes and a better picture.

    python -m bench.studies.monotone FOLDER [--held-out] [--side 512]

Every picture is compressed at 21 qualities. Prints every decrease of the size or of the PSNR. The
exit code is 1 if there is one.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import click
import numpy as np

import codec
from codec.training.data import list_images, split, validation_images

from ..suite.metrics import psnr

QUALITIES = tuple(range(0, 101, 5))


def steps_down(worker: codec.Codec, image: np.ndarray) -> list[str]:
    """Descriptions of every decrease of size or PSNR from one quality to the next."""
    points = []
    for quality in QUALITIES:
        data = worker.compress(image, quality=quality)
        points.append((quality, len(data), psnr(image, worker.decompress(data))))
    found = []
    for (q0, size0, psnr0), (q1, size1, psnr1) in itertools.pairwise(points):
        if size1 < size0 or psnr1 < psnr0:
            found.append(f"quality {q0} to {q1}: {size0} to {size1} bytes, {psnr0:.3f} to {psnr1:.3f} dB")
    return found


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--held-out", is_flag=True, help="Use only the pictures that training on FOLDER holds out.")
@click.option("--side", default=512, show_default=True, help="Maximum side of the centre crops.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option("--model", help="Shipped model or weights file.")
def main(folder: Path, held_out: bool, side: int, threads: int, model: str | None) -> None:
    """Check the pictures in FOLDER."""
    files = list_images(folder)
    files = split(files)[1] if held_out else files
    worker = codec.Codec(model=model, threads=threads)
    measured = bad = 0
    for path in files:
        for image in validation_images([path], side):  # yields nothing if the picture is too small
            measured += 1
            for text in steps_down(worker, image):
                bad += 1
                click.echo(f"{path.name}: {text}")
    click.echo(f"{measured} pictures at {len(QUALITIES)} qualities, {bad} decreases")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
