"""Tests of the HTML report: the file is self-contained, and it works in a browser."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bench.suite.cli import bench_command
from bench.suite.comparisons import Comparison, Shown
from bench.suite.report.page import write_report
from tests.support.pictures import noise, textured

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page, Request


HOSTILE = "<img src=x onerror=alert(1)>.png"
PICTURES = (HOSTILE, "plain.png")
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("playwright") is None,
    reason="needs a browser: pip install playwright, and Chromium (or its path in $CHROMIUM)",
)


def figures(bpp: float, db: float, speed: float) -> dict[str, float | None]:
    return {
        "bpp": bpp, "psnr_rgb": db, "psnr_y": db + 1, "ms_ssim_db": db / 2, "ssimulacra2": None,
        "encode_mps_1": speed, "decode_mps_1": 2 * speed, "encode_mps_all": None, "decode_mps_all": 3 * speed,
    }


def codec(name: str, kind: str = "lossy", **more: Any) -> dict[str, Any]:
    """A codec with four points, whose quality is lower by `worse` decibels."""
    worse, pictures = more.pop("worse", 0.0), more.pop("pictures", PICTURES)
    points = [
        {
            "setting": str(10 * i),
            "mean": figures(0.1 * 2**i, 26 + 4 * i - worse, 9 - i),
            "pictures": {p: figures(0.15 * 2**i, 27 + 4 * i - worse, 9 - i) for p in pictures},
        }
        for i in range(4)
    ]
    return {
        "name": name, "label": name.upper(), "kind": kind, "ours": False, "version": "1.0",
        "settings": "all", "unavailable": None, "failures": [], "memory": None, "points": points, **more,
    }


def summary() -> dict[str, Any]:
    exact = {"setting": "9", "mean": {"bpp": 12.0, "encode_mps_1": 2.0}, "pictures": {}}
    curve = [{"mean": {"bpp": bpp, "psnr_rgb": db}, "pictures": {}} for bpp, db in ((0.1, 29), (1, 38))]
    failure = {"picture": "plain.png", "setting": "30", "error": "it <b>broke</b>"}
    return {
        "title": "2 pictures, tests",
        "created": "2026-11-23T23:50:00+00:00",
        "command": "python -m bench <tests>",
        "environment": {"codec": "0.2.0", "cores": 2},
        "pictures": [
            {"name": HOSTILE, "width": 96, "height": 64, "note": "alpha dropped"},
            {"name": "plain.png", "width": 96, "height": 64, "note": None},
        ],
        "skipped": [{"name": "</script>.txt", "reason": "not a picture"}],
        "metrics": [
            {"key": "psnr_rgb", "label": "PSNR, RGB", "unit": "dB"},
            {"key": "psnr_y", "label": "PSNR, luma", "unit": "dB"},
            {"key": "ms_ssim_db", "label": "MS-SSIM", "unit": "dB"},
            {"key": "ssimulacra2", "label": "SSIMULACRA2", "unit": ""},
        ],
        "codecs": [
            codec("ours", ours=True, memory={"encode": 300.0, "decode": None}),
            codec("jpeg", worse=3.0),
            codec("failing", label="FAILING <B>", worse=1.0, pictures=PICTURES[:1], failures=[failure]),
            codec("png", "lossless", points=[exact]),
            codec("paper", "published", points=curve),
            codec("heic", unavailable="pillow-heif is not installed", points=[]),
        ],
        "bd_rate": {
            "anchors": [{"name": "jpeg", "label": "JPEG"}, {"name": "paper", "label": "PAPER"}],
            "rows": [
                {"anchor": "jpeg", "metric": "psnr_rgb", "codec": "failing", "percent": 12.5,
                 "low": 26.0, "high": 35.0, "note": None},
                {"anchor": "jpeg", "metric": "psnr_rgb", "codec": "ours", "percent": -41.24,
                 "low": 26.0, "high": 35.0, "note": None},
                {"anchor": "paper", "metric": "psnr_rgb", "codec": "ours", "percent": None,
                 "low": 29.0, "high": 30.0, "note": "the overlap is 1.0 dB"},
            ],
        },
    }  # fmt: skip


def comparisons() -> list[Comparison]:
    result = []
    for seed, name in enumerate(PICTURES):
        original = textured(64, 96, seed)
        blurred = (original // 16 * 16).astype(np.uint8)
        result.append(Comparison(name, [
            Shown("ours, quality 40", 1234, {"bpp": 0.5, "psnr_rgb": 31.5, "ssimulacra2": None}, blurred),
            Shown("JPEG", 1250, {"psnr_rgb": 28.0}, noise(64, 96, seed)),
            Shown("original", None, {}, original),
        ]))
    return result


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(summary(), comparisons(), path)
    return path


# ---- Without a browser -------------------------------------------------------------------


def our_part(path: Path) -> str:
    """Return the page without plotly, which is its longest script."""
    page = path.read_text(encoding="utf-8")
    return page.replace(max(re.findall(r"<script>.*?</script>", page, re.DOTALL), key=len), "")


def test_the_file_stands_alone(report: Path) -> None:
    page = our_part(report)
    assert "http://" not in page
    assert "https://" not in page
    assert re.findall(r"<(?:link|iframe|base|object|embed)\b.*", page) == ['<link rel="icon" href="data:,">']
    assert not re.search(r"\bsrc=(?!x onerror)", page)
    assert "default-src 'none'" in page
    assert page.count("data:image/webp;base64,") == 6


def test_names_stay_text(report: Path) -> None:
    page = our_part(report)
    assert HOSTILE not in page
    assert "&lt;img src=x onerror=alert(1)&gt;.png" in page
    assert page.count("</script>") == 3  # two blocks of JSON and the script of the report
    assert "it &lt;b&gt;broke&lt;/b&gt;" in page


def test_json_comes_back(report: Path) -> None:
    blocks = re.findall(r'<script type="application/json" id="\w+">(.*)</script>', our_part(report))
    assert json.loads(blocks[0]) == summary()
    assert [c["picture"] for c in json.loads(blocks[1])] == list(PICTURES)


def test_what_is_missing_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report({}, [], path)
    assert "No pictures were chosen for comparison." in our_part(path)
    bare = summary()
    bare["metrics"] = []
    bare["created"] = "some day"
    bare["codecs"][0]["points"][0]["mean"] = {"bpp": float("nan"), "psnr_rgb": float("inf")}
    write_report(bare, [], path)
    page = our_part(path)
    assert "Measured some day." in page
    assert '"mean": {"bpp": null, "psnr_rgb": null}' in page
    assert list(tmp_path.iterdir()) == [path]


# ---- In a browser ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


Open = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser, report: Path) -> Iterator[Open]:
    """Return a function that opens a report in the browser.

    At the end of the test, the page must not have logged, raised, requested or alerted anything.
    """
    trouble: list[str] = []
    pages: list[Page] = []

    def alerted(dialog: Dialog) -> None:
        trouble.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def requested(request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            trouble.append(f"request: {request.url}")

    def open_one(path: Path = report, **options: Any) -> Page:
        page = browser.new_page(**options)
        pages.append(page)
        page.on("console", lambda message: trouble.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("dialog", alerted)
        page.on("request", requested)
        page.goto(path.as_uri())
        return page

    yield open_one
    for page in pages:
        page.wait_for_timeout(100)  # for late errors
        page.close()
    assert trouble == []


def wait(page: Page, condition: str) -> None:
    """Wait until an expression is true.

    `wait_for_function` cannot be used: the security policy of the page forbids its `eval`.
    """
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {condition}")


def curves(page: Page) -> dict[str, list[float]]:
    """Return the name and the y values of each curve in the rate-distortion plot."""
    shown: dict[str, list[float]] = page.evaluate(
        "Object.fromEntries(document.getElementById('rate-plot').data.map((t) => [t.name, t.y]))"
    )
    return shown


def y_title(page: Page, plot: str = "rate-plot") -> str:
    return str(page.locator(f"#{plot} .ytitle").text_content())


def column(page: Page, table: str, index: int) -> list[str]:
    return page.locator(f"#{table} tbody tr > :nth-child({index + 1})").all_inner_texts()


@needs_browser
def test_metric_and_picture(open_page: Open) -> None:
    page = open_page()
    assert curves(page) == {
        "OURS": [26, 30, 34, 38], "JPEG": [23, 27, 31, 35], "FAILING &lt;B&gt;": [25, 29, 33, 37],
        "PAPER, published": [29, 38],
    }
    assert y_title(page) == "PSNR, RGB (dB)"
    options = page.locator("#rate [data-choice=metric] option").all_text_contents()
    assert options == ["PSNR, RGB", "PSNR, luma", "MS-SSIM"]  # no codec has SSIMULACRA2

    page.select_option("#rate [data-choice=metric]", "ms_ssim_db")
    assert y_title(page) == "MS-SSIM (dB)"
    assert curves(page) == {"OURS": [13, 15, 17, 19], "JPEG": [11.5, 13.5, 15.5, 17.5],
                            "FAILING &lt;B&gt;": [12.5, 14.5, 16.5, 18.5]}
    assert page.input_value("#speed [data-choice=metric]") == "ms_ssim_db"

    page.select_option("#rate [data-choice=metric]", "psnr_rgb")
    page.select_option("#rate [data-choice=picture]", "plain.png")
    assert curves(page) == {"OURS": [27, 31, 35, 39], "JPEG": [24, 28, 32, 36]}  # one failed; one is a mean
    page.select_option("#rate [data-choice=picture]", HOSTILE)
    assert list(curves(page)) == ["OURS", "JPEG", "FAILING &lt;B&gt;"]
    assert page.locator("img[src=x]").count() == 0


@needs_browser
def test_legend_and_ticks(open_page: Open) -> None:
    page = open_page()
    ticks = page.locator("#rate-plot .xtick text").all_text_contents()
    assert ticks == ["0.1", "0.2", "0.5", "1"]
    names = page.locator("#rate-plot .legendtext").all_text_contents()
    assert names == ["OURS", "JPEG", "FAILING <B>", "PAPER, published"]
    page.locator("#rate-plot .legendtoggle").nth(1).click()
    wait(page, "document.getElementById('rate-plot').data[1].visible === 'legendonly'")
    page.select_option("#rate [data-choice=metric]", "psnr_y")  # hidden curves stay hidden
    assert page.evaluate("document.getElementById('rate-plot').data[1].visible") == "legendonly"


@needs_browser
def test_bd_rate(open_page: Open) -> None:
    page = open_page()
    assert column(page, "bd-table", 0) == ["OURS", "FAILING <B>"]
    assert "−41.2 %" in page.inner_text("#bd-table")
    assert "26.0…35.0 dB" in page.inner_text("#bd-table")
    page.select_option("#bd [data-choice=anchor]", "paper")
    assert page.locator("#bd-table td").inner_text() == "n/a"
    assert page.inner_text("#bd-notes") == "the overlap is 1.0 dB: OURS (PSNR, RGB)"


@needs_browser
def test_rate_and_speed(open_page: Open) -> None:
    page = open_page()
    assert page.input_value("#level-number") == "30.5"  # the middle of 26…35, the common range of all three
    assert y_title(page, "speed-plot") == "bits per pixel at 30.5 dB"
    page.fill("#level-number", "32")
    x, y = page.evaluate("((t) => [t.x[0], t.y[0]])(document.getElementById('speed-plot').data[0])")
    assert y == pytest.approx(0.2 * 2**0.5)  # half-way between 30 and 34 dB, on a log scale
    assert x == pytest.approx(2 * (8 * 7) ** 0.5)
    page.fill("#level-number", "38")
    assert page.evaluate("document.getElementById('speed-plot').data.length") == 1
    assert page.inner_text("#speed-note") == (
        "Not shown, because the curve does not reach 38.0 dB or has no speed: JPEG, FAILING <B>."
    )
    assert column(page, "lossless-table", 3) == ["2.00 : 1"]


@needs_browser
def test_tables_sort(open_page: Open) -> None:
    page = open_page()
    names = page.locator("#points-table thead button").all_inner_texts()
    assert column(page, "points-table", 0)[:5] == [*["OURS"] * 4, "JPEG"]
    rate = page.locator("#points-table thead button", has_text="bpp")
    rate.click()
    values = [float(text) for text in column(page, "points-table", names.index("bpp"))]
    assert values == sorted(values)
    rate.press("Enter")
    values = [float(text) for text in column(page, "points-table", names.index("bpp"))]
    assert values == sorted(values, reverse=True)
    assert page.locator("#points-table [aria-sort=descending]").inner_text() == "bpp"
    page.locator("#points-table thead button", has_text="luma").click()
    assert column(page, "points-table", 0)[-1] in ("PNG", "PAPER, published")  # no figure: last


@needs_browser
def test_slider(open_page: Open) -> None:
    page = open_page()
    clip = "getComputedStyle(document.getElementById('left-side')).clipPath"
    assert page.evaluate(clip) == "inset(0px 50% 0px 0px)"
    page.fill("#compare-slider", "80")
    assert page.evaluate(clip) == "inset(0px 20% 0px 0px)"
    page.press("#compare-slider", "ArrowLeft")
    assert page.evaluate(clip) == "inset(0px 20.5% 0px 0px)"
    page.locator("#frame").scroll_into_view_if_needed()
    box = page.locator("#frame").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 9)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 9)
    page.mouse.up()
    assert float(page.input_value("#compare-slider")) == pytest.approx(25, abs=1)
    page.mouse.move(box["x"], box["y"] + 9)  # the button is released
    assert float(page.input_value("#compare-slider")) == pytest.approx(25, abs=1)
    assert page.inner_text("#left-caption").split("\n") == [
        "ours, quality 40", "1,234 bytes", "0.500 bpp", "PSNR, RGB: 31.50 dB"
    ]
    page.select_option("#compare-zoom", "2")
    assert page.locator("#frame").bounding_box()["width"] == 192  # type: ignore[index]


@needs_browser
def test_a_report_of_a_real_run(open_page: Open, tmp_path: Path, tiny_weights: Path) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    Image.fromarray(textured(176, 1100)).save(pictures / "wide.png")
    Image.fromarray(textured(170, 190, 1)).save(pictures / "small.png")
    names = f"codec:{tiny_weights},jpeg,png"
    result = CliRunner().invoke(
        bench_command, [str(pictures), "--codecs", names, "--points", "4", "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    psnr = [row["psnr_rgb"] for row in rows if row["codec"] == "jpeg" and row.get("setting") == 5]

    page = open_page(out / "report.html")
    assert list(curves(page)) == ["codec tiny", "JPEG 4:2:0"]
    assert curves(page)["JPEG 4:2:0"][0] == pytest.approx(sum(psnr) / 2)
    titles = {"psnr_y": "PSNR, luma (dB)", "ms_ssim_db": "MS-SSIM (dB)", "ssimulacra2": "SSIMULACRA2"}
    for metric, title in titles.items():
        page.select_option("#rate [data-choice=metric]", metric)
        assert y_title(page) == title
    assert page.input_value("#bd [data-choice=anchor]") == "jpeg"
    page.select_option("#compare-picture", label="wide.png, the middle 1024×176 of 1100×176")
    caption = page.inner_text("#left-caption").split("\n")
    size = int(caption[1].removesuffix(" bytes").replace(",", ""))
    assert caption[2] == f"{8 * size / (176 * 1100):.3f} bpp"  # for the whole picture, not its middle
    assert column(page, "lossless-table", 0) == ["PNG"]


@needs_browser
def test_residual(open_page: Open) -> None:
    page = open_page()
    page.select_option("#compare-picture", label=HOSTILE)
    page.select_option("#right-select", label="original")
    page.check("#compare-residual")
    page.select_option("#compare-gain", "16")
    pixels = """(side) => {
        const canvas = document.querySelector(`#${side}-side canvas`);
        return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
    }"""
    for side in ("left", "right"):
        wait(page, f"document.querySelector('#{side}-side canvas').dataset.shown?.endsWith(' 16')")
    left, right = (
        np.array(page.evaluate(pixels, side)).reshape(64, 96, 4)[..., :3] for side in ("left", "right")
    )
    version, _, original = (shown.pixels.astype(int) for shown in comparisons()[0].images)
    assert np.array_equal(left, np.minimum(16 * abs(version - original), 255))
    assert left.any()
    assert not right.any()
    page.uncheck("#compare-residual")
    assert page.locator("#left-side img").is_visible()


@needs_browser
@pytest.mark.parametrize("width", [400, 1400])
def test_dark_and_light(open_page: Open, width: int) -> None:
    page = open_page(color_scheme="dark", viewport={"width": width, "height": 900})
    colours = """[getComputedStyle(document.body).backgroundColor,
        document.getElementById('rate-plot').layout.font.color]"""

    def luma(colour: str) -> float:
        digits = re.findall(r"[0-9a-f]{2}", colour[1:]) if colour[0] == "#" else []
        return float(np.mean([int(d, 16) for d in digits] or [int(d) for d in re.findall(r"\d+", colour)]))

    dark = page.evaluate(colours)
    background, text = map(luma, dark)
    assert background < 60 < 180 < text
    page.emulate_media(color_scheme="light")
    wait(page, f"{colours}[1] !== {json.dumps(dark[1])}")
    background, text = map(luma, page.evaluate(colours))
    assert text < 60 < 180 < background
    assert page.evaluate("document.documentElement.scrollWidth") == width  # no overflow


@needs_browser
def test_little_data(open_page: Open, tmp_path: Path) -> None:
    write_report({}, [], tmp_path / "empty.html")
    page = open_page(tmp_path / "empty.html")
    assert page.inner_text("#rate-note") == "No codec was measured on any picture."
    some = summary()
    del some["bd_rate"], some["environment"]
    some["metrics"] = some["metrics"][:1]
    some["codecs"] = [codec("ours", ours=True), codec("heic", unavailable="missing", points=[])]
    for point in some["codecs"][0]["points"]:
        point["mean"] = {"bpp": point["mean"]["bpp"], "psnr_rgb": point["mean"]["psnr_rgb"]}
    write_report(some, [], tmp_path / "some.html")
    page = open_page(tmp_path / "some.html")
    assert list(curves(page)) == ["OURS"]
    assert page.inner_text("#speed-note") == "No speeds were measured."
