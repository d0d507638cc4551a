"""Opening time, row access and storage overhead of a large dataset.

    python -m bench.studies.dataset_access PHOTOS [--rows 100000]

Crops of 64×64 pixels are packed into a dataset of the given number of rows. Each crop is repeated
many times. A second dataset has 5,000 crops of 32×32 as bare rows. The number of reads is the count
that the operating system keeps for this process (Linux).
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import PIL.Image

import codec
import codec.data

from ..suite.environment import machine
from .datasets import cut, size_of


def reads() -> int:
    """Number of read system calls (`read` and related) made by this process so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("syscr")))


@click.command()
@click.argument("photos", type=click.Path(exists=True, path_type=Path))
@click.option("--rows", default=100_000, show_default=True)
def main(photos: Path, rows: int) -> None:
    """Open a large dataset and read rows from it."""
    print(f"codec {codec.__version__}, {machine()}")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        files = codec.Codec().compress_batch(list(cut(photos, 1000, 64)), quality=60)

        def items() -> Iterator[dict[str, Any]]:
            for number in range(rows):
                yield {"image": files[number % 1000], "path": f"a/{number:07d}.png", "label": number % 10}

        began = time.perf_counter()
        report = codec.data.pack(items(), root / "set")
        print(f"{rows:,} rows of {report.bytes_out / rows:.0f} bytes in {report.shards} shards, packed in "
              f"{time.perf_counter() - began:.1f} s")
        overhead(root / "set", report.bytes_out)
        times = []
        for _ in range(5):
            began = time.perf_counter()
            dataset = codec.Dataset(root / "set")
            times.append(time.perf_counter() - began)
        print(f"opening: median of 5 runs {statistics.median(times):.3f} s, slowest {max(times):.3f} s")
        random.seed(0)
        chosen = [random.randrange(rows) for _ in range(1000)] + [rows - 1]
        for index in chosen:
            assert dataset.read(index) == files[index % 1000]
        own = reads()
        own = reads() - own
        counts, times = [], []
        for index in chosen:
            before, began = reads(), time.perf_counter()
            dataset.read(index)
            times.append(time.perf_counter() - began)
            counts.append(reads() - before - own)
        print(f"random row: {min(counts)} to {max(counts)} reads, median "
              f"{statistics.median(times) * 1e6:.0f} µs; last row {times[-1] * 1e6:.0f} µs")

        folder = root / "tiny"
        folder.mkdir()
        for number, picture in enumerate(cut(photos, 5000, 32)):
            PIL.Image.fromarray(picture).save(folder / f"{number:05d}.png")
        report = codec.data.pack(folder, root / "bare", quality=60, bare=True)
        print(f"5,000 bare rows of 32×32, {report.bytes_out / 5000:.1f} bytes each")
        overhead(root / "bare", report.bytes_out)


def overhead(folder: Path, payload: int) -> None:
    size = size_of(folder)
    print(f"{size:,} bytes on disk, {payload:,} of them pictures: overhead {size / payload - 1:.2%}")


if __name__ == "__main__":
    main()
