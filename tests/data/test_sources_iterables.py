"""Iterables, datasets of Hugging Face and of this package, and objects that are no source."""

from __future__ import annotations

import collections
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

import codec
import codec.data
from codec.data.sources import open_source
from tests.support.sources import PNG, broken_name, encoded, rows, write_tree

PIXELS = np.zeros((4, 5), np.uint8)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import datasets

    datasets.disable_progress_bars()
    return datasets


JPEG = encoded("JPEG")


@pytest.fixture
def labelled(library: Any) -> Any:
    features = library.Features({
        "pic": library.Image(), "label": library.ClassLabel(names=["cat", "dog"]),
        "boxes": library.Sequence(library.Value("int32")), "map": library.Array2D((1, 2), "int8"),
        "time": library.Value("timestamp[ns]"),
    })
    columns = {
        "pic": [{"bytes": JPEG, "path": "x/1.jpg"}, {"bytes": PNG, "path": None}], "label": [1, 0],
        "boxes": [[1], [2, 3]], "map": [[[1, 2]], [[3, 4]]], "time": [1234567890123456789, None],
    }
    return library.Dataset.from_dict(columns, features=features)


@pytest.mark.parametrize("how", ["map", "stream", "torch", "selected"])
def test_features_and_types_of_hugging_face(labelled: Any, tmp_path: Path, how: str) -> None:
    forms = {
        "map": labelled, "stream": labelled.to_iterable_dataset(), "torch": labelled.with_format("torch"),
        "selected": labelled.select([1, 0]).select([1, 0]),
    }
    source = open_source(forms[how])
    assert source.column == "pic"
    assert source.count() == (None if how == "stream" else 2)
    assert [str(field.type) for field in source.fields or []] == [
        "int64", "list<item: int32>", "list<item: list<item: int8>>", "timestamp[ns]",
    ]
    # The files are not decoded.
    assert [item.load() for item in source.items(0, 9)] == [JPEG, PNG]
    report = codec.data.pack(forms[how], tmp_path / "set", quality=5)
    assert report.failures == []
    dataset = codec.Dataset(tmp_path / "set")
    assert dataset.classes == ["cat", "dog"]
    assert dataset.features["boxes"]["feature"]["dtype"] == "int32"
    assert dataset.pathname(0) == "x/1.jpg"
    assert (dataset.values(0)["label"], dataset.values(1)["map"]) == (1, [[3, 4]])
    assert dataset.column("time").cast("int64").to_pylist() == [1234567890123456789, None]


def test_parts_and_ranges_of_hugging_face(labelled: Any, tmp_path: Path) -> None:
    for part in (2, 1):
        codec.data.pack(labelled, tmp_path / "set", quality=5, shard_rows=1, part=(part, 2))
    assert codec.data.pack(labelled, tmp_path / "set", quality=5, shard_rows=1).skipped == 2
    source = open_source(labelled.to_iterable_dataset())
    assert [item.columns["label"] for item in source.items(1, 9)] == [0]
    with pytest.raises(ValueError, match="only once"):
        list(source.items(0, 9))


def test_pictures_of_hugging_face_that_are_paths(library: Any, tmp_path: Path) -> None:
    root = write_tree(tmp_path, "in/cat/1.png", "in/dog/2.png")
    found = library.load_dataset("imagefolder", data_dir=str(root / "in"), cache_dir=str(tmp_path / "cache"))
    source = open_source(found["train"])
    assert [item.load() for item in source.items(0, 9)] == [PNG, PNG]
    assert source.features["label"]["names"] == ["cat", "dog"]
    with pytest.raises(ValueError, match="a dict of the splits 'train': pack one of them"):
        open_source(found)


def test_columns_of_pictures_of_hugging_face(library: Any) -> None:
    image = {"bytes": PNG, "path": None}
    features = library.Features({"a": library.Image(), "b": library.Image()})
    two = library.Dataset.from_dict({"a": [image], "b": [image]}, features=features)
    with pytest.raises(codec.FormatError, match="may hold pictures: a, b; name one with column"):
        open_source(two)
    ((_, columns),) = rows(open_source(two, column="b")).items()
    assert columns == {"a": image}
    nested = library.Dataset.from_dict(
        {"a": [[image]]}, features=library.Features({"a": library.Sequence(library.Image())})
    )
    assert list(rows(open_source(nested)).values()) == [{}]
    with pytest.raises(codec.FormatError, match="no column holds pictures"):
        open_source(library.Dataset.from_dict({"n": [1]}))
    only = two.with_format("torch", columns=["a"])
    assert list(rows(open_source(only)).values()) == [{}]


def test_transforms_of_hugging_face_are_kept(labelled: Any) -> None:
    def transform(batch: Any) -> Any:
        return {"image": [PIXELS] * len(batch["pic"]), "label": batch["label"]}

    source = open_source(labelled.with_transform(transform))
    assert [(item.load().shape, item.columns) for item in source.items(0, 9)] == [
        ((4, 5), {"label": 1}), ((4, 5), {"label": 0}),
    ]


def test_datasets_of_this_package_are_not_compressed_again(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "in", "cat/1.png", "dog/2.png")
    codec.data.pack(root, tmp_path / "set", quality=5)
    dataset = codec.Dataset(tmp_path / "set")
    codec.data.pack(dataset, tmp_path / "again", quality=90)
    again = codec.Dataset(tmp_path / "again")
    assert [again.read(row) for row in range(2)] == [dataset.read(row) for row in range(2)]
    assert (again.classes, again.pathname(1)) == (["cat", "dog"], "dog/2.png")
    with pytest.raises(ValueError, match="has a transform"):
        open_source(codec.Dataset(tmp_path / "set", transform=np.asarray))


