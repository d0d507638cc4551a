"""This version of the codec and the version of a commit, measured side by side in one run.

    python -m bench.studies.against COMMIT [PICTURES] [--folder F] [--qualities 25,50,75]
        [--threads 2] [--rounds 3] [--loader 2000]

The commit is unpacked and installed into a virtual environment of its own, as `make demo` would do
it. This needs a package index. With --folder, the environment is kept and used again. AVIF and JPEG
are measured beside the two versions, with the same numbers on their own scales of quality.

Each codec has a process of its own. The processes take turns picture by picture, so that other load
on the machine reaches all of them. Times are medians over the rounds. Bits at equal PSNR (BD-rates)
also use the qualities 5 and 95, which are not timed.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

import codec

from ..suite.baselines import find
from ..suite.environment import instruction_set, machine
from ..suite.measure import CodecFailed, Worker
from ..suite.metrics import bd_rate, psnr
from ..suite.pictures import collect, read_again
from .datasets import cut
from .versions import ROOT, TIMEOUT, Version, commit_of, install

SAMPLES = ROOT / "bench" / "samples"
SIDE = 256
"""Side in pixels of the pictures of the loader."""
NOT_TIMED = (5.0, 95.0)


@dataclasses.dataclass
class Contender:
    """A codec of the comparison and what was measured of it."""

    name: str
    worker: Worker
    seconds: dict[tuple[str, float, int], list[float]] = dataclasses.field(
        default_factory=lambda: defaultdict(list)
    )
    """Times of each round by ("encode" or "decode", quality, number of the picture)."""
    points: dict[float, list[tuple[float, float]]] = dataclasses.field(
        default_factory=lambda: defaultdict(list)
    )
    """Bits per pixel and PSNR of each picture by quality."""

    def run(self, picture: Path, setting: float, folder: Path) -> tuple[int, float, float]:
        """Encode and decode a picture. Returns bytes and two times in seconds."""
        file, pixels = str(folder / "file.bin"), str(folder / "pixels.npy")
        encoded = self.worker.ask(encode=str(picture), setting=setting, out=file)
        return encoded["bytes"], encoded["seconds"], self.worker.ask(decode=file, out=pixels)["seconds"]

    def time(self, work: str, qualities: Sequence[float]) -> float:
        """Seconds for all pictures at these qualities."""
        return sum(
            statistics.median(values) for (what, quality, _), values in self.seconds.items()
            if what == work and quality in qualities
        )

    def curve(self, qualities: Iterable[float]) -> list[tuple[float, float]]:
        """Means of bits per pixel and of PSNR over the pictures, at each quality."""
        means = [np.mean(self.points[quality], axis=0) for quality in qualities]
        return [(float(bpp), float(decibels)) for bpp, decibels in means]


def measure(
    contenders: Sequence[Contender], pictures: Sequence[Path], qualities: Sequence[float], rounds: int,
    folder: Path,
) -> None:
    """Measure all contenders, in turns. Raises `CodecFailed`."""
    for picture in pictures:
        original = read_again(picture)
        for quality in sorted({*qualities, *NOT_TIMED}):
            for contender in contenders:  # not timed: the first calls load and warm up
                size, _, _ = contender.run(picture, quality, folder)
                decibels = psnr(original, np.load(folder / "pixels.npy"))
                bpp = 8 * size / (original.shape[0] * original.shape[1])
                contender.points[quality].append((bpp, decibels))
    for _ in range(rounds):
        for number, picture in enumerate(pictures):
            for quality in qualities:
                for contender in contenders:
                    _, encode, decode = contender.run(picture, quality, folder)
                    contender.seconds["encode", quality, number].append(encode)
                    contender.seconds["decode", quality, number].append(decode)


def comparison(contenders: Sequence[Contender], qualities: Sequence[float], megapixels: float) -> Table:
    """Speed, rate and distortion at each quality and of all. Ratios are to the second contender."""
    old = contenders[1]
    table = Table(title=f"MP/s; × and bits at equal PSNR: against {old.name}")
    for name in ("quality", "codec", "encode", "×", "decode", "×", "bpp", "PSNR", "bits"):
        table.add_column(name, justify="left" if name == "codec" else "right")
    for label, part in [*((f"{quality:g}", [quality]) for quality in qualities), ("all", list(qualities))]:
        for contender in contenders:
            cells = [label, contender.name]
            for work in ("encode", "decode"):
                seconds = contender.time(work, part)
                cells.append(f"{len(part) * megapixels / seconds:.2f}")
                cells.append(f"{old.time(work, part) / seconds:.2f}")
            if label == "all":
                bits = bd_rate(old.curve(old.points), contender.curve(contender.points))
                cells += ["", "", str(bits.note) if bits.percent is None else f"{bits.percent:+.1f} %"]
            else:
                ((bpp, decibels),) = contender.curve(part)
                cells += [f"{bpp:.3f}", f"{decibels:.2f}", ""]
            table.add_row(*cells)
        table.add_section()
    return table


def loading(
    contenders: Sequence[Contender], count: int, photos: Path, quality: float, rounds: int, folder: Path
) -> Table:
    """Pictures per second of `codec.data.loader`, each version with the dataset that it packed."""
    crops = folder / "crops"
    crops.mkdir()
    for number, crop in enumerate(cut(photos, count, SIDE)):
        Image.fromarray(crop).save(crops / f"{number:05d}.png")
    kinds: list[tuple[str, Contender, dict[str, Any]]] = [
        (contender.name, contender, {}) for contender in contenders
    ]
    kinds.insert(1, (f"{contenders[0].name}, latents", contenders[0], {"output": "latents"}))
    table = Table(title=f"Loader: {count} pictures of {SIDE}×{SIDE} at quality {quality:g}, pictures/s")
    for name in ("", "workers", "pictures/s", "×"):
        table.add_column(name, justify="right" if name else "left")
    for number, contender in enumerate(contenders):
        contender.worker.ask(pack=str(crops), out=str(folder / f"set-{number}"), setting=quality)
    for workers in (0, 2):
        found: dict[str, list[float]] = defaultdict(list)
        for turn in range(rounds + 1):
            for name, contender, options in kinds:
                seconds = contender.worker.ask(
                    load=str(folder / f"set-{contenders.index(contender)}"), workers=workers,
                    loader=options, batches=None if turn else 2,
                )["seconds"]
                if turn:  # the first turn only warms up
                    found[name].append(count / seconds)
        base = statistics.median(found[contenders[1].name])
        for name, values in found.items():
            speed = statistics.median(values)
            table.add_row(name, str(workers), f"{speed:.0f}", f"{speed / base:.2f}")
        table.add_section()
    return table


def numbers(context: click.Context, option: click.Parameter, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} are not numbers, separated by commas") from None


@click.command()
@click.argument("commit")
@click.argument("pictures", default=SAMPLES, type=click.Path(exists=True, path_type=Path))
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Keep the environment here.")
@click.option("--qualities", default="25,50,75", show_default=True, callback=numbers)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--loader", default=0, type=click.IntRange(0), help="Also measure loaders of N pictures.")
@click.option("--model", help="Shipped model or weights file of this version.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), help="Precision of this version.")
def main(
    commit: str, pictures: Path, folder: Path | None, qualities: list[float], threads: int, rounds: int,
    loader: int, model: str | None, precision: str | None,
) -> None:
    """Measure this version and COMMIT on PICTURES, a folder or a file."""
    wanted = commit_of(commit)
    with ExitStack() as stack:
        here = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        python = install(wanted, folder or here)
        options: dict[str, Any] = {"threads": threads, "model": model, "precision": precision}
        contenders = [
            Contender("", Version(Path(sys.executable), options, [ROOT])),
            Contender("", Version(python, {"threads": threads, "model": None})),
            *(Contender(find(name).label, Worker(name, threads, TIMEOUT)) for name in ("avif", "jpeg")),
        ]
        for contender in contenders:
            stack.enter_context(contender.worker)
        try:
            for contender in contenders[:2]:
                about = contender.worker.ask(about=True)
                contender.name = f"codec {about['version']} {about['model']}"
                click.echo(f"{contender.name}: model {about['id']}, precision {about['precision']}")
            report(contenders, pictures, qualities, rounds, loader, here)
        except CodecFailed as error:
            raise click.ClickException(str(error)) from None


def report(
    contenders: Sequence[Contender], source: Path, qualities: Sequence[float], rounds: int, loader: int,
    folder: Path,
) -> None:
    """Measure and print the tables. The first two contenders are versions of this package."""
    found = collect([source])[0]
    megapixels = sum(picture.pixels for picture in found) / 1e6
    pictures = folder / "pictures"
    pictures.mkdir()
    files = [pictures / f"{number:05d}.png" for number in range(len(found))]
    for picture, file in zip(found, files, strict=True):
        Image.fromarray(read_again(picture.path)).save(file)
    console = Console(width=110)
    threads = contenders[0].worker.threads
    console.print(f"{machine()}: {instruction_set()}; codec {codec.__version__}")
    console.print(f"{len(found)} pictures, {megapixels:.2f} MP, {threads} threads, {rounds} rounds")
    measure(contenders, files, qualities, rounds, folder)
    console.print(comparison(contenders, qualities, megapixels))
    if loader:
        quality = qualities[len(qualities) // 2]
        console.print(loading(contenders[:2], loader, pictures, quality, rounds, folder))


if __name__ == "__main__":
    main()
