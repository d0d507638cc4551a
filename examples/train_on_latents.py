"""Train a classifier on the latents of a dataset, and the same classifier on its pixels.

    python examples/train_on_latents.py [OUT]

The pictures are the 1,797 digits of scikit-learn, enlarged to 64×64. They are packed, and read back
as latents M×4×4 and as pixels. Latents need no synthesis transform, so they are read faster. The
first layer of the classifier takes the latents of each 16×16 pixels, or these pixels themselves.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import codec
import codec.data
from codec.data.reading.batches import Output

SIDE = 64
PATCH = 16
"""One vector of latents describes 16×16 pixels."""

QUALITY = 50
BATCH = 64


def digits(count: int) -> Iterator[dict[str, Any]]:
    """Items of a source of `codec.data.pack`, with the digit as label."""
    found = load_digits()
    for small, label in zip(found.images[:count], found.target, strict=False):
        picture = PIL.Image.fromarray((small * 255 / 16).round().astype(np.uint8))
        yield {"image": picture.resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC), "label": int(label)}


def read(dataset: codec.Dataset, output: Output) -> tuple[Tensor, Tensor]:
    """Return all pictures as vectors of 16×16 pixels, N×C×4×4 float32, and their labels."""
    batches = list(codec.data.loader(dataset, BATCH, output=output))
    x = torch.cat([batch["image"] for batch in batches]).float()
    if output == "pixels":
        x = nn.functional.pixel_unshuffle(x, PATCH)
    return x, torch.cat([batch["label"] for batch in batches])


class Classifier(nn.Module):
    """A network on N×C×h×w, whose channels are normalised with the mean and deviation of `x`."""

    def __init__(self, x: Tensor, classes: int, width: int = 64) -> None:
        super().__init__()
        self.mean = x.mean((0, 2, 3), keepdim=True)
        self.deviation = x.std((0, 2, 3), keepdim=True) + 1e-3 * x.std()
        self.layers = nn.Sequential(
            nn.Conv2d(x.shape[1], width, 1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.3), nn.LazyLinear(classes),
        )
        self(x[:1])  # sets the number of inputs of the last layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers((x - self.mean) / self.deviation)
        return out


def accuracy_of(x: Tensor, labels: Tensor, epochs: int) -> float:
    """Train a classifier on half of the pictures. Return the share of the others it gets right."""
    torch.manual_seed(0)
    order = torch.randperm(len(x))
    train, test = order[: len(x) // 2], order[len(x) // 2 :]
    model = Classifier(x[train], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), labels[batch]).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        return float((model(x[test]).argmax(1) == labels[test]).float().mean())


@click.command()
@click.argument("out", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", default=1797, show_default=True, help="Number of pictures.")
@click.option("--epochs", default=20, show_default=True)
def main(out: Path | None, count: int, epochs: int) -> None:
    """Compare a classifier on latents with the same classifier on pixels."""
    with tempfile.TemporaryDirectory() as place:
        run(out or Path(place) / "digits", count, epochs)


def run(out: Path, count: int, epochs: int) -> None:
    report = codec.data.pack(digits(count), out, quality=QUALITY)
    dataset = codec.Dataset(out)
    dataset[0]  # load the weights now, so that they are not part of the times below
    print(f"{len(dataset)} digits of {SIDE}×{SIDE}, {report.bytes_out / len(dataset):.0f} bytes each")
    print(f"{'input':8} {'shape':>12} {'read, pictures/s':>17} {'accuracy':>9}")
    outputs: tuple[Output, ...] = ("pixels", "latents")
    for output in outputs:
        began = time.perf_counter()
        x, labels = read(dataset, output)
        speed = len(x) / (time.perf_counter() - began)
        shape = "×".join(map(str, x.shape[1:]))
        print(f"{output:8} {shape:>12} {speed:17,.0f} {accuracy_of(x, labels, epochs):9.1%}")


if __name__ == "__main__":
    main()
