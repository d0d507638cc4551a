"""Tests of the benchmark: metrics, codecs, and that no picture, codec or measurement is lost."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import codec
from bench.suite import anchors, figures, metrics
from bench.suite.baselines import Baseline, all_baselines, filter_rows, find, unfilter_rows
from bench.suite.cli import bench_command
from bench.suite.comparisons import largest_within
from bench.suite.measure import CodecFailed, Worker
from bench.suite.pictures import collect
from bench.suite.results import FILE, Store, key
from bench.suite.run import prepare
from bench.suite.summary import bd_rates
from codec.model import registry
from tests.support.pictures import textured

Curve = list[tuple[float, float]]

CURVE = [(0.1, 28.0), (0.2, 30.5), (0.4, 33.0), (0.8, 36.0), (1.6, 39.5)]


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(bench_command, [str(argument) for argument in arguments])


@pytest.fixture
def few_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run codecs on one core only, and measure distortion in a thread instead of in processes."""
    for module in ("comparisons", "measure", "run", "summary"):
        monkeypatch.setattr(f"bench.suite.{module}.cores", lambda: 1)
    monkeypatch.setattr("bench.suite.run.ProcessPoolExecutor", lambda *args, **options: ThreadPoolExecutor(1))


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


# Metrics


def test_psnr_and_luma() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    gray = black + np.uint8(5)
    assert metrics.psnr(black, gray) == pytest.approx(10 * math.log10(255**2 / 25))
    assert metrics.luma(gray) == pytest.approx(5.0)
    blue = black.copy()
    blue[:, :, 2] = 100
    values = metrics.measure(black, blue)
    assert values["mse"] == pytest.approx(10000 / 3)
    assert values["psnr_y"] == pytest.approx(10 * math.log10(255**2 / 11.4**2))
    assert values["ms_ssim"] is None  # too small for five scales


def test_equal_pictures_count_as_a_hundred_decibels() -> None:
    image = textured(176, 180)
    values = metrics.measure(image, image)
    assert values["mse"] == 0
    assert values["psnr_rgb"] == values["psnr_y"] == values["ms_ssim_db"] == 100
    assert values["ms_ssim"] == pytest.approx(1)
    assert metrics.psnr(image, image) == math.inf


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 2.0])
def test_bd_rate_of_a_scaled_curve(factor: float) -> None:
    value = metrics.bd_rate(CURVE, [(rate * factor, psnr) for rate, psnr in CURVE])
    assert value.percent == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert (value.low, value.high) == (28.0, 39.5)


@pytest.mark.parametrize(
    ("curve", "why"),
    [
        ([(r, p + 10) for r, p in CURVE], "share less than 2"),
        (CURVE[:3], "fewer than four points"),
        ([*CURVE, (3.2, 39.0)], "does not rise"),
    ],
)
def test_no_bd_rate_where_it_would_mean_nothing(curve: Curve, why: str) -> None:
    value = metrics.bd_rate(CURVE, curve)
    assert value.percent is None
    assert why in str(value.note)


def test_bd_rate_agrees_with_the_published_table() -> None:
    """The values give the published order: mean-scale beats hyperprior, and VTM beats JPEG."""
    curves = {c.name: [(p["bpp"], p["psnr_rgb"]) for p in c.points] for c in published_kodak()}
    for name, percent in (("hyperprior", 31.0), ("mean-scale hyperprior", 21.8), ("JPEG", 208.5)):
        value = metrics.bd_rate(curves["published:VTM-9.1"], curves[f"published:{name}"])
        assert value.percent == pytest.approx(percent, abs=0.1)


def published_kodak() -> list[anchors.Published]:
    content = json.loads((anchors.FOLDER / "kodak.json").read_text())
    return anchors.published(content["fingerprint"])


