"""`codec dataset`: commands that pack, unpack and check compressed datasets."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from codec.cli.options import PRECISION, Bands
from codec.cli.texts import EXPECTED, counted, on_one_line, reason, sized
from codec.coding.effort import DEFAULT_EFFORT
from codec.errors import FileSystemWarning, NotKept
from codec.limits import DEFAULT, Limits

if TYPE_CHECKING:
    from codec.data import Dataset, Report
    from codec.model.runtime import Precision

_SET = click.argument("dataset", metavar="SET", type=click.Path())
_OUT = click.argument("out", metavar="OUT", type=click.Path(file_okay=False))
_COLUMN = click.option(
    "--column", help="Column that contains the pictures, if SET was written by another tool and has several."
)
_FORCE = click.option("-f", "--force", is_flag=True, help="Overwrite existing files.")

_SHOWN = 20
"""Maximum number of failures that are shown individually."""

_EVERY = 60.0
"""Seconds between progress lines if stderr is not a terminal."""

_EXPECTED = (*EXPECTED, TypeError, KeyError, AttributeError, ArithmeticError)
"""Errors that sets and options which are not valid cause, here and in pyarrow."""


@click.group("dataset")
def dataset_group() -> None:
    """Compress whole datasets into Parquet files for other tools (needs codec[data])."""


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Report errors as one line, with exit code 1, and warnings of this package as lines."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        for kind in (NotKept, FileSystemWarning):
            warnings.simplefilter("always", kind)
        try:
            yield
        except BrokenPipeError:
            raise
        except _EXPECTED as error:
            raise click.ClickException(reason(error, expected=_EXPECTED)) from None
        finally:
            texts = list(dict.fromkeys(on_one_line(str(warning.message)) for warning in caught))
            for text in texts[:_SHOWN]:
                click.echo(f"codec: {text}", err=True)
            if len(texts) > _SHOWN:
                click.echo(f"codec: … and {len(texts) - _SHOWN} other notes", err=True)


class _Part(click.ParamType[tuple[int, int]]):
    name = "K/N"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        first, slash, second = value.partition("/")
        if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
            self.fail(f"{value!r} is not K/N with 1 ≤ K ≤ N", param, ctx)
        return int(first), int(second)


class _Bands(Bands):  # `pack` refuses 0
    name = "1,2,3"
    least = 0
    rule = ""


@dataset_group.command("pack")
@click.argument("source", metavar="SRC", type=click.Path())
@_OUT
@click.option(
    "-q", "--quality", type=click.FloatRange(0, 100), default=75, show_default=True,
    help="0 (smallest) to 100 (best).",
)
@click.option(
    "-e", "--effort", type=click.IntRange(1, 9), default=DEFAULT_EFFORT, show_default=True,
    help="1 (fastest) to 9 (smallest).",
)
@click.option(
    "--bare", is_flag=True,
    help="Write rows without headers, for tiny pictures. Only codec can read them.",
)
@click.option("--metadata", is_flag=True, help="Keep ICC profiles, EXIF and XMP.")
@click.option(
    "--kind", type=click.Choice(["folder", "parquet", "webdataset"]),
    help="Kind of SRC, if the file names do not show it.",
)
@click.option("--column", help="Column that contains the pictures, for a Parquet source.")
@click.option(
    "--image", metavar="KEY",
    help="Extension of the member that is the picture, for samples of tars with several, such as left.png.",
)
@click.option(
    "--bands", type=_Bands(),
    help="Bands to take of each picture, from 1 on: 1 or 3 of them, and one more for alpha.",
)
@click.option(
    "--append", is_flag=True,
    help="Add the pictures of SRC whose names OUT does not have yet, in further shards.",
)
@click.option(
    "--shard-rows", type=click.IntRange(1), default=4096, show_default=True, help="Pictures per shard."
)
@click.option(
    "--part", type=_Part(), default=(1, 1),
    help="Pack only this part of the shards, for example 2/4.",
)
@click.option(
    "--max-pixels", type=click.IntRange(1), default=DEFAULT.max_pixels, show_default=True,
    help="Maximum number of pixels of a picture. Larger pictures are listed as bad.",
)
@click.option("--report", type=click.Path(dir_okay=False), help="Path of the report, if not OUT.report.json.")
@click.option("-m", "--model", help="Shipped model or .safetensors file.")
@click.option("--device", default=None, help="cpu (default) or cuda.")
@click.option("-T", "--threads", type=click.IntRange(1), help="CPU threads.")
def pack_command(source: str, out: str, max_pixels: int, report: str | None, **options: Any) -> None:
    """Compress SRC into the folder OUT.

    SRC is a folder of pictures whose subfolders are the classes, Parquet files with a column of
    encoded pictures, or WebDataset tars. To continue a call that was stopped, run it again. To add
    what SRC has in addition since then, run it with --append. Bad pictures are listed in the
    report, and the exit code is then 1.
    """
    first, parts = options["part"]
    which = f".part-{first}-of-{parts}" if parts > 1 else ""
    target = report or f"{os.path.abspath(out)}{which}.report.json"
    with _one_line():
        if not source or not out:
            raise FileNotFoundError("SRC and OUT must not be empty")
        beside = os.path.dirname(os.path.abspath(target))
        if report and not os.path.isdir(beside):
            raise FileNotFoundError(2, "No such folder for the report", report)
        if os.path.isdir(beside) and not os.access(beside, os.W_OK):  # say so before the work
            raise PermissionError(13, "the report cannot be written here: choose --report", target)
        from codec.data.packing.pack import pack
        from codec.data.packing.report import write_report

        with _progress("packing") as show:
            done = pack(source, out, limits=Limits(max_pixels=max_pixels), progress=show, **options)
        write_report(done, target)
    _summary(done, target)
    if done.failures:
        sys.exit(1)


def _summary(done: Report, target: str) -> None:
    for failure in done.failures[:_SHOWN]:
        click.echo(f"codec: {on_one_line(failure['path'])}: {on_one_line(failure['error'])}", err=True)
    if len(done.failures) > _SHOWN:
        click.echo(f"codec: … and {len(done.failures) - _SHOWN} more: see {on_one_line(target)}", err=True)
    for note, count in sorted(done.notes.items()):
        pictures = f": {counted(count, 'picture')}" if count else ""
        click.echo(f"codec: {on_one_line(note)}{pictures}", err=True)
    if done.ignored:
        click.echo(f"codec: {counted(len(done.ignored), 'file')} skipped (see the report)", err=True)
    rate = f", {done.done / done.seconds:.1f} pictures/s" if done.done and done.seconds else ""
    before = f" ({done.skipped} already packed)" if done.skipped else ""
    bpp = 8 * done.bytes_out / done.pixels if done.pixels else 0
    click.echo(
        f"{_extent(done.pictures, done.shards)}{before}, {len(done.failures)} bad: "
        f"{sized(done.bytes_in)} → {sized(done.bytes_out)} ({bpp:.3f} bpp){rate}"
    )


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[Report], None]]:
    """Show pictures per second, bytes in and out, and the time left.

    On a terminal this is a progress bar, otherwise one line per minute on stderr.
    """

    def text(report: Report) -> str:
        rate = report.done / report.seconds if report.seconds else 0.0
        return f"{rate:.1f} pictures/s, {sized(report.bytes_in)} → {sized(report.bytes_out)}"

    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        about = TextColumn("{task.fields[about]}")
        columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), about, TimeRemainingColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None, about="")
            yield lambda report: bar.update(
                task, completed=report.done, total=report.to_do, about=text(report)
            )
        return
    last = time.monotonic()

    def line(report: Report) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            of = f" of {report.to_do}" if report.to_do is not None else ""
            left = ""
            if report.to_do is not None and report.done:
                left = f", {(report.to_do - report.done) * report.seconds / report.done / 60:.0f} min left"
            click.echo(f"codec: {report.done}{of}, {text(report)}{left}", err=True)

    yield line


@dataset_group.command("unpack")
@_SET
@_OUT
@click.option(
    "--format", "suffix", default="png", show_default=True,
    help="Format of the pictures, or cae for the compressed files.",
)
@_COLUMN
@PRECISION
@_FORCE
def unpack_command(
    dataset: str, out: str, suffix: str, column: str | None, precision: Precision | None, force: bool
) -> None:
    """Write the pictures of SET into the folder OUT, under their original names."""
    with _one_line():
        from codec.data import Dataset, unpack

        opened = Dataset(dataset, column=column, precision=precision)
        with _counting("unpacking", len(opened)) as told:
            failures = unpack(opened, out, suffix="." + suffix.lstrip("."), force=force, progress=told)
    _end(len(opened), failures, out)


@dataset_group.command("export")
@_SET
@_OUT
@click.option("--samples", type=click.IntRange(1), default=10_000, show_default=True, help="Samples per tar.")
@_COLUMN
@_FORCE
def export_command(dataset: str, out: str, samples: int, column: str | None, force: bool) -> None:
    """Write SET as WebDataset tars into the folder OUT. The pictures stay compressed."""
    with _one_line():
        from codec.data import Dataset, export

        opened = Dataset(dataset, column=column)
        with _counting("exporting", len(opened)) as told:
            failures = export(opened, out, samples=samples, force=force, progress=told)
    _end(len(opened), failures, out)


@contextlib.contextmanager
def _counting(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show progress as `_progress` does, for pictures that are written."""
    from codec.data import Report

    report = Report(to_do=total)
    started = time.monotonic()
    with _progress(what) as show:

        def told(pictures: int, size: int) -> None:
            report.done += pictures
            report.bytes_out += size
            report.seconds = time.monotonic() - started
            show(report)

        yield told


