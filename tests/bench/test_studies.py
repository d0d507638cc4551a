"""Tests of the studies that measure this version of the codec and older ones."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import codec
from bench.studies import against, approximations, checkpoints, speed, versions
from bench.suite.measure import CodecFailed
from bench.suite.metrics import psnr
from codec.coding import latents
from codec.engine.encoding import encode_pictures
from codec.entropy_coder import TableSet
from codec.model.layers import in_bfloat16
from codec.pictures.picture import to_picture
from codec.training.config import TrainingConfig
from codec.training.initialisation import initialise_from, read_start
from codec.training.loop import Trainer
from tests.conftest import SKIP
from tests.support.pictures import textured
from tests.support.tiles import encode

# speed


def test_parts_of_decoding_are_measured(tiny: codec.Codec) -> None:
    data = tiny.compress(textured(96, 80))
    watch, before = speed.Stopwatch(), latents.scale_indexes
    with watch.running():
        whole, parts = watch.fastest(lambda: tiny.decompress(data), 2, 1)
    assert parts.keys() == set(speed.DECODING)
    assert min(parts.values()) > 0
    assert sum(parts.values()) < whole
    assert latents.scale_indexes is before
    tiny.decompress(data)
    assert watch.fastest(lambda: tiny.decompress(data), 1, 1)[1] == {}


def test_parts_of_encoding_are_measured(tiny: codec.Codec) -> None:
    image = textured(96, 80)
    watch = speed.Stopwatch()
    with watch.running():
        whole, parts = watch.fastest(lambda: tiny.compress(image, quality=40), 1, 1)
    assert parts.keys() == {part for names in speed.ENCODING.values() for part in names.split()}
    assert sum(parts.values()) < whole
    row = speed.row_of(speed.ENCODING, whole, parts, 96 * 80)
    values = [float(cell) for cell in row[:-1]]
    assert sum(values[:-1]) == pytest.approx(values[-1], abs=0.5)
    assert values[-1] == pytest.approx(whole / (96 * 80) * 1e9, abs=0.1)


def test_tiles_at_the_same_time_count_by_thread(tiny_weights: Path) -> None:
    worker = codec.Codec(model=tiny_weights, threads=2)
    data = encode_pictures(worker._loaded, [to_picture(textured(256, 256))], 500, 64)[0]
    watch = speed.Stopwatch()
    with watch.running():
        whole, parts = watch.fastest(lambda: worker.decompress(data), 1, 2)
    assert len(watch.threads) == 2
    assert sum(parts.values()) < whole


@pytest.mark.parametrize("size", [(64, 64), (100, 300), (700, 20)])
def test_pictures_get_the_wanted_size(size: tuple[int, int]) -> None:
    image = textured(150, 90)
    found = speed.resized(image, size)
    assert found.shape == (*size, 3)
    if size == (64, 64):
        assert np.array_equal(found, image[43:107, 13:77])


def test_speed_prints_both_tables(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(textured(48, 48)).save(tmp_path / "a.png")
    monkeypatch.setattr(speed, "SIZES", ((32, 48),))
    arguments = [str(tmp_path), "--model", str(tiny_weights), "--threads", "1", "--repeat", "1",
                 "--precision", "float32", "--precision", "bfloat16"]
    result = CliRunner().invoke(speed.main, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.count("32×48") == 3  # decoding in two precisions, encoding in one
    for word in " ".join((*speed.DECODING, *speed.ENCODING)).split():
        assert word in result.output


# approximations


def errors(worker: codec.Codec, skip: int, level: int = 512) -> approximations.Errors:
    model = worker._loaded
    before, model.tables = model.tables, TableSet(model.tables.tables, skip)
    try:
        bfloat16 = in_bfloat16(model.networks.synthesis)
        return approximations.errors_of(model, bfloat16, "x", approximations.lines(), level)
    finally:
        model.tables = before


def test_skipping_nothing_discards_nothing(tiny: codec.Codec) -> None:
    found = errors(tiny, -1)
    assert (found.skipped, found.largest, found.saved, found.cost, found.difference) == (0, 0, 0, 0, 0)
    assert found.worst == found.worst_without > 0


def test_skipping_everything_discards_all_that_is_not_predicted(
    tiny: codec.Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = errors(tiny, 63)  # a dense tile
    assert (found.skipped, found.largest, found.saved, found.cost, found.difference) == (0, 0, 0, 0, 0)
    monkeypatch.setattr(latents, "_MOST_DISCARDED", math.inf)
    found = errors(tiny, 63)
    assert found.skipped == 1
    assert found.largest > 1
    assert 0 < found.saved < 1
    assert found.difference > 0
    assert found.cost != 0


@pytest.mark.usefixtures("never_stored")
def test_bfloat16_costs_what_the_pixels_say(tiny: codec.Codec, tiny_weights: Path) -> None:
    image = approximations.lines()
    data = encode(tiny, image, 700)
    exact, fast = (
        psnr(image, codec.Codec(model=tiny_weights, precision=kind).decompress(data))
        for kind in ("float32", "bfloat16")
    )
    assert exact != fast
    assert errors(tiny, SKIP, 700).lost == pytest.approx(exact - fast, rel=0.1)


def test_synthetic_pictures_are_hard() -> None:
    for make in approximations.HARD:
        image = make()
        assert image.shape == (approximations.SIDE, approximations.SIDE, 3)
        assert image.dtype == np.uint8
        assert int(np.abs(np.diff(image.astype(int), axis=1)).max()) > 150, make.__name__


def test_approximations_print_both_tables(tiny_weights: Path, tmp_path: Path) -> None:
    Image.fromarray(textured(64, 64)).save(tmp_path / "photo.png")
    arguments = [str(tmp_path), "--model", str(tiny_weights), "--levels", "0,1024"]
    result = CliRunner().invoke(approximations.main, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.count("held out") == result.output.count("synthetic") == 4
    assert f"Skipped up to scale index {SKIP}," in result.output


# against


def test_versions_are_compared(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both versions are this one here: the older one has the tiny model."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for seed in range(2):
        Image.fromarray(textured(520, 528, seed)).resize((100, 104)).save(pictures / f"{seed}.png")

    def version(python: Path, options: dict[str, Any], *path: Any) -> versions.Version:
        model = options["model"] or str(tiny_weights)
        return versions.Version(python, {**options, "model": model}, [versions.ROOT])

    monkeypatch.setattr(against, "commit_of", lambda name: name * 5)
    monkeypatch.setattr(against, "install", lambda commit, folder: Path(sys.executable))
    monkeypatch.setattr(against, "Version", version)
    arguments = ["abc", str(pictures), "--qualities", "20,80", "--rounds", "1", "--threads", "1", "--model",
                 codec.models()[0]["name"]]
    result = CliRunner().invoke(against.main, arguments)
    assert result.exit_code == 0, result.output
    assert "2 pictures, 0.02 MP, 1 threads, 1 rounds" in result.output
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in result.output.splitlines()]
    for quality in ("20", "80", "all"):
        names = [row[1] for row in rows if row[0] == quality]
        assert len(names) == 4
        assert names[0].startswith(f"codec {codec.__version__} {codec.models()[0]['name']}")
        assert names[1].startswith(f"codec {codec.__version__} tiny")
        assert names[2:] == ["AVIF 4:4:4", "JPEG 4:2:0"]
    old = next(row for row in rows if row[0] == "80" and "tiny" in row[1])
    assert (old[3], old[5]) == ("1.00", "1.00")
    assert re.fullmatch(r"\d+\.\d{2}", old[2])


def test_loaders_of_versions_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "SIDE", 64)
    photos, work = tmp_path / "photos", tmp_path / "work"
    photos.mkdir()
    work.mkdir()
    Image.fromarray(textured(200, 200)).save(photos / "a.png")
    options = {"threads": 1, "model": None}
    loads: list[Any] = []
    ask = versions.Version.ask

    def noted(version: versions.Version, **request: Any) -> Any:
        if "load" in request:
            loads.append((Path(request["load"]).name, request["workers"], request["loader"]))
        return ask(version, **request)

    monkeypatch.setattr(versions.Version, "ask", noted)
    with versions.Version(Path(sys.executable), options, [versions.ROOT]) as one:
        contenders = [against.Contender("new", one), against.Contender("old", one)]
        table = against.loading(contenders, 3, photos, 50, 1, work)
    cells = list(table.columns[0].cells)
    assert cells == ["new", "new, latents", "old"] * 2
    assert list(table.columns[1].cells) == ["0"] * 3 + ["2"] * 3
    assert all(float(str(cell)) > 0 for cell in table.columns[3].cells)
    assert loads == [  # a turn to warm up, and one that counts
        call for workers in (0, 2) for call in 2 * [
            ("set-0", workers, {}), ("set-0", workers, {"output": "latents"}), ("set-1", workers, {})
        ]
    ]


def test_an_error_of_a_version_is_named(tmp_path: Path) -> None:
    with versions.Version(Path(sys.executable), {"threads": 1, "model": None}, [versions.ROOT]) as worker:
        (tmp_path / "x").write_bytes(b"no picture")
        with pytest.raises(CodecFailed, match="FormatError: "):
            worker.ask(decode=str(tmp_path / "x"), out=str(tmp_path / "y"))


def test_commits_are_unpacked_and_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    (root / "file").write_text("content")
    git = ["git", "-C", str(root), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "--quiet"], ["add", "file"], ["commit", "--quiet", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.setattr(versions, "ROOT", root)
    commit = versions.commit_of("HEAD")
    assert re.fullmatch("[0-9a-f]{40}", commit)
    with pytest.raises(click.ClickException, match="'nonesuch' is not a commit"):
        versions.commit_of("nonesuch")

    commands: list[list[str]] = []
    codes = [0, 1, 0, 0]
    real = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        if command[0] == "git":
            return real(command, **options)
        commands.append(command)
        return subprocess.CompletedProcess(command, codes[len(commands) - 1])

    monkeypatch.setattr(subprocess, "run", run)
    folder = tmp_path / "kept"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.ClickException, match="could not be installed"):
        versions.install(commit, Path("kept"))
    for _ in range(2):  # the second call has nothing to do
        python = versions.install(commit, Path("kept"))
    assert python == folder / commit / "venv" / "bin" / "python"
    assert len(commands) == 4
    source = folder / commit / "source"
    assert (source / "file").read_text() == "content"
    # Pip would look up a relative path with an extra in the index, and install what it finds there.
    assert commands[-1][-3:] == ["-c", str(source / "constraints.txt"), f"{source}[data]"]


def test_numbers_are_checked() -> None:
    result = CliRunner().invoke(against.main, ["HEAD", "--qualities", "20,x"])
    assert result.exit_code == 2
    assert "'20,x' are not numbers" in result.output


def test_the_instruction_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.suite.environment import instruction_set

    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_f": True, "amx_bf16": False},
        raising=False,
    )
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert instruction_set() == "AVX2, AVX-512 (ATEN_CPU_CAPABILITY=avx2)"


# checkpoints


def test_models_are_compared_before_export(tiny_weights: Path, tmp_path: Path) -> None:
    for number in range(2):
        Image.fromarray(textured(200, 260, number)).save(tmp_path / f"{number}.png")
    run = tmp_path / "run"
    run.mkdir()
    model, objective = checkpoints.load(str(tiny_weights))
    config = TrainingConfig("tiny", model.config, lambdas=objective.lambdas, skip=objective.skip)
    trainer = Trainer(config, torch.device("cpu"))
    initialise_from(trainer.model, read_start(tiny_weights.read_bytes()), config.lambdas)
    trainer.average.load_state_dict(trainer.model.state_dict())
    trainer.save(run / "checkpoint.pt")
    pictures = [textured(192, 192)]
    of_file, of_run = (
        checkpoints.curve(*checkpoints.load(str(path)), pictures, [200, 900]) for path in (tiny_weights, run)
    )
    # The tables of the file are fitted to symbols. The estimate is that of Gaussians.
    data = encode(codec.Codec(model=tiny_weights), pictures[0], 900)
    assert of_file[1]["bpp"] == pytest.approx(8 * len(data) / 192**2, rel=0.2)
    assert of_run[1]["bpp"] == pytest.approx(of_file[1]["bpp"], rel=0.05)
    assert of_file[0]["psnr_rgb"] < of_file[1]["psnr_rgb"]
    assert 0 <= of_file[1]["drift"] < 20
    names = [str(tiny_weights), str(run)]
    result = CliRunner().invoke(checkpoints.main, [str(tmp_path), *names, "--levels", "0,300,600,900"])
    assert result.exit_code == 0, result.output
    assert "equal quality" in result.output
    (run / "checkpoint.pt").write_bytes(b"damaged")
    for wrong in ("nosuch", str(run)):
        result = CliRunner().invoke(checkpoints.main, [str(tmp_path), wrong])
        assert result.exit_code == 1
        assert f"Error: {wrong}" in result.output
    result = CliRunner().invoke(checkpoints.main, [str(run), "mse"])
    assert "no pictures" in result.output
