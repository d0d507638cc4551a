"""Running a command on many files: progress, one-line errors, and a summary."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import stat
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator

import click

from codec.cli.jobs import Job, Plan
from codec.cli.streams import OutputFailed, check_output, read_input, tell, write_output
from codec.cli.texts import counted, on_one_line, reason, sized
from codec.coding.effort import Progress
from codec.errors import FileSystemWarning, NotKept, TargetMissed
from codec.pictures.atomic import is_stream, write_atomically

Convert = Callable[[str | bytes, str, Progress], Generator[bytes, None, None]]
"""Function of (input, output, progress) that yields the bytes of the output. The input is a path,
or the bytes of stdin."""

_SHOWN = 20
"""Maximum number of notes that are shown one by one. The others are counted by their text."""


def run(plan: Plan, convert: Convert, force: bool) -> None:
    """Convert all files. Ends the program with exit code 1 if one failed."""
    for note in plan.notes:
        tell(f"codec: {on_one_line(note)}")
    if plan.folder is not None and any(job.problem is None for job in plan.jobs):
        try:
            os.makedirs(plan.folder, exist_ok=True)
        except OSError as error:
            raise click.ClickException(f"{on_one_line(plan.folder)}: {reason(error, plan.folder)}") from None
    done = _Done(len(plan.jobs), plan.many)
    with done.told(), _Notes() as notes, _progress_bar(len(plan.jobs)) as advance:

        def work(number: int, job: Job) -> None:
            if job.target == "-":
                check_output()
            else:
                _check_target(job, force)
            with notes.of(job.source):
                data = read_input() if job.source == "-" else job.source
                size = len(data) if isinstance(data, bytes) else _size(data)
                chunks = convert(data, job.target, lambda share: advance(number + share))
                with contextlib.closing(chunks):  # a write error ends the conversion at once
                    done.add(size, _write(job, chunks, plan.folder))
            advance(number + 1)

        each(plan.jobs, work, done.fail)
    if done.failed:
        sys.exit(1)


def _check_target(job: Job, force: bool) -> None:
    if is_stream(job.target) or not os.path.lexists(job.target):
        return
    if job.source != "-" and os.path.exists(job.source) and os.path.samefile(job.source, job.target):
        raise ValueError("input and output are the same file")
    if not force:
        raise FileExistsError(f"{job.target} already exists: pass -f to overwrite it")


def _write(job: Job, chunks: Iterable[bytes], folder: str | None) -> int:
    """Write the output and return its size."""
    size = 0

    def measured() -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks:
            size += len(chunk)
            yield chunk

    if job.target == "-":
        write_output(measured())
    else:
        if folder is not None:
            os.makedirs(os.path.dirname(job.target), exist_ok=True)
        write_atomically(job.target, measured())
    return size


def _size(path: str) -> int | None:
    """Return the size of a file, or None for a pipe or device."""
    about = os.stat(path)
    return about.st_size if stat.S_ISREG(about.st_mode) else None


@dataclasses.dataclass
class _Done:
    """What was done up to now."""

    planned: int
    many: bool
    pictures: int = 0
    failed: int = 0
    bytes_in: int | None = 0
    bytes_out: int = 0

    def add(self, size: int | None, written: int) -> None:
        self.pictures += 1
        self.bytes_in = None if size is None or self.bytes_in is None else self.bytes_in + size
        self.bytes_out += written

    def fail(self) -> None:
        self.failed += 1

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Print a summary at the end if there can be several files, also on Ctrl-C."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            if self.many:
                tell(f"interrupted after {self._text(f' of {self.planned}')}")
            raise
        if self.many:
            tell(self._text())

    def _text(self, of: str = "") -> str:
        noun = "picture" if (self.planned if of else self.pictures) == 1 else "pictures"
        count = f"{self.pictures}{of} {noun}"
        sizes = f"{sized(self.bytes_out)} written"
        if self.bytes_in is not None:
            sizes = f"{sized(self.bytes_in)} → {sized(self.bytes_out)}"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{count}: {sizes}{failed}" if self.pictures else f"{count}{failed}"


class _Notes(contextlib.AbstractContextManager["_Notes"]):
    """Prints the warnings of this package as lines on stderr. If there are many, it counts them."""

    def __init__(self) -> None:
        self._shown = 0
        self._more: collections.Counter[str] = collections.Counter()

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            for kind in (TargetMissed, NotKept, FileSystemWarning):
                warnings.simplefilter("always", kind)
            yield
        for text in dict.fromkeys(on_one_line(str(warning.message)) for warning in caught):
            if self._shown < _SHOWN:
                self._shown += 1
                tell(f"codec: {on_one_line(name)}: {text}")
            else:
                self._more[text] += 1

    def __exit__(self, *error: object) -> None:
        for text, count in self._more.most_common(_SHOWN):
            tell(f"codec: … and {counted(count, 'more file')}: {text}")
        others = len(self._more) - _SHOWN
        if others > 0:
            tell(f"codec: … and {counted(others, 'other note')}")


@contextlib.contextmanager
def _progress_bar(files: int) -> Iterator[Callable[[float], None]]:
    """Yield a function to call with the number of finished files. A terminal shows a bar of it."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("files" if files > 1 else "picture", total=files)
        yield lambda done: bar.update(task, completed=done)


def each(jobs: Iterable[Job], work: Callable[[int, Job], None], failed: Callable[[], None]) -> None:
    """Call `work` with the number of each job and the job, unless it has a problem already.

    Each failure is reported as one line, and `failed` is called. Only a failure of stdout and a
    usage error end the loop.
    """
    for number, job in enumerate(jobs):
        try:
            if job.problem is not None:
                raise job.problem
            work(number, job)
        except (OutputFailed, click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:
            failed()
            tell(f"codec: {on_one_line(job.source)}: {reason(error, job.source)}")


def each_file(items: Iterable[str | OSError], work: Callable[[str], None]) -> tuple[int, int]:
    """Call `work` for every path, as `each` does. Return the numbers of paths and of failures."""
    jobs = [Job(one, "") if isinstance(one, str) else Job(str(one.filename), "", one) for one in items]
    done = _Done(len(jobs), many=False)
    each(jobs, lambda _, job: work(job.source), done.fail)
    return done.planned, done.failed
