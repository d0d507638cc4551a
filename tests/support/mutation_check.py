"""Checks, limits and bounds of the package, each taken away in turn: a test must notice.

    python -m tests.support.mutation_check [--only NAME] [--list]

works on a copy in a temporary folder and prints for every mutation whether its tests failed (killed), passed
(SURVIVED) or whether its text is no longer in the source (stale). Exit code 1 if any survived or is stale.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
TIMEOUT = 300
"""Seconds for the tests of one mutation; one that hangs is killed too."""

COPIED = ("codec", "tests", "bench", "pyproject.toml")


def occurrences(mutation: Mutation, root: Path = ROOT) -> int:
    """How often the text to exchange is in the source; anything but once is stale."""
    return (root / "codec" / mutation.file).read_text(encoding="utf-8").count(mutation.old)


def run_tests(root: Path, targets: Sequence[str], timeout: int = TIMEOUT) -> tuple[bool, str]:
    """Whether all pass, and what pytest has to say."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=line"]
    # Bytecode is told from stale by its source's size and second: too coarse for what happens here.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(root)}
    try:
        done = subprocess.run(
            [*command, *(f"tests/{target}" for target in targets)], cwd=root, env=env, timeout=timeout,
            capture_output=True, text=True, check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"took more than {timeout} s"
    if done.returncode not in (0, 1, 2):  # 2: not even imported; beyond, no test was run
        raise RuntimeError(f"pytest {' '.join(targets)}: {done.stdout}{done.stderr}")
    last = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode == 0, last[0] if last else done.stdout[-2000:]


def check(mutation: Mutation, root: Path) -> tuple[str, str]:
    """killed, SURVIVED or stale, and by which test."""
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
    """What the tests need, without what they have left behind."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(description="Each check taken away in turn: a test must notice.")
    parser.add_argument(
        "--only", metavar="NAME", action="append", help="mutations whose name or file has this in it; repeat"
    )
    parser.add_argument("--list", action="store_true", help="show what there is and run nothing")
    given = parser.parse_args()
    only = given.only or [""]
    chosen = [one for one in MUTATIONS if any(part in f"{one.file}: {one.name}" for part in only)]
    if given.list:
        for one in chosen:
            print(f"{one.file}: {one.name}  ({' '.join(one.targets)})")
        return 0
    begin, outcomes = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy(root)
        union = sorted({target for one in chosen for target in one.targets})
        passed, said = run_tests(root, union, 4 * TIMEOUT)
        if not passed:
            print(f"tests fail without any mutation: {said}")
            return 1
        for one in chosen:
            start = time.monotonic()
            outcome, said = check(one, root)
            outcomes.append(outcome)
            seconds = time.monotonic() - start
            print(f"{outcome:8} {seconds:5.1f} s  {one.file}: {one.name}  {said}", flush=True)
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in ("killed", "SURVIVED", "stale"))
    print(f"{len(chosen)} mutations: {counts}; {time.monotonic() - begin:.0f} s")
    return 0 if chosen and set(outcomes) == {"killed"} else 1


if __name__ == "__main__":
    sys.exit(main())
