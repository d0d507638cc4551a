"""README's table and plots, from the result files of a benchmark.

    python -m bench.figures [FOLDER] [--check]

FOLDER holds the JSON files that `python -m bench DIR --json` wrote (default: the ones in the repository,
bench/results/kodak). README.md is rewritten between its markers, the plots in docs/figures are drawn anew.
With --check nothing is written: the exit code says whether README states what the files hold.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click

from codec.files import write_atomically

from . import anchors
from .metrics import METRICS, ms_ssim_db
from .summary import bd_rates, published_codec

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "kodak"
PLOTS = ROOT / "docs" / "figures"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
ANCHOR = "jpeg"
SPEED_AT = 0.75  # bits per pixel

Codec = dict[str, Any]


def load(folder: Path) -> list[Codec]:
    """Codecs as in a summary: those of the files, then the curves published for the same pictures."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not files:
        raise click.ClickException(f"no result files in {folder}")
    measured = [
        {
            "name": content["codec"], "label": content["name"], "ours": content["ours"],
            "kind": "lossless" if content["lossless"] else "lossy", "points": _points(content),
        }
        for content in files
    ]
    measured.sort(key=lambda codec: (not codec["ours"], codec["kind"] != "lossy", codec["name"]))
    curves = anchors.published(files[0]["pictures"]["fingerprint"])
    return [*measured, *map(published_codec, curves)]


def _points(content: dict[str, Any]) -> list[dict[str, Any]]:
    results, speeds = content["results"], content["megapixels_per_second"]
    return [
        {
            "setting": setting,
            "mean": {
                "bpp": results["bpp"][i], "psnr_rgb": results["psnr-rgb"][i], "psnr_y": results["psnr-y"][i],
                "ms_ssim_db": ms_ssim_db(results["ms-ssim-rgb"][i]), "ssimulacra2": results["ssimulacra2"][i],
                **{name: values[i] for name, values in speeds.items()},
            },
        }
        for i, setting in enumerate(content["settings"])
    ]


def tables(codecs: list[Codec], folder: Path) -> str:
    """The part of README between the markers, in Markdown."""
    about = json.loads(next(iter(sorted(folder.glob("*.json")))).read_text(encoding="utf-8"))
    ours = next(codec for codec in codecs if codec["ours"])
    count, where = about["pictures"]["count"], about["environment"]
    lines = [
        f"On the {count} Kodak photographs, whole files, means over pictures ({ours['version']}):"
        if "version" in ours else f"On the {count} Kodak photographs, whole files, means over pictures:",
        "",
        *_quality_rows(ours),
        "",
        "Bits needed at equal quality, against JPEG (BD-rate; negative: fewer), and speed in megapixels a second",
        f"near {SPEED_AT:g} bpp on {where['cores']} cores of an {where['CPU']}:",
        "",
        *_comparison_rows(codecs),
    ]
    return "\n".join(lines)


def _quality_rows(ours: Codec) -> list[str]:
    points = ours["points"][::2]

    def row(title: str, key: str, digits: int) -> str:
        return f"| {title} | " + " | ".join(f"{p['mean'][key]:.{digits}f}" for p in points) + " |"

    return [
        "| quality | " + " | ".join(point["setting"] for point in points) + " |",
        "| --- |" + " --- |" * len(points),
        row("bits per pixel", "bpp", 3), row("PSNR (dB)", "psnr_rgb", 2), row("SSIMULACRA2", "ssimulacra2", 1),
    ]


