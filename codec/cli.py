"""The command line. Imports that cost time happen inside the command that needs them.

Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 something failed, 2 wrong use.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import importlib
import io
import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import click

import codec
from codec import api, image_files
from codec.cli_train import export_command, train_command
from codec.effort import DEFAULT_EFFORT, Progress
from codec.errors import CodecError, NotKept, TargetMissed
from codec.files import OpenFile, open_bytes, write_atomically
from codec.limits import DEFAULT, Limits

_PATHS = click.argument("paths", nargs=-1, required=True, metavar="IN… [OUT]")
_OUTPUT = click.option("-o", "--output", help="Output file, or folder for several inputs; - for stdout.")
_FORCE = click.option("-f", "--force", is_flag=True, help="Overwrite existing files.")
_DEVICE = click.option("--device", default=None, help="cpu (default) or cuda.")
_MAX_PIXELS = click.option(
    "--max-pixels", type=click.IntRange(1), default=DEFAULT.max_pixels, show_default=True,
    help="Refuse larger pictures and regions.",
)
_THREADS = click.option("-T", "--threads", type=click.IntRange(1), help="CPU threads.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(codec.__version__, "-V", "--version", prog_name="codec")
def main() -> None:
    """A learned image codec: pictures to .cae files and back."""
    warnings.simplefilter("ignore")
    _end_in_order()
    # Before torch is loaded: threads that wait for others actively keep them from running on shared cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Names of files, and ×, in whatever encoding a terminal has.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@main.command()
@_PATHS
@_OUTPUT
@click.option(
    "-q", "--quality", type=click.FloatRange(0, 100),
    help="0 (smallest) to 100 (best); 75 unless a target is given.",
)
@click.option("--target-bpp", type=float, help="Bits per pixel to reach, instead of a quality.")
@click.option("--target-bytes", type=int, help="Size that no file may exceed.")
@click.option("--target-psnr", type=float, help="Decibels that no picture may fall short of.")
@click.option(
    "-e", "--effort", type=click.IntRange(1, 9), default=DEFAULT_EFFORT, show_default=True,
    help="1 (fastest) to 9 (smallest file).",
)
@click.option(
    "--bit-depth", type=click.IntRange(9, 16), help="Bits that 16-bit samples use; seen from them by default."
)
@click.option("--strip", is_flag=True, help="Leave ICC profile, EXIF and XMP out.")
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

    Each IN becomes IN with the extension .cae. The last argument is the output if it ends in .cae,
    or is - or a folder and follows an input. - reads stdin and writes stdout.
    """
    try:
        api.choose_goal(quality, target_bpp, target_bytes, target_psnr)
    except ValueError as error:
        raise click.UsageError(str(error).replace("target_", "--target-")) from None
    jobs = _plan(paths, output, lambda name: name.endswith(api.EXTENSION), api.EXTENSION)
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = None  # --max-pixels is the limit
    worker = _codec(model, device, threads)

    limits = Limits(max_pixels=max_pixels)

    def convert(source: str, target: str, progress: Progress) -> list[bytes]:
        file = io.BytesIO(_standard(sys.stdin, "stdin").buffer.read()) if source == "-" else source
        picture, metadata = image_files.read_image(file, limits, bit_depth)
        data = worker.compress(
            picture, quality=quality, target_bpp=target_bpp, target_bytes=target_bytes,
            target_psnr=target_psnr, effort=effort, metadata=None if strip else metadata, progress=progress,
            limits=limits,
        )
        return [data]

    _run(jobs, convert, force)