def _end(pictures: int, failures: list[dict[str, str]], out: str) -> None:
    for failure in failures:
        click.echo(f"codec: {on_one_line(failure['path'])}: {on_one_line(failure['error'])}", err=True)
    written = counted(pictures - len(failures), "picture")
    click.echo(f"{written} in {on_one_line(out)}, {len(failures)} failed")
    if failures:
        sys.exit(1)


@dataset_group.command("info")
@_SET
@_COLUMN
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info_command(dataset: str, column: str | None, as_json: bool) -> None:
    """Show the properties of SET, read from the footers of its shards."""
    with _one_line():
        from codec.data import Dataset

        opened = Dataset(dataset, column=column, partial=True)
        fields = _about(opened)
    if as_json:
        click.echo(json.dumps(fields))
        return
    settings = fields["settings"]
    click.echo(f"{on_one_line(dataset)}: {_extent(fields['pictures'], fields['shards'])}")
    if settings is None:
        click.echo("  written by another tool")
    else:
        if fields["missing"]:
            total = fields["shards"] + fields["missing"]
            click.echo(f"  {fields['missing']} of {total} shards are missing: packing was not finished")
        rows = "bare rows" if settings["rows"] else "whole files"
        if settings["bands"]:
            rows += f", bands {','.join(map(str, settings['bands']))}"
        if settings["image"]:
            rows += f", image {settings['image']}"
        click.echo(on_one_line(
            f"  quality {settings['quality']:.4g}, effort {settings['effort']}, model {settings['model']}, "
            f"{rows}, codec {settings['package']}"
        ))
        sizes = ""  # not known if another tool wrote the files anew
        if fields["pixels"]:
            bpp = 8 * fields["bytes_out"] / fields["pixels"]
            sizes = f"{sized(fields['bytes_in'])} → {sized(fields['bytes_out'])} ({bpp:.3f} bpp), "
        click.echo(f"  {sizes}{sized(fields['bytes_on_disk'])} on disk")
    for name, kind in fields["columns"].items():
        click.echo(on_one_line(f"  column {name}: {kind}"))
    for failure in fields["failures"]:
        click.echo(f"  bad: {on_one_line(failure['path'])}: {on_one_line(failure['error'])}")


