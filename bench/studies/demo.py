"""`make demo`: compress and decode the sample photographs, and show a table and pictures.

    python -m bench.studies.demo [--out demo]

JPEG files are written by Pillow: optimised, progressive, 4:2:0, at the highest quality whose file
is no larger than ours.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich import box
from rich.console import Console
from rich.table import Table

import codec

from ..suite.baselines import find
from ..suite.comparisons import largest_within
from ..suite.metrics import ms_ssim, psnr
from ..suite.pictures import collect, read_again

SAMPLES = Path(__file__).parent.parent / "samples"
QUALITIES = (10, 40, 75)


def side_by_side(pictures: list[tuple[str, NDArray[np.uint8]]]) -> Image.Image:
    """Pictures of equal size in a row, each with a caption."""
    height, width = pictures[0][1].shape[:2]
    sheet = Image.new("RGB", (width * len(pictures), height + 28), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=16)
    for column, (caption, pixels) in enumerate(pictures):
        sheet.paste(Image.fromarray(pixels), (column * width, 28))
        draw.text((column * width + 6, 4), caption, fill="black", font=font)
    return sheet


@click.command()
@click.option("--out", default="demo", type=click.Path(file_okay=False, path_type=Path))
def main(out: Path) -> None:
    """Compress the sample photographs at three qualities and compare with JPEG of the same size."""
    console = Console()
    worker = codec.Codec()
    encode_jpeg, decode_jpeg = find("jpeg").start(1)
    out.mkdir(parents=True, exist_ok=True)
    table = Table(
        title=f"codec {codec.__version__}, model {worker.model} {worker.model_id}; ms: MS-SSIM",
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False,
    )
    for name in ("photo", "q", "bytes", "bpp", "PSNR", "ms", "enc s", "dec s", "JPEG", "PSNR", "ms"):
        table.add_column(name, justify="left" if name == "photo" else "right", no_wrap=True)
    worker.decompress(worker.compress(np.zeros((64, 64, 3), np.uint8)))  # warm up before timing
    for picture in collect([SAMPLES])[0]:
        image = read_again(picture.path)
        pixels = image.shape[0] * image.shape[1]
        for quality in QUALITIES:
            start = time.perf_counter()
            data = worker.compress(image, quality=quality)
            middle = time.perf_counter()
            decoded = worker.decompress(data)
            end = time.perf_counter()
            jpeg, _ = largest_within(functools.partial(encode_jpeg, image), len(data))
            theirs = decode_jpeg(jpeg)
            name = f"{picture.path.stem}-q{quality}"
            (out / f"{name}{codec.api.EXTENSION}").write_bytes(data)
            Image.fromarray(decoded).save(out / f"{name}.png")
            side_by_side([
                ("original", image),
                (f"codec, {len(data):,} bytes, {psnr(image, decoded):.2f} dB", decoded),
                (f"JPEG, {len(jpeg):,} bytes, {psnr(image, theirs):.2f} dB", theirs),
            ]).save(out / f"{name}-compare.png")
            table.add_row(
                picture.path.stem, str(quality), f"{len(data):,}", f"{8 * len(data) / pixels:.2f}",
                f"{psnr(image, decoded):.2f}", f"{ms_ssim(image, decoded):.3f}",
                f"{middle - start:.2f}", f"{end - middle:.2f}",
                f"{len(jpeg):,}" + ("" if len(jpeg) <= len(data) else "*"),
                f"{psnr(image, theirs):.2f}", f"{ms_ssim(image, theirs):.3f}",
            )
    console.print(table)
    console.print("JPEG: optimised, progressive, 4:2:0, no larger than ours (*: smallest possible)")
    console.print(f"Files and comparisons are in {out}/; see {out}/*-compare.png")


if __name__ == "__main__":
    main()
