"""Tests of the columns of sources without a schema: every value comes back exactly, or is named."""

from __future__ import annotations

import datetime as dt
import math
import os
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import codec
import codec.data
from codec.data.packing import shard_writer
from codec.data.packing.columns import BadValue, Columns, array_of, same
from tests.support.pictures import textured

UTC = dt.UTC
BIG = 2**53 + 1
"""The first whole number that is no float."""


@pytest.fixture(scope="module")
def data() -> bytes:
    return codec.compress(textured(16, 16), quality=5)


EXACT: list[tuple[list[Any], str]] = [
    ([1, 0.5, 0.9], "double"),
    ([0, 2.75, 3], "double"),
    ([2**53, -0.5], "double"),
    ([None, None, 7, 0.25], "double"),
    ([None, None], "null"),
    ([np.float32(0.1), 0.1], "double"),
    ([np.float32(1.5), 2, 16_777_217], "double"),
    ([np.float16(0.1), np.float32(3)], "float"),
    ([np.int8(1), 300, np.uint16(5)], "int64"),
    ([1, 2**63], "uint64"),
    ([2**64 - 1, 5], "uint64"),
    ([float("nan"), None, float("inf")], "double"),
    ([True, np.bool_(False), None], "bool"),
    (["a", np.str_("ä"), None], "string"),
    ([b"a", bytearray(b"\0")], "binary"),
    ([[1], [0.5], [], None], "list<element: double>"),
    ([[], [None, 2]], "list<element: int64>"),
    ([(1, 2), np.array([0.5])], "list<element: double>"),
    ([np.array([1, 2]), [0.5], np.array([3.0], ">f4")], "list<element: double>"),
    ([np.arange(4, dtype=np.uint8)[::2], np.array([-1, 2**40])], "list<element: int64>"),
    ([np.eye(2, dtype=np.float32), [[1, 2, 3]]], "list<element: list<element: float>>"),
    ([{"a": 1}, {"a": 0.5, "b": None}, {"c": {"d": "x"}}, None],
     "struct<a: double, b: null, c: struct<d: string>>"),
    ([[{"a": 1}], [{"b": [2.5]}]], "list<element: struct<a: int64, b: list<element: double>>>"),
    ([Decimal("1.5"), Decimal("0.125"), 3], "decimal128(4, 3)"),
    ([dt.datetime(2020, 1, 1), np.datetime64("2020-01-01T00:00:00.000001")], "timestamp[us]"),
    ([dt.datetime(2020, 1, 1), np.datetime64("2020-01-01T00:00:00.000000001")], "timestamp[ns]"),
    ([dt.datetime(2020, 1, 1, tzinfo=UTC),
      dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))], "timestamp[us, tz=UTC]"),
    ([dt.date(2020, 1, 1), dt.date(1, 1, 1)], "date32[day]"),
    ([dt.timedelta(days=1), None], "duration[us]"),
]
"""Values of a column, and the type that holds all of them."""


def test_values_come_back_exactly(data: bytes, tmp_path: Path) -> None:
    rows = max(len(values) for values, _ in EXACT)
    items = [
        {"image": data, **{str(n): values[row] for n, (values, _) in enumerate(EXACT) if row < len(values)}}
        for row in range(rows)
    ]
    report = codec.data.pack(items, tmp_path / "set")
    assert (report.pictures, report.failures) == (rows, [])
    dataset = codec.Dataset(tmp_path / "set")
    schema = pq.read_schema(tmp_path / "set" / "shard-00000.parquet")
    for number, (values, kind) in enumerate(EXACT):
        found = dataset.column(str(number)).to_pylist()
        assert all(map(same, values, found)), (values, found)
        assert found[len(values) :] == [None] * (rows - len(values))
        assert str(schema.field(str(number)).type).replace("item:", "element:") == kind
    assert list(codec.data.verify(tmp_path / "set")) == []


