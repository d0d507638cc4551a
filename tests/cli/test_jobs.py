"""Which outputs belong to which inputs, and which files of folders are read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click
import pytest

from codec.cli import jobs
from codec.cli.folders import Walk, expand
from codec.cli.jobs import Job, plan

PICTURES = frozenset((".png", ".jpg"))


def planned(*paths: str, output: str | None = None) -> list[tuple[str, str]]:
    found = plan(paths, output, lambda name: name.endswith(".cae"), ".cae", PICTURES)
    return [(job.source, job.target) for job in found.jobs]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize("output", ["new/", "new/er/", "new/.", "new/..", "there", "there/", ".", "..", "./"])
def test_names_of_folders(here: Path, output: str) -> None:
    """A name that ends in a separator, or is a folder, is never the name of a file."""
    (here / "there").mkdir()
    expected = [("x/a.png", os.path.join(output, "a.cae"))]
    assert planned("x/a.png", output=output) == expected
    assert planned("x/a.png", output) == expected
    assert planned("x/a.png", "b.png", output) == [*expected, ("b.png", os.path.join(output, "b.cae"))]


def test_names_of_files() -> None:
    assert planned("x/a.png", "b.tar.gz", ".hidden") == [
        ("x/a.png", "x/a.cae"), ("b.tar.gz", "b.tar.cae"), (".hidden", ".hidden.cae"),
    ]
    assert planned("a.png", "b.cae") == [("a.png", "b.cae")]
    assert planned("a.png", output="new") == [("a.png", "new")]
    assert planned("-") == [("-", "-")]
    assert planned("a.png", "-") == [("a.png", "-")]


@pytest.mark.parametrize(
    ("paths", "output", "says"),
    [
        (["a.png", "b.png"], "new", "there is no folder 'new': to create it, write 'new/'"),
        (["a.png", "b.png"], "file", "'file' is not a folder, but a file"),
        (["a.png"], "file/", "'file/' is not a folder, but a file"),
        (["a.png", "file/"], None, "'file/' is not a folder, but a file"),
        (["a.png"], "link/", "'link/' is not a folder, but a file"),
        (["folder"], "file", "'file' is not a folder, but a file"),
        (["folder"], None, "name a folder for the results, for example -o out/"),
        (["folder"], "-", "name a folder for the results"),
        (["a.png", "b.png"], "-", "not stdout"),
        (["a.png"], "", "'' is not a file name"),
        (["", "a.png"], None, "'' is not a file name"),
        (["-", "-"], "new", "read only once"),
        (["-", "new/"], None, "stdin needs a file name"),
        (["a.png", "a.jpg"], None, "'a.cae': 'a.png' and 'a.jpg'"),
        (["x/a.png", "y/a.png", "z/a.png"], "new/", "'x/a.png' and 'y/a.png' and 1 more"),
        (["folder", "x/one.png"], "new/", "'folder/one.png' and 'x/one.png'"),
    ],
)
def test_outputs_that_make_no_sense(here: Path, paths: list[str], output: str | None, says: str) -> None:
    files(here, "file", "folder/one.png")
    (here / "link").symlink_to("missing")
    before = sorted(here.rglob("*"))
    with pytest.raises(click.UsageError) as caught:
        planned(*paths, output=output)
    assert says in caught.value.message
    assert sorted(here.rglob("*")) == before


def test_names_in_a_folder_that_differ_in_the_extension(here: Path) -> None:
    files(here, "folder/a.png", "folder/a.jpg", "folder/b.jpg", "folder/c/a.jpg")
    targets = sorted(target for _, target in planned("folder", output="new/"))
    assert targets == ["new/a.jpg.cae", "new/a.png.cae", "new/b.cae", "new/c/a.cae"]


@pytest.mark.parametrize(
    ("first", "second"), [("A.png", "a.png"), ("STRASSE.png", "straße.png"), ("e\u0301.png", "é.png")]
)
def test_names_that_some_systems_take_for_the_same(
    first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(planned(first, second, output="new/")) == 2
    monkeypatch.setattr(jobs, "_ignores_case", lambda folder: True)
    with pytest.raises(click.UsageError, match="two inputs"):
        planned(first, second, output="new/")
    assert len(planned(first, "b.png", output="new/")) == 2


def test_a_system_that_ignores_case(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not jobs._ignores_case("missing/folder")
    original = os.path.lexists
    monkeypatch.setattr(
        os.path, "lexists", lambda path: original(path.swapcase().replace(str(here).swapcase(), str(here)))
    )
    assert jobs._ignores_case("missing/folder")
    assert list(here.iterdir()) == []


def test_many_inputs_take_linear_time() -> None:
    names = [f"IMG_{number:06d}.png" for number in range(40_000)]
    start = time.process_time()
    assert len(planned(*names, output="new/")) == len(names)
    assert time.process_time() - start < 5  # with quadratic time, 20 s


def test_the_tree_of_a_folder(here: Path) -> None:
    files(
        here, "in/b.png", "in/A.JPG", "in/sub/deep/c.png", "in/sub.d/d.png", "in/text.txt", "in/.hidden.png",
        "in/.git/e.png", "other.png",
    )
    found = plan(["in/", "other.png"], "out", str.isupper, ".cae", PICTURES)
    assert [tuple(job) for job in found.jobs] == [
        ("in/A.JPG", "out/A.cae", None), ("in/b.png", "out/b.cae", None),
        ("in/sub/deep/c.png", "out/sub/deep/c.cae", None), ("in/sub.d/d.png", "out/sub.d/d.cae", None),
        ("other.png", "out/other.cae", None),
    ]
    assert found.notes == ["in/: 1 other file, 2 hidden skipped"]
    assert found.many
    assert not (here / "out").exists()


def test_the_output_inside_the_input_is_not_read(here: Path) -> None:
    files(here, "in/a.png", "in/out/b.png", "in/out/sub/c.png")
    assert planned("in", output="in/out") == [("in/a.png", "in/out/a.cae")]
    assert [source for source, _ in planned("in", output="in")] == [
        "in/a.png", "in/out/b.png", "in/out/sub/c.png"
    ]
    assert planned(".", output="in/out/") == [("./in/a.png", "in/out/in/a.cae")]


def test_links_and_other_entries(here: Path) -> None:
    """Links are followed, every folder is read once, and loops end."""
    files(here, "in/real/a.png", "elsewhere/b.png")
    for name, to in (
        ("in/loop", "."), ("in/real/up", "../.."), ("in/alias", "real"), ("in/more", "../elsewhere"),
        ("elsewhere/back", "../in"), ("in/file.png", "real/a.png"), ("in/broken.png", "missing"),
        ("in/self", "self"), ("in/self.png", "self.png"),
    ):
        (here / name).symlink_to(to)
    os.mkfifo(here / "in/pipe.png")
    walk = Walk("in", PICTURES)
    assert list(walk.files()) == [
        "in/broken.png", "in/file.png", "in/self.png", "in/real/a.png", "in/more/b.png"
    ]
    assert walk.left_out() == "2 other files, 4 links to folders above or read already"


def test_folders_that_link_to_each_other_take_linear_time(here: Path) -> None:
    for one in range(12):
        files(here, f"in/{one}/a.png")
        for other in range(12):
            (here / f"in/{one}/to-{other}").symlink_to(f"../{other}")
    assert len(list(Walk("in", PICTURES).files())) == 12


def test_folders_that_cannot_be_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(here, "in/a.png", "in/secret/b.png")
    original = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return original(path)

    monkeypatch.setattr(os, "scandir", refuse)
    first, second = plan(["in"], "out", str.isupper, ".cae", PICTURES).jobs
    assert first == Job("in/a.png", "out/a.cae")
    assert second.source == "in/secret"
    assert isinstance(second.problem, PermissionError)


def test_folders_without_files(here: Path) -> None:
    files(here, "in/text.txt", "set/shard-00000.parquet")
    (job,) = plan(["in"], "out", str.isupper, ".cae", PICTURES).jobs
    assert "no files to convert in this folder (1 other file)" in str(job.problem)
    first, second, third = expand(["in", "set", "missing"], ".cae")
    assert "no .cae files" in str(first)
    assert "codec dataset info" in str(second)
    assert third == "missing"
