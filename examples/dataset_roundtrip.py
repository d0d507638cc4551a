"""Round trip: a folder of pictures, a dataset, training batches, WebDataset tars, a folder again.

    python examples/dataset_roundtrip.py [OUT]

Labelled pictures are cut out of the sample photographs and converted to each of these forms. Every
label and every picture is checked on the way. The program may be stopped at any time. Started again
with the same OUT, it gives the same result.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import codec
import codec.data
from codec.pictures.atomic import write_atomically

SAMPLES = Path(__file__).parent.parent / "bench" / "samples"
SIDE = 96
QUALITY = 60

Pixels = NDArray[np.uint8]


def cut(count: int) -> dict[str, Pixels]:
    """`count` pictures by file name. The class is the name of the photograph they come from."""
    photographs = {}
    for path in SAMPLES.glob("*.jpg"):
        with PIL.Image.open(path) as image:
            photographs[path.stem] = np.asarray(image.convert("RGB"))
    rng = np.random.default_rng(0)
    found = {}
    for number in range(count):
        name = sorted(photographs)[number % len(photographs)]
        photograph = photographs[name]
        top, left = (int(rng.integers(0, size - SIDE)) for size in photograph.shape[:2])
        found[f"{name}/{number:04d}.png"] = photograph[top : top + SIDE, left : left + SIDE]
    return dict(sorted(found.items()))


def write_folder(pictures: dict[str, Pixels], folder: Path) -> None:
    for name, pixels in pictures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            file = io.BytesIO()
            PIL.Image.fromarray(pixels).save(file, "PNG")
            write_atomically(path, file.getvalue())


def check(found: Pixels, wanted: Pixels) -> float:
    """PSNR in dB between a decoded picture and the original. Exits with an error below 24 dB."""
    error = float(np.mean((found.astype(float) - wanted) ** 2))
    psnr = 10 * float(np.log10(255**2 / max(error, 1e-9)))
    if psnr < 24:
        raise SystemExit(f"a decoded picture does not match its original: {psnr:.1f} dB")
    return psnr


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@click.command()
@click.argument("out", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", default=300, show_default=True, help="Number of pictures.")
def main(out: Path | None, count: int) -> None:
    """Convert a folder to a dataset, to tars and back to a folder, and check all pictures."""
    with tempfile.TemporaryDirectory() as place:
        run(out or Path(place), count)


def run(out: Path, count: int) -> None:
    pictures = cut(count)
    names, classes = list(pictures), sorted({name.split("/")[0] for name in pictures})
    labels = [classes.index(name.split("/")[0]) for name in names]
    table = Table(title=f"{count} pictures of {SIDE}×{SIDE}, quality {QUALITY}, codec {codec.__version__}")
    for title in ("form", "bytes", "of PNG", "pictures/s", "checked"):
        table.add_column(title, justify="left" if title in ("form", "checked") else "right")

    def row(form: str, folder: Path | None, seconds: float, checked: str) -> None:
        bytes_there = f"{size(folder):,}" if folder else ""
        share = f"{size(folder) / size(out / 'folder'):.1%}" if folder else ""
        table.add_row(form, bytes_there, share, f"{count / seconds:,.0f}", checked)

    began = time.perf_counter()
    write_folder(pictures, out / "folder")
    row("folder of PNG", out / "folder", time.perf_counter() - began, "")

    began = time.perf_counter()
    report = codec.data.pack(out / "folder", out / "set", quality=QUALITY, shard_rows=100)
    if report.failures or report.pictures != count:
        raise SystemExit(f"not every picture was packed: {report.failures}")
    dataset = codec.Dataset(out / "set")
    seconds = time.perf_counter() - began
    paths = [dataset.pathname(index) for index in range(len(dataset))]
    if paths != names or dataset.classes != classes or dataset.column("label").to_pylist() != labels:
        raise SystemExit("names or labels differ from those of the folder")
    row("dataset", out / "set", seconds, "names, labels")

    began, seen, decibels = time.perf_counter(), 0, []
    for batch in codec.data.loader(dataset, 50):
        pixels = batch["image"].permute(0, 2, 3, 1).numpy()
        if batch["label"].tolist() != labels[seen : seen + len(pixels)]:
            raise SystemExit("a batch has wrong labels")
        decibels += [check(a, pictures[name]) for a, name in zip(pixels, names[seen:], strict=False)]
        seen += len(pixels)
    if seen != count:
        raise SystemExit(f"the batches had {seen} of {count} pictures")
    row("batches", None, time.perf_counter() - began, f"labels, pictures: {np.mean(decibels):.1f} dB")

    began = time.perf_counter()
    failures = codec.data.export(dataset, out / "tars", samples=100, force=True)
    row("WebDataset tars", out / "tars", time.perf_counter() - began, "")

    began = time.perf_counter()
    codec.data.pack(out / "tars", out / "again")
    again = codec.Dataset(out / "again")
    seconds = time.perf_counter() - began
    for index, name in enumerate(names):
        same = again.read(index) == dataset.read(index) and again.pathname(index) == name
        if not same or again.values(index)["label"] != labels[index]:
            raise SystemExit(f"{name} changed in the conversion to tars and back")
    row("dataset of the tars", out / "again", seconds, "names, labels, identical files")

    began = time.perf_counter()
    failures += codec.data.unpack(again, out / "back", force=True)
    if failures:
        raise SystemExit(f"not all pictures were written: {failures}")
    seconds = time.perf_counter() - began
    for name, pixels in pictures.items():
        check(np.asarray(PIL.Image.open(out / "back" / name)), pixels)
    row("folder again", out / "back", seconds, "names, pictures")

    problems = [*codec.data.verify(out / "set", decode=True), *codec.data.verify(out / "again")]
    if problems:
        raise SystemExit("\n".join(problems))
    Console(width=100).print(table)
    digest = hashlib.sha256()
    # Unfinished files of a killed process have hidden names and are not part of the result.
    for path in sorted(path for path in out.rglob("*") if path.is_file() and path.name[0] != "."):
        digest.update(path.relative_to(out).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    print(f"all {count} labels and pictures are right; digest of all files: {digest.hexdigest()[:16]}")


if __name__ == "__main__":
    main()
