"""`codec compress` and `codec decompress`."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import click

import codec
from codec import api, convert
from codec.cli.jobs import plan
from codec.cli.options import PRECISION, Bands
from codec.cli.running import run
from codec.cli.streams import open_input, tell
from codec.cli.texts import on_one_line, reason
from codec.coding.effort import DEFAULT_EFFORT, Progress
from codec.engine.goal import choose_goal
from codec.errors import CodecError
from codec.limits import DEFAULT, Limits
from codec.pictures.formats import picture_suffixes
from codec.pictures.reading import read_image
from codec.pictures.writing import check_suffix, image_chunks

if TYPE_CHECKING:
    from codec.model.runtime import Precision


def _once(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str | None:
    if len(value) > 1:
        raise click.BadParameter("may be given only once")
    return value[0] if value else None


_PATHS = click.argument("paths", nargs=-1, required=True, metavar="IN… [OUT]")
_OUTPUT = click.option(
    "-o", "--output", multiple=True, callback=_once, metavar="OUT",
    help="Output file or folder; - for stdout. A name that ends in / is a folder, which is created if "
    "it is missing.",
)
_STRIP = click.option("--strip", is_flag=True, help="Omit the metadata: ICC profile, EXIF, XMP and CICP.")
_FORCE = click.option("-f", "--force", is_flag=True, help="Overwrite existing files.")
_DEVICE = click.option("--device", default=None, help="cpu (default) or cuda.")
_MAX_PIXELS = click.option(
    "--max-pixels", type=click.IntRange(1), default=DEFAULT.max_pixels, show_default=True,
    help="Maximum number of pixels. Larger pictures and regions are refused.",
)
_THREADS = click.option("-T", "--threads", type=click.IntRange(1), help="CPU threads.")


@click.command("compress")
@_PATHS
@_OUTPUT
@click.option(
    "-q", "--quality", type=click.FloatRange(0, 100),
    help="0 (smallest) to 100 (best); 75 unless a target is given.",
)
@click.option("--target-bpp", type=float, help="Target bits per pixel, instead of a quality.")
@click.option("--target-bytes", type=int, help="Maximum size of each file in bytes.")
@click.option("--target-psnr", type=float, help="Minimum PSNR of each picture in decibels.")
@click.option(
    "-e", "--effort", type=click.IntRange(1, 9), default=DEFAULT_EFFORT, show_default=True,
    help="1 (fastest) to 9 (smallest file).",
)
@click.option(
    "--bit-depth", type=click.IntRange(9, 16),
    help="Bits that 16-bit samples use. The default is 16 for PNG and TIFF files. For others it is "
    "determined from the samples.",
)
@click.option(
    "--bands", type=Bands(),
    help="Bands to take of each picture, from 1 on: 1 or 3 of them, and one more for alpha.",
)
@_STRIP
@_MAX_PIXELS
@click.option("-m", "--model", help="Shipped model or .safetensors file.")
@_FORCE
@_DEVICE
@_THREADS
def compress_command(
    paths: tuple[str, ...], output: str | None, quality: float | None, target_bpp: float | None,
    target_bytes: int | None, target_psnr: float | None, effort: int, bit_depth: int | None,
    bands: tuple[int, ...] | None, strip: bool, max_pixels: int, model: str | None, force: bool,
    device: str | None, threads: int | None,
) -> None:
    """Compress pictures.

    Each IN is compressed to a file with the same name and the extension .cae. The last argument is
    the output if it follows an input and ends in .cae or /, is a folder, or is -. The input - is
    stdin, and the output - is stdout. Input from stdin is written to stdout by default.

    If IN is a folder, the pictures in it and in its subfolders are compressed into the same
    subfolders of the folder OUT, which is created if it is missing. Hidden files and files that
    are not pictures by their extension are skipped. Pictures that differ only in their extension
    keep it in the name of the output.
    """
    try:
        choose_goal(quality, target_bpp, target_bytes, target_psnr)
    except ValueError as error:
        raise click.UsageError(str(error).replace("target_", "--target-")) from None
    pictures = picture_suffixes()
    jobs = plan(paths, output, lambda name: name.endswith(api.EXTENSION), api.EXTENSION, pictures)
    for job in jobs.jobs:
        if os.path.splitext(job.target)[1].lower() in pictures:
            raise click.UsageError(
                f"{job.target!r} would be a .cae file with the extension of another format: end it in .cae"
            )
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = None  # --max-pixels is the limit
    worker = _codec(model, device, threads)
    limits = Limits(max_pixels=max_pixels)

    def convert_one(source: str | bytes, target: str, progress: Progress) -> Generator[bytes, None, None]:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        picture, metadata = read_image(file, limits, bit_depth, bands, strip)
        yield worker.compress(
            picture, quality=quality, target_bpp=target_bpp, target_bytes=target_bytes,
            target_psnr=target_psnr, effort=effort, metadata=metadata, progress=progress,
            limits=limits,
        )

    run(jobs, convert_one, force)


@click.command("decompress")
@_PATHS
@_OUTPUT
@click.option(
    "--format", "suffix", default="png", show_default=True,
    help="Output format, if OUT does not name one.",
)
@click.option(
    "--region", type=click.Tuple([int] * 4), metavar="TOP LEFT HEIGHT WIDTH",
    help="Decode only these pixels. The time depends on the size of the region.",
)
@click.option(
    "--conceal", is_flag=True,
    help="Write the undamaged part of damaged files. The exit code is then 1.",
)
@_STRIP
@_MAX_PIXELS
@click.option("-m", "--model", help="Weights file, if the model is not shipped.")
@_FORCE
@_DEVICE
@PRECISION
@_THREADS
def decompress_command(
    paths: tuple[str, ...], output: str | None, suffix: str, region: tuple[int, int, int, int] | None,
    conceal: bool, strip: bool, max_pixels: int, model: str | None, force: bool, device: str | None,
    precision: Precision | None, threads: int | None,
) -> None:
    """Decompress .cae files into pictures.

    Each IN is decompressed to a picture in the same folder, a PNG file unless --format is given.
    The last argument is the output if it follows an input and does not end in .cae. The input - is
    stdin, and the output - is stdout. Input from stdin is written to stdout by default. Output in
    the formats .npy, .ppm and .pgm is written row by row, so pictures of any size fit into memory.

    If IN is a folder, the .cae files in it and in its subfolders are decompressed into the same
    subfolders of the folder OUT, which is created if it is missing.
    """
    suffix = "." + suffix.lower().lstrip(".")
    try:
        check_suffix(suffix)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--format") from None
    wanted = frozenset((api.EXTENSION,))
    jobs = plan(paths, output, lambda name: not name.endswith(api.EXTENSION), suffix, wanted)
    worker = _codec(model, device, threads, precision)
    limits = Limits(max_pixels=max_pixels)
    damaged = False

    def convert_one(source: str | bytes, target: str, progress: Progress) -> Generator[bytes, None, None]:
        nonlocal damaged
        kind = suffix if target == "-" else Path(target).suffix
        check_suffix(kind)
        with open_input(source) as data:
            if not conceal:
                yield from convert.decode_to_chunks(
                    data, kind, lambda: worker, region=region, strip=strip, limits=limits
                )
                return
            shown = on_one_line(source) if isinstance(source, str) else "-"
            picture, mask = worker.decompress(data, region=region, on_error="conceal", limits=limits)
            if mask.any():
                damaged = True
                tell(f"codec: {shown}: damaged: {mask.sum()} of {mask.size} pixels may be wrong")
            metadata, lost_kinds = convert.metadata_left(data)
            if lost_kinds:
                damaged = True
                tell(f"codec: {shown}: damaged: {', '.join(lost_kinds)} lost")
            depth = codec.inspect(data).bit_depth
            samples = picture if picture.ndim == 3 else picture[:, :, None]
            yield from image_chunks([samples], samples.shape, depth, kind, None if strip else metadata)

    run(jobs, convert_one, force)
    if damaged:
        sys.exit(1)


def _codec(
    model: str | None, device: str | None, threads: int | None, precision: Precision | None = None
) -> api.Codec:
    try:
        return api.Codec(model=model, device=device, threads=threads, precision=precision)
    except (CodecError, ValueError, OSError) as error:
        raise click.ClickException(reason(error)) from None