class Pairs(torch.utils.data.Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        return PIXELS, 1


def frame() -> Any:
    import pandas
    return pandas.DataFrame({"image": [PNG]})


def table() -> Any:
    import pyarrow

    return pyarrow.table({"image": [PNG]})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Pairs(), 'not an object of type tuple: give dicts: {"image": picture, "label": label}'),
        ([PIXELS], "not an object of type ndarray"),
        (PIXELS, "not an object of type ndarray"),
        ([PIL.Image.new("L", (3, 3))], "not an object of type Image"),
        (["a.png"], "not an object of type str"),
        ([None], "items must be dicts, not None"),
        (frame, 'a pandas DataFrame is not an iterable of dicts: pass dataframe.to_dict("records")'),
        (table, r"a pyarrow Table is not an iterable of dicts: pass table.to_pylist()"),
        ({"image": [PNG]}, "a dict (with image) is not an iterable of dicts: give one dict for each picture"),
        (PNG, "must be a path or an iterable of dicts, not an object of type bytes"),
        (5, "must be a path or an iterable of dicts, not an object of type int"),
        (None, "must be a path or an iterable of dicts, not None"),
        (lambda: iter([]), "not an object of type function: call it"),
        ([{"img": PNG, "n": 1}], 'a picture under "image", and the first has img, n'),
    ],
    ids=lambda value: value[-30:] if isinstance(value, str) else type(value).__name__,
)
def test_objects_that_are_no_source(source: Any, message: str) -> None:
    made = source() if source is frame or source is table else source
    with pytest.raises(TypeError, match=re.escape(message)):
        open_source(made)


def test_pictures_of_items(tmp_path: Path) -> None:
    root = write_tree(tmp_path, "1.png")
    file = str(root / "1.png")
    items: list[Any] = [
        {"image": file}, {"image": root / "1.png", "path": "name"}, {"image": io.BytesIO(PNG)},
        {"image": {"bytes": PNG, "path": "p"}}, {"image": {"bytes": None, "path": file}}, {"image": PNG},
        collections.UserDict({"image": PNG}), {"image": (root / "1.png").as_uri()},
    ]
    source = open_source(items)
    assert source.fields is None
    found = list(source.items(0, 99))
    assert [item.load() for item in found] == [PNG] * len(items)
    assert [item.path for item in found] == [
        file, "name", "00000002", "p", file, "00000005", "00000006", (root / "1.png").as_uri(),
    ]
    pixels = next(iter(open_source([{"image": PIXELS}]).items(0, 1)))
    assert pixels.load() is PIXELS


def test_bad_items_are_listed_by_number() -> None:
    items: list[Any] = [
        {"image": PNG, "n": 1}, (PIXELS, 1), {"n": 1}, {"image": PNG, 3: 1}, {"image": "/no/such.png"},
        {"image": "https://x.org/1.png"}, {"image": None}, None,
    ]
    found = list(rows(open_source(items)).values())
    assert found[0] == {"n": 1}
    assert found[6] == {}
    for text, wanted in zip(
        (found[number] for number in (1, 2, 3, 4, 5, 7)),
        (
            "item 1 is an object of type tuple: give dicts", "item 2 has no picture under 'image'",
            "item 3 has a column whose name is an object of type int", "No such file or directory",
            "https://x.org/1.png is a URL", "item 7 is None",
        ),
        strict=True,
    ):
        assert wanted in text


def test_names_of_items_that_are_not_utf_8(tmp_path: Path) -> None:
    names = (broken_name(b"\xe9.png"), b"\xe9.png", Path("a/b.png"))
    items = [{"image": PNG, "path": name} for name in names]
    codec.data.pack(items, tmp_path / "set", quality=5)
    dataset = codec.Dataset(tmp_path / "set")
    assert [dataset.pathname(row) for row in range(3)] == ["\\xe9.png", "\\xe9.png", "a/b.png"]


def test_values_of_items_are_passed_on_unchanged() -> None:
    values: dict[str, Any] = {"late": None, "array": np.arange(3), "tuple": (1, 2), "number": np.float32(0.5)}
    (first, second) = open_source([{"image": PNG}, {"image": PNG, **values}]).items(0, 9)
    assert first.columns == {}
    assert all(second.columns[name] is value for name, value in values.items())


def test_another_key_for_the_picture(tmp_path: Path) -> None:
    codec.data.pack([{"jpg": PNG, "n": 1}], tmp_path / "set", quality=5, column="jpg")
    assert list(codec.Dataset(tmp_path / "set")[0]) == ["jpg", "n"]
    for option in ({"kind": "folder"}, {"image": "jpg"}):
        with pytest.raises(ValueError, match="kind and image apply only to files"):
            open_source([], **option)


def test_a_dataset_that_raises_no_error_at_its_end() -> None:
    class Endless:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"image": PNG, "n": index % 3}

    assert [item.columns["n"] for item in open_source(Endless()).items(0, 9)] == [0, 1, 2]


def test_names_of_classes_behind_a_transform_are_said(labelled: Any) -> None:
    source = open_source(labelled.with_transform(lambda rows: rows), column="pic")
    assert source.notes == ["names of the classes of label are not kept: the dataset has a transform"]
