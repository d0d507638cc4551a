"""The command line. Slow imports happen inside the commands that need them.

Data goes to stdout, everything else to stderr. Exit codes: 0 success, 1 failure, 2 usage error.
"""

from __future__ import annotations

import importlib

import click

import codec
from codec.cli.compress import compress_command, decompress_command
from codec.cli.dataset import dataset_group
from codec.cli.entry import EntryPoint, prepare
from codec.cli.info import info_command, models_command, verify_command
from codec.cli.train import export_command, train_command


@click.group(
    cls=EntryPoint, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(codec.__version__, "-V", "--version", prog_name="codec")
def main() -> None:
    """A learned image codec. It converts pictures to .cae files and back."""
    prepare()


@main.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Compare codecs on your own pictures (needs codec[bench])."""
    try:
        module = importlib.import_module("codec.bench.suite.cli")  # in an installed wheel
    except ModuleNotFoundError as error:
        if error.name != "codec.bench":
            raise click.ClickException(f"{error.name} is missing: pip install 'codec[bench]'") from None
        module = importlib.import_module("bench.suite.cli")  # in a checkout
    module.bench_command.main(args=list(arguments), prog_name="codec bench")


for command in (
    compress_command, decompress_command, info_command, verify_command, models_command, dataset_group,
    train_command, export_command,
):
    main.add_command(command)
