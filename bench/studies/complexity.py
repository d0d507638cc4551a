"""Multiply-accumulate operations per pixel of every part of a model, counted by running it.

    python -m bench.studies.complexity [--config small --config medium …]
"""

from __future__ import annotations

import math
from collections.abc import Callable

import click
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from codec.model.config import MAX_LEVEL, ModelConfig
from codec.model.network import Model
from codec.training.config import load_config

SIDE = 256
"""Side of the test picture in pixels. The cost per pixel hardly depends on it."""


@torch.no_grad()
def complexity(config: ModelConfig) -> dict[str, float]:
    """kMAC per pixel of the transforms and of the entropy model.

    All convolutions and matrix products are counted. The float networks are counted. The exact
    networks do the same products.
    """
    model = Model(config)
    level = torch.tensor([MAX_LEVEL // 2])
    x = torch.zeros(1, SIDE, SIDE, 3)
    y = torch.zeros(1, SIDE // 16, SIDE // 16, config.latents)
    z = torch.zeros(1, math.ceil(SIDE / 64), math.ceil(SIDE / 64), config.hyper_latents)

    def entropy() -> None:
        size = (y.shape[1], y.shape[2])
        model.entropy_model.run(z, level, size, lambda step, mean, index: torch.zeros_like(mean))

    parts: dict[str, Callable[[], object]] = {
        "analysis": lambda: model.analysis(x, level),
        "hyper-analysis": lambda: model.hyper_analysis(y),
        "entropy model": entropy,
        "synthesis": lambda: model.synthesis(y, level),
    }
    costs = {}
    for name, part in parts.items():
        with FlopCounterMode(display=False) as counter:
            part()
        costs[name] = counter.get_total_flops() / 2 / 1000 / SIDE**2
    costs["encode"] = costs["analysis"] + costs["hyper-analysis"] + costs["entropy model"]
    costs["decode"] = costs["entropy model"] + costs["synthesis"]
    costs["parameters (M)"] = sum(p.numel() for p in model.parameters()) / 1e6
    return costs


@click.command()
@click.option("--config", "configs", multiple=True, default=("small", "medium", "large"), show_default=True)
def main(configs: tuple[str, ...]) -> None:
    """Print kMAC per pixel of each configuration."""
    rows = {name: complexity(load_config(name).model) for name in configs}
    table = Table(title="kMAC per pixel")
    table.add_column("part")
    for name in rows:
        table.add_column(name, justify="right")
    for part in next(iter(rows.values())):
        table.add_row(part, *(f"{costs[part]:.1f}" for costs in rows.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
