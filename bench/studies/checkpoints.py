"""Rate and quality of models on held-out photographs, also of runs that are not exported yet.

    python -m bench.studies.checkpoints PHOTOGRAPHS mse runs/a weights.safetensors [--most 12]

Each model is the name of a shipped model, a weights file, or the folder of a training run. The
pictures are crops of at most 512×512 from the centre of the photographs that training on
PHOTOGRAPHS holds out. Bits are those that the entropy model estimates for real symbols. "Drift" is
the largest mean error of a colour channel over a picture, averaged over pictures. The last table
has the bits that each model needs in addition to the first one at equal quality.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from codec.errors import UnknownModel
from codec.model.network import Model
from codec.model.registry import named
from codec.model.weights import InvalidWeights, Objective, deserialise, read_objective
from codec.training.config import TrainingConfig
from codec.training.data import list_images, split, usable_images
from codec.training.loop import CHECKPOINT, Trainer

from ..suite.metrics import METRICS, bd_rate, measure
from .against import numbers

SMALLEST = 192
"""Smallest side of the crops in pixels, which all metrics need."""

Pixels = NDArray[np.uint8]
Row = dict[str, float]


def load(name: str) -> tuple[Model, Objective]:
    """Return a model and its objective. Raises `ValueError` if there is none of this name."""
    try:
        if (Path(name) / CHECKPOINT).exists():
            state = torch.load(Path(name) / CHECKPOINT, map_location="cpu", weights_only=True)
            trainer = Trainer(TrainingConfig.from_dict(state["config"]), torch.device("cpu"))
            trainer.load(Path(name) / CHECKPOINT)
            return trainer.average, trainer.config.objective
        weights = Path(name).read_bytes() if Path(name).is_file() else named(name).read()
        return deserialise(weights)[0], read_objective(weights)
    except (UnknownModel, InvalidWeights, OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{name}: {error}") from None


@torch.no_grad()
def curve(model: Model, objective: Objective, pictures: Sequence[Pixels], levels: Sequence[int]) -> list[Row]:
    """Return the means over the pictures at each level: bits per pixel, metrics and drift.

    The sides of the pictures are multiples of 64, and SMALLEST or more.
    """
    rows = []
    for level in levels:
        found: list[Row] = []
        for picture in pictures:
            x = torch.from_numpy(picture)[None].float() / 255
            output = model(
                x, torch.tensor([level]), noise=False, dead_zone=objective.dead_zone, skip=objective.skip
            )
            decoded = (output.x_hat[0].clamp(0, 1) * 255).round().to(torch.uint8).numpy()
            bits = float(output.latent_bits) + float(output.hyper_bits)
            drift = np.abs(decoded.mean((0, 1)) - picture.mean((0, 1))).max()
            measured = {key: value for key, value in measure(picture, decoded).items() if value is not None}
            found.append({"bpp": bits / (picture.size / 3), "drift": float(drift), **measured})
        rows.append({key: float(np.mean([row[key] for row in found])) for key in found[0]})
    return rows


@click.command()
@click.argument("photographs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("models", nargs=-1, required=True)
@click.option("--levels", default="32,160,320,480,640,800,960", show_default=True, callback=numbers)
@click.option("--most", default=12, show_default=True, help="Maximum number of photographs.")
@click.option("--threads", type=click.IntRange(1), default=None, help="CPU threads.")
def main(
    photographs: Path, models: tuple[str, ...], levels: list[float], most: int, threads: int | None
) -> None:
    """Compare MODELS on held-out PHOTOGRAPHS."""
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        pictures = usable_images(split(list_images(photographs))[1][:most], SMALLEST)
        loaded = {name: load(name) for name in models}
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    console = Console(width=110)
    found: dict[str, list[Row]] = {}
    for name, (model, objective) in loaded.items():
        found[name] = rows = curve(model, objective, pictures, [int(level) for level in levels])
        table = Table(title=f"{name}, {len(pictures)} photographs")
        for column in ("level", "bpp", *(metric.label for metric in METRICS), "drift"):
            table.add_column(column, justify="right")
        for level, row in zip(levels, rows, strict=True):
            metrics = (f"{row[metric.key]:.2f}" for metric in METRICS)
            table.add_row(f"{level:g}", f"{row['bpp']:.4f}", *metrics, f"{row['drift']:.2f}")
        console.print(table)
    if len(models) > 1:
        console.print(differences(found))


def differences(found: dict[str, list[Row]]) -> Table:
    """Return the table of BD-rates against the first model."""
    anchor, *others = found
    table = Table(title=f"Bits in addition to {anchor} at equal quality")
    for column in ("model", *(metric.label for metric in METRICS)):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name in others:
        rates = []
        for metric in METRICS:
            first, second = ([(row["bpp"], row[metric.key]) for row in found[one]] for one in (anchor, name))
            rate = bd_rate(first, second, metric.min_overlap)
            rates.append(rate.note or "" if rate.percent is None else f"{rate.percent:+.1f} %")
        table.add_row(name, *rates)
    return table


if __name__ == "__main__":
    main()
