"""However a writer is stopped, its target is the complete old file or the complete new file."""

from __future__ import annotations

import errno
import functools
import itertools
import os
import random
import resource
import signal
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import codec
from codec import entropy_coder
from codec.format import container
from codec.format.header import Header
from codec.format.index import make_tile
from codec.pictures import atomic
from codec.pictures.writing import image_chunks
from tests.support import children
from tests.support.children import command_line
from tests.support.pictures import noise

SIZES = ((220, 190), (140, 300))


@pytest.fixture
def folder(tmp_path: Path, tiny: codec.Codec) -> Path:
    """A folder with two pictures, 0.png and 1.png, and their files, 0.cae and 1.cae.

    The file target.cae is a copy of 0.cae.
    """
    for number, size in enumerate(SIZES):
        Image.fromarray(noise(*size)).save(tmp_path / f"{number}.png")
        data = tiny.compress(noise(*size), quality=100)
        (tmp_path / f"{number}.cae").write_bytes(data)
    atomic.write_atomically(tmp_path / "target.cae", (tmp_path / "0.cae").read_bytes())
    (tmp_path / "target.cae").chmod(0o777)  # permissions that a new file does not have
    return tmp_path


EXPECTED = ["0.cae", "0.png", "1.cae", "1.png", "target.cae"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def version(folder: Path) -> int:
    """Check that the target is one of the two files and undamaged, and return its number."""
    data = (folder / "target.cae").read_bytes()
    codec.verify(data)
    return [(folder / f"{number}.cae").read_bytes() for number in (0, 1)].index(data)


# The writer is killed and cannot clean up.


def stored(height: int, width: int) -> bytes:
    """Make a large file quickly, with noise stored as raw pixels."""
    image = noise(height, width)
    payload = image.tobytes()
    tile = make_tile(payload, zlib.crc32(payload))
    header = Header(width, height, 3, True, bytes(6), 0, 1024, (tile,))
    return container.pack(header, [payload])


def write_for_ever(folder: Path) -> None:
    """Write the two files to the same name in turn, without end."""
    for data in itertools.cycle([(folder / f"{number}.cae").read_bytes() for number in (1, 0)]):
        atomic.write_atomically(folder / "target.cae", data)


@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.nightly)])
def test_killed_at_any_moment(folder: Path, rounds: int) -> None:
    for number, size in enumerate([(300, 400), (500, 600)]):
        (folder / f"{number}.cae").write_bytes(stored(*size))
    rng = random.Random(rounds)
    for _ in range(rounds):
        atomic.write_atomically(folder / "target.cae", (folder / "0.cae").read_bytes())
        process = children.start(write_for_ever, folder)
        deadline = time.monotonic() + children.TIMEOUT
        while version(folder) == 0:  # also checks that a reader never sees half a file
            assert time.monotonic() < deadline
        time.sleep(0.02 * rng.random())
        process.kill()
        assert children.finish(process) == -signal.SIGKILL
        version(folder)
        # Temporary files may remain and may be deleted: see `atomic.write_atomically`.
        left = set(names(folder)) - set(EXPECTED)
        assert all(name.startswith(".codec-") and name.endswith(".tmp") for name in left)
        for name in left:
            (folder / name).unlink()


STEPS = ("fdopen", "fsync", "chmod", "replace")
"""Functions of `os` that `write_atomically` calls, in this order."""


def stop_in(step: str, after: bool, signal_number: int) -> None:
    """Make the process send itself a signal before or after it calls `os.step`."""
    original = getattr(os, step)

    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs) if after else None
        os.kill(os.getpid(), signal_number)
        return result if after else original(*args, **kwargs)

    setattr(os, step, call)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_every_step(folder: Path, tiny_weights: Path, step: str, after: bool) -> None:
    result = command_line(
        ["compress", folder / "1.png", folder / "target.cae", "-f", "-q", 100, "-m", tiny_weights],
        before=functools.partial(stop_in, step, after, signal.SIGKILL),
    )
    assert result == (-signal.SIGKILL, b"", b"")
    done = (step, after) == ("replace", True)
    assert version(folder) == done
    assert len(names(folder)) == len(EXPECTED) + (not done)


# The writer is interrupted and must leave no temporary file.


def interrupt_in_the_encoder() -> None:
    original = entropy_coder.Encoder.finish

    def finish(self: entropy_coder.Encoder) -> bytes:
        signal.raise_signal(signal.SIGINT)
        return original(self)

    entropy_coder.Encoder.finish = finish  # type: ignore[method-assign]


def interrupt_after(seconds: float, model: Path) -> None:
    # Do not interrupt while libraries load: they print messages of their own.
    codec.Codec(model=model).compress(noise(64, 64))
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def compress_and_interrupt(folder: Path, model: Path, before: Callable[[], None]) -> children.Finished:
    return command_line(
        ["compress", folder / "1.png", folder / "target.cae", "-f", "-q", 100, "-m", model], before=before
    )


@pytest.mark.parametrize(
    "before",
    [
        interrupt_in_the_encoder,
        *(functools.partial(stop_in, step, False, signal.SIGINT) for step in STEPS),
        *(functools.partial(stop_in, step, True, signal.SIGINT) for step in STEPS[1:-1]),
    ],
)
def test_interrupted_at_a_step(folder: Path, tiny_weights: Path, before: Callable[[], None]) -> None:
    result = compress_and_interrupt(folder, tiny_weights, before)
    assert result == (1, b"", b"\nAborted!\n")
    assert version(folder) == 0
    assert names(folder) == EXPECTED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("step", STEPS)
