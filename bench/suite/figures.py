"""Tables and plots of README, made from the result files of a benchmark.

    python -m bench.suite.figures [FOLDER] [--keep | --check]

FOLDER contains the JSON files written by `python -m bench DIR --json`. The default is
bench/results/kodak in the repository. README.md is rewritten between its markers, and the plots in
docs/figures are drawn again. --keep copies the files into the repository. With --check nothing is
written. The exit code then shows whether README matches the files.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click

from codec.model import registry
from codec.pictures.atomic import write_atomically

from . import anchors
from .baselines import OURS
from .metrics import METRICS, ms_ssim_db
from .plots import draw, nearest_point
from .summary import bd_rates, published_codec

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parents[1] / "results" / "kodak"
PLOTS = ROOT / "docs" / "figures"
ANCHOR = "jpeg"
PUBLISHED = [f"{anchors.PREFIX}{name}" for name in ("hyperprior", "mean-scale hyperprior", "VTM-9.1")]
"""Enough for a comparison of ours with learned codecs. The report has more curves."""
SPEED_AT = 0.75  # bits per pixel

Codec = dict[str, Any]


def load(folder: Path) -> tuple[list[Codec], list[dict[str, Any]]]:
    """Codecs as in a summary, and the complete content of the files of this codec.

    The codecs are those of the files, followed by curves published for the same pictures. The
    default model is the first of both lists. Pictures and environment are the same in all files.
    """
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not files:
        raise click.ClickException(f"no result files in {folder}")
    if len({content["pictures"]["fingerprint"] for content in files}) > 1:
        raise click.ClickException(f"{folder} contains results of different pictures")
    default = f"{OURS}-{registry.named(None).name}"
    files.sort(key=lambda content: (not content["ours"], content["codec"] != default, content["codec"]))
    ours = [content for content in files if content["ours"]]
    if not ours:
        raise click.ClickException(f"{folder} contains no results of this codec")
    measured = [
        {
            "name": content["codec"], "label": content["name"], "ours": content["ours"],
            "kind": "lossless" if content["lossless"] else "lossy", "points": _points(content),
        }
        for content in files
    ]
    curves = [published_codec(curve) for curve in anchors.published(files[0]["pictures"]["fingerprint"])]
    return [*measured, *(curve for curve in curves if curve["name"] in PUBLISHED)], ours


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


def identity(content: dict[str, Any]) -> str:
    """The name and the id of the model in a result file of this codec."""
    return f"{content['name'].split()[-1]} {content['description'].partition(';')[0].split()[-1]}"


def blocks(codecs: list[Codec], ours: list[dict[str, Any]]) -> dict[str, str]:
    """The parts of README between its pairs of markers, in Markdown, by the name of the pair."""
    where, pictures = ours[0]["environment"], ours[0]["pictures"]
    models = " and ".join(f"model {identity(content)}" for content in ours)
    version = ours[0]["description"].partition(",")[0]
    return {
        "comparison": "\n".join([
            f"On the {pictures['count']} Kodak photographs: bits at equal quality, compared with optimised",
            "JPEG (BD-rate; negative: fewer bits), and megapixels per second near",
            f"{SPEED_AT:g} bpp, on {where['cores']} cores of an {where['CPU']}.",
            f"Measured with {version}, {models}.",
            "",
            *_comparison_rows(codecs),
        ]),
        "qualities": "\n".join([
            "Means over the same photographs, whole files,",
            f"{version}, model {identity(ours[0]).split()[0]}:",
            "",
            *_quality_rows(codecs[0]),
        ]),
    }


def _quality_rows(ours: Codec) -> list[str]:
    points = ours["points"][:: -(-len(ours["points"]) // 6)]

    def row(title: str, key: str, digits: int) -> str:
        return f"| {title} | " + " | ".join(f"{p['mean'][key]:.{digits}f}" for p in points) + " |"

    return [
        "| quality | " + " | ".join(point["setting"] for point in points) + " |",
        "| --- |" + " ---: |" * len(points),
        row("bits per pixel", "bpp", 3),
        row("PSNR (dB)", "psnr_rgb", 2),
        row("SSIMULACRA2", "ssimulacra2", 1),
    ]


def _comparison_rows(codecs: list[Codec]) -> list[str]:
    shown = [metric for metric in METRICS if metric.key != "psnr_y"]
    rows = {
        (row["codec"], row["metric"]): row for row in bd_rates(codecs)["rows"] if row["anchor"] == ANCHOR
    }
    lines = [
        "| codec | " + " | ".join(f"equal {metric.label}" for metric in shown)
        + " | shared range | encode | decode |",
        "| --- |" + " ---: |" * (len(shown) + 3),
    ]
    for codec in codecs:
        values = [rows.get((codec["name"], metric.key)) for metric in shown]
        if codec["kind"] == "lossless" or values[0] is None:
            continue
        cells = [_percent(value) for value in values]
        cells.append(f"{values[0]['low']:.0f}…{values[0]['high']:.0f} dB")
        if codec["kind"] == "lossy":
            mean = nearest_point(codec, SPEED_AT)
            cells += [f"{mean[key]:.1f}" for key in ("encode_mps_all", "decode_mps_all")]
        else:
            cells += ["", ""]
        name = f"**{codec['label']}**" if codec["ours"] else codec["label"]
        name += ", published" if codec["kind"] == "published" else ""
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _percent(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return "n/a" if row["percent"] is None else f"{row['percent']:+.0f} %"


def rewritten(readme: str, block: str, name: str) -> str:
    """README with the block between the markers `name` replaced; `ValueError` without markers."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if begin not in readme or end not in readme:
        raise ValueError(f"README.md lacks {begin} and {end}")
    head, rest = readme.split(begin, 1)
    return f"{head}{begin}\n{block}\n{end}{rest.split(end, 1)[1]}"


@click.command()
@click.argument("folder", default=RESULTS, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--keep", is_flag=True, help="Copy the result files to bench/results/kodak.")
@click.option("--check", is_flag=True, help="Write nothing. Fail if README does not match the files.")
def main(folder: Path, keep: bool, check: bool) -> None:
    """Rewrite the figures of README from the result files in FOLDER."""
    codecs, ours = load(folder)
    readme = ROOT / "README.md"
    before = after = readme.read_text(encoding="utf-8")
    try:
        for name, block in blocks(codecs, ours).items():
            after = rewritten(after, block, name)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if check:
        if after != before:
            raise click.ClickException("README.md does not match the result files; run: make figures")
        return
    if keep and folder.resolve() != RESULTS.resolve():
        new = RESULTS.with_suffix(".new")
        shutil.copytree(folder, new)
        shutil.rmtree(RESULTS, ignore_errors=True)
        new.rename(RESULTS)
    write_atomically(readme, after.encode())
    for path in [readme, *draw(codecs, ANCHOR, SPEED_AT, PLOTS)]:
        click.echo(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
