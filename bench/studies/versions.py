"""Older versions of this package: each in a virtual environment and a process of its own."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..suite.measure import Worker

ROOT = Path(__file__).parents[2]

TIMEOUT = 3600.0
"""Limit of one request to a version, in seconds."""


class Version(Worker):
    """A process with one version of this package: the one that the interpreter `python` imports."""

    def __init__(self, python: Path, options: dict[str, Any], path: Sequence[Path] = ()) -> None:
        super().__init__("codec", options["threads"], TIMEOUT)
        self.python, self.options, self.path = python, options, path

    def command(self) -> list[str]:
        script = Path(__file__).with_name("version_worker.py")
        return [str(self.python), "-P", str(script), json.dumps(self.options)]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": os.pathsep.join(map(str, self.path))}


def commit_of(name: str) -> str:
    """Return the hash of a commit of this repository. Raises `ClickException` if there is none."""
    found = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--verify", f"{name}^{{commit}}"],
        capture_output=True, text=True,
    )
    if found.returncode:
        raise click.ClickException(f"{name!r} is not a commit of {ROOT}")
    return found.stdout.strip()


def install(commit: str, folder: Path) -> Path:
    """Unpack a commit below `folder`, install it, and return its Python interpreter.

    Nothing is done if this was done before. Raises `ClickException`.
    """
    place = folder.absolute() / commit
    source, python, done = place / "source", place / "venv" / "bin" / "python", place / "installed"
    if done.exists():
        return python
    shutil.rmtree(place, ignore_errors=True)
    content = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(content.stdout)) as archive:
        archive.extractall(source, filter="data")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # The path is absolute: pip would look up a relative one, `source[data]`, in the index.
    what = ["-c", str(source / "constraints.txt"), f"{source}[data]"]
    for step in ([sys.executable, "-m", "venv", str(place / "venv")], [*pip, *what]):
        if subprocess.run(step).returncode:
            raise click.ClickException(f"{commit[:7]} could not be installed")
    done.touch()
    return python