@main.command()
@_PATHS
@_OUTPUT
@click.option("--format", "suffix", default="png", show_default=True, help="Where no OUT says it.")
@click.option(
    "--region", type=click.Tuple([int] * 4), metavar="TOP LEFT HEIGHT WIDTH",
    help="Decode only these pixels, in the time that they take.",
)
@click.option("--conceal", is_flag=True, help="Write what is left of damaged files; exit code 1.")
@click.option("--strip", is_flag=True, help="Leave ICC profile, EXIF and XMP out.")
@_MAX_PIXELS
@click.option("-m", "--model", help="Weights file, if the model does not ship.")
@_FORCE
@_DEVICE
@_THREADS
def decompress(
    paths: tuple[str, ...], output: str | None, suffix: str, region: tuple[int, int, int, int] | None,
    conceal: bool, strip: bool, max_pixels: int, model: str | None, force: bool, device: str | None,
    threads: int | None,
) -> None:
    """Decompress .cae files into pictures.

    Each IN becomes a PNG beside it. The last argument is the output if it does not end in .cae and
    follows an input. - reads stdin and writes stdout. Pictures of any size fit into memory as .npy, .ppm
    and .pgm, which are written row by row.
    """
    suffix = "." + suffix.lower().lstrip(".")
    try:
        image_files.check_suffix(suffix)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--format") from None
    jobs = _plan(paths, output, lambda name: not name.endswith(api.EXTENSION), suffix)
    worker = _codec(model, device, threads)
    limits = Limits(max_pixels=max_pixels)
    damaged = False

    def convert(source: str, target: str, progress: Progress) -> Iterator[bytes]:
        kind = suffix if target == "-" else Path(target).suffix
        image_files.check_suffix(kind)
        with _open(source) as data:
            if not conceal:
                yield from api.decode_to_chunks(
                    data, kind, lambda: worker, region=region, strip=strip, limits=limits
                )
                return
            picture, mask = worker.decompress(data, region=region, on_error="conceal", limits=limits)
            if mask.any():
                nonlocal damaged
                damaged = True
                lost = f"{mask.sum()} of {mask.size} pixels are lost or near some that are"
                click.echo(f"codec: {_line(source)}: damaged: {lost}", err=True)
            depth = codec.inspect(data).bit_depth
            samples = picture if picture.ndim == 3 else picture[:, :, None]
            yield from image_files.image_chunks([samples], samples.shape, depth, kind)

    _run(jobs, convert, force)
    if damaged:
        sys.exit(1)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE…")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def info(paths: tuple[str, ...], as_json: bool) -> None:
    """Say what files hold, from their headers alone."""

    def show(path: str) -> None:
        with _open(path) as data:
            about = codec.inspect(data)
        fields = {"file": path, **dataclasses.asdict(about)}
        fields["quality_limit"] = about.quality_limit
        fields["bits_per_pixel"] = round(about.bits_per_pixel, 4)
        if as_json:
            click.echo(json.dumps(fields))
            return
        kind = {1: "gray", 2: "gray with alpha", 3: "RGB", 4: "RGB with alpha"}[about.channels]
        kind += f" {about.bit_depth} bits" if about.bit_depth > 8 else ""
        kind += f" (from {about.source})" if about.source else ""
        limit = f" (the {about.quality_limit})" if about.quality_limit else ""
        how = "lossless" if about.lossless else f"quality {about.quality:g}{limit}, model {about.model}"
        tiles = f"{about.tiles} tile{'s' if about.tiles > 1 else ''}"
        extra = f", {' '.join(about.metadata)}" if about.metadata else ""
        click.echo(
            f"{_line(path)}: {about.width}×{about.height} {kind}, {how}, {about.bytes} bytes "
            f"({about.bits_per_pixel:.3f} bpp), {tiles}{extra}, format {about.format_version}"
        )

    _each(paths, show)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE…")
def verify(paths: tuple[str, ...]) -> None:
    """Check files against their checksums, without decoding them."""

    def check(path: str) -> None:
        with _open(path) as data:
            codec.verify(data)
        click.echo(f"{_line(path)}: ok")

    _each(paths, check)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
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
        module = importlib.import_module("codec.bench.cli")  # in an installed wheel
    except ModuleNotFoundError as error:
        if error.name != "codec.bench":
            raise click.ClickException(f"{error.name} is missing: pip install 'codec[bench]'") from None
        module = importlib.import_module("bench.cli")  # in a checkout
    module.bench_command.main(args=list(arguments), prog_name="codec bench")


main.add_command(train_command)
main.add_command(export_command)


