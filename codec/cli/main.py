"""The command line. Slow imports happen inside the commands that need them.

Data goes to stdout, everything else to stderr. Exit codes: 0 success, 1 failure, 2 usage error.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import os
import sys
import warnings
from collections.abc import Generator
from pathlib import Path

import click

import codec
from codec import api, convert
from codec.cli.dataset import dataset_group
from codec.cli.jobs import counted, each, end_in_order, on_one_line, open_input, plan, run, standard_stream
from codec.cli.train import export_command, train_command
from codec.coding.effort import DEFAULT_EFFORT, Progress
from codec.engine.goal import choose_goal
from codec.errors import CodecError
from codec.limits import DEFAULT, Limits
from codec.pictures.picture import KINDS
from codec.pictures.reading import read_image
from codec.pictures.writing import check_suffix, image_chunks

_PATHS = click.argument("paths", nargs=-1, required=True, metavar="IN… [OUT]")
_OUTPUT = click.option("-o", "--output", help="Output file, or folder for several inputs; - for stdout.")
_FORCE = click.option("-f", "--force", is_flag=True, help="Overwrite existing files.")
_DEVICE = click.option("--device", default=None, help="cpu (default) or cuda.")
_MAX_PIXELS = click.option(
    "--max-pixels", type=click.IntRange(1), default=DEFAULT.max_pixels, show_default=True,
    help="Maximum number of pixels. Larger pictures and regions are refused.",
)
_THREADS = click.option("-T", "--threads", type=click.IntRange(1), help="CPU threads.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(codec.__version__, "-V", "--version", prog_name="codec")
def main() -> None:
    """A learned image codec. It converts pictures to .cae files and back."""
    warnings.simplefilter("ignore")
    end_in_order()
    # Must be set before torch is loaded. Threads that wait actively would keep other threads from
    # running on shared cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The encoding of the terminal may lack × and characters of file names.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@main.command()
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
@click.option("--strip", is_flag=True, help="Omit the ICC profile, EXIF and XMP.")
@_MAX_PIXELS
@click.option("-m", "--model", help="Shipped model or .safetensors file.")
@_FORCE
@_DEVICE
@_THREADS
def compress(
    paths: tuple[str, ...], output: str | None, quality: float | None, target_bpp: float | None,
    target_bytes: int | None, target_psnr: float | None, effort: int, bit_depth: int | None, strip: bool,
    max_pixels: int, model: str | None, force: bool, device: str | None, threads: int | None,
) -> None:
    """Compress pictures.

    Each IN is compressed to a file with the same name and the extension .cae. The last argument is
    the output if it follows an input and ends in .cae, is a folder, or is -. The input - is stdin,
    and the output - is stdout. Input from stdin is written to stdout by default.
    """
    try:
        choose_goal(quality, target_bpp, target_bytes, target_psnr)
    except ValueError as error:
        raise click.UsageError(str(error).replace("target_", "--target-")) from None
    jobs = plan(paths, output, lambda name: name.endswith(api.EXTENSION), api.EXTENSION)
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = None  # --max-pixels is the limit
    worker = _codec(model, device, threads)

    limits = Limits(max_pixels=max_pixels)

    def convert_one(source: str, target: str, progress: Progress) -> Generator[bytes, None, None]:
        file = io.BytesIO(standard_stream(sys.stdin, "stdin").buffer.read()) if source == "-" else source
        picture, metadata = read_image(file, limits, bit_depth)
        yield worker.compress(
            picture, quality=quality, target_bpp=target_bpp, target_bytes=target_bytes,
            target_psnr=target_psnr, effort=effort, metadata=None if strip else metadata, progress=progress,
            limits=limits,
        )

    run(jobs, convert_one, force)


@main.command()
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
@click.option("--strip", is_flag=True, help="Omit the ICC profile, EXIF and XMP.")
@_MAX_PIXELS
@click.option("-m", "--model", help="Weights file, if the model is not shipped.")
@_FORCE
@_DEVICE
@_THREADS
def decompress(
    paths: tuple[str, ...], output: str | None, suffix: str, region: tuple[int, int, int, int] | None,
    conceal: bool, strip: bool, max_pixels: int, model: str | None, force: bool, device: str | None,
    threads: int | None,
) -> None:
    """Decompress .cae files into pictures.

    Each IN is decompressed to a picture in the same folder, a PNG file unless --format is given.
    The last argument is the output if it follows an input and does not end in .cae. The input - is
    stdin, and the output - is stdout. Input from stdin is written to stdout by default. Output in
    the formats .npy, .ppm and .pgm is written row by row, so pictures of any size fit into memory.
    """
    suffix = "." + suffix.lower().lstrip(".")
    try:
        check_suffix(suffix)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--format") from None
    jobs = plan(paths, output, lambda name: not name.endswith(api.EXTENSION), suffix)
    worker = _codec(model, device, threads)
    limits = Limits(max_pixels=max_pixels)
    damaged = False

    def convert_one(source: str, target: str, progress: Progress) -> Generator[bytes, None, None]:
        nonlocal damaged
        kind = suffix if target == "-" else Path(target).suffix
        check_suffix(kind)
        with open_input(source) as data:
            if not conceal:
                yield from convert.decode_to_chunks(
                    data, kind, lambda: worker, region=region, strip=strip, limits=limits
                )
                return
            picture, mask = worker.decompress(data, region=region, on_error="conceal", limits=limits)
            if mask.any():
                damaged = True
                lost = f"{mask.sum()} of {mask.size} pixels may be wrong"
                click.echo(f"codec: {on_one_line(source)}: damaged: {lost}", err=True)
            metadata, lost_kinds = convert.metadata_left(data)
            if lost_kinds:
                damaged = True
                click.echo(f"codec: {on_one_line(source)}: damaged: {', '.join(lost_kinds)} lost", err=True)
            depth = codec.inspect(data).bit_depth
            samples = picture if picture.ndim == 3 else picture[:, :, None]
            yield from image_chunks(
                [samples], samples.shape, depth, kind, None if strip else metadata
            )

    run(jobs, convert_one, force)
    if damaged:
        sys.exit(1)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE…")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def info(paths: tuple[str, ...], as_json: bool) -> None:
    """Show the properties of files, read from their headers only."""

    def show(path: str) -> None:
        with open_input(path) as data:
            about = codec.inspect(data)
        fields = {"file": path, **dataclasses.asdict(about)}
        fields["quality_limit"] = about.quality_limit
        fields["bits_per_pixel"] = round(about.bits_per_pixel, 4)
        if as_json:
            click.echo(json.dumps(fields))
            return
        kind = KINDS[about.channels]
        kind += f" {about.bit_depth} bits" if about.bit_depth > 8 else ""
        kind += f" (from {about.source})" if about.source else ""
        limit = f" (the {about.quality_limit})" if about.quality_limit else ""
        bound = "" if about.max_error is None else f", errors up to {about.max_error}"
        how = f"quality {about.quality:g}{limit}{bound}, model {about.model}"
        how = "lossless" if about.lossless else how
        tiles = counted(about.tiles, "tile")
        extra = f", {' '.join(about.metadata)}" if about.metadata else ""
        click.echo(
            f"{on_one_line(path)}: {about.width}×{about.height} {kind}, {how}, {about.bytes} bytes "
            f"({about.bits_per_pixel:.3f} bpp), {tiles}{extra}, format {about.format_version}"
        )

    each(paths, show)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE…")
def verify(paths: tuple[str, ...]) -> None:
    """Check files against their checksums, without decoding them."""

    def check(path: str) -> None:
        with open_input(path) as data:
            codec.verify(data)
        click.echo(f"{on_one_line(path)}: ok")

    each(paths, check)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def models(as_json: bool) -> None:
    """List the models that ship with this package."""
    for entry in codec.models():
        if as_json:
            click.echo(json.dumps(entry))
        else:
            mark = " (default)" if entry["default"] else ""
            click.echo(f"{entry['name']}{mark}: id {entry['id']}, {entry['bytes'] / 1e6:.1f} MB")


@main.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Compare codecs on your own pictures (needs codec[bench])."""
    try:
        module = importlib.import_module("codec.bench.suite.cli")  # in an installed wheel
    except ModuleNotFoundError as error:
        if error.name != "codec.bench":
            raise click.ClickException(f"{error.name} is missing: pip install 'codec[bench]'") from None
        module = importlib.import_module("bench.suite.cli")  # in a checkout
    module.bench_command.main(args=list(arguments), prog_name="codec bench")


main.add_command(dataset_group)
main.add_command(train_command)
main.add_command(export_command)


def _codec(model: str | None, device: str | None, threads: int | None) -> api.Codec:
    try:
        return api.Codec(model=model, device=device, threads=threads)
    except (CodecError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