def _about(opened: Dataset) -> dict[str, Any]:
    import dataclasses

    totals: collections.Counter[str] = collections.Counter()
    failures = []
    for shard in opened.shards:
        totals["bytes_on_disk"] += shard.file.size()
        if shard.account:
            for name in ("pixels", "bytes_in", "bytes_out"):
                totals[name] += getattr(shard.account, name)
            failures += shard.account.failures
    settings = None
    if opened.settings is not None:
        settings = dataclasses.asdict(opened.settings)
        settings["rows"] = opened.settings.rows.as_dict() if opened.settings.rows else None
    return {
        "dataset": os.fspath(opened.path),
        "pictures": len(opened),
        "shards": len(opened.shards),
        "missing": opened.missing,
        "settings": settings,
        "columns": {name: str(opened.schema.field(name).type) for name in opened.columns},
        "classes": opened.classes,
        **{name: totals[name] for name in ("pixels", "bytes_in", "bytes_out", "bytes_on_disk")},
        "failures": failures,
    }


@dataset_group.command("verify")
@_SET
@_COLUMN
@click.option("--decode", is_flag=True, help="Also decode every picture.")
def verify_command(dataset: str, column: str | None, decode: bool) -> None:
    """Check SET for damage.

    Every shard is checked against its SHA-256, and the pictures of damaged shards against their
    checksums.
    """
    found = 0
    with _one_line():
        from codec.data import verify

        with _counting("verifying", 0) as told:
            for problem in verify(dataset, decode=decode, column=column, progress=lambda rows: told(rows, 0)):
                found += 1
                click.echo(on_one_line(problem), err=True)
    if found:
        click.echo(f"{on_one_line(dataset)}: {counted(found, 'problem')}", err=True)
        sys.exit(1)
    click.echo(f"{on_one_line(dataset)}: ok")


def _extent(pictures: int, shards: int) -> str:
    return f"{counted(pictures, 'picture')} in {counted(shards, 'shard')}"
