"""Failures of the command line give one line on stderr, an exit code and no traceback."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

import codec
from tests.support import children
from tests.support.children import Finished, command_line
from tests.support.pictures import textured


@pytest.fixture
def folder(tmp_path: Path, tiny: codec.Codec) -> Path:
    """A folder with a picture, a.png, and its file, a.cae."""
    Image.fromarray(textured(30, 40)).save(tmp_path / "a.png")
    (tmp_path / "a.cae").write_bytes(tiny.compress(textured(30, 40)))
    return tmp_path


@pytest.fixture
def model(tiny_weights: Path) -> list[str]:
    return ["-m", str(tiny_weights)]


def fails(result: Finished, *says: str, code: int = 1) -> None:
    """Check for one line on stderr, or the usage error of click, and nothing on stdout."""
    errors = result.err.decode()
    assert result.code == code, errors
    assert "Traceback" not in errors
    assert not result.out
    assert code == 2 or errors.count("\n") == 1
    for text in says:
        assert text in errors


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("command", ["compress", "decompress", "info", "verify"])
def test_inputs_that_are_no_files(command: str, folder: Path, model: list[str]) -> None:
    model = model if command in ("compress", "decompress") else []
    output = ["-o", folder / ("out.cae" if command == "compress" else "out.png")] if model else []
    for source, says in (
        (folder / "missing", "No such file"),
        (folder / "a.png" / "x", "Not a directory"),
        (folder / ("x" * 256), "File name too long"),
        ("/proc/self/mem", "Input/output error"),
    ):
        fails(command_line([command, source, *output, *model]), f"codec: {source}: ", says)
    assert names(folder) == ["a.cae", "a.png"]


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("missing/out.cae", "No such file or directory: {folder}/missing/out.cae"),
        ("a.png/out.cae", "Not a directory: {folder}/a.png/out.cae"),
        ("x" * 252 + ".cae", "File name too long"),
        ("/proc/self/out.cae", "No such file or directory: /proc/self/out.cae"),
        ("/dev/full", "No space left on device"),
        ("a.cae", "already exists"),
    ],
)
def test_outputs_that_cannot_be_written(folder: Path, model: list[str], output: str, says: str) -> None:
    force = ["-f"] if output == "/dev/full" else []
    before = (folder / "a.cae").read_bytes()
    result = command_line(["compress", folder / "a.png", "-o", folder / output, *force, *model])
    fails(result, f"codec: {folder}/a.png: ", says.format(folder=folder))
    assert names(folder) == ["a.cae", "a.png"]
    assert (folder / "a.cae").read_bytes() == before


def test_wrong_use(folder: Path, model: list[str]) -> None:
    for arguments in (["compress", "-dash.png"], ["info"], ["decompress", "x", "--format", "xyz"]):
        fails(command_line(arguments), "Usage: ", "Error: ", code=2)
    fails(command_line(["compress", folder / "a.png", folder / "a.png", "-o", "y" * 300, *model]), code=2)


def test_standard_input(folder: Path, model: list[str]) -> None:
    picture, packed = (folder / "a.png").read_bytes(), (folder / "a.cae").read_bytes()
    back = command_line(["decompress", "-", "--format", "ppm", *model], stdin=packed)
    assert (back.code, back.err) == (0, b"")
    assert back.out.startswith(b"P6\n40 30\n255\n")
    assert command_line(["compress", "-", *model], stdin=picture).out == packed
    for command, says in (
        ("compress", "the file is empty"), ("decompress", "not a .cae file"), ("info", "not a .cae file"),
        ("verify", "not a .cae file"),
    ):
        fails(command_line([command, "-"]), f"codec: -: {says}")
        fails(command_line([command, "-"], stdin=None), "codec: -: stdin is closed")


def test_standard_output(folder: Path, model: list[str]) -> None:
    packed = folder / "a.cae"
    closed = command_line(["decompress", packed, "-", *model], stdout=None)
    fails(closed, "codec: stdout is closed")
    assert command_line(["compress", folder / "a.png", "-f", *model], stdout=None) == (0, b"", b"")


PRINTING = [
    ["models"], ["models", "--json"], ["--help"], ["--version"], ["compress", "--help"],
    ["dataset", "pack", "--help"], ["train", "--help"], ["bench", "--help"], ["bench", "--list"],
    ["info", "a.cae", "a.cae"], ["info", "--json", "a.cae"], ["verify", "a.cae", "a.cae"],
    ["decompress", "a.cae", "-"],
]


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_output_that_cannot_be_written(
    folder: Path, model: list[str], arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line is enough, also for many files. A reader that has ended, as `head`, is no news."""
    monkeypatch.chdir(folder)
    options = model if arguments[0] == "decompress" else []
    words = [str(folder / word) if word.endswith(".cae") else word for word in arguments]
    with open("/dev/full", "wb") as full:
        fails(command_line([*words, *options], stdout=full.fileno()), "No space left on device")
    fails(command_line([*words, *options], stdout=None), "codec: stdout is closed")
    reader, writer = os.pipe()
    os.close(reader)
    assert command_line([*words, *options], stdout=writer) == (1, b"", b"")
    os.close(writer)


