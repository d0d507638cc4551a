"""`python -m bench` and `codec bench`: measure codecs on pictures, print a table, write the results."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from . import anchors
from .baselines import all_baselines, default_names, find
from .pictures import Picture, Skipped, collect
from .results import Store
from .run import Advance, Entry, prepare, run, total
from .summary import Summary, summarise

SAMPLES = Path(__file__).parent / "samples"
SHOWN = 3
SHOWN_QUALITY = 25


@click.command("bench", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "sources", nargs=-1, metavar="[DIR…]", type=click.Path(exists=True, path_type=Path, readable=True)
)
@click.option(
    "--codecs", metavar="NAMES",
    help="Separated by commas: names of --list, or codec:FILE for a weights file.  [default: nearly all]",
)
@click.option("--list", "list_codecs", is_flag=True, help="List the codecs and stop.")
@click.option(
    "--out", default="results", show_default=True, type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the results; what is there already is not measured again.",
)
@click.option("--json", "as_json", is_flag=True, help="Write OUT/json/CODEC.json, in CompressAI's form.")
@click.option("--csv", "as_csv", is_flag=True, help="Write OUT/results.csv, a row per measurement.")
@click.option("--html", "as_html", is_flag=True, help="Write OUT/report.html.  [default: all three]")
@click.option(
    "--anchor", "anchor_names", multiple=True, metavar="NAME",
    help="Compare with this codec, or with published:NAME.  [default: jpeg, and VTM-9.1 where published]",
)
@click.option("--points", type=click.IntRange(1), help="At most so many settings of each codec.")
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(1), help="Median time of N runs.")
@click.option("--retime", is_flag=True, help="Measure all times anew, say on a quieter machine.")
@click.option("--timeout", default=600.0, show_default=True, type=click.FloatRange(1), metavar="SECONDS",
              help="For one picture to be encoded or decoded.")
@click.option("--show", multiple=True, metavar="PICTURE", help="For the report's slider.  [default: three]")
def bench_command(
    sources: tuple[Path, ...], codecs: str | None, list_codecs: bool, out: Path, as_json: bool,
    as_csv: bool, as_html: bool, anchor_names: tuple[str, ...], points: int | None, repeat: int,
    retime: bool, timeout: float, show: tuple[str, ...],
) -> None:
    """Measure rate, distortion, speed and memory of codecs on the pictures in DIR.

    Without DIR: on the three sample photographs. A run that was interrupted goes on where it was.
    """
    console = Console()
    if list_codecs:
        console.print(_list())
        return
    try:
        baselines = [find(name.strip()) for name in codecs.split(",")] if codecs else [
            find(name) for name in default_names()
        ]
        pictures, skipped = collect(sources or (SAMPLES,))
        _check(pictures, skipped, show)
        entries = prepare(list({baseline.name: baseline for baseline in baselines}.values()), points)
        chosen = _anchors(entries, pictures, anchor_names)
        store = Store(out)
        with _progress(total(entries, pictures)) as advance:
            run(entries, pictures, store, repeat=repeat, timeout=timeout, retime=retime, advance=advance)
        where = [source.resolve().name for source in sources] or ["samples"]
        summary = summarise(", ".join(where), _command(), entries, pictures, skipped, store, chosen)
        _print(console, summary, chosen)
        everything = not (as_json or as_csv or as_html)
        for path in _write(summary, entries, pictures, out, show, as_json or everything,
                           as_csv or everything, as_html or everything):
            console.print(f"wrote {path}", highlight=False)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; the same command goes on where this one was") from None


def _check(pictures: Sequence[Picture], skipped: Sequence[Skipped], show: Sequence[str]) -> None:
    if not pictures:
        reasons = "".join(f"\n  {item.name}: {item.reason}" for item in skipped[:10])
        raise ValueError(f"there is no picture to measure{reasons}")
    unknown = set(show) - {picture.name for picture in pictures}
    if unknown:
        raise ValueError(f"no picture is named {', '.join(sorted(unknown))}")


def _command() -> str:
    path = click.get_current_context().command_path
    return shlex.join([*path.split(), *sys.argv[2 if path == "codec bench" else 1 :]])


def _list() -> Table:
    table = Table(box=None)
    for name in ("name", "codec", "settings"):
        table.add_column(name, no_wrap=name == "name")
    for baseline in all_baselines():
        table.add_row(baseline.name, baseline.label, baseline.describe)
    return table


@contextlib.contextmanager
def _progress(count: int) -> Iterator[Advance]:
    """A bar on a terminal, a line for each codec elsewhere; both on stderr."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("measuring", total=count)
        seen: list[str] = []

        def advance(name: str, done: int) -> None:
            progress.update(task, advance=done, description=name)
            if progress.disable and name not in seen:
                seen.append(name)
                console.print(f"measuring {name}", highlight=False)

        yield advance


def _anchors(entries: Sequence[Entry], pictures: Sequence[Picture], names: Sequence[str]) -> list[str]:
    """What BD-rates are printed against; `ValueError` for a name that will have no curve."""
    there = [e.baseline.name for e in entries if not e.baseline.lossless and not e.unavailable]
    there += [curve.name for curve in anchors.published(anchors.fingerprint(pictures))]
    if not names:
        return [name for name in ("jpeg", f"{anchors.PREFIX}VTM-9.1") if name in there]
    for name in names:
        if name not in there:
            raise ValueError(f"no curve is named {name!r}; there are {', '.join(there) or 'none'}")
    return list(names)


def _print(console: Console, summary: Summary, anchor_names: Sequence[str]) -> None:
    from . import tables

    for table in tables.all_tables(summary, anchor_names):
        console.print(table)
        console.print()


def _write(
    summary: Summary, entries: Sequence[Entry], pictures: Sequence[Picture], out: Path,
    show: Sequence[str], as_json: bool, as_csv: bool, as_html: bool,
) -> Iterator[Path]:
    from . import export

    if as_json:
        export.write_json(summary, out / "json")
        yield out / "json"
    if as_csv:
        export.write_csv(summary, out / "results.csv")
        yield out / "results.csv"
    if as_html:
        yield _write_report(summary, entries, pictures, out, show)


def _write_report(
    summary: Summary, entries: Sequence[Entry], pictures: Sequence[Picture], out: Path, show: Sequence[str]
) -> Path:
    try:
        from .comparisons import compare
        from .report import write_report
    except ImportError as error:
        raise ValueError(f"the report needs {error.name}: pip install 'codec[bench]'") from None
    ours: Any = next((e.baseline for e in entries if e.baseline.ours and not e.unavailable), None)
    chosen = [p for p in pictures if p.name in show] or list(pictures[:: -(-len(pictures) // SHOWN)])
    comparisons = compare(chosen, ours, SHOWN_QUALITY) if ours else []
    path = out / "report.html"
    write_report(summary, comparisons, path)
    return path
