"""`python -m bench` and `codec bench`: measure codecs on pictures, print tables, write results."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from codec.errors import CodecError

from . import anchors
from .baselines import all_baselines, default_names, find
from .comparisons import compare
from .metrics import check_packages
from .pictures import Picture, Skipped, collect
from .results import Store
from .run import Advance, Entry, prepare, run, total
from .summary import Summary, summarise

SAMPLES = Path(__file__).parent.parent / "samples"
SHOWN = 3
SHOWN_QUALITY = 25
BUSY = 0.5  # load average; an idle machine is near 0


@click.command("bench", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "sources", nargs=-1, metavar="[DIR…]", type=click.Path(exists=True, path_type=Path, readable=True)
)
@click.option(
    "--codecs", metavar="NAMES",
    help="Comma-separated names from --list, or codec:FILE for a weights file.  "
    "[default: all but jpeg-default]",
)
@click.option("--list", "list_codecs", is_flag=True, help="List the codecs and exit.")
@click.option(
    "--out", default="results", show_default=True, type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results. Measurements that are already there are not repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Write OUT/json/CODEC.json in CompressAI's format.")
@click.option("--csv", "as_csv", is_flag=True, help="Write OUT/results.csv, one row per measurement.")
@click.option("--html", "as_html", is_flag=True, help="Write OUT/report.html.  [default: all three]")
@click.option(
    "--anchor", "anchor_names", multiple=True, metavar="NAME",
    help="Compute BD-rates against this codec or published:NAME.  "
    "[default: jpeg, and VTM-9.1 where published]",
)
@click.option("--points", type=click.IntRange(1), help="Maximum number of settings per codec.")
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(1),
              help="Number of runs. The median time is used.")
@click.option("--retime", is_flag=True, help="Measure all times again, for example on a less busy machine.")
@click.option("--timeout", default=600.0, show_default=True, type=click.FloatRange(1), metavar="SECONDS",
              help="Time limit for encoding or decoding one picture, all --repeat runs together.")
@click.option("--show", multiple=True, metavar="PICTURE",
              help="Show this picture in the report's comparison.  [default: three]")
def bench_command(
    sources: tuple[Path, ...], codecs: str | None, list_codecs: bool, out: Path, as_json: bool,
    as_csv: bool, as_html: bool, anchor_names: tuple[str, ...], points: int | None, repeat: int,
    retime: bool, timeout: float, show: tuple[str, ...],
) -> None:
    """Measure rate, distortion, speed and memory of codecs on the pictures in DIR.

    Without DIR, the three sample photographs are measured. An interrupted run continues where it
    stopped.
    """
    console = Console(markup=False, highlight=False)  # file names are not markup
    if list_codecs:
        console.print(_list())
        return
    kinds = {"json": as_json, "csv": as_csv, "html": as_html}
    wanted = {kind for kind, asked in kinds.items() if asked} or set(kinds)
    try:
        names = default_names() if codecs is None else [name.strip() for name in codecs.split(",")]
        baselines = [find(name) for name in dict.fromkeys(names)]
        check_packages()
        if "html" in wanted:
            _check_report()
        pictures, skipped = collect(sources or (SAMPLES,), leave_out=out)
        _check(pictures, skipped, show)
        entries = prepare(baselines, points)
        chosen = _anchors(entries, pictures, anchor_names)
        store = Store(out)
        with _stoppable(), store.locked():
            busy = _load()
            with _progress(total(entries, pictures)) as advance:
                run(entries, pictures, store, repeat=repeat, timeout=timeout, retime=retime, advance=advance)
            where = [source.resolve().name for source in sources] or ["samples"]
            summary = summarise(", ".join(where), _command(), entries, pictures, skipped, store, chosen)
            written = _write(summary, entries, pictures, out, show, timeout, wanted)
    except (ValueError, OSError, CodecError) as error:
        raise click.ClickException(str(error)) from None
    except BrokenProcessPool:
        raise click.ClickException("a measuring process was killed, perhaps for lack of memory") from None
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; run the same command again to continue") from None
    _print(console, summary, chosen)
    for path in written:
        console.print(f"wrote {path}")
    if busy > BUSY:
        console.print(
            f"The machine was busy at the start (load {busy:.1f}). Use --retime to measure all times again."
        )


def _check_report() -> None:
    try:
        from .report import page  # noqa: F401
    except ImportError as error:
        raise ValueError(f"the report needs {error.name}: pip install 'codec[bench]'") from None


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that processes and folders are cleaned up."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
    """Progress on stderr: a bar on a terminal, otherwise one line per codec."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, markup=False, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("measuring", total=count)
        seen: list[str] = []

        def advance(name: str, done: int) -> None:
            progress.update(task, advance=done, description=name)
            if progress.disable and name not in seen:
                seen.append(name)
                console.print(f"measuring {name}")

        yield advance


def _anchors(entries: Sequence[Entry], pictures: Sequence[Picture], names: Sequence[str]) -> list[str]:
    """Anchors of the printed BD-rates. Raises `ValueError` for a name that will have no curve."""
    there = [e.baseline.name for e in entries if not e.baseline.lossless and not e.unavailable]
    there += [curve.name for curve in anchors.published(anchors.fingerprint(pictures))]
    if not names:
        return [name for name in ("jpeg", f"{anchors.PREFIX}VTM-9.1") if name in there]
    for name in names:
        if name not in there:
            raise ValueError(f"no curve is named {name!r}; available: {', '.join(there) or 'none'}")
    return list(names)


def _print(console: Console, summary: Summary, anchor_names: Sequence[str]) -> None:
    from . import tables

    for table in tables.all_tables(summary, anchor_names):
        console.print(table)
        console.print()


def _write(
    summary: Summary, entries: Sequence[Entry], pictures: Sequence[Picture], out: Path,
    show: Sequence[str], timeout: float, wanted: set[str],
) -> list[Path]:
    from . import export

    written = []
    if "json" in wanted:
        export.write_json(summary, out / "json")
        written.append(out / "json")
    if "csv" in wanted:
        export.write_csv(summary, out / "results.csv")
        written.append(out / "results.csv")
    if "html" in wanted:
        from .report.page import write_report

        ours = [e.baseline for e in entries if e.baseline.ours and not e.unavailable]
        chosen = [p for p in pictures if p.name in show] or _spread(pictures)
        comparisons = compare(chosen, ours[0], SHOWN_QUALITY, timeout) if ours else []
        write_report(summary, comparisons, out / "report.html")
        written.append(out / "report.html")
    return written


def _spread(pictures: Sequence[Picture]) -> list[Picture]:
    """A few pictures, evenly spaced from the first to the last."""
    count = min(SHOWN, len(pictures))
    return [pictures[i * (len(pictures) - 1) // max(1, count - 1)] for i in range(count)]