def test_published_curves_are_for_their_pictures_only(tmp_path: Path) -> None:
    Image.fromarray(textured(16, 16)).save(tmp_path / "kodim01.png")
    pictures, _ = collect([tmp_path])
    assert published_kodak()
    assert anchors.published(anchors.fingerprint(pictures)) == []


def test_curves_without_a_metric_get_no_rate_in_it() -> None:
    def codec(name: str, *keys: str) -> dict[str, Any]:
        points = [{"mean": {"bpp": rate, **dict.fromkeys(keys, psnr)}} for rate, psnr in CURVE]
        return {"name": name, "label": name, "kind": "lossy", "points": points}

    rows = bd_rates([codec("a", "psnr_rgb", "ssimulacra2"), codec("b", "psnr_rgb")])["rows"]
    assert {(row["anchor"], row["codec"], row["metric"]) for row in rows} == {
        ("a", "b", "psnr_rgb"), ("b", "a", "psnr_rgb"),
    }


# Codecs


RIVALS = [baseline for baseline in all_baselines() if not baseline.ours]


@pytest.mark.parametrize("baseline", RIVALS, ids=lambda baseline: str(baseline.name))
def test_every_codec_there_and_back(baseline: Baseline) -> None:
    encode, decode = baseline.start(1)
    assert baseline.version()
    for shape in ((1, 1), (3, 50), (61, 47)):
        image = textured(*shape)
        decoded = decode(encode(image, baseline.settings[-1]))
        assert decoded.shape == image.shape
        assert decoded.dtype == np.uint8
        if baseline.lossless:
            assert np.array_equal(decoded, image)
    if not baseline.lossless:
        rates, errors = zip(*(_measured(baseline, s) for s in baseline.settings[:: 3]), strict=True)
        assert list(rates) == sorted(rates)  # settings are in order of increasing bit rate
        assert errors[0] > errors[-1] > 0


def _measured(baseline: Baseline, setting: float) -> tuple[int, float]:
    encode, decode = baseline.start(1)
    image = textured(128, 160)
    data = encode(image, setting)
    return len(data), metrics.mse(image, decode(data))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (33, 20)])
