"""Multiply-accumulate operations per pixel of every part of a model, counted by running it.

    python -m bench.studies.complexity [--config fast --config medium …] [--set model.KEY=VALUE …]
"""

from __future__ import annotations

from collections.abc import Callable

import click
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from codec.model.config import LATENTS_PER_HYPER_LATENT, MAX_LEVEL, PIXELS_PER_LATENT, ModelConfig
from codec.model.network import Model
from codec.training.config import load_config

SIDE = 256
"""Side of the test picture in pixels. Sides that are no multiples of 64 cost slightly more."""

ENCODING = ("analysis", "hyper-analysis", "scales", "means")
DECODING = ("scales", "means", "synthesis")


def complexity(config: ModelConfig) -> dict[str, float]:
    """Return kMAC per pixel of every part, of encoding and of decoding, and millions of parameters.

    All convolutions and matrix products are counted. They run with gradients, because products that
    overwrite their input are not counted.
    """
    model = Model(config)
    level = torch.tensor([MAX_LEVEL // 2])
    h = SIDE // PIXELS_PER_LATENT
    x = torch.zeros(1, SIDE, SIDE, 3)
    y = torch.zeros(1, h, h, config.latents)
    side = h // LATENTS_PER_HYPER_LATENT
    z = torch.zeros(1, side, side, config.hyper_latents)
    parts: dict[str, Callable[[], object]] = {
        "analysis": lambda: model.analysis(x, level),
        "hyper-analysis": lambda: model.hyper_analysis(y),
        "scales": lambda: model.scale_model(z, level),
        "means": lambda: model.mean_model.run(z, level, (h, h), lambda step, mean: torch.zeros_like(mean)),
        "synthesis": lambda: model.synthesis(y, level),
    }
    costs = {}
    for name, part in parts.items():
        with FlopCounterMode(display=False) as counter:
            part()
        costs[name] = counter.get_total_flops() / 2 / 1000 / SIDE**2
    costs["encoding"] = sum(costs[name] for name in ENCODING)
    costs["decoding"] = sum(costs[name] for name in DECODING)
    costs["parameters (M)"] = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return costs


@click.command()
@click.option("--config", "configs", multiple=True, default=("fast", "medium", "large"), show_default=True)
@click.option(
    "--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE",
    help="Change a value of all configurations. May be repeated.",
)
def main(configs: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Print kMAC per pixel of each configuration."""
    rows = {name: complexity(load_config(name, overrides).model) for name in configs}
    table = Table(title="kMAC per pixel")
    table.add_column("part")
    for name in rows:
        table.add_column(name, justify="right")
    for part in next(iter(rows.values())):
        table.add_row(part, *(f"{costs[part]:.2f}" for costs in rows.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