def _end_in_order() -> None:
    """SIGTERM and SIGHUP end the program as Ctrl-C does: files that are being written are removed."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        # Not in a thread of another program, and not where it is ignored, as under nohup.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_DFL:
            with contextlib.suppress(ValueError):
                signal.signal(getattr(signal, name), end)


def _codec(model: str | None, device: str | None, threads: int | None) -> api.Codec:
    try:
        return api.Codec(model=model, device=device, threads=threads)
    except (CodecError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None


def _plan(
    paths: Sequence[str], output: str | None, is_output: Callable[[str], bool], suffix: str
) -> list[tuple[str, str]]:
    """Input and output of each conversion; usage errors end the program with exit code 2."""
    inputs = list(paths)
    if output is None and len(inputs) > 1:
        last = inputs[-1]
        if last == "-" or os.path.isdir(last) or (len(inputs) == 2 and is_output(last)):
            output = inputs.pop()
    # Not `Path.is_dir`, which raises for names that are too long.
    folder = output is not None and output != "-" and os.path.isdir(output)
    if output is not None and len(inputs) > 1 and not folder:
        raise click.UsageError(f"{len(inputs)} inputs need a folder as output, not {output!r}")
    if inputs.count("-") > 1:
        raise click.UsageError("stdin can be read only once")
    jobs = []
    for source in inputs:
        if output is not None and not folder:
            target = output
        elif source == "-":
            if folder:
                raise click.UsageError("stdin needs the name of a file as output")
            target = "-"
        else:
            if not Path(source).name:
                raise click.UsageError(f"{source!r} is not the name of a file")
            name = Path(source).with_suffix(suffix)
            target = str(Path(output or "") / name.name if folder else name)
        jobs.append((source, target))
    targets = [target for _, target in jobs if target != "-"]
    double = next((target for target in targets if targets.count(target) > 1), None)
    if double is not None:
        raise click.UsageError(f"two inputs would be written to {double!r}")
    return jobs


def _run(
    jobs: list[tuple[str, str]], convert: Callable[[str, str, Progress], Iterable[bytes]], force: bool
) -> None:
    with _progress_bar(len(jobs)) as advance:

        def work(numbered: tuple[int, tuple[str, str]]) -> None:
            number, (source, target) = numbered
            if target == "-":
                if _standard(sys.stdout, "stdout").isatty():
                    raise click.UsageError("binary data is not written to a terminal")
            elif os.path.lexists(target) and not force:
                raise FileExistsError(f"{target} exists already: pass -f to overwrite it")
            with _warnings_shown(source):
                data = convert(source, target, lambda share: advance(number + share))
                if target == "-":
                    sys.stdout.buffer.writelines(data)
                    sys.stdout.buffer.flush()
                else:
                    write_atomically(target, data)
            advance(number + 1)

        _each(enumerate(jobs), work, name=lambda numbered: numbered[1][0])


@contextlib.contextmanager
def _progress_bar(files: int) -> Iterator[Callable[[float], None]]:
    """A function that takes how many files are done; on a terminal it moves a bar on stderr."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("files" if files > 1 else "picture", total=files)
        yield lambda done: bar.update(task, completed=done)


def _each(items: Iterable[Any], work: Callable[[Any], None], name: Callable[[Any], str] = str) -> None:
    """Do `work` for every item; failures are one line each, and the exit code is then 1."""
    failed = False
    for item in items:
        try:
            work(item)
        except BrokenPipeError:
            raise
        except (CodecError, OSError, ValueError, RuntimeError, MemoryError) as error:
            failed = True
            text = str(error) or type(error).__name__
            if isinstance(error, OSError) and error.strerror:
                about = str(error.filename or "")
                text = error.strerror + (f": {about}" if about not in ("", name(item)) else "")
            click.echo(f"codec: {_line(name(item))}: {_line(' '.join(text.split()))}", err=True)
    if failed:
        sys.exit(1)


@contextlib.contextmanager
def _open(path: str) -> Iterator[bytes | OpenFile]:
    """The bytes of a file, read as they are needed, or of stdin."""
    if path == "-":
        yield _standard(sys.stdin, "stdin").buffer.read()
        return
    with open_bytes(path) as data:
        yield data


@contextlib.contextmanager
def _warnings_shown(name: str) -> Iterator[None]:
    """Warnings of this package as lines on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        for kind in (TargetMissed, NotKept):
            warnings.simplefilter("always", kind)
        yield
    for warning in caught:
        click.echo(f"codec: {_line(name)}: {warning.message}", err=True)


def _standard(stream: TextIO | None, name: str) -> TextIO:
    """The stream, unless the program was started with it closed."""
    if stream is None:
        raise OSError(errno.EBADF, f"{name} is closed")
    return stream


def _line(text: str) -> str:
    """Names of files on one line, and without control of the terminal: \\n for a line's end, …"""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: repr(match[0])[1:-1], text)