def test_row_filters(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    ramp = np.add.outer(np.arange(shape[0]) * 7, np.arange(shape[1]) * 3)[:, :, None] + np.arange(3)
    for image in (rng.integers(0, 256, (*shape, 3)).astype(np.uint8), ramp.astype(np.uint8)):
        assert np.array_equal(unfilter_rows(filter_rows(image), *shape), image)


def test_row_filters_find_structure() -> None:
    """A ramp has a constant slope, so nearly all filtered bytes are the same."""
    ramp = np.repeat(np.add.outer(np.arange(40), np.arange(40))[:, :, None], 3, axis=2).astype(np.uint8)
    assert np.bincount(np.frombuffer(filter_rows(ramp), np.uint8)).max() > 0.9 * ramp.size


def test_unknown_codec_is_a_named_error(tmp_path: Path) -> None:
    Image.fromarray(textured(16, 16)).save(tmp_path / "a.png")
    result = bench(tmp_path, "--codecs", "jpeg,vvc", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "no codec is named 'vvc'" in result.output
    assert not (tmp_path / "out").exists()


def test_the_largest_file_within_a_size() -> None:
    def encode(quality: int) -> bytes:
        return bytes(10 * quality)

    for size, expected in ((500, 50), (509, 50), (949, 94), (10**6, 95), (10, 1)):
        data, quality = largest_within(encode, size)
        assert (len(data), quality) == (10 * expected, expected)
    assert largest_within(encode, 3) == (bytes(10), 1)  # the smallest file, although it is too large


# Pictures


def mixed_folder(folder: Path) -> None:
    """Write pictures of several kinds, a broken picture, a text file and a hidden file."""
    image = textured(180, 200)
    Image.fromarray(image).save(folder / "good.png")
    Image.fromarray(image[:, ::-1].copy()).save(folder / "other.jpg", quality=95)
    Image.fromarray(image[:, :, 0]).save(folder / "gray.png")
    Image.fromarray(np.dstack([image[::-1], image[:, :, :1]])).save(folder / "alpha.png")
    Image.fromarray(image[:, :, 1].astype(np.uint16) * 257).save(folder / "deep.png")
    whole = (folder / "good.png").read_bytes()
    (folder / "broken.png").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden").write_text("nobody's business")
    (folder / "float.tiff").write_bytes(_float_tiff())


def _float_tiff() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.ones((8, 8), np.float32)).save(out, "TIFF")
    return out.getvalue()


def test_every_file_is_measured_or_accounted_for(tmp_path: Path) -> None:
    mixed_folder(tmp_path)
    pictures, skipped = collect([tmp_path])
    assert {p.name: p.note for p in pictures} == {
        "good.png": None, "other.jpg": None, "gray.png": "gray, measured as RGB",
        "alpha.png": "alpha dropped", "deep.png": "16-bit gray, measured as 8-bit RGB",
    }
    reasons = {item.name: item.reason for item in skipped}
    assert set(reasons) == {"broken.png", "notes.txt", "float.tiff"}
    assert reasons["notes.txt"] == "not a picture that Pillow can read"
    assert reasons["broken.png"].startswith("cannot be read: ")
    assert "mode F" in reasons["float.tiff"]


def test_what_is_no_regular_file_is_named(tmp_path: Path) -> None:
    Image.fromarray(textured(8, 8)).save(tmp_path / "a.png")
    Image.fromarray(textured(8, 8)).save(tmp_path / "twin.bmp")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "missing.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.csv").write_text("ours")
    pictures, skipped = collect([tmp_path], leave_out=tmp_path / "out")
    assert [picture.name for picture in pictures] == ["a.png"]
    assert {item.name: item.reason for item in skipped} == {
        "twin.bmp": "has the same pixels as a.png", "loop": "a link to a folder",
        "nowhere.png": "a broken link", "pipe.png": "not a regular file",
    }
    assert collect([tmp_path / "pipe.png"])[1][0].reason == "not a regular file"


def test_sixteen_bits_are_noted(tmp_path: Path) -> None:
    import imagecodecs

    deep = textured(8, 8).astype(np.uint16) * 257
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    assert collect([tmp_path])[0][0].note == "16 bits reduced to 8"


def test_names_of_any_bytes_can_be_written(tmp_path: Path, few_processes: None) -> None:
    (tmp_path / "[").mkdir()  # with the next name, a closing tag of terminal markup
    with open(os.fsencode(tmp_path) + b"/[/red]\xff,\n.png", "wb") as file:
        Image.fromarray(textured(24, 24)).save(file, "PNG")
    result = bench(tmp_path, "--codecs", "jpeg", "--points", 1, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "results.csv").read_bytes().decode())))
    assert [row["picture"] for row in rows] == ["[/red]\ufffd,\n.png"]


def test_names_tell_folders_apart(tmp_path: Path) -> None:
    for seed, folder in enumerate(("one/deep", "two/deep")):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(textured(8, 8, seed)).save(tmp_path / folder / "a.png")
    names = [picture.name for picture in collect([tmp_path / "one", tmp_path / "two"])[0]]
    assert names == ["one/deep/a.png", "two/deep/a.png"]
    files = [tmp_path / folder / "deep" / "a.png" for folder in ("one", "two")]
    assert len({picture.name for picture in collect(files)[0]}) == 2
    assert [picture.name for picture in collect([tmp_path / "one"])[0]] == ["deep/a.png"]


def test_pictures_are_known_by_their_pixels(tmp_path: Path) -> None:
    image = textured(12, 20)
    digests = []
    for name, pixels in (("a.png", image), ("b.bmp", image), ("c.png", image.reshape(20, 12, 3))):
        Image.fromarray(pixels).save(tmp_path / name)
        digests.append(collect([tmp_path / name])[0][0].digest)
    assert digests[0] == digests[1] != digests[2]


