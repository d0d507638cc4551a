"""`codec info`, `codec verify` and `codec models`: commands that decode nothing."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import click

import codec
from codec import api
from codec.cli.folders import expand
from codec.cli.running import each_file
from codec.cli.streams import open_input, read_input, say, tell
from codec.cli.texts import counted, on_one_line
from codec.engine.reading import Info
from codec.errors import FormatError
from codec.format.readable import OpenFile
from codec.pictures.picture import KINDS

_PATHS = click.argument("paths", nargs=-1, required=True, metavar="FILE…")


@click.command("info")
@_PATHS
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def info_command(paths: tuple[str, ...], as_json: bool) -> None:
    """Show the properties of files, read from their headers only.

    Of a folder, all .cae files in it and in its subfolders are shown. The file - is stdin. See
    codec dataset info for datasets.
    """

    def show(path: str) -> None:
        with open_input(read_input() if path == "-" else path) as data:
            about = _inspect(data)
        say(json.dumps(_fields(path, about)) if as_json else f"{on_one_line(path)}: {_line(about)}")

    _, failures = each_file(_files(paths), show)
    if failures:
        sys.exit(1)


def _files(paths: tuple[str, ...]) -> list[str | OSError]:
    if paths.count("-") > 1:
        raise click.UsageError("stdin can be read only once")
    return expand(paths, api.EXTENSION)


def _inspect(data: bytes | OpenFile) -> Info:
    try:
        return codec.inspect(data)
    except FormatError:
        if bytes(data[:4]) == b"PAR1":
            raise FormatError("not a .cae file, but a Parquet file: see codec dataset info") from None
        raise


def _fields(path: str, about: Info) -> dict[str, Any]:
    return {
        "file": path, **dataclasses.asdict(about), "quality_limit": about.quality_limit,
        "bits_per_pixel": round(about.bits_per_pixel, 4),
    }


def _line(about: Info) -> str:
    kind = KINDS[about.channels]
    kind += f" {about.bit_depth} bits" if about.bit_depth > 8 else ""
    kind += f" (from {about.source})" if about.source else ""
    how = "lossless"
    if about.quality is not None:
        limit = f" (the {about.quality_limit})" if about.quality_limit else ""
        bound = "" if about.max_error is None else f", errors up to {about.max_error}"
        how = f"quality {about.quality:g}{limit}{bound}, model {about.model}"
    extra = f", {' '.join(about.metadata)}" if about.metadata else ""
    return (
        f"{about.width}×{about.height} {kind}, {how}, {about.bytes} bytes ({about.bits_per_pixel:.3f} bpp), "
        f"{counted(about.tiles, 'tile')}{extra}, format {about.format_version}"
    )


@click.command("verify")
@_PATHS
def verify_command(paths: tuple[str, ...]) -> None:
    """Check files against their checksums, without decoding them.

    Of a folder, all .cae files in it and in its subfolders are checked. The file - is stdin. See
    codec dataset verify for datasets.
    """

    def check(path: str) -> None:
        with open_input(read_input() if path == "-" else path) as data:
            _inspect(data)
            codec.verify(data)
        say(f"{on_one_line(path)}: ok")

    files, failures = each_file(_files(paths), check)
    if files > 1:
        tell(f"{files} files: {files - failures} ok, {failures} failed")
    if failures:
        sys.exit(1)


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def models_command(as_json: bool) -> None:
    """List the models that ship with this package."""
    for entry in codec.models():
        if as_json:
            say(json.dumps(entry))
        else:
            mark = " (default)" if entry["default"] else ""
            say(f"{entry['name']}{mark}: id {entry['id']}, {entry['bytes'] / 1e6:.1f} MB")
