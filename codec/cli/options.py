"""Options, and types of options, that several commands have."""

from __future__ import annotations

from typing import Any

import click

PRECISION = click.option(
    "--precision", type=click.Choice(["float32", "bfloat16"]),
    help="Precision in which pictures of 8 bits are decoded. The default is bfloat16 where there is "
    "hardware for it: faster than float32, and less exact.",
)


class Bands(click.ParamType[tuple[int, ...]]):
    """Numbers of bands, from `least` on: "1,2,3"."""

    name = "N,N,…"
    least = 1
    rule = " from 1 on,"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isascii() and part.isdecimal() and int(part) >= self.least for part in parts):
            self.fail(f"{value!r} is not a list of band numbers{self.rule} such as 1,2,3", param, ctx)
        return tuple(int(part) for part in parts)
