"""Parquet files as sources: paths instead of bytes, types of the column of pictures, splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import codec
import codec.data
from codec.data.sources import open_source
from tests.support.sources import PNG, broken_name, rows, write_tree

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path: Path, table: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def of_paths(*paths: str | None) -> Any:
    return pa.table({"image": pa.array([{"bytes": None, "path": path} for path in paths], IMAGE)})


def only(path: Path, **options: Any) -> Any:
    """Return the only item of a source."""
    (found,) = rows(open_source(path, **options)).items()
    return found


def test_files_at_paths_are_read(tmp_path: Path) -> None:
    root = write_tree(tmp_path, "in/pics/1.png", "else/2.png", "pics/1.txt")
    names = ["pics/1.png", str(root / "else/2.png"), "../else/2.png", (root / "else/2.png").as_uri()]
    table = of_paths(*names, "gone.png").append_column("n", pa.array(range(5)))
    file = write(root / "in/train.parquet", table)
    report = codec.data.pack(file, tmp_path / "set", quality=5)
    reason = f"{root / 'in/gone.png'} cannot be read: No such file or directory"
    error = f"it has a path and no bytes, and {reason}"
    assert report.failures == [{"path": "gone.png", "error": error}]
    dataset = codec.Dataset(tmp_path / "set")
    assert [(dataset.pathname(row), dataset.values(row)["n"]) for row in range(4)] == list(
        zip(names, range(4), strict=True)
    )


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("https://x.org/1.png", "https://x.org/1.png is a URL, and only files on this machine are read"),
        ("hf://datasets/a/b/1.png", "is a URL"),
        ("zip://1.png::/x.zip", "is a URL"),
        ("data:image/png;base64," + "A" * 999, "A… is a URL"),
        ("/", "/ is not a regular file"),
        ("/dev/zero", "/dev/zero is not a regular file"),
        ("a\0b", "null byte"),
        (None, "row 0 has no picture"),
    ],
)
def test_paths_that_are_not_read(tmp_path: Path, path: str | None, error: str) -> None:
    assert error in only(write(tmp_path / "x.parquet", of_paths(path)))[1]


def test_bytes_come_before_the_path(tmp_path: Path) -> None:
    image = pa.array([{"bytes": PNG, "path": "https://x.org/1.png"}], IMAGE)
    assert only(write(tmp_path / "x.parquet", pa.table({"image": image}))) == ("https://x.org/1.png", {})


NULL = pa.struct([("bytes", pa.null()), ("path", pa.string())])
COLUMNS = {
    "large_binary": pa.array([PNG], pa.large_binary()),
    "binary_view": pa.array([PNG], pa.binary_view()),
    "fixed size": pa.array([PNG], pa.binary(len(PNG))),
    "dictionary": pa.array([PNG]).dictionary_encode(),
    "image_bytes": pa.array([{"image_bytes": PNG, "format": "png"}]),
    "null bytes": pa.array([{"bytes": None, "path": "1.png"}], NULL),
    "large struct": pa.array([{"bytes": PNG, "path": "a"}], pa.struct(
        [("bytes", pa.large_binary()), ("path", pa.string_view())]
    )),
    "list": pa.array([[PNG]], pa.list_(pa.binary())),
    "list of structs": pa.array([[{"bytes": PNG, "path": "a"}]], pa.large_list(IMAGE)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_types_of_the_column_of_pictures(tmp_path: Path, name: str) -> None:
    write_tree(tmp_path, "1.png")
    file = write(tmp_path / "x.parquet", pa.table({"pic": COLUMNS[name], "n": [3]}))
    source = open_source(file)
    assert source.column == "pic"
    (item,) = source.items(0, 9)
    assert item.load() == PNG
    assert item.columns == {"n": 3}


def test_columns_of_paths(tmp_path: Path) -> None:
    write_tree(tmp_path, "1.png")
    table = pa.table({"file": ["1.png"], "n": [3]})
    plain = write(tmp_path / "plain.parquet", table)
    with pytest.raises(codec.FormatError, match="if file holds paths of pictures, name it with column"):
        open_source(plain)
    assert only(plain, column="file") == ("1.png", {"n": 3})
    features = json.dumps({"info": {"features": {"file": {"decode": True, "_type": "Image"}}}})
    stated = write(tmp_path / "stated.parquet", table.replace_schema_metadata({"huggingface": features}))
    assert only(stated) == ("1.png", {"n": 3})
    with pytest.raises(codec.FormatError, match="column 'n' holds int64, not encoded pictures or paths"):
        open_source(plain, column="n")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"image": [[[1, 2], [3, 4]]]}, r"no column holds pictures.*image: list<element: list<element: int"),
        ({"image": pa.array([{"left": b"a", "right": b"b"}])}, "no column holds pictures"),
        ({name: pa.array([{}], IMAGE) for name in ("image", "mask")}, "image, mask; name one with column"),
        ({"image": [b"a"], "raw": [b"b"]}, "more than one column may hold pictures: image, raw"),
    ],
)
def test_columns_that_are_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises(codec.FormatError, match=message):
        open_source(write(tmp_path / "x.parquet", pa.table(table)))


def test_lists_of_more_than_one_picture_are_bad_rows(tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", pa.table({"images": pa.array([[PNG, PNG], [], [PNG]])}))
    assert list(rows(open_source(file)).values()) == [
        "row 0: it holds 2 pictures, and each row has one",
        "row 1: it holds 0 pictures, and each row has one",
        {},
    ]


def test_other_columns_are_kept_exactly(tmp_path: Path) -> None:
    table = pa.table({
        "image": pa.array([PNG]),
        "time": pa.array([1234567890123456789], pa.timestamp("ns")),
        "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        "nested": pa.array([{"a": [{"b": 1.5}]}]),
        "code": pa.array(["x"]).dictionary_encode(),
        "half": pa.array([1.5], pa.float16()),
    })
    codec.data.pack(write(tmp_path / "x.parquet", table), tmp_path / "set", quality=5)
    found = pq.read_table(tmp_path / "set" / "shard-00000.parquet").drop_columns("image")
    assert found.equals(table.drop_columns("image"))


ONE = pa.table({"image": pa.array([PNG])})


@pytest.mark.parametrize(
    ("names", "wanted", "note"),
    [
        (["d/test-00000-of-00001", "d/train-00000-of-00001"], [{"split": "test"}, {"split": "train"}], True),
        (["test/0", "train/0"], [{"split": "test"}, {"split": "train"}], True),
        (["train-0", "train-1"], [{}, {}], False),
        (["a", "train"], [{}, {}], False),
        (["label=a%20dog/0", "label=cat/0"], [{"label": "a dog"}, {"label": "cat"}], False),
        (["n=10/m=a/0", "n=2/m=a/0"], [{"n": 10, "m": "a"}, {"n": 2, "m": "a"}], False),
        (["n=007/0", "n=1/0"], [{"n": "007"}, {"n": "1"}], False),
        (["n=1/0", "n=__HIVE_DEFAULT_PARTITION__/0"], [{"n": 1}, {"n": None}], False),
        (["image=1/0", "n=1/0"], [{"n": None}, {"n": 1}], False),
    ],
    ids=str,
)
def test_splits_and_partitions(tmp_path: Path, names: list[str], wanted: list[Any], note: bool) -> None:
    (tmp_path / "README.md").touch()
    for name in names:
        write(tmp_path / f"{name}.parquet", ONE)
    source = open_source(tmp_path)
    assert [item.columns for item in source.items(0, 9)] == wanted
    assert [field.name for field in source.fields or []] == list(wanted[0])
    assert bool(source.notes) == note


def test_a_file_that_describes_a_folder_is_no_source_of_its_own(tmp_path: Path) -> None:
    write(write_tree(tmp_path, "cat/1.png") / "metadata.parquet", pa.table({"file_name": ["cat/1.png"]}))
    source = open_source(tmp_path)
    assert rows(source) == {"cat/1.png": {"label": 0}}
    assert source.notes == ["columns in metadata.parquet are not read"]


def test_files_in_folders_whose_names_are_not_utf_8_and_behind_links(tmp_path: Path) -> None:
    content = write(tmp_path / "x.parquet", ONE).read_bytes()
    odd = tmp_path / broken_name(b"caf\xe9")
    odd.mkdir()
    (odd / "x.parquet").write_bytes(content)
    source = tmp_path / "in"
    source.mkdir()
    write(source / "real/a.parquet", ONE)
    (source / "again").symlink_to("real")
    (source / "odd").symlink_to(odd)
    (source / "README.md").touch()
    found = open_source(source)
    assert found.count() == 2
    assert [item.load() for item in found.items(0, 9)] == [PNG, PNG]
    assert found.ignored == ["README.md", "again/: a link to real/"]
    assert open_source(odd).digest(0, 1)
    (source / "b.parquet").symlink_to("nowhere")
    with pytest.raises(codec.FormatError, match=r"b\.parquet: a link to nowhere: No such file or directory"):
        open_source(source)


def test_files_whose_columns_differ(tmp_path: Path) -> None:
    """Other types, another order and a column that is empty in one file are no other dataset."""
    image = pa.array([{"bytes": PNG, "path": None}], IMAGE)
    write(tmp_path / "in/0.parquet", pa.table({"image": image, "n": pa.array([1], pa.int8()), "t": ["a"]}))
    write(tmp_path / "in/1.parquet", pa.table({"t": pa.nulls(1), "n": [2**40], "image": image}))
    empty = pa.table({"image": pa.nulls(0), "n": pa.array([], pa.int64()), "t": pa.nulls(0)})
    write(tmp_path / "in/2.parquet", empty)
    codec.data.pack(tmp_path / "in", tmp_path / "set", quality=5)
    dataset = codec.Dataset(tmp_path / "set")
    assert [dataset.values(row) for row in range(2)] == [{"n": 1, "t": "a"}, {"n": 2**40, "t": None}]
    for columns, message in (
        ({"image": image, "n": [1]}, r"a/3\.parquet lacks the column 't' of 0\.parquet$"),
        ({"image": image, "n": [0.5], "t": ["a"]}, r"'n' is int64 in 0\.parquet and double in a/3\.parquet"),
        ({"picture": image}, r"a/3\.parquet has no column 'image'"),
        ({"image": [1]}, r"a/3\.parquet: column 'image' holds int64"),
    ):
        write(tmp_path / "in/0.parquet", pa.table({"image": image, "n": [1], "t": ["a"]}))
        write(tmp_path / "in/a/3.parquet", pa.table(columns))
        with pytest.raises(codec.FormatError, match=message):
            open_source(tmp_path / "in")


def test_files_of_bare_and_of_whole_rows(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "in", "0.png")
    for name, bare in (("whole", False), ("bare", True)):
        codec.data.pack(root, tmp_path / name, quality=5, bare=bare)
        (tmp_path / "both").mkdir(exist_ok=True)
        (tmp_path / name / "shard-00000.parquet").rename(tmp_path / "both" / f"{name}.parquet")
    first, second = (item.load() for item in open_source(tmp_path / "both").items(0, 2))
    assert first == second


def test_values_that_python_does_not_hold_are_bad_rows(tmp_path: Path) -> None:
    """Other engines write infinity as a time beyond the year 9999."""
    image = pa.array([{"bytes": PNG, "path": f"{number}.png"} for number in range(3)], IMAGE)
    text = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"ab\xff")]
    )
    times = pa.array([0, 2**60, 0], pa.timestamp("us"))
    file = write(tmp_path / "x.parquet", pa.table({"image": image, "time": times, "text": text}))
    report = codec.data.pack(file, tmp_path / "set", quality=5)
    assert report.pictures == 1
    assert [failure["path"] for failure in report.failures] == ["1.png", "2.png"]
    assert "column 'time' is timestamp[us], and this value cannot be read" in report.failures[0]["error"]
    assert "column 'text' is string, and this value cannot be read" in report.failures[1]["error"]


def test_files_that_another_column_names_are_said(tmp_path: Path) -> None:
    image = pa.array([{"bytes": PNG, "path": None}], IMAGE)
    mask = pa.array([{"bytes": None, "path": "mask.png"}], IMAGE)
    file = write(tmp_path / "x.parquet", pa.table({"image": image, "mask": mask}))
    report = codec.data.pack(file, tmp_path / "set", quality=5, column="image")
    assert report.notes == {"column mask names files, whose content is not kept": 1}
