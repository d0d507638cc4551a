"""Errors of two approximations: symbols that are skipped, and synthesis in bfloat16.

    python -m bench.studies.approximations PHOTOGRAPHS [--model mse …] [--levels 0,256,512,768,1024]

Symbols whose scale index is at most the skip index of the model are 0 by definition. The first
table shows what this discards: the share of these latents, the largest |y − mean| among them, and
the bits that it saves. It compares the decoded pictures with those of the same encoder without
skipping: the worst error of a sample with and without it, and the largest difference between the
two, and the PSNR that it costs. Dense tiles skip nothing. The second table
shows the PSNR that bfloat16 costs.

The pictures are those that training on PHOTOGRAPHS holds out for validation, and synthetic pictures
whose detail a hyper-latent hardly predicts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table
from torch import Tensor

import codec
from codec.coding.latents import TileSymbols, encode_latents, scale_indexes
from codec.engine.loaded_model import LoadedModel
from codec.entropy_coder import TableSet
from codec.model.config import MAX_LEVEL
from codec.model.layers import in_bfloat16
from codec.training.data import list_images, split, validation_images

from ..suite.metrics import psnr
from .against import numbers

SIDE = 256

Pixels = NDArray[np.uint8]


def text() -> Pixels:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    for line in range(20):
        draw.text((4, 4 + 12 * line), "The quick brown fox, 0123456789 " * 2, fill="black")
    return np.array(image)


def dots() -> Pixels:
    """Single bright pixels on flat dark ground."""
    image = np.full((SIDE, SIDE, 3), 40, np.uint8)
    rows, columns = np.random.default_rng(0).integers(0, SIDE, (2, 60))
    image[rows, columns] = 255
    return image


def lines() -> Pixels:
    """Lines of one pixel in many directions."""
    image = Image.new("RGB", (SIDE, SIDE), (90, 90, 90))
    draw = ImageDraw.Draw(image)
    for start in range(0, 2 * SIDE, 29):
        draw.line((start, 0, SIDE - start, SIDE), fill=(250, 250, 250))
        draw.line((0, start, SIDE, start // 3), fill=(10, 10, 10))
    return np.array(image)


def edges() -> Pixels:
    """Rectangles of saturated colours."""
    colours = np.random.default_rng(0).integers(0, 2, (9, 9, 3)).astype(np.uint8) * np.uint8(255)
    return np.ascontiguousarray(colours.repeat(29, 0).repeat(29, 1)[:SIDE, :SIDE])


def checkerboards() -> Pixels:
    """Checkerboards with squares of 1, 2, 4 and 8 pixels."""
    row, column = np.indices((SIDE, SIDE))
    square = 1 << (2 * (row // (SIDE // 2)) + column // (SIDE // 2))
    board = ((row // square + column // square) % 2 * 255).astype(np.uint8)
    return board[:, :, None].repeat(3, 2)


HARD: tuple[Callable[[], Pixels], ...] = (text, dots, lines, edges, checkerboards)


@dataclasses.dataclass
class Errors:
    """What was measured of a picture at a level. Errors and differences are levels of 0…255."""

    name: str
    skipped: float
    """Share of the latents that are skipped."""
    largest: float
    """Largest |y − mean| of these latents, in quantization steps."""
    saved: float
    """Share of the bits that skipping saves."""
    cost: float
    """PSNR without skipping minus PSNR with it, in dB."""
    worst: int
    worst_without: int
    """Largest error of a sample with and without skipping."""
    difference: int
    """Largest difference between the two decoded pictures."""
    lost: float
    """PSNR in float32 minus PSNR in bfloat16, in dB."""


@torch.no_grad()
def errors_of(model: LoadedModel, bfloat16: torch.nn.Module, name: str, image: Pixels, level: int) -> Errors:
    """Measure a picture whose sides are multiples of 64."""
    levels = torch.tensor([level])
    networks, tables = model.networks, model.tables
    y = networks.analysis(torch.from_numpy(image)[None].float() / 255, levels)
    zone = model.objective.dead_zone

    def coded(tables: TableSet) -> tuple[int, TileSymbols, Tensor]:
        payloads, tiles, y_hat = encode_latents(networks, tables, y, levels, zone)
        return len(payloads[0].data), tiles[0], y_hat

    size, tile, y_hat = coded(tables)
    size_without, _, y_hat_without = coded(TableSet(tables.tables))
    z = torch.from_numpy(tile.hyper)[None].float()
    index = scale_indexes(networks.scale_model, z, levels, (y.shape[1], y.shape[2]))
    skipped = torch.from_numpy((index <= tables.skip) & (not tile.dense))
    decoded, without, fast = (
        (network(values, levels)[0].float().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        for network, values in (
            (networks.synthesis, y_hat), (networks.synthesis, y_hat_without), (bfloat16, y_hat)
        )
    )

    def worst(a: Pixels, b: Pixels) -> int:
        return int(np.abs(a.astype(int) - b).max())

    return Errors(
        name, float(skipped.float().mean()),
        float(((y - y_hat).abs() * skipped).max()),  # y_hat is the mean where a symbol is skipped
        1 - size / size_without, psnr(image, without) - psnr(image, decoded),
        worst(image, decoded), worst(image, without), worst(decoded, without),
        psnr(image, decoded) - psnr(image, fast),
    )


def add_rows(skipping: Table, precision: Table, title: str, level: int, found: list[Errors]) -> None:
    largest = max(found, key=lambda errors: errors.largest)
    skipping.add_row(
        title, str(level), f"{np.mean([errors.skipped for errors in found]):.1%}",
        f"{largest.largest:.2f}", largest.name, f"{np.mean([errors.saved for errors in found]):.1%}",
        f"{max(errors.cost for errors in found):.2f}",
        f"{max(errors.worst for errors in found)}", f"{max(errors.worst_without for errors in found)}",
        f"{max(errors.difference for errors in found)}",
    )
    lost = [errors.lost for errors in found]
    precision.add_row(title, str(level), f"{np.mean(lost):.4f}", f"{max(lost):.4f}")


@click.command()
@click.argument("photographs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", "models", multiple=True, help="Shipped model or weights file.  [default: all]")
@click.option("--levels", default=",".join(str(level) for level in range(0, MAX_LEVEL + 1, 128)),
              show_default=True, callback=numbers)
@click.option("--most", default=24, show_default=True, help="Maximum number of photographs.")
def main(photographs: Path, models: tuple[str, ...], levels: list[float], most: int) -> None:
    """Measure the approximations on held-out PHOTOGRAPHS and on synthetic pictures."""
    files = split(list_images(photographs))[1]
    sets = {
        "held out": [
            (path.stem[-14:], image) for path in files[:most] for image in validation_images([path], 2 * SIDE)
        ],
        "synthetic": [(make.__name__, make()) for make in HARD],
    }
    console = Console(width=110)
    for name in models or tuple(entry["name"] for entry in codec.models()):
        worker = codec.Codec(model=name, precision="float32")
        model = worker._loaded
        bfloat16 = in_bfloat16(model.networks.synthesis)
        about = f"model {worker.model} {worker.model_id}"
        skipping = Table(title=f"Skipped up to scale index {model.tables.skip}, {about}")
        for column in ("pictures", "level", "skipped", "largest", "in", "bits saved", "dB lost",
                       "worst error", "without", "difference"):
            skipping.add_column(column, justify="left" if column in ("pictures", "in") else "right")
        precision = Table(title=f"PSNR in float32 minus PSNR in bfloat16 (dB), {about}")
        for column in ("pictures", "level", "mean", "largest"):
            precision.add_column(column, justify="left" if column == "pictures" else "right")
        for title, pictures in sets.items():
            for level in map(int, levels):
                found = [errors_of(model, bfloat16, *picture, level) for picture in pictures]
                add_rows(skipping, precision, title, level, found)
            skipping.add_section()
        console.print(skipping)
        console.print(precision)


if __name__ == "__main__":
    main()