@pytest.mark.parametrize(
    ("values", "bad"),
    [
        ([BIG, 0.5, 2], [1]),
        ([0.5, BIG, 2], [1]),
        ([[BIG], [0.5]], [1]),
        ([1, True], [1]),
        ([True, 1], [1]),
        ([1.5, True], [1]),
        ([[1], [True]], [1]),
        ([[1, True]], [0]),
        ([1, "1"], [1]),
        (["1", 1], [1]),
        (["a", b"a"], [1]),
        ([b"a", "a"], [1]),
        ([-1, 2**63], [1]),
        ([2**63, -1], [1]),
        ([2**64, 1], [0]),
        ([Decimal("0.5"), 0.5], [1]),
        ([0.5, Decimal("0.5")], [1]),
        ([{"a": 1}, {"a": "x"}], [1]),
        ([{}, {"a": 1}, {}], [0]),
        ([{1: 2}, 5], [0]),
        ([dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=UTC)], [1]),
        ([[dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=UTC)], None], [0]),
        ([dt.date(2020, 1, 1), dt.datetime(2020, 1, 1)], [1]),
        ([dt.datetime(9000, 1, 1), np.datetime64("2020-01-01T00:00:00.000000001")], [1]),
        ([{1, 2}, [3]], [0]),
        ([object(), 1j, 5], [0, 1]),
        (["\ud800", "a"], [0]),
    ],
)
def test_values_that_do_not_fit_are_named(values: list[Any], bad: list[int]) -> None:
    columns = Columns(None)
    taken = []
    for row, value in enumerate(values):
        if row in bad:
            with pytest.raises(BadValue, match="column 'x' "):
                columns.take({"x": value, "y": row})
        else:
            taken.append(columns.take({"x": value, "y": 1}))
    good = [value for row, value in enumerate(values) if row not in bad]
    for field in columns.fields:
        found = array_of([row[field.name] for row in taken], field.type).to_pylist()
        assert all(map(same, good if field.name == "x" else [1] * len(good), found))


def test_bad_values_are_bad_rows(data: bytes, tmp_path: Path) -> None:
    items = [{"image": data, "path": str(row), "x": x} for row, x in enumerate([1, "one", 0.5])]
    report = codec.data.pack(items, tmp_path / "set")
    error = "column 'x' is int64 because of the rows before, which does not hold 'one' exactly: convert it"
    assert report.failures == [{"path": "1", "error": error}]
    assert codec.Dataset(tmp_path / "set").column("x").to_pylist() == [1, 0.5]


def test_random_values_come_back_or_are_named() -> None:
    chance = random.Random(5)
    leaves: list[Any] = [
        None, 0, -1, BIG, 2**63, True, 0.5, -0.0, math.inf, np.float32(0.1), np.int8(3), np.uint64(2**63),
        "a", b"a", Decimal("1.25"), dt.datetime(2020, 1, 1), dt.date(2020, 1, 1), np.arange(2),
        np.zeros((1, 2)),
    ]

    def value(depth: int = 2) -> Any:
        kind = chance.choice(["leaf", "leaf", "list", "dict"]) if depth else "leaf"
        if kind == "list":
            return [value(depth - 1) for _ in range(chance.randrange(3))]
        if kind == "dict":
            return {name: value(depth - 1) for name in chance.sample("abc", chance.randrange(1, 3))}
        return chance.choice(leaves)

    kept = 0
    for _ in range(300):
        columns = Columns(None)
        given, taken = [], []
        for _ in range(6):
            one = value()
            try:
                taken.append(columns.take({"x": one})["x"])
                given.append(one)
            except BadValue:
                continue
        if given:
            found = array_of(taken, columns.fields[0].type).to_pylist()
            assert all(map(same, given, found)), (given, found)
            kept += len(given)
    assert kept > 400


def test_keys_that_come_late(data: bytes, tmp_path: Path) -> None:
    items: list[dict[str, Any]] = [{"image": data} for _ in range(7)]
    items[3]["n"] = 1
    items[6] |= {"n": 0.5, "late": ["x"]}
    report = codec.data.pack(items, tmp_path / "set")
    assert report.failures == []
    dataset = codec.Dataset(tmp_path / "set")
    assert dataset.column("n").to_pylist() == [None, None, None, 1, None, None, 0.5]
    assert dataset.column("late").to_pylist() == [None] * 6 + [["x"]]