# Processes


class Script(Worker):
    """A worker that runs a script instead of a codec."""

    def __init__(self, script: str, timeout: float = 20) -> None:
        super().__init__("none", 1, timeout)
        self.script = script

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.script]


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("import os, signal; input(); os.kill(os.getpid(), signal.SIGSEGV)", "signal SIGSEGV"),
        ("input(); raise SystemExit('out of luck')", "exit code 1: out of luck"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("""while input(): print('{"error": "ValueError: no"}', flush=True)""", "ValueError: no"),
    ],
)
def test_a_codec_that_dies_is_a_result(script: str, says: str) -> None:
    with Script(script) as worker:
        for _ in range(2):  # the worker is started again
            with pytest.raises(CodecFailed, match=says):
                worker.ask(encode="x")


def test_a_codec_that_hangs_is_stopped() -> None:
    with Script("import time; time.sleep(600)", timeout=0.5) as worker:
        start = time.monotonic()
        with pytest.raises(CodecFailed, match="no answer after"):
            worker.ask(encode="x")
        assert time.monotonic() - start < 20


# Whole runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> tuple[Path, Path, Result, str]:
    """Benchmark a mixed folder with several codecs, one of which is not available.

    Returns the folder of pictures, the folder of results, the output, and the name of our codec.
    """
    folder, out = tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("results")
    mixed_folder(folder)
    name = f"codec:{tiny_weights}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "imagecodecs", None)
        patch.setattr("bench.suite.cli.SHOWN", 1)
        result = bench(folder, "--codecs", f"{name},jpeg,jpegxl,png", "--points", 4, "--out", out)
    return folder, out, result, name


def test_a_run_accounts_for_everything(run: tuple[Path, Path, Result, str]) -> None:
    _, out, result, name = run
    assert result.exit_code == 0, result.output
    for text in ("broken.png", "notes.txt", "gray.png", "alpha.png", "imagecodecs is not installed"):
        assert text in result.output
    rows = records(out)
    assert {row["codec"] for row in rows} == {name, "jpeg", "png"}
    measured = [row for row in rows if "bytes" in row]
    assert len(measured) == 5 * (4 + 4 + 1)
    assert all(row["mse"] == 0 for row in measured if row["codec"] == "png")
    memory = [row["memory"] for row in rows if "memory" in row]
    assert len(memory) == 3
    assert all(m["encode"] > 5 and m["decode"] > 5 for m in memory)


def test_result_files(run: tuple[Path, Path, Result, str]) -> None:
    _, out, _, name = run
    content = json.loads((out / "json" / "jpeg.json").read_text())
    results = content["results"]
    assert content["settings"] == ["5", "35", "65", "95"]
    for field in ("bpp", "psnr-rgb", "ms-ssim-rgb", "encoding_time", "decoding_time"):
        assert len(results[field]) == 4
    assert results["bpp"] == sorted(results["bpp"])
    assert content["environment"]["cores"] >= 1
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert len(rows) == 5 * 9 + 3 + 1
    assert {row["picture"] for row in rows if row["error"]} == {"broken.png", "notes.txt", "float.tiff", ""}
    jpeg = [row for row in rows if row["codec"] == "jpeg" and row["setting"] == "35"]
    assert {row["picture"] for row in jpeg} == {"good.png", "other.jpg", "gray.png", "alpha.png", "deep.png"}
    mean = sum(8 * int(row["bytes"]) / (180 * 200) for row in jpeg) / 5
    assert results["bpp"][1] == pytest.approx(mean)
    assert name in {row["codec"] for row in rows}
    assert (out / "report.html").stat().st_size > 1e6


