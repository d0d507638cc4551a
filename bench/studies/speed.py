"""Time of each part of encoding and decoding, in nanoseconds per pixel.

    python -m bench.studies.speed FOLDER [--threads 1 --threads 2] [--precision float32 …]
        [--quality 50] [--repeat 3]

The pictures are made of the photographs in FOLDER: 256×256, as small as those of training sets;
512×768, as those of Kodak; and 2048×2048, which have four tiles. Photographs that are too small are
continued by mirroring. Times are those of the fastest of several passes over the pictures, so that
other load on the machine has little effect.

Parts that run at the same time, one tile in each thread, count with the sum of their times divided
by the number of threads. "Rest" is what is missing to the whole time. It includes waiting.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import codec
from codec.coding import latents
from codec.engine import encoding, tile_decoding
from codec.model.runtime import has_bfloat16
from codec.model.transforms import AnalysisTransform, SynthesisTransform
from codec.training.data import list_images, read_rgb

from ..suite.environment import instruction_set, machine

SIZES = ((256, 256), (512, 768), (2048, 2048))

Pixels = NDArray[np.uint8]

DECODING = {"scales": "scales", "coder": "coder", "means": "means", "synthesis": "synthesis"}
ENCODING = {"analysis": "analysis", "hyper, scales, means": "quantize scales", "coder": "coder"}
"""Columns of the tables, and the names of the measured parts that each of them adds up."""

_PARTS: tuple[tuple[Any, str, str], ...] = (
    (AnalysisTransform, "forward", "analysis"),
    (encoding, "encode_latents", "coder"),
    (latents, "quantize_latents", "quantize"),
    (latents, "scale_indexes", "scales"),
    (tile_decoding, "decode_symbols", "coder"),
    (tile_decoding, "reconstruct", "means"),
    (SynthesisTransform, "patches", "synthesis"),
)
"""The functions that are timed, each with its owner. A part does not include others in it."""


class Stopwatch:
    """Seconds spent in each part, without those of the parts within it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.threads: set[int] = set()
        self._inner = threading.local()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Time the functions in `_PARTS`."""
        with contextlib.ExitStack() as stack:
            for owner, name, part in _PARTS:
                function = getattr(owner, name)
                stack.callback(setattr, owner, name, function)
                setattr(owner, name, self._timed(function, part))
            yield

    def _timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            outer = getattr(self._inner, "seconds", 0.0)
            self._inner.seconds = 0.0
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.perf_counter() - start
                with self._lock:
                    self.seconds[part] += taken - self._inner.seconds
                    self.threads.add(threading.get_ident())
                self._inner.seconds = outer + taken

        return timed

    def fastest(
        self, work: Callable[[], object], repeat: int, threads: int
    ) -> tuple[float, dict[str, float]]:
        """Return the seconds of the fastest of several passes, and those of its parts.

        Parts are divided by the number of threads that ran them, at most `threads`. A call may
        start new ones.
        """
        best: tuple[float, dict[str, float]] = (float("inf"), {})
        for _ in range(repeat):
            self.reset()
            start = time.perf_counter()
            work()
            whole = time.perf_counter() - start
            if whole < best[0]:
                ran = min(threads, len(self.threads))
                best = whole, {part: seconds / ran for part, seconds in self.seconds.items()}
        return best


def resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Return the middle of a photograph, continued by mirroring if it is too small."""
    for axis, wanted in enumerate(size):
        missing = max(0, wanted - image.shape[axis])
        padding = [(0, 0)] * 3
        padding[axis] = (missing // 2, missing - missing // 2)
        image = np.pad(image, padding, mode="symmetric")
        start = (image.shape[axis] - wanted) // 2
        image = image.take(range(start, start + wanted), axis)
    return np.ascontiguousarray(image)


def table_of(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title)
    for name in ("size", "precision", "threads", *columns, "rest", "all", "MP/s"):
        table.add_column(name, justify="right")
    return table


def row_of(
    columns: dict[str, str], whole: float, parts: dict[str, float], pixels: int
) -> list[str]:
    """Return the cells of a row: each column, the rest and the whole in ns per pixel, and MP/s."""
    seconds = [sum(parts.get(part, 0.0) for part in names.split()) for names in columns.values()]
    values = [*seconds, whole - sum(seconds), whole]
    return [*(f"{value / pixels * 1e9:.1f}" for value in values), f"{pixels / 1e6 / whole:.2f}"]


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--threads", default=(1, 2), multiple=True, show_default=True, type=click.IntRange(1))
@click.option("--precision", "precisions", multiple=True, type=click.Choice(["float32", "bfloat16"]),
              help="Precision of the synthesis.  [default: all that the processor has]")
@click.option("--quality", default=50.0, show_default=True)
@click.option("--most", default=4, show_default=True, help="Maximum number of pictures of each size.")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1))
@click.option("--model", help="Shipped model or weights file.")
def main(
    folder: Path, threads: tuple[int, ...], precisions: tuple[str, ...], quality: float, most: int,
    repeat: int, model: str | None,
) -> None:
    """Time compression and decompression of pictures made of the photographs in FOLDER."""
    fast = ("bfloat16",) if has_bfloat16(torch.device("cpu")) else ()
    photographs = [read_rgb(path) for path in list_images(folder)[:most]]
    watch = Stopwatch()
    encoded = table_of("Encoding, ns per pixel", list(ENCODING))
    decoded = table_of("Decoding, ns per pixel", list(DECODING))
    for size in SIZES:
        images = [resized(image, size) for image in photographs]
        pixels = len(images) * size[0] * size[1]
        for precision in precisions or ("float32", *fast):
            for count in threads:
                worker = codec.Codec(model=model, threads=count, precision=precision)  # type: ignore[arg-type]
                files = [worker.compress(image, quality=quality) for image in images]

                def encode(worker: codec.Codec = worker, images: list[Pixels] = images) -> None:
                    for image in images:
                        worker.compress(image, quality=quality)

                def decode(worker: codec.Codec = worker, files: list[bytes] = files) -> None:
                    for file in files:
                        worker.decompress(file)

                decode()  # warm up
                name = [f"{size[0]}×{size[1]}", precision, str(count)]
                with watch.running():
                    if precision == "float32":  # the encoder knows no other precision
                        found = watch.fastest(encode, repeat, count)
                        encoded.add_row(name[0], "float32", name[2], *row_of(ENCODING, *found, pixels))
                    found = watch.fastest(decode, repeat, count)
                    decoded.add_row(*name, *row_of(DECODING, *found, pixels))
        encoded.add_section()
        decoded.add_section()
    console = Console(width=110)
    console.print(f"{machine()}: {instruction_set()}")
    console.print(f"codec {codec.__version__}, quality {quality:g}, {len(photographs)} pictures of each size")
    console.print(decoded)
    console.print(encoded)


if __name__ == "__main__":
    main()
