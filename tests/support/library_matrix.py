"""Check that golden files decode to the same symbols with old and new versions of libraries.

    python -m tests.support.library_matrix --folder FOLDER

The old versions are the oldest that pyproject.toml allows. The program makes an environment in
FOLDER for each pair of torch and numpy versions. An environment takes gigabytes if the package
index has no CPU build. In each environment, the program runs the tests of results that must not
depend on libraries. The exit code is 1 if any test fails.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import venv
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
OTHERS = ("constriction", "zstandard", "pillow", "safetensors", "click", "rich", "pytest")
TESTS = (
    "test_golden.py", "model/test_frozen_models.py", "model/test_exact.py", "model/test_oracle.py",
    "engine/test_determinism.py",
)


def environment(folder: Path, libraries: tuple[str, ...]) -> Path:
    """Return the interpreter of an environment with these libraries. Make it if it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *libraries, *OTHERS], check=True)
    return python


def run(python: Path) -> str:
    """Run the tests. Return the exit code and the last line of their output as text."""
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "-W", "default"]
    done = subprocess.run(
        [*command, *(f"tests/{name}" for name in TESTS)], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )
    return f"exit {done.returncode}: {(done.stdout.splitlines() or [done.stderr[-300:]])[-1]}"


@click.command()
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--torch", "torches", multiple=True, default=("2.6.0", "2.13.0"), show_default=True)
@click.option("--numpy", "numpies", multiple=True, default=("1.26.4", "2.4.6"), show_default=True)
def main(folder: Path, torches: tuple[str, ...], numpies: tuple[str, ...]) -> None:
    """Run the tests with each pair of versions."""
    failed = False
    for torch, numpy in itertools.product(torches, numpies):
        python = environment(folder / f"torch-{torch}-numpy-{numpy}", (f"torch=={torch}", f"numpy=={numpy}"))
        outcome = run(python)
        click.echo(f"torch {torch}, numpy {numpy}: {outcome}")
        failed |= not outcome.startswith("exit 0")
    sys.exit(failed)


if __name__ == "__main__":
    main()