def test_nothing_is_measured_twice(run: tuple[Path, Path, Result, str]) -> None:
    folder, out, _, name = run
    before = (out / FILE).read_bytes()
    result = bench(folder, "--codecs", f"{name},jpeg,png", "--points", 4, "--out", out, "--csv")
    assert result.exit_code == 0, result.output
    assert (out / FILE).read_bytes() == before


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, few_processes: None) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    for index in range(3):
        Image.fromarray(np.roll(textured(96, 96), index, axis=0)).save(pictures / f"{index}.png")
    arguments = [str(pictures), "--codecs", "jpeg,webp", "--points", "5", "--out", str(out), "--csv"]
    process = subprocess.Popen([sys.executable, "-m", "bench", *arguments], start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out / FILE).exists() or not records_so_far(out):
        assert process.poll() is None
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.kill()  # only the parent: its children must notice
    process.wait()
    for _ in range(200):
        if not any(Path(f"/proc/{pid}").exists() for pid in children):
            break
        time.sleep(0.05)
    else:
        pytest.fail("processes were left behind")
    first = records_so_far(out)
    with (out / FILE).open("a") as file:
        file.write('{"codec": "jpeg", "cut off in the mid')
    assert bench(*arguments).exit_code == 0
    lines = [json.loads(line) for line in (out / FILE).read_text().splitlines() if "cut off" not in line]
    assert [key(line) for line in lines[: len(first)]] == [key(line) for line in first]
    assert len({key(line) for line in lines}) == len(lines) == 2 * (3 * 5 + 1)


def records_so_far(out: Path) -> list[dict[str, Any]]:
    lines = (out / FILE).read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def test_failures_are_tried_again(tmp_path: Path) -> None:
    identity = {"codec": "a", "version": "1", "machine": "m", "setting": 5, "picture": "p"}
    store = Store(tmp_path)
    store.add({**identity, "error": "no luck"})
    assert not store.done(identity)
    store.add({**identity, "bytes": 7, "mse": 1.0, "encode_s": {"1": 1.0}, "decode_s": {"1": 1.0}})
    again = Store(tmp_path)
    assert again.done(identity)
    assert not again.done({**identity, "version": "2"})
    assert not again.done({**identity, "memory": None})


def test_records_that_are_none_are_dropped(tmp_path: Path) -> None:
    identity = {"codec": "a", "version": "1", "machine": "m", "setting": 5, "picture": "p"}
    times = {"encode_s": {"1": 1.0}, "decode_s": {"1": 1.0}}
    bad: list[Any] = [
        7, [], {}, {**identity}, {**identity, "bytes": 3}, {**identity, **times, "bytes": "3", "mse": 1.0},
        {**identity, **times, "encode_s": {"1": "x"}, "bytes": 3, "mse": 1.0}, {**identity, "memory": 3},
        {**identity, **times, "bytes": 3, "mse": None}, {**identity, "setting": [], "error": "x"},
    ]
    lines = [json.dumps(record) for record in bad] + ["[" * 100_000, "\x00", '{"codec": "a"']
    (tmp_path / FILE).write_text("\n".join(lines))
    assert Store(tmp_path).records == {}


