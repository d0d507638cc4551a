"""Effect of compression on a classifier, by quality, on enlarged scikit-learn digits.

    python -m bench.studies.accuracy [--model mse]

1,797 digits of 8×8 pixels are enlarged to 64×64 (bicubic). A support vector machine is trained on
16×16 block means of one half, either original or compressed. The other half is classified, both
original and compressed. Sizes are those of bare rows and of JPEG files.
"""

from __future__ import annotations

import io

import click
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import codec
from codec.format.rows import RowFormat

SIDE = 64

Pixels = NDArray[np.uint8]


def digits() -> tuple[list[Pixels], NDArray[np.int64]]:
    """Pictures of 64×64 pixels and their labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    small = (found.images * 255 / 16).round().astype(np.uint8)
    shape = (SIDE, SIDE)
    pictures = [np.asarray(PIL.Image.fromarray(x).resize(shape, PIL.Image.Resampling.BICUBIC)) for x in small]
    return pictures, found.target


def features(pictures: list[Pixels]) -> NDArray[np.float64]:
    blocks = np.stack(pictures).reshape(-1, 16, SIDE // 16, 16, SIDE // 16) / 255.0
    means: NDArray[np.float64] = blocks.mean((2, 4)).reshape(len(pictures), -1)
    return means


def through_jpeg(pictures: list[Pixels], quality: int) -> tuple[list[Pixels], float]:
    found, size = [], 0
    for picture in pictures:
        file = io.BytesIO()
        PIL.Image.fromarray(picture).save(file, "JPEG", quality=quality, optimize=True)
        size += len(file.getvalue())
        found.append(np.asarray(PIL.Image.open(file)))
    return found, size / len(pictures)


def through_codec(worker: codec.Codec, pictures: list[Pixels], quality: float) -> tuple[list[Pixels], float]:
    rows = RowFormat(bytes.fromhex(worker.model_id), round(quality * 10.24), SIDE, SIDE, 1)
    packed = worker.compress_rows(pictures, rows)
    found = worker.decompress_batch([rows.unpack(row) for row in packed])
    return found, sum(map(len, packed)) / len(pictures)


@click.command()
@click.option("--model", help="Shipped model or weights file.")
def main(model: str | None) -> None:
    """Classify compressed digits."""
    from sklearn.svm import SVC

    pictures, labels = digits()
    train = np.random.default_rng(0).permutation(len(pictures)) < len(pictures) // 2
    original = features(pictures)
    classifier = SVC(C=10).fit(original[train], labels[train])
    before = classifier.predict(original[~train])
    table = Table(title=f"{int((~train).sum())} digits of {SIDE}×{SIDE}, codec {codec.__version__}")
    columns = ("", "bytes", "PSNR", "trained on originals", "same answer", "trained on the same")
    for name in columns:
        table.add_column(name, justify="right" if name else "left")

    def add(name: str, found: list[Pixels], size: float) -> None:
        compressed = features(found)
        error = np.mean((np.stack(found).astype(float) - np.stack(pictures)) ** 2)
        answers = classifier.predict(compressed[~train])
        own = SVC(C=10).fit(compressed[train], labels[train])
        table.add_row(
            name, f"{size:.0f}", f"{10 * np.log10(255**2 / error):.1f}" if error else "exact",
            f"{np.mean(answers == labels[~train]):.1%}", f"{np.mean(answers == before):.1%}",
            f"{own.score(compressed[~train], labels[~train]):.1%}",
        )

    add("original", pictures, SIDE * SIDE)
    worker = codec.Codec(model=model)
    for quality in (75.0, 50.0, 25.0, 10.0, 0.0):
        add(f"codec {quality:g}", *through_codec(worker, pictures, quality))
    for jpeg in (90, 50, 10, 1):
        add(f"JPEG {jpeg}", *through_jpeg(pictures, jpeg))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