def test_asked_to_end(folder: Path, tiny_weights: Path, step: str, number: int) -> None:
    before = functools.partial(stop_in, step, False, number)
    assert compress_and_interrupt(folder, tiny_weights, before) == (128 + number, b"", b"")
    assert version(folder) == 0
    assert names(folder) == EXPECTED


@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.nightly)])
def test_interrupted_at_any_moment(folder: Path, tiny_weights: Path, rounds: int) -> None:
    for _ in range(2):  # the first call also starts the process that the others fork from
        start = time.monotonic()
        late = functools.partial(interrupt_after, 60, tiny_weights)
        assert compress_and_interrupt(folder, tiny_weights, late).code == 0
        duration = time.monotonic() - start
    rng = random.Random(rounds)
    codes = []
    for _ in range(rounds):
        atomic.write_atomically(folder / "target.cae", (folder / "0.cae").read_bytes())
        moment = functools.partial(interrupt_after, 0.001 + duration * rng.random(), tiny_weights)
        result = compress_and_interrupt(folder, tiny_weights, moment)
        codes.append(result.code)
        assert result in ((0, b"", b""), (1, b"", b"\nAborted!\n"))
        # If the process exits with 0, the new file must be there.
        assert version(folder) or result.code
        assert names(folder) == EXPECTED
    assert 1 in codes


# The disk is full: files cannot grow beyond a given size.


def write_with_little_space(space: int, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (space, resource.RLIM_INFINITY))
    function(*arguments)


@pytest.mark.parametrize("share", [0, 0.5, 1])
@pytest.mark.parametrize("function", ["write_atomically", "encode", "decode"])
def test_a_full_disk(folder: Path, tiny_weights: Path, share: float, function: str) -> None:
    """The disk has space for all but one byte of the target, for half of it, or for nothing."""
    target, new = folder / "target.cae", (folder / "1.cae").read_bytes()
    call: Callable[..., None] = atomic.write_atomically
    arguments: tuple[Any, ...] = (target, new)
    if function == "encode":
        call = functools.partial(codec.encode, quality=100, model=tiny_weights)
        arguments = (folder / "1.png", target)
    elif function == "decode":
        stored = noise(12, 12)
        (folder / "0.cae").write_bytes(codec.compress(stored))
        target, new = folder / "1.png", b"".join(image_chunks([stored], stored.shape, 8, ".png"))
        call, arguments = codec.decode, (folder / "0.cae", target)
    before = target.read_bytes()
    with pytest.raises(OSError, match="File too large") as caught:
        children.call(write_with_little_space, int(share * (len(new) - 1)), call, arguments)
    assert caught.value.errno == errno.EFBIG
    assert target.read_bytes() == before
    assert names(folder) == EXPECTED


def leave_little_space() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))


def test_a_full_disk_and_the_command_line(folder: Path, tiny_weights: Path) -> None:
    result = compress_and_interrupt(folder, tiny_weights, leave_little_space)
    assert result == (1, b"", f"codec: {folder}/1.png: File too large\n".encode())
    assert version(folder) == 0
    assert names(folder) == EXPECTED


# Folders and names.


def write_as_nobody(path: str) -> list[str]:
    """Write a file. Return the warnings."""
    if os.geteuid() == 0:  # permissions do not stop root
        os.setegid(65534)
        os.seteuid(65534)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        atomic.write_atomically(path, b"new")
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("mode", [0o555, 0o1777])
def test_a_folder_that_does_not_let_files_be_replaced(mode: int) -> None:
    """A folder of others that may not be written to, and one like /tmp, with a file of others."""
    # `tmp_path` cannot be used, because no other user may enter it.
    with tempfile.TemporaryDirectory() as name:
        for file, permissions in (("may", 0o666), ("may not", 0o444)):
            (Path(name) / file).write_bytes(b"much older")
            (Path(name) / file).chmod(permissions)
        os.chmod(name, mode)
        written = children.call(write_as_nobody, f"{name}/may")
        assert len(written) == 1
        assert "in place" in written[0]
        assert (Path(name) / "may").read_bytes() == b"new"
        for file in ("may not", "new")[: 2 if mode == 0o555 else 1]:
            with pytest.raises(PermissionError) as caught:
                children.call(write_as_nobody, f"{name}/{file}")
            assert caught.value.filename == f"{name}/{file}"
        assert (Path(name) / "may not").read_bytes() == b"much older"
        assert sorted(os.listdir(name)) == ["may", "may not"]


def test_a_link_to_another_folder(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    link, target = tmp_path / "here" / "link", tmp_path / "there" / "file"
    link.symlink_to("../there/file")
    atomic.write_atomically(link, b"1")  # writes to the target of the link, which does not exist yet
    atomic.write_atomically(link, b"2")
    assert link.is_symlink()
    assert target.read_bytes() == b"2"
    assert [len(names(tmp_path / name)) for name in ("here", "there")] == [1, 1]


@pytest.mark.parametrize("name", [b"x" * 255, b"\xff\xfe\n", "ß".encode() * 127, b"-"])
def test_names(tmp_path: Path, name: bytes) -> None:
    target = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    atomic.write_atomically(target, b"1")
    atomic.write_atomically(target, b"2")
    assert os.listdir(os.fsencode(tmp_path)) == [name]
    assert target.read_bytes() == b"2"
    with pytest.raises(OSError, match="name too long") as caught:
        atomic.write_atomically(str(target) + "y" * 256, b"3")
    assert caught.value.errno == errno.ENAMETOOLONG


