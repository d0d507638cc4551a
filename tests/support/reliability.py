"""Measure the counts of `docs/reliability.md`: the number of bitstreams for each outcome.

    python -m tests.support.reliability [--scale 0.1]

The program prints a table in Markdown. The full number of 750,000 bitstreams takes about an hour on
one core.
"""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path

import click

import codec
from tests.conftest import make_tiny_weights
from tests.support.hostile import run

FULL = {
    "prefixes": None, "large": 1000, "flips": None, "mutants": 200_000, "sealed": 250_000,
    "unchecked": 250_000, "recoded": 30_000, "junk": 10_000,
}
"""Number of cases of each kind. None means all cases of the kind."""

WHAT = {
    "prefixes": "every prefix of four small files",
    "large": "prefixes of larger files",
    "flips": "every bit of four small files flipped",
    "mutants": "mutants: bytes set, inserted, deleted, repeated, files spliced",
    "sealed": "mutants with every CRC repaired",
    "unchecked": "mutants, decoded with all CRCs passing",
    "recoded": "other symbols, at and beyond the limits, with correct CRCs",
    "junk": "random bytes, with and without a signature",
}


@click.command()
@click.option("--scale", default=1.0, show_default=True, help="Share of the full numbers.")
@click.option("--seed", default=1, show_default=True)
def main(scale: float, seed: int) -> None:
    """Run all kinds and print the table."""
    click.echo(f"codec {codec.__version__}, {datetime.date.today()}, tests' tiny model, seed {seed}\n")
    columns = "tried", "refused by name", "the original", "a picture of its shape", "anything else"
    click.echo(f"| bitstreams | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")
    totals, slowest = [0, 0, 0, 0, 0], 0.0
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "tiny.safetensors"
        weights.write_bytes(make_tiny_weights())
        for kind, full in FULL.items():
            report = run(weights, kind, None if full is None else max(1, round(full * scale)), seed)
            refused = sum(count for name, count in report.outcomes.items() if name.startswith("refused"))
            known = [refused, report.outcomes.get("original", 0), report.outcomes.get("declared shape", 0)]
            row = [report.cases, *known, report.cases - sum(known)]
            slowest = max(slowest, report.slowest_ms)
            totals = [total + count for total, count in zip(totals, row, strict=True)]
            click.echo(f"| {WHAT[kind]} | " + " | ".join(f"{count:,}" for count in row) + " |")
    click.echo("| **all** | " + " | ".join(f"**{count:,}**" for count in totals) + " |")
    click.echo(f"\nThe slowest took {slowest:.0f} ms.")
    raise SystemExit(1 if totals[-1] else 0)


if __name__ == "__main__":
    main()
