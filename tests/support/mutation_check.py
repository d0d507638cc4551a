"""Mutation check: remove each check, limit and bound of the package in turn. A test must fail.

    python -m tests.support.mutation_check [--only NAME] [--list]

The program works on a copy in a temporary folder. For every mutation, it prints "killed" if a test
failed, "SURVIVED" if all tests passed, and "stale" if the text to replace is no longer in the
source. The exit code is 1 if any mutation survived or is stale.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from tests.support.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
TIMEOUT = 300
"""Seconds for the tests of one mutation. A mutation whose tests hang or crash counts as killed."""

COPIED = ("codec", "tests", "bench", "docs", "pyproject.toml")
"""Files and folders that the tests read."""


def occurrences(mutation: Mutation, root: Path = ROOT) -> int:
    """Count the text to replace in the source. A mutation is stale unless the count is 1."""
    return (root / "codec" / mutation.file).read_text(encoding="utf-8").count(mutation.old)


def run_tests(root: Path, targets: Sequence[str], timeout: int = TIMEOUT) -> tuple[bool, str]:
    """Run tests. Return whether all passed, and a message of pytest."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=line"]
    # Python compares only size and modification time in seconds of a source with its bytecode. That
    # is too coarse here, so no bytecode is written.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(root)}
    try:
        done = subprocess.run(
            [*command, *(f"tests/{target}" for target in targets)], cwd=root, env=env, timeout=timeout,
            capture_output=True, text=True, check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"took more than {timeout} s"
    if done.returncode < 0:  # by the system, for example because memory ran out
        return False, f"ended by signal {-done.returncode}"
    if done.returncode not in (0, 1, 2):  # 2: the import failed; larger: no test was run
        raise RuntimeError(f"pytest {' '.join(targets)}: {done.stdout}{done.stderr}")
    last = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode == 0, last[0] if last else done.stdout[-2000:]


def check(mutation: Mutation, root: Path) -> tuple[str, str]:
    """Return "killed", "SURVIVED" or "stale", and the test that failed."""
    path = root / "codec" / mutation.file
    if occurrences(mutation, root) != 1:
        return "stale", ""
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        passed, said = run_tests(root, mutation.targets)
    finally:
        path.write_text(text, encoding="utf-8")
    return ("SURVIVED", "") if passed else ("killed", said)


def copy(root: Path) -> None:
    """Copy the files that the tests need to `root`, without compiled files."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)


@click.command()
@click.option(
    "--only", multiple=True, metavar="NAME", default=("",),
    help="Only mutations with NAME in their name or file; may be repeated.",
)
@click.option("--list", "only_list", is_flag=True, help="List the mutations and run nothing.")
def main(only: tuple[str, ...], only_list: bool) -> None:
    """Remove each check of the package in turn and run its tests. At least one test must fail."""
    chosen = [one for one in MUTATIONS if any(part in f"{one.file}: {one.name}" for part in only)]
    if only_list:
        for one in chosen:
            print(f"{one.file}: {one.name}  ({' '.join(one.targets)})")
        return
    begin, outcomes = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy(root)
        union = sorted({target for one in chosen for target in one.targets})
        passed, said = run_tests(root, union, 4 * TIMEOUT)
        if not passed:
            raise click.ClickException(f"tests fail without any mutation: {said}")
        for one in chosen:
            start = time.monotonic()
            outcome, said = check(one, root)
            outcomes.append(outcome)
            seconds = time.monotonic() - start
            print(f"{outcome:8} {seconds:5.1f} s  {one.file}: {one.name}  {said}", flush=True)
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in ("killed", "SURVIVED", "stale"))
    print(f"{len(chosen)} mutations: {counts}; {time.monotonic() - begin:.0f} s")
    sys.exit(0 if set(outcomes) == {"killed"} else 1)


if __name__ == "__main__":
    main()
