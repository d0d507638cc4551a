"""A gigapixel picture through the command line: memory, time, seams and regions.

    python -m bench.studies.gigapixel PHOTOGRAPHS --side 30000 --folder /somewhere/with/6GB
        --json result.json

The picture is a mosaic in a .npy file. It is made of rotated and mirrored pieces of the photographs
in a folder. Each command runs in its own process. The kernel reports the peak resident memory of
this process.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from codec.format import tiling
from codec.format.header import parse_header
from codec.pictures.raster import Raster, open_raster
from codec.training.data import list_images, read_rgb

_BLOCK = 500
"""Side of a piece of a photograph in pixels. Its edges do not coincide with the edges of tiles."""

_PHOTOGRAPHS = 60
"""Maximum number of photographs used."""

_REGION = 1000

_SMALL = 3072
"""Side of a picture in which the region needs as many tiles as in the large picture."""


@dataclasses.dataclass
class Run:
    """Time and memory of a command."""

    seconds: float
    peak_mb: float


def run(*arguments: str) -> Run:
    """Run the command line in its own process. Raises `ClickException` if it fails."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "codec", *arguments])
    peak = 0
    while process.poll() is None:
        # `getrusage` is not used because its value starts at the peak of this process.
        status = Path(f"/proc/{process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        peak = max(peak, int(found[1])) if found else peak
        time.sleep(0.05)
    if process.returncode:
        raise click.ClickException(f"codec {' '.join(arguments)} failed")
    return Run(time.perf_counter() - start, peak * 1024 / 1e6)


def make_mosaic(photographs: Path, side: int, path: Path) -> None:
    """Write a side×side RGB picture of blocks of the photographs in pseudo-random order."""
    files = list_images(photographs)
    files = files[:: -(-len(files) // _PHOTOGRAPHS)]
    pieces = [piece for file in files for piece in _pieces(read_rgb(file))]
    if not pieces:
        raise click.ClickException(f"no photograph has at least {_BLOCK}×{_BLOCK} pixels")
    rng = np.random.default_rng(0)
    mosaic = np.lib.format.open_memmap(path, "w+", np.uint8, (side, side, 3))
    for top in range(0, side, _BLOCK):
        row = [_turned(pieces[rng.integers(len(pieces))], rng) for _ in range(0, side, _BLOCK)]
        mosaic[top : top + _BLOCK] = np.concatenate(row, 1)[: side - top, :side]
    mosaic.flush()


def _pieces(photograph: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    height, width = (length // _BLOCK * _BLOCK for length in photograph.shape[:2])
    return [
        photograph[top : top + _BLOCK, left : left + _BLOCK]
        for top in range(0, height, _BLOCK)
        for left in range(0, width, _BLOCK)
    ]


def _turned(piece: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    piece = np.rot90(piece, int(rng.integers(4)))
    return piece[:, ::-1] if rng.integers(2) else piece


def squared_errors(a: Raster, b: Raster, tile: int) -> tuple[float, float]:
    """Mean squared error within 8 pixels of tile edges, and elsewhere."""
    height, width, _ = a.shape
    near = np.zeros(width, bool)
    for edge in range(tile, width, tile):
        near[edge - 8 : edge + 8] = True
    sums, counts = np.zeros(2), np.zeros(2)
    for top in range(0, height, 64):
        rows = slice(top, min(top + 64, height)), slice(0, width)
        error = np.square(a[rows].astype(np.float32) - b[rows]).mean(2)
        for row, values in enumerate(error, top):
            close = near | ((row + 8) % tile < 16 and 8 <= row < height - 8)
            sums += values[close].sum(), values[~close].sum()
            counts += close.sum(), (~close).sum()
    border, elsewhere = sums / np.maximum(counts, 1)
    return float(border), float(elsewhere)


@click.command()
@click.argument("photographs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--side", default=30_000, show_default=True)
@click.option("--folder", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("-q", "--quality", default=75.0, show_default=True)
@click.option("-T", "--threads", default=2, show_default=True)
@click.option("--json", "output", type=click.Path(path_type=Path), help="Also write figures to this file.")
def main(
    photographs: Path, side: int, folder: Path, quality: float, threads: int, output: Path | None
) -> None:
    """Compress and decompress a mosaic of PHOTOGRAPHS of SIDE×SIDE pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    source, packed, decoded = (folder / name for name in ("mosaic.npy", "mosaic.cae", "decoded.npy"))
    make_mosaic(photographs, side, source)
    common = ["-f", "-T", str(threads), "--max-pixels", str(side * side)]
    runs = {"compress": run("compress", *common, "-q", str(quality), str(source), str(packed))}
    header, header_bytes = parse_header(packed.read_bytes())
    runs["decompress"] = run("decompress", *common, str(packed), str(decoded))
    original, result = (open_raster(path.open("rb"), owned=True) for path in (source, decoded))
    assert original is not None
    assert result is not None
    border, elsewhere = squared_errors(original, result, header.tile_size)
    for name, top, left in (("first", 0, 0), ("middle", side // 2, side // 2), ("last", -1, -1)):
        top, left = (side - _REGION if value < 0 else value for value in (top, left))
        part = folder / "part.npy"
        region = [str(value) for value in (top, left, _REGION, _REGION)]
        runs[f"region, {name}"] = run("decompress", *common, "--region", *region, str(packed), str(part))
        rows = slice(top, top + _REGION), slice(left, left + _REGION)
        if not np.array_equal(np.load(part), result[rows]):
            raise click.ClickException(f"the {name} region differs from the whole picture")
    small, small_packed = folder / "small.npy", folder / "small.cae"
    np.save(small, original[slice(0, _SMALL), slice(0, _SMALL)])
    run("compress", *common, "-q", str(quality), str(small), str(small_packed))
    region = [str(value) for value in (500, 500, _REGION, _REGION)]
    for name, file in (("of the whole", packed), (f"of {_SMALL}×{_SMALL} pixels of it", small_packed)):
        runs[f"the same region {name}"] = run(
            "decompress", *common, "--region", *region, str(file), str(folder / "part.npy")
        )
    figures = {
        "side": side,
        "bytes": packed.stat().st_size,
        "header_bytes": header_bytes,
        "tiles": tiling.tile_count(side, side, header.tile_size),
        "psnr_at_borders": 10 * np.log10(255**2 / border),
        "psnr_elsewhere": 10 * np.log10(255**2 / elsewhere),
        "runs": {name: dataclasses.asdict(value) for name, value in runs.items()},
    }
    if output is not None:
        output.write_text(json.dumps(figures, indent=1) + "\n")
    table = Table(title=f"{side}×{side} pixels, {figures['bytes']:,} bytes, {figures['tiles']} tiles")
    for column in ("what", "seconds", "peak memory, MB"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, value in runs.items():
        table.add_row(name, f"{value.seconds:.1f}", f"{value.peak_mb:.0f}")
    Console().print(table)
    Console().print(
        f"PSNR {figures['psnr_at_borders']:.3f} dB within 8 pixels of tile edges, "
        f"{figures['psnr_elsewhere']:.3f} dB elsewhere; regions equal the whole picture"
    )


if __name__ == "__main__":
    main()
