"""Tests of `codec dataset`: exit codes, messages and files. Also the example with every form."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

import codec
import codec.data
from codec.cli import dataset
from tests.support import children
from tests.support.pictures import textured

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `codec dataset` in the root of the repository, in a process."""
    words = ["dataset", *arguments]
    code_, out, err = children.command_line(words, before=functools.partial(os.chdir, ROOT))
    done = subprocess.CompletedProcess(words, code_, out.decode(), err.decode())
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("cli") / "source"
    for number in range(6):
        path = root / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(textured(32, 32, number)).save(path)
    return root


@pytest.fixture(scope="module")
def packed(tree: Path) -> Path:
    done = run("pack", tree, tree.parent / "set", "-q", "40", "--shard-rows", "4")
    assert done.stderr == ""
    first, rest = done.stdout.split(":", 1)
    assert first == "6 pictures in 2 shards, 0 bad"
    assert " kB → " in rest
    assert done.stdout.rstrip().endswith("pictures/s")
    return tree.parent / "set"


def test_pack_again_and_report(tree: Path, packed: Path) -> None:
    done = run("pack", tree, packed, "-q", "40", "--shard-rows", "4")
    assert done.stdout.startswith("6 pictures in 2 shards (2 already packed), 0 bad: ")
    report = json.loads((packed.parent / "set.report.json").read_text())
    assert (report["pictures"], report["skipped"], report["failures"]) == (6, 2, [])
    done = run("pack", tree, packed, "-q", "50", "--shard-rows", "4", code=1)
    assert "was packed with quality" in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_info_and_verify(packed: Path) -> None:
    lines = run("info", packed).stdout.splitlines()
    assert lines[0].endswith("6 pictures in 2 shards")
    assert f"model {codec.Codec().model_id}, whole files" in lines[1]
    assert lines[-1] == "  column label: int64"
    about = json.loads(run("info", packed, "--json").stdout)
    assert about["pictures"] == 6
    assert about["classes"] == ["a", "b"]
    assert about["settings"]["quality"] == pytest.approx(40, abs=0.05)
    done = run("verify", packed, "--decode")
    assert done.stdout.endswith(": ok\n")


def test_unpack_and_export(packed: Path, tmp_path: Path) -> None:
    assert run("unpack", packed, tmp_path / "png").stdout.startswith("6 pictures in ")
    with PIL.Image.open(tmp_path / "png" / "b" / "1.png") as image:
        assert np.asarray(image).shape == (32, 32, 3)
    done = run("unpack", packed, tmp_path / "png", code=1)
    assert done.stderr.startswith("Error: already exists: ")
    (tmp_path / "png" / "metadata.jsonl").unlink()
    done = run("unpack", packed, tmp_path / "png", code=1)
    assert done.stderr.splitlines()[0] == "codec: a/0.png: already exists"
    assert run("unpack", packed, tmp_path / "png", "-f", "--format", "cae").returncode == 0
    run("export", packed, tmp_path / "tars", "--samples", "4")
    assert sorted(os.listdir(tmp_path / "tars")) == ["000000.tar", "000001.tar"]
    assert "already exists" in run("export", packed, tmp_path / "tars", code=1).stderr
    run("pack", tmp_path / "tars", tmp_path / "again")
    assert len(codec.Dataset(tmp_path / "again")) == 6


