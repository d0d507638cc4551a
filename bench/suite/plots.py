"""Plots of README, drawn with matplotlib as SVG."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

from .metrics import METRICS
from .summary import bd_rates

Codec = dict[str, Any]

OURS = "#c0392b"
THEIRS = ("#2471a3", "#1e8449", "#8e44ad", "#b9770e", "#5d6d7e")
PUBLISHED = "#99a3a4"
DASHES = ("--", "-.", ":")
LEFT_OUT = ("avif-420", "jpeg-444")  # too close to `avif` and `jpeg` to be readable


def draw(codecs: list[Codec], anchor: str, near: float, folder: Path) -> list[Path]:
    """Draw rate against distortion, and BD-rate against speed. Return the two paths.

    BD-rates are relative to `anchor`. Speeds are those near the rate `near` in bits per pixel.
    """
    import matplotlib

    matplotlib.use("svg")
    # No date and no random ids, so that the same figures give the same file.
    matplotlib.rcParams.update({"svg.hashsalt": "codec", "font.size": 9, "axes.spines.top": False,
                                "axes.spines.right": False})
    folder.mkdir(parents=True, exist_ok=True)
    codecs = [c for c in codecs if c["kind"] != "lossless" and c["name"] not in LEFT_OUT]
    return [
        _draw_curves(codecs, folder / "rate-distortion.svg"),
        _draw_speed(codecs, anchor, near, folder / "speed.svg"),
    ]


def _draw_curves(codecs: list[Codec], path: Path) -> Path:
    from matplotlib import pyplot
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    for axis, metric in zip(axes, (METRICS[0], METRICS[3]), strict=True):
        for codec, style in zip(codecs, _styles(codecs), strict=True):
            points = [(p["mean"]["bpp"], p["mean"].get(metric.key)) for p in codec["points"]]
            if all(value is not None for _, value in points):
                axis.plot(*zip(*points, strict=True), label=_label(codec), **style)
        axis.set(xscale="log", xlim=(0.06, 3), xlabel="bits per pixel",
                 ylabel=f"{metric.label} ({metric.unit})" if metric.unit else metric.label)
        axis.set_ylim((24, 44) if metric is METRICS[0] else (0, 95))
        axis.xaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2]))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.grid(alpha=0.25)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    return _save(figure, path)


def _styles(codecs: list[Codec]) -> list[dict[str, Any]]:
    """Line styles. Our curves are emphasised, published curves are subdued."""
    colours, dashes, solid = itertools.cycle(THEIRS), itertools.cycle(DASHES), itertools.cycle(("-", "--"))
    styles: list[dict[str, Any]] = []
    for codec in codecs:
        if codec["ours"]:
            styles.append({"linewidth": 2.6, "color": OURS, "zorder": 5, "linestyle": next(solid)})
        elif codec["kind"] == "published":
            styles.append({"linewidth": 1.1, "color": PUBLISHED, "linestyle": next(dashes)})
        else:
            styles.append({"linewidth": 1.2, "color": next(colours)})
    return styles


def _draw_speed(codecs: list[Codec], anchor: str, near: float, path: Path) -> Path:
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    rows = {
        row["codec"]: row["percent"] for row in bd_rates(codecs)["rows"]
        if row["anchor"] == anchor and row["metric"] == "psnr_rgb"
    } | {anchor: 0.0}
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
    for axis, work in zip(axes, ("encode", "decode"), strict=True):
        for codec in codecs:
            if codec["kind"] != "lossy" or rows.get(codec["name"]) is None:
                continue
            place = (nearest_point(codec, near)[f"{work}_mps_all"], rows[codec["name"]])
            axis.plot(*place, "o", color=OURS if codec["ours"] else THEIRS[-1])
            beside = (5, -10 if codec["ours"] else 4)
            axis.annotate(codec["label"], place, xytext=beside, textcoords="offset points", fontsize=8)
        axis.set(xscale="log", xlabel=f"{work}, megapixels per second", ylabel="" if axis is axes[1] else
                 "bits at equal PSNR, against JPEG")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.0f} %"))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.margins(0.2)
        axis.grid(alpha=0.25)
    return _save(figure, path)


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot

    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _label(codec: Codec) -> str:
    return f"{codec['label']}, published" if codec["kind"] == "published" else str(codec["label"])


def nearest_point(codec: Codec, bpp: float) -> dict[str, float]:
    """Means of the setting whose rate is nearest to `bpp` on a logarithmic scale."""
    distance = [abs(math.log(point["mean"]["bpp"] / bpp)) for point in codec["points"]]
    means: dict[str, float] = codec["points"][distance.index(min(distance))]["mean"]
    return means