def test_later_shards_have_the_columns_of_the_first(data: bytes, tmp_path: Path) -> None:
    items: list[dict[str, Any]] = [{"image": data, "path": str(n), "n": n, "none": None} for n in range(6)]
    items[2]["n"] = 0.5
    items[3]["new"] = 1
    items[4]["none"] = "x"
    report = codec.data.pack(items, tmp_path / "set", shard_rows=2)
    assert {failure["path"]: failure["error"].split(":")[0] for failure in report.failures} == {
        "2": "column 'n' is int64 in the first shard, which does not hold 0.5 exactly",
        "3": "column 'new' is not among the columns of the first shard",
        "4": "column 'none' is null in the first shard, which does not hold 'x' exactly",
    }
    assert all("datasets.Dataset with Features" in failure["error"] for failure in report.failures)
    assert codec.Dataset(tmp_path / "set").column("n").to_pylist() == [0, 1, 5]
    # The same after an interruption, and in parts, whichever comes first.
    whole = {path.name: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    codec.data.pack(items[:2], tmp_path / "resumed", shard_rows=2)
    codec.data.pack(items, tmp_path / "resumed", shard_rows=2)
    for part in (3, 1, 2):
        codec.data.pack(items, tmp_path / "parts", shard_rows=2, part=(part, 3))
    for name in ("resumed", "parts"):
        assert {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} == whole


def test_other_columns_than_the_first_shard(data: bytes, tmp_path: Path) -> None:
    codec.data.pack([{"image": data, "n": 1}], tmp_path / "set")
    with pytest.raises(codec.FormatError, match="different columns than the source: column 'm'"):
        codec.data.pack([{"image": data, "m": 1}], tmp_path / "set")


@pytest.mark.parametrize("stop", [False, True])
def test_rows_wait_on_disk_until_the_types_are_known(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: bool
) -> None:
    monkeypatch.setattr(shard_writer, "_GROUP_ROWS", 3)
    names: set[str] = set()

    def items() -> Iterator[dict[str, Any]]:
        for row in range(10):
            yield {"image": data, "n": row if row < 9 else 0.5}
        names.update(os.listdir(tmp_path / "set"))
        if stop:
            raise KeyboardInterrupt

    if stop:
        with pytest.raises(KeyboardInterrupt):
            codec.data.pack(items(), tmp_path / "set")
        assert os.listdir(tmp_path / "set") == []
        return
    codec.data.pack(items(), tmp_path / "set")
    assert codec.Dataset(tmp_path / "set").column("n").to_pylist() == [*range(9), 0.5]
    assert codec.Dataset(tmp_path / "set").shards[0].groups == 4
    assert sorted(os.listdir(tmp_path / "set")) == ["_SHA256SUMS", "shard-00000.parquet"]


def test_rows_that_share_their_memory(tmp_path: Path) -> None:
    """Some iterables write every picture into the same array, and the values into the same list."""
    frame, row = np.zeros((16, 16, 3), np.uint8), [0]

    def items() -> Iterator[dict[str, Any]]:
        for number in range(4):
            frame[:] = number * 60
            row[0] = number
            yield {"image": frame, "row": row}

    codec.data.pack(items(), tmp_path / "set", quality=90)
    dataset = codec.Dataset(tmp_path / "set")
    assert dataset.column("row").to_pylist() == [[0], [1], [2], [3]]
    assert [round(float(each["image"].mean()) / 60) for each in dataset] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("kind", "values", "bad"),
    [
        (pa.int64(), [1, 0.5], [1]),
        (pa.float32(), [0.5, 0.1], [1]),
        (pa.list_(pa.int64()), [[1], [0.5]], [1]),
        (pa.struct([("a", pa.int64())]), [{"a": 1}, {"a": 1, "b": 2}], [1]),
        (pa.timestamp("s"), [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, 0, 0, 0, 5)], [1]),
        (pa.date32(), [dt.date(2020, 1, 1), dt.datetime(2020, 1, 1, 5)], [1]),
        (pa.dictionary(pa.int32(), pa.string()), ["a", None, "b"], []),
        (pa.map_(pa.string(), pa.int8()), [[("a", 1)], []], []),
        (pa.uint64(), [2**64 - 1], []),
        (pa.null(), [None, 1], [1]),
    ],
)
def test_known_types_hold_values_exactly_too(kind: pa.DataType, values: list[Any], bad: list[int]) -> None:
    columns = Columns([pa.field("x", kind)])
    for row, value in enumerate(values):
        if row in bad:
            with pytest.raises(BadValue, match="column 'x' is "):
                columns.take({"x": value})
        else:
            assert same(value, array_of([columns.take({"x": value})["x"]], kind).to_pylist()[0])
    with pytest.raises(BadValue, match="column 'y' is not among the columns of the source"):
        columns.take({"y": 1})


@pytest.mark.parametrize("kind", [pa.time64("ns"), pa.timestamp("ns", "UTC"), pa.list_(pa.time64("ns"))])
def test_values_of_arrow_that_python_has_not(kind: pa.DataType) -> None:
    value = [1001] if pa.types.is_list(kind) else 1001
    given = pa.array([value, None], kind)
    for columns in (Columns([pa.field("x", kind)]), Columns(None)):
        taken = [columns.take({"x": scalar})["x"] for scalar in given]
        assert array_of(taken, columns.fields[0].type).equals(given)
    with pytest.raises(BadValue):
        Columns([pa.field("x", pa.int64())]).take({"x": given[0]})


@pytest.mark.parametrize("name", ["image.bytes", "\ud800"])
def test_names_that_columns_cannot_have(data: bytes, name: str, tmp_path: Path) -> None:
    report = codec.data.pack([{"image": data}, {"image": data, name: 1}], tmp_path / "set")
    assert (report.pictures, len(report.failures)) == (1, 1)


def test_an_iterable_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(codec.FormatError, match="the source has no pictures"):
        codec.data.pack([], tmp_path / "set")
