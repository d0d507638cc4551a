"""Running a command on many files: input and output names, progress, and one-line errors."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import click

from codec.coding.effort import Progress
from codec.errors import CodecError, NotKept, TargetMissed
from codec.format.readable import OpenFile, open_bytes
from codec.pictures.atomic import write_atomically


def end_in_order() -> None:
    """End the program on SIGTERM and SIGHUP in the same way as on Ctrl-C.

    Files that are being written are removed.
    """

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        # A signal that is ignored (as under nohup) stays ignored. Outside the main thread, setting
        # a handler raises ValueError.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_DFL:
            with contextlib.suppress(ValueError):
                signal.signal(getattr(signal, name), end)


def plan(
    paths: Sequence[str], output: str | None, is_output: Callable[[str], bool], suffix: str
) -> list[tuple[str, str]]:
    """Return the input and output of each conversion.

    Usage errors end the program with exit code 2.
    """
    inputs = list(paths)
    if output is None and len(inputs) > 1:
        last = inputs[-1]
        if last == "-" or os.path.isdir(last) or (len(inputs) == 2 and is_output(last)):
            output = inputs.pop()
    # `Path.is_dir` is not used because it raises an error for names that are too long.
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
                raise click.UsageError("stdin needs a file name as output")
            target = "-"
        else:
            if not Path(source).name:
                raise click.UsageError(f"{source!r} is not a file name")
            name = Path(source).with_suffix(suffix)
            target = str(Path(output or "") / name.name if folder else name)
        jobs.append((source, target))
    targets = [target for _, target in jobs if target != "-"]
    double = next((target for target in targets if targets.count(target) > 1), None)
    if double is not None:
        raise click.UsageError(f"two inputs would be written to {double!r}")
    return jobs


Convert = Callable[[str, str, Progress], Generator[bytes, None, None]]
"""Function of (input, output, progress) that yields the bytes of the output."""


def run(jobs: list[tuple[str, str]], convert: Convert, force: bool) -> None:
    with _progress_bar(len(jobs)) as advance:

        def work(numbered: tuple[int, tuple[str, str]]) -> None:
            number, (source, target) = numbered
            if target == "-":
                if standard_stream(sys.stdout, "stdout").isatty():
                    raise click.UsageError("refusing to write binary data to a terminal")
            elif os.path.lexists(target) and not force:
                raise FileExistsError(f"{target} already exists: pass -f to overwrite it")
            with _warnings_shown(source):
                data = convert(source, target, lambda share: advance(number + share))
                with contextlib.closing(data):  # a write error ends the conversion at once
                    if target == "-":
                        sys.stdout.buffer.writelines(data)
                        sys.stdout.buffer.flush()
                    else:
                        write_atomically(target, data)
            advance(number + 1)

        each(enumerate(jobs), work, name=lambda numbered: numbered[1][0])


@contextlib.contextmanager
def _progress_bar(files: int) -> Iterator[Callable[[float], None]]:
    """Return a function to call with the number of finished files.

    On a terminal it updates a progress bar on stderr.
    """
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("files" if files > 1 else "picture", total=files)
        yield lambda done: bar.update(task, completed=done)


def each(items: Iterable[Any], work: Callable[[Any], None], name: Callable[[Any], str] = str) -> None:
    """Call `work` for every item.

    Each failure is reported as one line. After a failure the exit code is 1.
    """
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
            click.echo(f"codec: {on_one_line(name(item))}: {on_one_line(' '.join(text.split()))}", err=True)
    if failed:
        sys.exit(1)


@contextlib.contextmanager
def open_input(path: str) -> Iterator[bytes | OpenFile]:
    """Open a file, whose bytes are read when they are needed, or return the bytes of stdin."""
    if path == "-":
        yield standard_stream(sys.stdin, "stdin").buffer.read()
        return
    with open_bytes(path) as data:
        yield data


@contextlib.contextmanager
def _warnings_shown(name: str) -> Iterator[None]:
    """Print the warnings of this package as lines on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        for kind in (TargetMissed, NotKept):
            warnings.simplefilter("always", kind)
        yield
    for warning in caught:
        click.echo(f"codec: {on_one_line(name)}: {warning.message}", err=True)


def standard_stream(stream: TextIO | None, name: str) -> TextIO:
    """Return the stream. Raises `OSError` if the program was started with it closed."""
    if stream is None:
        raise OSError(errno.EBADF, f"{name} is closed")
    return stream


def on_one_line(text: str) -> str:
    """Escape control characters, so that a file name fits on one line: \\n for a newline, …"""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: repr(match[0])[1:-1], text)


def counted(number: int, noun: str) -> str:
    """Return a number and its noun: "1 shard", "2 shards"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