def test_two_runs_on_one_folder_are_refused(tmp_path: Path) -> None:
    Image.fromarray(textured(16, 16)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    with Store(out).locked():
        result = bench(tmp_path, "--codecs", "jpeg", "--out", out)
    assert result.exit_code == 1
    assert "another benchmark is writing" in result.output


@pytest.mark.parametrize("name", ["ssimulacra2", "pytorch_msssim", "bjontegaard"])
def test_a_missing_measure_is_named_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(textured(16, 16)).save(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, name, None)
    result = bench(tmp_path, "--codecs", "jpeg", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "pip install 'codec[bench]'" in result.output
    assert not (tmp_path / "out").exists()


def test_a_pillow_without_a_format_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.delitem(Image.SAVE, "AVIF")
    entry = prepare([find("avif")], None)[0]
    assert entry.unavailable == "this Pillow cannot write AVIF"


@pytest.mark.parametrize("content", [b"", b"garbage" * 100])
def test_damaged_weights_are_named_at_once(content: bytes, tmp_path: Path) -> None:
    Image.fromarray(textured(16, 16)).save(tmp_path / "a.png")
    weights = tmp_path / "bad.safetensors"
    weights.write_bytes(content)
    for name in (f"codec:{weights}", "codec:", "codec:missing"):
        result = bench(tmp_path, "--codecs", name, "--out", tmp_path / "out")
        assert result.exit_code == 1
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("never_dense")
def test_an_effort_is_part_of_the_name(tiny_weights: Path) -> None:
    image = textured(48, 48)
    files = {}
    for effort in ("", "@1", "@6"):
        codec_ = find(f"codec:{tiny_weights}{effort}")
        assert codec_.name == f"codec:{tiny_weights}{effort}"
        encode, decode = codec_.start(1)
        files[effort] = encode(image, 60)
        assert decode(files[effort]).shape == image.shape
    assert files[""] != files["@6"]
    assert "effort 6" in find(f"codec:{tiny_weights}@6").label
    name = all_baselines()[0].name
    assert find(f"{name}@9").version() == find(name).version()
    for wrong in (f"{name}@0", f"{name}@10", f"{name}@", "codec-nonesuch@3", "jpeg@3"):
        with pytest.raises(ValueError, match=r"codec|effort"):
            find(wrong)


def test_means_are_over_the_same_pictures_or_none(tmp_path: Path, few_processes: None) -> None:
    """A picture too small for a metric removes the metric. It is not left out of the mean."""
    Image.fromarray(textured(180, 200)).save(tmp_path / "large.png")
    Image.fromarray(textured(60, 80)).save(tmp_path / "small.png")
    out = tmp_path / "out"
    assert bench(tmp_path, "--codecs", "jpeg", "--points", 4, "--out", out, "--json").exit_code == 0
    results = json.loads((out / "json" / "jpeg.json").read_text())["results"]
    assert results["ms-ssim-rgb"] == results["ssimulacra2"] == [None] * 4
    psnr = [row["psnr_rgb"] for row in records(out) if row["setting"] == 5 and "bytes" in row]
    assert results["psnr-rgb"][0] == pytest.approx(sum(psnr) / 2)


def test_pictures_that_are_kept_exactly_do_not_decide_the_curves(tmp_path: Path, few_processes: None) -> None:
    Image.fromarray(textured(180, 200)).save(tmp_path / "photo.png")
    Image.fromarray(np.full((180, 200, 3), 77, np.uint8)).save(tmp_path / "flat.png")
    out = tmp_path / "out"
    result = bench(tmp_path, "--codecs", "jpeg-444,webp,png", "--points", 4, "--out", out, "--json")
    assert "not in the curves: JPEG 4:4:4 reproduces it exactly" in result.output
    photo = [row["psnr_rgb"] for row in records(out) if row["codec"] == "webp" and "bytes" in row]
    results = json.loads((out / "json" / "webp.json").read_text())["results"]
    assert len(photo) == 8
    assert len(results["psnr-rgb"]) == 4
    assert set(results["psnr-rgb"]) <= set(photo)


def test_a_setting_that_failed_on_a_picture_is_no_point_of_the_curve(
    tmp_path: Path, few_processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mean over fewer pictures would not be comparable."""
    for side in (40, 48):
        Image.fromarray(textured(side, side)).save(tmp_path / f"{side}.png")
    out = tmp_path / "out"
    arguments = (tmp_path, "--codecs", "jpeg", "--points", 3, "--out", out, "--json")
    assert bench(*arguments).exit_code == 0
    rows = records(out)
    victim = next(row for row in rows if row.get("bytes") and row["setting"] == 50)
    Store(out).add({**{k: victim[k] for k in ("codec", "version", "machine", "setting", "picture")},
                    "error": "ValueError: bad luck"})
    monkeypatch.setattr("bench.suite.cli.run", lambda *args, **kwargs: None)
    result = bench(*arguments)
    assert result.exit_code == 0, result.output
    assert "bad luck" in result.output
    assert json.loads((out / "json" / "jpeg.json").read_text())["settings"] == ["5", "95"]


def test_no_pictures_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    result = bench(tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "there is no picture to measure" in result.output
    assert "notes.txt" in result.output


def test_unknown_anchor_and_picture_are_named(tmp_path: Path) -> None:
    Image.fromarray(textured(16, 16)).save(tmp_path / "a.png")
    result = bench(tmp_path, "--show", "b.png", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "no picture is named b.png" in result.output
    for anchor in ("webp", "published:VTM-9.1"):  # the second is for other pictures
        result = bench(tmp_path, "--codecs", "jpeg", "--anchor", anchor, "--out", tmp_path / "out")
        assert result.exit_code == 1
        assert f"no curve is named '{anchor}'; available: jpeg" in result.output
    assert not (tmp_path / "out").exists()


def test_the_command_is_there_too() -> None:
    done = subprocess.run([sys.executable, "-m", "codec", "bench", "--list"], capture_output=True, text=True,
                          check=True)
    assert "jpeg-default" in done.stdout


# README


def test_readme_states_what_was_measured() -> None:
    result = CliRunner().invoke(figures.main, ["--check"])
    assert result.exit_code == 0, result.output


def test_keeping_the_kept_results_keeps_them() -> None:
    before = sorted(figures.RESULTS.iterdir())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "draw", lambda *args: [])
        assert CliRunner().invoke(figures.main, ["--keep"]).exit_code == 0
    assert sorted(figures.RESULTS.iterdir()) == before


def test_our_curves_are_those_on_the_model_cards() -> None:
    """The cards have figures from the processor that trained. The results may be from another.

    Results of a model that does not ship any more are those of another version, and README says so.
    A card has curves of its model if there are results of it.
    """
    codecs, ours = figures.load(figures.RESULTS)
    measured = dict(figures.identity(content).split() for content in ours)
    shipped = {entry.name: entry.id.hex() for entry in registry.entries()}
    for name, number in shipped.items():
        card = (figures.ROOT / "codec" / "weights" / f"{name}.md").read_text(encoding="utf-8")
        assert f"Id `{number}`" in card
        assert ("## Kodak" in card) == (measured.get(name) == number)
    for codec_, content in zip(codecs, ours, strict=False):
        name, number = figures.identity(content).split()
        if shipped.get(name) != number:
            assert f"codec {codec.__version__}," not in content["description"]
            continue
        card = (figures.ROOT / "codec" / "weights" / f"{name}.md").read_text(encoding="utf-8")
        rows = [line.split("|")[1:4] for line in card.partition("## Kodak")[2].splitlines()]
        reported = {r[0].strip(): (float(r[1]), float(r[2])) for r in rows if r and r[0].strip().isdigit()}
        points = {point["setting"]: point["mean"] for point in codec_["points"]}
        assert set(reported) == set(points)
        for quality, (bpp, psnr) in reported.items():
            assert points[quality]["bpp"] == pytest.approx(bpp, rel=0.005)
            assert points[quality]["psnr_rgb"] == pytest.approx(psnr, abs=0.01)


def test_readme_names_the_version_of_its_figures() -> None:
    _, ours = figures.load(figures.RESULTS)
    version = ours[0]["description"].partition(",")[0]
    for block in figures.blocks(*figures.load(figures.RESULTS)).values():
        assert version in block.partition("| ---")[0].replace("\n", " ")


def test_readme_without_markers_is_a_named_error() -> None:
    with pytest.raises(ValueError, match="lacks"):
        figures.rewritten("# codec", "table", "comparison")
