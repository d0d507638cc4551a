"""The inputs and outputs of a command that converts files."""

from __future__ import annotations

import collections
import dataclasses
import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import click

from codec.cli.folders import Walk, nothing_in

_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


class Job(NamedTuple):
    """One conversion. `problem` is an error that was found before."""

    source: str
    target: str
    problem: OSError | None = None


@dataclasses.dataclass
class Plan:
    jobs: list[Job]
    folder: str | None = None
    """Folder of the outputs. It may have to be created."""
    notes: list[str] = dataclasses.field(default_factory=list)
    """What is left out of the folders that are read."""
    many: bool = False
    """Whether there can be several files."""


def plan(
    paths: Sequence[str], output: str | None, is_output: Callable[[str], bool], suffix: str,
    wanted: frozenset[str],
) -> Plan:
    """Return the input and output of each conversion.

    `is_output` tells whether the last of two paths is the output, by its name. Of the files in
    folders, those with an extension of `wanted` are converted. Usage errors end the program with
    exit code 2.
    """
    inputs = list(paths)
    if output is None and len(inputs) > 1:
        last = inputs[-1]
        # `Path.is_dir` is not used because it raises an error for names that are too long.
        is_folder = _names_folder(last) or os.path.isdir(last)
        if last == "-" or is_folder or (len(inputs) == 2 and is_output(last)):
            output = inputs.pop()
    if "" in inputs or output == "":
        raise click.UsageError("'' is not a file name")
    if inputs.count("-") > 1:
        raise click.UsageError("stdin can be read only once")
    folders = {source for source in inputs if source != "-" and os.path.isdir(source)}
    folder = _output_folder(output, inputs, folders)
    result = Plan([], folder, many=len(inputs) > 1 or bool(folders))
    for source in inputs:
        if folder is not None and source in folders:
            result.jobs += _jobs_of_folder(source, folder, suffix, wanted, result.notes)
        else:
            result.jobs.append(Job(source, _target(source, output, folder, suffix)))
    _check_doubles([job for job in result.jobs if job.target not in ("", "-")])
    return result


def _names_folder(name: str) -> bool:
    return name.endswith(_SEPARATORS) or os.path.basename(name) in (os.curdir, os.pardir)


def _output_folder(output: str | None, inputs: list[str], folders: set[str]) -> str | None:
    """Return the folder for the outputs, or None if `output` is a file, stdout or not given."""
    if output is None or output == "-":
        if folders:
            one = min(folders)
            raise click.UsageError(
                f"{one!r} is a folder: name a folder for the results, for example -o out/ "
                f"(-o {one!r} writes them beside their sources)"
            )
        if output == "-" and len(inputs) > 1:
            raise click.UsageError(f"{len(inputs)} inputs need a folder as output, not stdout")
        return None
    if os.path.isdir(output):
        return output
    there = os.path.lexists(output.rstrip("".join(_SEPARATORS)))
    if _names_folder(output) or folders or (there and len(inputs) > 1):
        if there:
            raise click.UsageError(f"{output!r} is not a folder, but a file")
        return output
    if len(inputs) > 1:
        raise click.UsageError(
            f"{len(inputs)} inputs need a folder as output, and there is no folder {output!r}: "
            f"to create it, write {output + os.sep!r}"
        )
    return None


def _target(source: str, output: str | None, folder: str | None, suffix: str) -> str:
    if source == "-":
        if folder is not None:
            raise click.UsageError("stdin needs a file name as output")
        return output or "-"
    if output is not None and folder is None:
        return output
    name = os.path.splitext(source.rstrip("".join(_SEPARATORS)))[0]
    if not os.path.basename(name):
        raise click.UsageError(f"{source!r} is not a file name")
    return (name if folder is None else os.path.join(folder, os.path.basename(name))) + suffix


def _jobs_of_folder(
    root: str, folder: str, suffix: str, wanted: frozenset[str], notes: list[str]
) -> Iterator[Job]:
    """Yield a job for each file of a folder. a.png and a.jpg become a.png.cae and a.jpg.cae."""
    walk = Walk(root, wanted, leave_out=folder)
    start = len(os.path.join(root, ""))
    found = list(walk.files())
    stems = [os.path.splitext(path[start:])[0] for path in found]
    counts = collections.Counter(stems)
    for path, stem in zip(found, stems, strict=True):
        name = stem if counts[stem] == 1 else path[start:]
        yield Job(path, os.path.join(folder, name + suffix))
    for problem in walk.problems:
        yield Job(str(problem.filename), "", problem)
    left_out = walk.left_out()
    if not found and not walk.problems:
        about = f" ({left_out})" if left_out else ""
        yield Job(root, "", nothing_in(root, f"no files to convert in this folder{about}"))
    elif left_out:
        notes.append(f"{root}: {left_out} skipped")


def _check_doubles(jobs: list[Job]) -> None:
    """Refuse two inputs with the same output, before one replaces the result of the other."""
    _check_keys(jobs, [job.target for job in jobs])
    keys = [unicodedata.normalize("NFC", job.target).casefold() for job in jobs]
    counts = collections.Counter(keys)
    if len(counts) < len(keys):
        alike = [job for job, key in zip(jobs, keys, strict=True) if counts[key] > 1]
        ignoring = {name: _ignores_case(name) for name in {os.path.dirname(job.target) for job in alike}}
        alike = [job for job in alike if ignoring[os.path.dirname(job.target)]]
        _check_keys(alike, [unicodedata.normalize("NFC", job.target).casefold() for job in alike])


def _check_keys(jobs: list[Job], keys: list[str]) -> None:
    counts = collections.Counter(keys)
    if len(counts) < len(keys):
        double = next(key for key in keys if counts[key] > 1)
        first, second, *more = (job for job, key in zip(jobs, keys, strict=True) if key == double)
        others = f" and {len(more)} more" if more else ""
        raise click.UsageError(
            f"two inputs would be written to {first.target!r}: {first.source!r} and {second.source!r}{others}"
            "; convert them one by one, and name the outputs"
        )


def _ignores_case(folder: str) -> bool:
    """Whether names that differ in case are the same file there. A file is created to find out."""
    folder = os.path.abspath(folder)
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    try:
        with tempfile.NamedTemporaryFile(prefix=".codec-", suffix=".tmp", dir=folder) as file:
            return os.path.lexists(os.path.join(folder, os.path.basename(file.name).swapcase()))
    except OSError:
        return False
