"""Speed of the codec on a folder of pictures, with a fixed number of threads.

    python -m bench.studies.speed FOLDER [--threads 2] [--quality 50] [--repeat 3]

Times are those of the fastest of several passes over all pictures, so that other load on the
machine has little effect. The share of entropy coding is the time spent in calls to constriction.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

import codec
from codec.training.data import list_images, read_rgb


class Stopwatch:
    """Sum of the seconds spent inside wrapped functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, owner: Any, name: str) -> None:
        """Replace a method by a timed version."""
        inner = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        setattr(owner, name, timed)


def fastest(work: Callable[[], Any], watch: Stopwatch, repeat: int) -> tuple[float, float]:
    """Seconds of the fastest pass, and the seconds of that pass spent in the entropy coder."""
    best = (float("inf"), 0.0)
    for _ in range(repeat):
        watch.seconds = 0.0
        start = time.perf_counter()
        work()
        best = min(best, (time.perf_counter() - start, watch.seconds))
    return best


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option("--quality", default=(25.0, 50.0, 75.0), multiple=True, show_default=True, type=float)
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1))
@click.option("--model", help="Shipped model or weights file.")
def main(folder: Path, threads: int, quality: tuple[float, ...], repeat: int, model: str | None) -> None:
    """Time compression and decompression of the pictures in FOLDER, one after another."""
    from codec import entropy_coder

    worker = codec.Codec(model=model, threads=threads)
    images = [read_rgb(path) for path in list_images(folder)]
    megapixels = sum(image.shape[0] * image.shape[1] for image in images) / 1e6
    watch = Stopwatch()
    watch.wrap(entropy_coder.Encoder, "_encode")
    watch.wrap(entropy_coder.Decoder, "_decode")
    worker.decompress(worker.compress(images[0]))  # warm up

    table = Table(title=f"{len(images)} pictures, {megapixels:.2f} MP, {threads} threads")
    for name in ("quality", "encode MP/s", "decode MP/s", "entropy coding, encode", "… decode"):
        table.add_column(name, justify="right")
    for q in quality:
        files = [worker.compress(image, quality=q) for image in images]

        def encode_all(level: float = q) -> None:
            for image in images:
                worker.compress(image, quality=level)

        def decode_all(data: list[bytes] = files) -> None:
            for file in data:
                worker.decompress(file)

        encode, coded = fastest(encode_all, watch, repeat)
        decode, decoded = fastest(decode_all, watch, repeat)
        table.add_row(
            f"{q:g}", f"{megapixels / encode:.2f}", f"{megapixels / decode:.2f}",
            f"{coded / encode:.1%}", f"{decoded / decode:.1%}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
