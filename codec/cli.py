"""The command line. Every import that costs time happens inside the command that needs it."""

from __future__ import annotations

from codec.cli_train import export_command, train_command
import click


@click.group()
def main() -> None:
    """A learned image codec."""


main.add_command(train_command)
main.add_command(export_command)
