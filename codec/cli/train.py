"""`codec train` and `codec export`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codec.cli.texts import EXPECTED, on_one_line, reason

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"
"""File that `codec train` writes into its run folder at the end."""

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _positive(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 < value < 1e9:
        raise click.BadParameter("must be positive")
    return value


@click.command("train")
@click.option("--data", required=True, type=FOLDER, help="Folder of training pictures.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Run folder.")
@click.option(
    "--config", default="medium", show_default=True,
    help="Name of a shipped configuration, or a .toml file.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE",
    help="Change a value of the configuration, for example training.batch=16. May be repeated.",
)
@click.option(
    "--minutes", type=float, callback=_positive,
    help="Total training time in minutes, including earlier runs. The default is 60.",
)
@click.option(
    "--crops", type=float, callback=_positive,
    help="Total number of crops to train on, including earlier runs. Replaces --minutes.",
)
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option(
    "--init", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Start from this exported weights file.",
)
@click.option("--device", default=None, help="cpu or cuda. By default the GPU, if there is one.")
@click.option("--seed", default=0, show_default=True, help="Seed of the random numbers.")
@click.option("--threads", type=click.IntRange(1), default=None, help="CPU threads.")
@click.option("--export/--no-export", "exported", default=True, help="Whether to write model.safetensors.")
def train_command(
    data: Path, out: Path, config: str, overrides: tuple[str, ...], minutes: float | None,
    crops: float | None, resume: bool, init: Path | None, device: str | None, seed: int,
    threads: int | None, exported: bool,
) -> None:
    """Train a model and export it to OUT/model.safetensors.

    A run that was killed can be continued with --resume.
    """
    import torch

    from codec.engine.loaded_model import check_device
    from codec.training import distributed
    from codec.training.config import load_config
    from codec.training.initialisation import read_start
    from codec.training.loop import Budget, train

    if minutes is not None and crops is not None:
        raise click.UsageError("give only one of --minutes and --crops")
    budget = Budget(minutes or 60.0) if crops is None else Budget(crops, "crops")
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        settings = load_config(config, overrides)
        where = None if device is None else check_device(device)
        start = None if init is None else read_start(init.read_bytes())
        with _progress() as report:
            train(data, out, settings, budget=budget, resume=resume, init=start, device=where,
                  seed=seed, report=report)
        first = distributed.rank() == 0
        distributed.stop()  # before the export, so that the other processes need not wait for it
        if exported and first:
            _export(out, out / WEIGHTS, data, where or torch.device("cpu"), batches=300)
    except (*EXPECTED, TypeError, KeyError) as error:  # the configuration may raise the latter two
        kind = "" if isinstance(error, EXPECTED) else f"{type(error).__name__}: "
        raise click.ClickException(reason(error) if not kind else on_one_line(f"{kind}{error}")) from None
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; continue with --resume") from None
    finally:
        distributed.stop()


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """Show progress on stderr: a bar on a terminal, otherwise one line per log entry."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    # Under torchrun only the first of several processes shows the bar.
    speaks = sys.stderr.isatty() and os.environ.get("RANK", "0") == "0"
    with Progress(*columns, console=console, disable=not speaks) as progress:
        task = progress.add_task("training", total=1.0)

        def report(entry: dict[str, Any]) -> None:
            if "validation" in entry:
                console.print(validation_table(entry["validation"], f"step {entry['step']}"))
                return
            text = (
                f"step {entry['step']}  loss {entry['loss']:.4f}  {entry['bpp']:.3f} bpp  "
                f"{entry['psnr']:.2f} dB  {entry['patches_per_second']:.1f} crops/s"
            )
            progress.update(task, completed=entry["share"], description=text)
            if progress.disable:
                console.print(f"{entry['minutes']:7.1f} min  {text}")

        yield report


def validation_table(rows: list[dict[str, float]], title: str) -> Any:
    """Return a rich table of the validation rows."""
    from rich.table import Table

    table = Table(title=f"validation, {title}")
    for key in rows[0]:
        table.add_column(key, justify="right")
    for row in rows:
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()))
    return table


@click.command("export")
@click.argument("run", type=FOLDER)
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--data", required=True, type=FOLDER,
    help="Folder of the training pictures. The tables are fitted to them.",
)
@click.option(
    "--batches", default=300, show_default=True, type=click.IntRange(1),
    help="Number of batches of crops to which the tables are fitted.",
)
@click.option("--device", default=None, help="cpu (default) or cuda.")
def export_command(run: Path, output: Path, data: Path, batches: int, device: str | None) -> None:
    """Write the weights file OUTPUT from the run in the folder RUN."""
    import torch

    from codec.engine.loaded_model import check_device
    from codec.training.loop import CHECKPOINT

    if not (run / CHECKPOINT).exists():
        raise click.ClickException(f"{run} contains no {CHECKPOINT}")
    try:
        where = torch.device("cpu") if device is None else check_device(device)
        _export(run, output, data, where, batches)
    except Exception as error:  # a damaged checkpoint can raise any error of pickle
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise click.ClickException(on_one_line(text)) from None


def _export(run: Path, output: Path, data: Path, device: torch.device, batches: int) -> None:
    import torch
    from rich.console import Console

    from codec.pictures.atomic import write_atomically
    from codec.training.config import TrainingConfig
    from codec.training.export import export
    from codec.training.loop import CHECKPOINT, Trainer

    state = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)
    config = TrainingConfig.from_dict(state["config"])
    trainer = Trainer(config, device)
    trainer.load(run / CHECKPOINT)
    description = {
        "config": config.as_dict(), "steps": trainer.step, "minutes": round(trainer.minutes, 1),
        "crops": trainer.crops,
    }
    weights, rows = export(
        trainer.average, data, training=description, objective=config.objective, crop=config.crop,
        batches=batches,
    )
    write_atomically(output, weights)
    Console().print(validation_table(rows, f"real files; {len(weights):,} bytes in {output}"))