def test_each_part_has_its_own_report(tree: Path, packed: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        run("pack", tree, tmp_path / "set", "-q", "40", "--shard-rows", "4", "--part", f"{number}/2")
    reports = [f"set.part-{number}-of-2.report.json" for number in (1, 2)]
    assert sorted(os.listdir(tmp_path)) == ["set", *reports]
    for name in os.listdir(packed):
        assert (tmp_path / "set" / name).read_bytes() == (packed / name).read_bytes()


def test_bad_pictures_and_damage_are_told(tree: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "good.png").write_bytes((tree / "a" / "0.png").read_bytes())
    (source / "bad\nname.png").write_bytes(b"nothing")
    (source / "text.txt").write_text("")
    done = run("pack", source, tmp_path / "set", "--report", tmp_path / "r.json", code=1)
    assert done.stdout.startswith("1 picture in 1 shard, 1 bad")
    assert done.stderr.splitlines() == [
        "codec: bad\\nname.png: not a picture that this package can read",
        "codec: 1 file skipped (see the report)",
    ]
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["ignored"] == ["text.txt"]
    shard = tmp_path / "set" / "shard-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[60] ^= 1
    shard.write_bytes(data)
    done = run("verify", tmp_path / "set", code=1)
    assert "shard-00000.parquet: damaged: its SHA-256 does not match the recorded one" in done.stderr
    shard.unlink()
    assert "missing" in run("verify", tmp_path / "set", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pack", "", "out"], 1, "must not be empty"),
        (["pack", "tests", "out", "--report", "nowhere/x.json"], 1, "No such folder for the report"),
        (["pack", "tests", "out", "--column", "x"], 1, "column applies only to a Parquet source"),
        (["pack", "nothing-here", "out"], 1, "No such file or directory: nothing-here"),
        (["pack", "tests", "out", "-q", "101"], 2, "101"),
        (["pack", "tests", "out", "--part", "3/2"], 2, "not K/N"),
        (["pack", "tests", "out", "--kind", "zip"], 2, "zip"),
        (["pack", "README.md", "out"], 1, "neither a folder nor"),
        (["info", "nothing-here"], 1, "nothing-here"),
        (["verify", "nothing-here"], 1, "nothing-here"),
        (["unpack", "README.md", "out"], 1, "README.md is not a Parquet file"),
        (["nothing"], 2, "No such command"),
    ],
)
def test_wrong_use(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    given = [str(tmp_path / "out") if word == "out" else word for word in arguments]
    done = run(*given, code=code)
    assert message in done.stderr
    assert done.stdout == ""


def test_progress_without_a_terminal(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    monkeypatch.setattr(dataset, "_EVERY", 0.0)
    with dataset._progress("packing") as show:
        codec.data.pack(tree, tmp_path / "set", quality=40, shard_rows=4, progress=show)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("codec: 4 of 6, ")
    assert lines[0].endswith(" min left")
    assert "pictures/s, " in lines[0]


def test_help_and_pack_help_need_no_torch() -> None:
    code = (
        "import sys\nfrom codec.cli.main import main\n"
        "try: main(['dataset', 'pack', '--help'], standalone_mode=False)\n"
        "finally: print('torch' in sys.modules, 'pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split()[-2:] == ["False", "False"]


def test_the_example_ends_the_same_when_it_is_killed(tmp_path: Path) -> None:
    """With shards and tars of 20 pictures instead of 100, so that 24 pictures make two of them."""
    source = (ROOT / "examples" / "dataset_roundtrip.py").read_text(encoding="utf-8")
    for name in ("shard_rows", "samples"):
        assert f"{name}=100" in source
        source = source.replace(f"{name}=100", f"{name}=20")
    example = tmp_path / "examples" / "dataset_roundtrip.py"
    example.parent.mkdir()
    example.write_text(source, encoding="utf-8")
    (tmp_path / "bench").symlink_to(ROOT / "bench")

    def start(out: Path) -> Any:
        return children.start_script(example, ["--count", 24, out], tmp_path / "printed")

    def whole(out: Path) -> str:
        code = children.finish(start(out))
        printed = (tmp_path / "printed").read_text(encoding="utf-8")
        assert code == 0, printed
        assert "all 24 labels and pictures are right" in printed
        return printed.splitlines()[-1]

    out = tmp_path / "killed"
    seen = set()
    for step in ("set/shard-00000.parquet", "tars/000001.tar", "back/metadata.jsonl"):
        process = start(out)
        limit = time.monotonic() + 60
        while not (out / step).exists() and process.is_alive() and time.monotonic() < limit:
            time.sleep(0.005)
        process.kill()
        children.finish(process)
        seen |= {name for name in ("again", "back", "tars") if (out / name).exists()}
    assert "tars" in seen
    assert whole(out) == whole(tmp_path / "whole")


def test_a_dataset_with_two_columns_of_pictures(tree: Path, tmp_path: Path) -> None:
    """Another tool has lost the name of the column, so it is named on the command line."""
    run("pack", tree, tmp_path / "deep" / "set", "-q", "5")
    assert (tmp_path / "deep" / "set.report.json").exists()
    table = pq.read_table(tmp_path / "deep" / "set").replace_schema_metadata(None)
    twice = tmp_path / "twice.parquet"
    pq.write_table(table.append_column("mask", table["image"]), twice)
    commands: list[list[str | Path]] = [
        ["info", twice], ["verify", twice], ["unpack", twice, tmp_path / "u"],
        ["export", twice, tmp_path / "e"],
    ]
    for command in commands:
        assert "image, mask; name one with column" in run(*command, code=1).stderr
        run(*command, "--column", "image")