def without_errors(path: str | None) -> None:
    """Let stderr be `path`, or close it."""
    if path is None:
        os.close(2)
        sys.stderr = None
    else:
        sys.stderr = open(path, "w")  # noqa: SIM115


@pytest.mark.parametrize("path", ["/dev/full", None])
def test_messages_that_cannot_be_written(folder: Path, model: list[str], path: str | None) -> None:
    """The work goes on, and the exit code is right."""
    before = functools.partial(without_errors, path)
    (folder / "a.cae").unlink()
    words = ["compress", folder / "missing.png", folder / "a.png", "-f", *model]
    assert command_line(words, before=before) == (1, b"", b"")
    codec.verify((folder / "a.cae").read_bytes())
    assert command_line([*words[:1], *words[2:]], before=before).code == 0
    assert command_line(["nonsense"], before=before).code == 2


def test_pipes_and_devices_are_no_existing_files(folder: Path, model: list[str]) -> None:
    """They are written to without -f. The end of a reader is a failure like others."""
    os.mkfifo(folder / "pipe")
    reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    words = ["compress", folder / "a.png", *model, "-o"]
    assert command_line([*words, folder / "pipe"]) == (0, b"", b"")
    assert os.read(reader, 1 << 16) == (folder / "a.cae").read_bytes()
    os.close(reader)
    assert command_line([*words, "/dev/null"]) == (0, b"", b"")
    assert command_line([*words, "/dev/stdout"]) == (0, (folder / "a.cae").read_bytes(), b"")
    reader, writer = os.pipe()
    os.close(reader)
    fails(command_line([*words, "/dev/stdout"], stdout=writer), "a.png: Broken pipe")
    os.close(writer)


def test_a_reader_that_goes_away(folder: Path, model: list[str], tiny: codec.Codec) -> None:
    """Run `codec decompress … - | head -c 10` with a picture that does not fit into a pipe."""
    (folder / "b.cae").write_bytes(tiny.compress(textured(200, 200)))
    reader, writer = os.pipe()
    started = []

    def head() -> None:
        started.append(os.read(reader, 10))
        os.close(reader)

    thread = threading.Thread(target=head)
    thread.start()
    result = command_line(
        ["decompress", folder / "b.cae", "-", "--format", "ppm", *model], stdout=writer
    )
    os.close(writer)
    thread.join(children.TIMEOUT)
    assert started == [b"P6\n200 200"]
    assert result.code == 1
    assert b"Traceback" not in result.err
    assert result.err.count(b"\n") <= 1


@pytest.mark.parametrize(
    "name",
    [b"new\nline", b"\xff\xfe", "ä€😀".encode(), b"-dash", b" ", b"$(touch x);`touch x`|*?", b"x" * 251],
)
def test_names_of_files(
    folder: Path, model: list[str], name: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    picture, packed = name + b".png", name + b".cae"
    shutil.copy(b"a.png", picture)
    assert command_line(["compress", *model, "--", picture]) == Finished(0, b"", b"")
    assert command_line(["decompress", *model, "-f", "--", packed]) == Finished(0, b"", b"")
    shown = os.fsdecode(packed).encode("utf-8", "backslashreplace").replace(b"\n", b"\\n")
    assert command_line(["verify", "--", packed]) == Finished(0, shown + b": ok\n", b"")
    assert set(os.listdir(b".")) == {b"a.png", b"a.cae", picture, packed}
    for arguments in (["verify", "--", packed + b"x"], ["compress", *model, "--", picture]):
        fails(command_line(arguments))
