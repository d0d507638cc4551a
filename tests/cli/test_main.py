"""Tests of the command line. `test_command_failures` tests failures of its surroundings."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import codec
from codec.cli.main import main
from codec.format.header import SIGNATURE
from codec.training.data import read_rgb
from tests.support.pictures import textured
from tests.support.tiles import encode


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(textured(48, 64)).save(path)
    return path


@pytest.fixture
def model(tiny_weights: Path) -> list[str]:
    return ["-m", str(tiny_weights)]


def run(*args: object, data: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], input=data)


def fails(result: Result, code: int, says: str) -> None:
    """Check for one line on stderr, no traceback and nothing on stdout."""
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout
    if code == 1:
        assert result.stderr.count("\n") == 1


def test_there_and_back(photo: Path, model: list[str]) -> None:
    assert run("compress", photo, "-q", 90, *model).exit_code == 0
    packed = photo.with_suffix(".cae")
    image = read_rgb(photo)
    back = photo.with_name("back.png")
    assert run("decompress", packed, back, *model).exit_code == 0
    decoded = read_rgb(back)
    assert decoded.shape == image.shape
    assert np.array_equal(decoded, codec.Codec(model=model[1]).decompress(packed.read_bytes()))
    assert sorted(path.name for path in photo.parent.iterdir()) == ["back.png", "photo.cae", "photo.png"]


def test_named_outputs(photo: Path, tmp_path: Path, model: list[str]) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    assert run("compress", photo, tmp_path / "named.cae", *model).exit_code == 0
    assert run("compress", photo, folder, *model).exit_code == 0
    assert run("compress", photo, "-o", tmp_path / "optioned", *model).exit_code == 0
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"photo.png", "named.cae", "photo.cae", "optioned"}
    assert (folder / "photo.cae").exists()


def test_many_inputs_and_one_bad(photo: Path, tmp_path: Path, model: list[str]) -> None:
    other = tmp_path / "other.png"
    Image.fromarray(textured(20, 20)).save(other)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    result = run("compress", photo, broken, other, tmp_path / "missing.png", *model)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("2 pictures: ")
    assert "broken.png: not a picture" in lines[0]
    assert "missing.png: No such file" in lines[1]
    assert (tmp_path / "photo.cae").exists()
    assert (tmp_path / "other.cae").exists()
    assert not (tmp_path / "broken.cae").exists()


def test_existing_files_are_kept(photo: Path, model: list[str]) -> None:
    target = photo.with_suffix(".cae")
    target.write_bytes(b"precious")
    fails(run("compress", photo, *model), 1, "already exists")
    assert target.read_bytes() == b"precious"
    assert run("compress", photo, "-f", *model).exit_code == 0
    assert codec.inspect(target.read_bytes()).width == 64


def test_a_failure_leaves_the_target_alone(photo: Path, model: list[str]) -> None:
    target = photo.with_suffix(".cae")
    target.write_bytes(b"precious")
    photo.write_bytes(photo.read_bytes()[:60])
    fails(run("compress", photo, target, "-f", *model), 1, "cannot be read")
    assert target.read_bytes() == b"precious"
    assert len(list(photo.parent.iterdir())) == 2


def test_info_and_verify(photo: Path, model: list[str]) -> None:
    run("compress", photo, "-q", 30, *model)
    packed = photo.with_suffix(".cae")
    result = run("info", packed)
    assert "64×48 RGB, quality 30" in result.stdout
    about = json.loads(run("info", "--json", packed).stdout)
    assert about["bytes"] == packed.stat().st_size
    assert about["quality"] == 30
    assert run("verify", packed).stdout.strip().endswith("ok")
    packed.write_bytes(packed.read_bytes()[:-1])
    fails(run("verify", packed), 1, "file ends at byte")
    assert run("info", packed).exit_code == 0  # the header is complete


@pytest.mark.parametrize("command", ["decompress", "info", "verify"])
def test_damaged_files(command: str, tmp_path: Path, model: list[str]) -> None:
    for content in (b"", b"text", b"\x89CAE\r\n\x1a\n"):
        path = tmp_path / "bad.cae"
        path.write_bytes(content)
        extra = model if command == "decompress" else []
        fails(run(command, path, *extra), 1, "bad.cae: ")
        assert [p.name for p in tmp_path.iterdir()] == ["bad.cae"]


def test_unwritable_format(photo: Path, model: list[str]) -> None:
    run("compress", photo, *model)
    fails(run("decompress", photo.with_suffix(".cae"), photo.with_name("x.xyz"), *model), 1, ".xyz")
    fails(run("decompress", photo.with_suffix(".cae"), "--format", "xyz", *model), 2, ".xyz")


@pytest.mark.parametrize(
    "args",
    [
        ["compress"],
        ["compress", "a.png", "-q", "101"],
        ["compress", "a.png", "-q", "high"],
        ["compress", "a.png", "b.png", "-o", "one.cae"],
        ["compress", "-", "-", "-o", "."],
        ["compress", "a/x.png", "b/x.png", "-o", "."],
        ["compress", "a.png", "-T", "0"],
        ["compress", "."],
        ["compress", ""],
        ["nonesuch"],
        ["info"],
    ],
)
def test_wrong_use(args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert "Error" in result.stderr


def test_unknown_model_and_device(photo: Path, model: list[str]) -> None:
    fails(run("compress", photo, "-m", "nonesuch"), 1, "nonesuch")
    for device in ("abacus", "meta", "mps", "cuda:99"):
        fails(run("compress", photo, "--device", device, *model), 1, device)
    arguments = ["--data", photo.parent, "--out", photo.parent / "run", "--device", "meta"]
    fails(run("train", *arguments), 1, "meta")


def test_export_of_a_bad_run(tmp_path: Path) -> None:
    fails(run("export", tmp_path, tmp_path / "x.safetensors", "--data", tmp_path), 1, "checkpoint")
    (tmp_path / "checkpoint.pt").write_bytes(b"junk")
    fails(run("export", tmp_path, tmp_path / "x.safetensors", "--data", tmp_path), 1, "Error")


def test_models_and_version() -> None:
    assert codec.__version__ in run("--version").stdout
    lines = run("models", "--json").stdout.splitlines()
    entries = [json.loads(line) for line in lines]
    assert entries == codec.models()
    assert sum(entry["default"] for entry in entries) == 1
    assert "(default)" in run("models").stdout


@pytest.mark.parametrize("about", codec.models(), ids=lambda about: about["name"])
def test_models_by_name_and_id(photo: Path, about: dict[str, Any]) -> None:
    packed = photo.with_suffix(".cae")
    for model in (about["name"], about["id"]):
        assert run("compress", photo, "-f", "-q", 60, "-m", model).exit_code == 0
        assert f"model {about['id']}" in run("info", packed).stdout
        assert run("decompress", packed, photo.with_name("back.png"), "-f").exit_code == 0


def test_a_model_that_does_not_ship(photo: Path) -> None:
    fails(run("compress", photo, "-m", "nosuch"), 1, "no model named 'nosuch' (shipped: ")


@pytest.mark.parametrize(
    "command", [["info"], ["info", "--json"], ["verify"], ["decompress"], ["decompress", "--conceal"]]
)
def test_files_of_version_1_are_refused(photo: Path, model: list[str], command: list[str]) -> None:
    assert run("compress", photo, *model).exit_code == 0
    packed = photo.with_suffix(".cae")
    photo.unlink()
    data = packed.read_bytes()
    packed.write_bytes(data[: len(SIGNATURE)] + b"\x01" + data[len(SIGNATURE) + 1 :])
    result = run(*command, packed)
    fails(result, 1, f"codec: {packed}: format version 1 is not supported: codec 0.10 is the last ")
    assert list(photo.parent.iterdir()) == [packed]


def test_binary_is_not_written_to_a_terminal(photo: Path, model: list[str]) -> None:
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "codec", "compress", str(photo), "-", *model]
    result = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, check=False)
    os.close(terminal)
    os.close(controller)
    assert result.returncode == 2
    assert b"terminal" in result.stderr


def test_orientation_is_applied(tmp_path: Path, model: list[str]) -> None:
    image = Image.fromarray(textured(20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90° to display
    path = tmp_path / "turned.jpg"
    image.save(path, exif=exif, quality=95)
    run("compress", path, *model)
    about = codec.inspect(path.with_suffix(".cae").read_bytes())
    assert (about.width, about.height) == (20, 40)


def test_a_region(photo: Path, model: list[str]) -> None:
    run("compress", photo, *model)
    packed, part = photo.with_suffix(".cae"), photo.with_name("part.png")
    assert run("decompress", packed, part, "--region", 10, 20, 16, 32, *model).exit_code == 0
    whole = codec.Codec(model=model[1]).decompress(packed.read_bytes())
    assert np.array_equal(read_rgb(part), whole[10:26, 20:52])
    other = photo.with_name("other.png")
    fails(run("decompress", packed, other, "--region", 40, 20, 16, 32, *model), 1, "not within 48×64")
    fails(run("decompress", packed, other, "--max-pixels", 3071, *model), 1, "over the limit of 3071")
    assert run("decompress", packed, other, "--region", 1, 2, 3, *model).exit_code == 2
    assert not other.exists()


def test_what_is_left_of_a_damaged_file(tmp_path: Path, model: list[str]) -> None:
    worker = codec.Codec(model=model[1])
    data = bytearray(encode(worker, textured(128, 192), 500, 64))
    intact = worker.decompress(bytes(data))
    data[-1] ^= 1
    packed, back = tmp_path / "a.cae", tmp_path / "a.png"
    packed.write_bytes(data)
    fails(run("decompress", packed, *model), 1, "tile 5 of 6 is damaged")
    assert not back.exists()
    fails(run("decompress", packed, "--conceal", *model), 1, "pixels may be wrong")
    kept = read_rgb(back)
    assert kept.shape == intact.shape
    reach = 16 * worker._loaded.networks.config.halo
    assert np.array_equal(kept[: 64 - reach], intact[: 64 - reach])
    assert np.array_equal(kept[:, : 128 - reach], intact[:, : 128 - reach])
    data[-1] ^= 1
    packed.write_bytes(data)
    assert run("decompress", packed, "--conceal", "-f", *model).exit_code == 0
    assert np.array_equal(read_rgb(back), intact)