def _comparison_rows(codecs: list[Codec]) -> list[str]:
    shown = [metric for metric in METRICS if metric.key != "psnr_y"]
    rows = {
        (row["codec"], row["metric"]): row["percent"]
        for row in bd_rates(codecs)["rows"] if row["anchor"] == ANCHOR
    }
    lines = [
        "| codec | " + " | ".join(f"at equal {metric.label}" for metric in shown) + " | encode | decode |",
        "| --- |" + " ---: |" * (len(shown) + 2),
    ]
    for codec in codecs:
        if codec["kind"] == "lossless" or codec["name"] == ANCHOR:
            continue
        values = [rows.get((codec["name"], metric.key)) for metric in shown]
        speeds = _speeds(codec)
        name = f"**{codec['label']}**" if codec["ours"] else codec["label"]
        cells = [*("" if v is None else f"{v:+.0f} %" for v in values), *speeds]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _speeds(codec: Codec) -> list[str]:
    if codec["kind"] == "published":
        return ["", ""]
    nearest = min(codec["points"], key=lambda point: abs(math.log(point["mean"]["bpp"] / SPEED_AT)))["mean"]
    return [f"{nearest[key]:.1f}" for key in ("encode_mps_all", "decode_mps_all")]


def rewritten(readme: str, block: str) -> str:
    """README with the block between its markers replaced; `ValueError` if they are not there."""
    if BEGIN not in readme or END not in readme:
        raise ValueError(f"README.md lacks {BEGIN} and {END}")
    head, rest = readme.split(BEGIN, 1)
    return f"{head}{BEGIN}\n{block}\n{END}{rest.split(END, 1)[1]}"


def draw(codecs: list[Codec], folder: Path) -> list[Path]:
    """Rate against distortion, and rate against speed, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    # Same figures, same file: no date, no random ids.
    matplotlib.rcParams.update({"svg.hashsalt": "codec", "font.size": 9, "axes.spines.top": False,
                                "axes.spines.right": False})
    folder.mkdir(parents=True, exist_ok=True)
    return [_draw_curves(codecs, folder / "rate-distortion.svg"), _draw_speed(codecs, folder / "speed.svg")]


def _draw_curves(codecs: list[Codec], path: Path) -> Path:
    from matplotlib import pyplot
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    for axis, metric in zip(axes, (METRICS[0], METRICS[3]), strict=True):
        for codec in codecs:
            points = [(p["mean"]["bpp"], p["mean"].get(metric.key)) for p in codec["points"]]
            if codec["kind"] == "lossless" or any(value is None for _, value in points):
                continue
            style = {"linewidth": 2.4, "color": "#c0392b", "zorder": 5} if codec["ours"] else {
                "linewidth": 1.1, "linestyle": "--" if codec["kind"] == "published" else "-"}
            axis.plot(*zip(*points, strict=True), label=codec["label"], **style)
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


def _draw_speed(codecs: list[Codec], path: Path) -> Path:
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    rows = {
        row["codec"]: row["percent"] for row in bd_rates(codecs)["rows"]
        if row["anchor"] == ANCHOR and row["metric"] == "psnr_rgb"
    } | {ANCHOR: 0.0}
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
    for axis, work in zip(axes, ("encode", "decode"), strict=True):
        for codec in codecs:
            if codec["kind"] != "lossy" or rows.get(codec["name"]) is None:
                continue
            nearest = min(codec["points"], key=lambda p: abs(math.log(p["mean"]["bpp"] / SPEED_AT)))["mean"]
            place = (nearest[f"{work}_mps_all"], rows[codec["name"]])
            axis.plot(*place, "o", color="#c0392b" if codec["ours"] else "#34495e")
            axis.annotate(codec["label"], place, xytext=(5, 4), textcoords="offset points", fontsize=8)
        axis.set(xscale="log", xlabel=f"{work}, megapixels a second", ylabel="" if axis is axes[1] else
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


@click.command()
@click.argument("folder", default=RESULTS, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; fail if README says something else.")
def main(folder: Path, check: bool) -> None:
    """Rewrite README's figures from the result files in FOLDER."""
    codecs = load(folder)
    readme = ROOT / "README.md"
    before = readme.read_text(encoding="utf-8")
    try:
        after = rewritten(before, tables(codecs, folder))
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if check:
        if after != before:
            raise click.ClickException("README.md does not state what the result files hold: make figures")
        return
    write_atomically(readme, after.encode())
    for path in [readme, *draw(codecs, PLOTS)]:
        click.echo(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
