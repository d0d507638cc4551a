"""Commands on many files: folders, the summary, notes, failures and interruptions."""

from __future__ import annotations

import functools
import json
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import codec
from codec import convert
from codec.cli import compress, info, running
from codec.cli.main import main
from codec.cli.texts import sized
from codec.errors import FileSystemWarning, NotKept
from codec.pictures.reading import read_image
from tests.support.children import command_line
from tests.support.pictures import textured

BAD = "not a picture that this package can read"
FLAT = np.full((64, 48, 3), 9, np.uint8)


@pytest.fixture(scope="module")
def stored(tiny: codec.Codec) -> bytes:
    """A lossless file, which needs no model."""
    data = tiny.compress(FLAT)
    assert codec.inspect(data).lossless
    return data


@pytest.fixture
def model(tiny_weights: Path) -> list[str]:
    return ["-m", str(tiny_weights)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three pictures, a bad one and other files."""
    for number, name in enumerate(["a.png", "b.png", "sub/c.png"]):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(textured(20, 30, number)).save(path)
    (tmp_path / "in" / "bad.png").write_bytes(b"nothing")
    (tmp_path / "in" / "text.txt").write_bytes(b"nothing")
    return tmp_path / "in"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def total(folder: Path) -> str:
    return sized(sum(path.stat().st_size for path in folder.rglob("*.*") if path.name != "bad.png"))


def test_a_folder_there_and_back(folder: Path, model: list[str]) -> None:
    out, back = folder.parent / "out", folder.parent / "new" / "back"
    result = run("compress", folder, "-o", f"{out}/", *model)
    assert result.exit_code == 1
    (folder / "text.txt").unlink()
    assert result.stderr.splitlines() == [
        f"codec: {folder}: 1 other file skipped",
        f"codec: {folder}/bad.png: {BAD}",
        f"3 pictures: {total(folder)} → {total(out)}, 1 failed",
    ]
    assert result.stdout == ""
    assert tree(out) == ["a.cae", "b.cae", "sub/c.cae"]
    result = run("decompress", out, "-o", f"{back}/", "--format", "ppm", *model)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"3 pictures: {total(out)} → {total(back)}\n"
    assert tree(back) == ["a.ppm", "b.ppm", "sub/c.ppm"]
    result = run("compress", folder, "-o", out, *model)
    assert result.exit_code == 1
    assert result.stderr.count("already exists: pass -f") == 3
    assert result.stderr.endswith("0 pictures, 4 failed\n")
    result = run("verify", out, folder.parent / "missing")
    assert result.exit_code == 1
    assert [line.rsplit("/", 1)[1] for line in result.stdout.splitlines()] == [
        "a.cae: ok", "b.cae: ok", "c.cae: ok"
    ]
    assert result.stderr.endswith("4 files: 3 ok, 1 failed\n")
    assert len(run("info", out).stdout.splitlines()) == 3


def test_one_file_has_no_summary(folder: Path, model: list[str]) -> None:
    result = run("compress", folder / "a.png", "-o", f"{folder}/out/", *model)
    assert (result.exit_code, result.output) == (0, "")
    result = run("compress", folder / "a.png", folder / "b.png", "-o", f"{folder}/out/", "-f", *model)
    assert result.stderr.startswith("2 pictures: ")


def test_a_folder_that_cannot_be_created(folder: Path, model: list[str]) -> None:
    """Nothing is encoded, and one line says why."""
    out = folder / "text.txt" / "out"
    result = run("compress", folder, "-o", f"{out}/", *model)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [f"Error: {out}/: Not a directory"]


def test_input_and_output_are_the_same(folder: Path, model: list[str]) -> None:
    before = (folder / "a.png").read_bytes()
    (folder / "picture").write_bytes(before)
    (folder / "link").symlink_to("picture")
    for output in ("picture", "link"):
        result = run("compress", folder / "picture", "-o", folder / output, "-f", *model)
        assert result.exit_code == 1
        assert "input and output are the same file" in result.stderr
    assert (folder / "picture").read_bytes() == before


def test_files_are_not_named_like_pictures(folder: Path, model: list[str]) -> None:
    before = (folder / "a.png").read_bytes()
    for output in ("a.png", "new.JPG"):
        result = run("compress", folder / "a.png", "-o", folder / output, "-f", *model)
        assert result.exit_code == 2
        assert "end it in .cae" in result.stderr
    assert (folder / "a.png").read_bytes() == before
    assert not (folder / "new.JPG").exists()


def warn_of(kind: type[Warning], text: str) -> Callable[..., Any]:
    def read(source: Any, *rest: Any) -> Any:
        warnings.warn(kind(text.format(Path(source).name)), stacklevel=1)
        warnings.warn("from another library", UserWarning, stacklevel=1)
        return read_image(source, *rest)

    return read


def test_notes_of_many_files_are_counted(
    tmp_path: Path, model: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number:02d}.png" for number in range(7)]
    for name in names:
        Image.fromarray(FLAT).save(tmp_path / name)
    paths = [tmp_path / name for name in names]
    for kind, text in ((NotKept, "dpi"), (FileSystemWarning, "in place"), (NotKept, "of {}")):
        monkeypatch.setattr(running, "_SHOWN", 3)
        monkeypatch.setattr(compress, "read_image", warn_of(kind, text))
        result = run("compress", *paths, "-f", *model)
        assert result.exit_code == 0
        lines = result.stderr.splitlines()
        assert lines[:3] == [
            f"codec: {tmp_path}/{name}: {text.format(name)}" for name in names[:3]
        ]
        more = ["codec: … and 4 more files: " + text]
        if "{" in text:
            more = [f"codec: … and 1 more file: of {name}" for name in names[3:6]]
            more += ["codec: … and 1 other note"]
        assert lines[3:-1] == more
        monkeypatch.undo()


# Failures that should not be there.


def break_some(original: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    calls: list[int] = []

    def broken(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return original(*args, **kwargs)

    return broken


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("compress", TypeError("odd")), ("compress", EOFError("odd")), ("decompress", KeyError("odd")),
        ("info", AssertionError("odd")), ("verify", AttributeError("odd")),
    ],
)
def test_an_internal_error_is_one_line_and_the_other_files_are_told_of(
    folder: Path, command: str, error: Exception, model: list[str], stored: bytes,
    monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.cae").write_bytes(stored)
    where, name = {
        "compress": (compress, "read_image"), "decompress": (convert, "decode_to_chunks"),
        "info": (info, "_inspect"), "verify": (info, "_inspect"),
    }[command]
    monkeypatch.setattr(where, name, break_some(getattr(where, name), error))
    end = "png" if command == "compress" else "cae"
    words = ["-o", folder / "out/", *model] if command in ("compress", "decompress") else []
    (folder / "out").mkdir()
    result = run(command, folder / f"a.{end}", folder / f"b.{end}", *words)
    assert result.exit_code == 1
    first, *rest = result.stderr.splitlines()
    assert first.startswith(f"codec: {folder}/a.{end}: internal error: {type(error).__name__}: ")
    assert "odd" in first
    assert first.endswith("; please report it")
    assert len(rest) == (command != "info")
    assert len(tree(folder / "out")) + len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize("words", [["models"], ["info", "x"], ["dataset", "info", "x"], ["train", "--help"]])
def test_an_internal_error_of_any_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    command: Any = main
    for word in words[:2] if words[0] == "dataset" else words[:1]:
        command = command.commands[word]

    def broken(*args: object, **more: object) -> None:
        raise TypeError("odd\nlines")

    monkeypatch.setattr(command, "make_context", broken)
    result = run(*words)
    assert result.exit_code == 1
    assert result.stderr.startswith("codec: internal error: TypeError: odd lines (")
    assert result.stderr.count("\n") == 1


# Interruptions.


def signal_in_call(number: int, call: int) -> None:
    """Make the process send itself a signal in the n-th call of `compress`, counted from 1."""
    original = codec.Codec.compress
    calls: list[int] = []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    codec.Codec.compress = interrupted  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("number", "code", "end"), [(signal.SIGINT, 1, "\nAborted!\n"), (signal.SIGTERM, 143, "")]
)
def test_an_interruption_says_what_was_done(
    folder: Path, model: list[str], number: int, code: int, end: str
) -> None:
    (folder / "text.txt").unlink()
    words = ["compress", folder, "-o", folder / "out", "-q", 90, *model]
    result = command_line(words, before=functools.partial(signal_in_call, number, 3))
    lines = result.err.decode()
    assert result.code == code
    assert lines.splitlines()[0].endswith(f"bad.png: {BAD}")
    assert "interrupted after 2 of 4 pictures: " in lines
    assert lines.endswith(f", 1 failed\n{end}")
    assert tree(folder / "out") == ["a.cae", "b.cae"]


# `codec info` of every kind of file.


def kinds(tiny: codec.Codec) -> dict[str, bytes]:
    photo = textured(40, 50)
    deep = (textured(40, 50).astype(np.uint16) << 4) + 7
    metadata = codec.Metadata(xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    return {
        "loss": tiny.compress(photo, quality=30),
        "lowest": tiny.compress(photo, quality=0),
        "flat": tiny.compress(FLAT),
        "one": tiny.compress(FLAT[:9, :8, 0]),
        "alpha": tiny.compress(np.dstack([photo, photo[:, :, 0]])),
        "gray": tiny.compress(photo[:, :, 0]),
        "residual": tiny.compress(deep, quality=91, bit_depth=12),
        "metadata": tiny.compress(photo, metadata=metadata),
    }


def test_every_kind_of_file(tmp_path: Path, tiny: codec.Codec) -> None:
    files = kinds(tiny)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "new\nline").write_bytes(files["flat"])
    names = [*files, "new\nline"]
    result = run("info", *(tmp_path / name for name in names))
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) == len(names)
    found = dict(zip(names, lines, strict=True))
    for name, text in (
        ("loss", "RGB, quality 30, model"), ("lowest", "quality 0 (the lowest)"), ("flat", "RGB, lossless"),
        ("one", "8×9 gray, "), ("alpha", "alpha, quality 75"), ("residual", "12 bits, quality 91"),
        ("residual", ", errors up to "), ("metadata", "1 tile, xmp, format"), ("new\nline", "new\\nline: "),
    ):
        assert text in found[name]
    result = run("info", "--json", *(tmp_path / name for name in names))
    told = {Path(entry["file"]).name: entry for entry in map(json.loads, result.stdout.splitlines())}
    assert list(told) == names
    flat = told["flat"]
    assert (flat["quality"], flat["model"], flat["lossless"]) == (None, None, True)
    assert told["residual"]["max_error"] > 0
    assert told["metadata"]["metadata"] == ["xmp"]


@pytest.mark.parametrize("command", ["info", "verify"])
def test_files_that_are_something_else(tmp_path: Path, stored: bytes, command: str) -> None:
    """Each has its reason, and the good file among them is told of."""
    good = stored
    cases = {
        "empty": (b"", "not a .cae file"),
        "short": (good[:9], "file ends"),
        "damaged": (good[:12] + b"\xff" + good[13:], ""),
        "text.cae": (b"text", "not a .cae file"),
        "picture.png": (b"\x89PNG\r\n\x1a\n", "not a .cae file"),
        "shard.parquet": (b"PAR1" + bytes(99), "see codec dataset info"),
    }
    for name, (data, _) in cases.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "good").write_bytes(good)
    (tmp_path / "folder").mkdir()
    names = [*cases, "folder", "missing", "good"]
    result = run(command, *(tmp_path / name for name in names))
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{tmp_path}/good: ")
    assert result.stdout.count("\n") == 1
    lines = result.stderr.splitlines()
    for line, name in zip(lines, names[:-1], strict=command == "info"):
        assert line.startswith(f"codec: {tmp_path}/{name}: ")
        assert cases.get(name, (b"", ""))[1] in line
    assert "no .cae files in this folder" in lines[len(cases)]


def test_info_of_a_pipe(stored: bytes) -> None:
    reader, writer = os.pipe()
    os.write(writer, stored)
    os.close(writer)
    assert "lossless" in run("info", f"/proc/self/fd/{reader}").stdout
    os.close(reader)
    assert "lossless" in CliRunner().invoke(main, ["info", "-"], input=stored).stdout
    assert run("info", "-", "-").exit_code == 2


@pytest.mark.parametrize("bands", ["", "a", "1,", "0", "1,-2", "1.5", "1;2", "²"])
def test_bands_that_are_no_numbers(bands: str) -> None:
    result = run("compress", "a.png", "--bands", bands)
    assert result.exit_code == 2
    assert "--bands" in result.stderr


def test_bands_are_passed_on(folder: Path, model: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(compress, "read_image", lambda *args: seen.append(args[3]))
    for words, expected in (([], None), (["--bands", "3, 2,1"], (3, 2, 1)), (["--bands", "7"], (7,))):
        run("compress", folder / "a.png", "-f", *words, *model)
        assert seen.pop() == expected


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (45_678_901, "45.7 MB")],
)
def test_sizes(count: int, text: str) -> None:
    assert sized(count) == text


def test_an_output_is_named_once() -> None:
    result = run("compress", "a.png", "-o", "a", "-o", "b")
    assert result.exit_code == 2
    assert "only once" in result.stderr
