"""Tables of the summary for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table

from .metrics import METRICS
from .summary import Summary

MOST_LISTED = 20


def all_tables(summary: Summary, anchor_names: Sequence[str]) -> Iterator[Table]:
    """Tables of rate and distortion, lossless codecs, BD-rates, and everything not measured."""
    codecs = summary["codecs"]
    if any(c["kind"] == "lossy" and c["points"] for c in codecs):
        yield rate_distortion(summary)
    if any(c["kind"] == "lossless" and c["points"] for c in codecs):
        yield lossless(summary)
    for name in anchor_names:
        if any(anchor["name"] == name for anchor in summary["bd_rate"]["anchors"]):  # absent if all failed
            yield bd_rate(summary, name)
    rows = list(_accounts(summary))
    if rows:
        table = _table("Left out, failed or changed", "what", "why")
        for row in rows[:MOST_LISTED]:
            table.add_row(*row)
        if len(rows) > MOST_LISTED:
            table.add_row(f"and {len(rows) - MOST_LISTED} more", "")
        yield table


def rate_distortion(summary: Summary) -> Table:
    """Means over the pictures for every setting of the lossy codecs."""
    count = len(summary["pictures"])
    table = _table(
        f"{summary['title']}: {count} picture{'s' if count > 1 else ''}, whole files; MP/s on all cores",
        "codec", "setting", "bpp", "PSNR", "luma", "MS-SSIM", "SSIMU2", "enc", "dec",
    )
    for codec in summary["codecs"]:
        if codec["kind"] != "lossy" or not codec["points"]:
            continue
        for index, point in enumerate(codec["points"]):
            mean = point["mean"]
            table.add_row(
                codec["label"] if index == 0 else "", point["setting"], _number(mean["bpp"], 3),
                _number(mean["psnr_rgb"], 2), _number(mean["psnr_y"], 2), _number(mean["ms_ssim"], 4),
                _number(mean["ssimulacra2"], 1), _number(mean["encode_mps_all"], 1),
                _number(mean["decode_mps_all"], 1),
            )
        table.add_section()
    return table


def lossless(summary: Summary) -> Table:
    """Bits per pixel, ratio to raw pixels, and speed of the lossless codecs."""
    table = _table("Lossless", "codec", "bpp", "of raw", "enc MP/s", "dec MP/s")
    for codec in summary["codecs"]:
        if codec["kind"] == "lossless" and codec["points"]:
            mean = codec["points"][0]["mean"]
            table.add_row(
                codec["label"], _number(mean["bpp"], 2), f"{mean['bpp'] / 24:.0%}",
                _number(mean["encode_mps_all"], 1), _number(mean["decode_mps_all"], 1),
            )
    return table


def bd_rate(summary: Summary, anchor: str) -> Table:
    """BD-rates against one anchor in every metric, and the shared range of RGB PSNR."""
    labels = {codec["name"]: _label(codec) for codec in summary["codecs"]}
    table = _table(
        f"Bits at equal quality (BD-rate) relative to {labels[anchor]}; negative means fewer",
        "codec", *(metric.label for metric in METRICS), "PSNR shared",
    )
    values = {
        (row["codec"], row["metric"]): row
        for row in summary["bd_rate"]["rows"] if row["anchor"] == anchor
    }
    for name in labels:
        rows = [values.get((name, metric.key)) for metric in METRICS]
        if not any(rows):
            continue
        table.add_row(labels[name], *map(_percent, rows), _range(rows[0]))
    return table


def _label(codec: dict[str, Any]) -> str:
    return f"{codec['label']}, published" if codec["kind"] == "published" else str(codec["label"])


def _accounts(summary: Summary) -> Iterator[tuple[str, str]]:
    for codec in summary["codecs"]:
        if codec["unavailable"]:
            yield codec["label"], codec["unavailable"]
    for codec in summary["codecs"]:
        for failure in codec["failures"]:
            yield f"{codec['label']} {failure['setting']}, {failure['picture']}", failure["error"]
    for item in summary["skipped"]:
        yield item["name"], item["reason"]
    for picture in summary["pictures"]:
        if picture["note"]:
            yield picture["name"], f"measured, but: {picture['note']}"


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 or name == "why" else "right")
    return table


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(row: dict[str, Any] | None) -> str:
    return "n/a" if row is None or row["percent"] is None else f"{row['percent']:+.1f} %"


def _range(row: dict[str, Any] | None) -> str:
    return f"{row['low']:.1f}…{row['high']:.1f}" if row and row["low"] is not None else "–"
