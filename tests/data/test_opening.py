"""Which files are a dataset: rewritten files, partitions, patterns, and what is no dataset."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

import codec
import codec.data
from codec.data.reading.agreement import common_type
from tests.support.pictures import textured

COUNT = 12


def cae(number: int) -> bytes:
    return codec.compress(textured(16, 16, number), quality=5)


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [cae(number) for number in range(COUNT)]


@pytest.fixture(scope="module")
def packed(files: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three shards of four pictures each."""
    out: Path = tmp_path_factory.mktemp("opening") / "set"
    items = [{"image": data, "label": n % 3, "name": f"n{n}"} for n, data in enumerate(files)]
    codec.data.pack(items, out, shard_rows=4)
    return out


@pytest.fixture(scope="module")
def table(packed: Path) -> Any:
    return pq.read_table(packed)


def check(dataset: codec.Dataset, files: list[bytes], order: list[int] | None = None) -> None:
    """Check every way to read a dataset."""
    order = order or list(range(len(files)))
    assert [dataset.read(index) for index in range(len(dataset))] == [files[n] for n in order]
    assert [values["name"] for _, _, values in dataset.files()] == [f"n{n}" for n in order]
    assert [dataset.values(index)["label"] for index in range(len(dataset))] == [n % 3 for n in order]
    assert dataset.column("label").to_pylist() == [n % 3 for n in order]


def test_files_that_pyarrow_cut_anew(table: Any, files: list[bytes], tmp_path: Path) -> None:
    """The schema says `codec`, but there are no shard numbers. part-2 comes before part-10."""
    pyarrow.dataset.write_dataset(
        table, tmp_path, format="parquet", max_rows_per_file=1, max_rows_per_group=1, use_threads=False
    )
    assert len(os.listdir(tmp_path)) == COUNT
    dataset = codec.Dataset(tmp_path)
    check(dataset, files)
    assert (dataset.missing, dataset.settings is not None) == (0, True)
    assert list(codec.data.verify(tmp_path)) == []
    assert dataset[COUNT - 1].keys() == {"image", "label", "name"}


def _as(table: Any, image: Any, name: Any = None) -> Any:
    kinds = [pa.field("image", image), table.schema.field("label"), pa.field("name", name or pa.string())]
    return pa.table(
        [pa.array(table[kind.name].to_pylist(), kind.type) for kind in kinds], pa.schema(kinds)
    )


@pytest.mark.parametrize(
    ("image", "name", "options"),
    [
        (pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())]), pa.large_string(), {}),
        (pa.struct([("path", pa.string()), ("bytes", pa.binary_view())]), pa.string_view(), {}),
        (pa.struct([("bytes", pa.binary())]), pa.dictionary(pa.int8(), pa.string()), {"row_group_size": 5}),
        (pa.struct([("bytes", pa.binary())]), None, {"compression": "gzip", "data_page_version": "2.0"}),
        (pa.struct([("bytes", pa.binary())]), None, {"store_schema": False, "use_dictionary": False}),
    ],
    ids=["large", "views", "dictionary", "gzip", "no Arrow schema"],
)
def test_types_and_encodings_of_other_engines(
    table: Any, files: list[bytes], tmp_path: Path, image: Any, name: Any, options: dict[str, Any]
) -> None:
    pq.write_table(_as(table, image, name), tmp_path / "any name.PARQUET", **options)
    check(codec.Dataset(tmp_path), files)


def test_duckdb_and_datasets_write_sets_anew(
    packed: Path, files: list[bytes], tmp_path: Path
) -> None:
    import datasets
    import duckdb

    run = duckdb.connect().execute
    where = tmp_path / "duck"
    run(f"copy (from '{packed}/*.parquet') to '{where}' (format parquet, partition_by (label))")
    dataset = codec.Dataset(where)
    assert len(dataset) == COUNT
    found = {values["name"]: (data, values["label"]) for _, data, values in dataset.files()}
    assert found == {f"n{n}": (files[n], n % 3) for n in range(COUNT)}
    datasets.disable_progress_bars()
    names = [str(path) for path in sorted(packed.glob("*.parquet"))]
    loaded = datasets.Dataset.from_parquet(names, cache_dir=str(tmp_path / "cache"))
    loaded = loaded.cast_column("image", datasets.Image(decode=False))
    (tmp_path / "hub").mkdir()
    loaded.to_parquet(tmp_path / "hub" / "train-00000-of-00001.parquet")
    check(codec.Dataset(tmp_path / "hub"), files)


def test_types_that_differ_between_files(table: Any, files: list[bytes], tmp_path: Path) -> None:
    """Types that hold all values exactly, other orders of columns, and nulls are accepted."""
    plain = table.replace_schema_metadata(None)
    pq.write_table(plain.slice(0, 4), tmp_path / "a.parquet")
    second = plain.slice(4, 4).select(["name", "image", "label"])
    second = second.set_column(2, "label", second["label"].cast(pa.int16()))
    pq.write_table(second, tmp_path / "b.parquet")
    third = _as(plain.slice(8), pa.struct([("bytes", pa.large_binary())]), pa.large_string())
    pq.write_table(third, tmp_path / "c.parquet")
    dataset = codec.Dataset(tmp_path)
    check(dataset, files)
    assert dataset.columns == ["label", "name"]
    assert dataset.schema.field("name").type == pa.large_string()
    text = third.set_column(1, "label", pa.array(["x"] * 4))
    pq.write_table(text, tmp_path / "c.parquet")
    message = r"c\.parquet and a\.parquet .*different datasets: the column 'label' is int64 .* string in c"
    with pytest.raises(codec.FormatError, match=message):
        codec.Dataset(tmp_path)
    assert codec.Dataset(tmp_path, columns=["name"]).values(9) == {"name": "n9"}
    pq.write_table(third.drop_columns(["label"]), tmp_path / "c.parquet")
    with pytest.raises(codec.FormatError, match=r"c\.parquet lacks the column 'label' of a\.parquet"):
        codec.Dataset(tmp_path)
    names = codec.Dataset(tmp_path, columns=["name"]).column("name").to_pylist()
    assert names == [f"n{n}" for n in range(COUNT)]


@pytest.mark.parametrize(
    ("ours", "theirs", "common"),
    [
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.int8(), pa.uint8(), pa.int16()),
        (pa.uint32(), pa.int64(), pa.int64()),
        (pa.int64(), pa.uint64(), None),
        (pa.int64(), pa.float64(), None),
        (pa.float16(), pa.float64(), pa.float64()),
        (pa.bool_(), pa.int64(), None),
        (pa.string(), pa.binary(), None),
        (pa.null(), pa.list_(pa.int8()), pa.list_(pa.int8())),
        (pa.list_(pa.int8()), pa.large_list(pa.int32()), pa.large_list(pa.int32())),
        (pa.list_(pa.int8(), 2), pa.list_(pa.string()), None),
        (pa.string_view(), pa.string(), pa.large_string()),
        (pa.dictionary(pa.int8(), pa.string()), pa.string(), pa.string()),
        (pa.struct([("a", pa.int8()), ("b", pa.null())]), pa.struct([("b", pa.null()), ("a", pa.int16())]),
         pa.struct([("a", pa.int16()), ("b", pa.null())])),
        (pa.struct([("a", pa.int8())]), pa.struct([("b", pa.int8())]), None),
        (pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("us")),
        (pa.timestamp("s"), pa.timestamp("s", "UTC"), None),
    ],
    ids=str,
)
def test_common_types(ours: Any, theirs: Any, common: Any) -> None:
    assert common_type(ours, theirs) == common
    assert (common_type(theirs, ours) is None) == (common is None)


def test_structs_in_another_order_are_one_column(files: list[bytes], tmp_path: Path) -> None:
    image = pa.array(files[:2], pa.binary())
    for number, box in enumerate(({"x": 1, "y": "a"}, {"y": "b", "x": 2})):
        pq.write_table(pa.table({"image": image, "box": [box, None]}), tmp_path / f"{number}.parquet")
    found = codec.Dataset(tmp_path).column("box").to_pylist()
    assert found == [{"x": 1, "y": "a"}, None, {"x": 2, "y": "b"}, None]


def _with_number(table: Any, shard: Path, path: Path) -> None:
    """Write a table with the footer's metadata of a shard, as some tools do."""
    own = pq.read_metadata(shard).metadata[b"codec.shard"]
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"codec.shard": own}), path)


def test_shards_that_were_cut_with_their_numbers(
    packed: Path, files: list[bytes], tmp_path: Path
) -> None:
    shutil.copytree(packed, tmp_path / "set")
    shard, first, second = (tmp_path / "set" / f"{name}.parquet" for name in ("shard-00001", "a", "b"))
    rows = pq.read_table(shard)
    _with_number(rows.slice(0, 3), shard, first)
    _with_number(rows.slice(3), shard, second)
    shard.unlink()
    check(codec.Dataset(tmp_path / "set"), files)
    _with_number(rows.slice(0, 3), packed / "shard-00001.parquet", second)  # some twice, one not at all
    with pytest.raises(codec.FormatError, match=r"a\.parquet and b\.parquet are the same shard"):
        codec.Dataset(tmp_path / "set")
    second.unlink()  # a shard of which a tool has kept some rows
    assert len(codec.Dataset(tmp_path / "set")) == COUNT - 1


def test_shards_and_files_made_from_them_are_not_mixed(packed: Path, table: Any, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "set")
    pq.write_table(table.slice(0, 4), tmp_path / "set" / "part-0.parquet")
    with pytest.raises(codec.FormatError, match=r"part-0\.parquet .* rows may be there twice"):
        codec.Dataset(tmp_path / "set")
    assert len(codec.Dataset(f"{tmp_path}/set/shard-*.parquet")) == COUNT


def test_bare_rows_that_lost_their_settings(files: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        PIL.Image.fromarray(textured(16, 16, number)).save(tmp_path / "in" / f"{number}.png")
    codec.data.pack(tmp_path / "in", tmp_path / "bare", quality=5, bare=True)
    rows = pq.read_table(tmp_path / "bare")
    pq.write_table(rows, tmp_path / "kept.parquet")
    assert codec.Dataset(tmp_path / "kept.parquet").read(1) == cae(1)
    pq.write_table(rows.replace_schema_metadata(None), tmp_path / "lost.parquet")
    lost = codec.Dataset(tmp_path / "lost.parquet")
    for read in (lambda: lost.read(1), lambda: lost[1]):
        with pytest.raises(codec.FormatError, match=r"lost\.parquet: row 1 .* its settings were lost"):
            read()
    assert any("settings were lost" in line for line in codec.data.verify(tmp_path / "lost.parquet"))


def test_pictures_that_are_not_compressed_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"\x89PNG\r\n", b"\xff\xd8\xff\xe0"]}), tmp_path / "x.parquet")
    dataset = codec.Dataset(tmp_path / "x.parquet")
    for row, kind in enumerate(("PNG", "JPEG")):
        with pytest.raises(codec.FormatError, match=rf"row {row} is a {kind} file.*codec\.data\.pack"):
            dataset.read(row)


def test_several_columns_of_bytes(files: list[bytes], tmp_path: Path) -> None:
    rows = pa.table({"depth": [b"x"] * COUNT, "data": pa.array(files, pa.binary_view())})
    pq.write_table(rows, tmp_path / "x.parquet")
    with pytest.raises(codec.FormatError, match="more than one column may hold pictures"):
        codec.Dataset(tmp_path)
    dataset = codec.Dataset(tmp_path, column="data")
    assert (dataset.read(3), dataset.values(3)) == (files[3], {"depth": b"x"})
    with pytest.raises(codec.FormatError, match="no column 'nope'"):
        codec.Dataset(tmp_path, column="nope")


@pytest.mark.parametrize(
    "values",
    [
        [0, 1, 2], ["cat", "dog", "b/c d=e%"], ["007", "8", "9"], [None, 1, 2], ["1", "x", None],
        [-1, 0, 10**17],
    ],
    ids=str,
)
def test_hive_partitions(files: list[bytes], tmp_path: Path, values: list[Any]) -> None:
    column = [values[n % 3] for n in range(COUNT)]
    split = ["a", "b"] * (COUNT // 2)
    rows = pa.table({"image": files, "n": list(range(COUNT)), "label": column, "split": split})
    pyarrow.dataset.write_dataset(
        rows, tmp_path, format="parquet", partitioning=["split", "label"], partitioning_flavor="hive"
    )
    for name in ("_SUCCESS", "_metadata", "_common_metadata", ".part-0.parquet.crc"):
        (tmp_path / name).write_bytes(b"x")
    dataset = codec.Dataset(tmp_path)
    assert dataset.columns == ["n", "split", "label"]
    found = {row["n"]: (row["label"], row["split"]) for row in map(dataset.values, range(COUNT))}
    assert found == {n: (column[n], "ab"[n % 2]) for n in range(COUNT)}
    for _, data, row in dataset.files():
        assert data == files[row["n"]]
        assert row["label"] == column[row["n"]]
    labels = dict(zip(dataset.column("n").to_pylist(), dataset.column("label").to_pylist(), strict=True))
    assert labels == dict(enumerate(column))
    assert list(codec.data.verify(tmp_path)) == []
    assert codec.Dataset(tmp_path, columns=["label"]).values(0).keys() == {"label"}


def test_partitions_are_unpacked_and_exported(table: Any, files: list[bytes], tmp_path: Path) -> None:
    pyarrow.dataset.write_dataset(
        table, tmp_path / "set", format="parquet", partitioning=["label"], partitioning_flavor="hive",
        use_threads=False,
    )
    dataset = codec.Dataset(tmp_path / "set")
    assert dataset.schema.field("label").type == pa.int64()
    assert codec.data.unpack(dataset, tmp_path / "out", suffix=".cae") == []
    lines = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert {line["name"]: line["label"] for line in lines} == {f"n{n}": n % 3 for n in range(COUNT)}
    assert codec.data.export(dataset, tmp_path / "tars") == []
    # A picture that is damaged is named with the folder of its file.
    place = tmp_path / "set" / "label=1" / "part-0.parquet"
    data = place.read_bytes()
    at = data.index(files[1][8:40]) + 30
    place.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert any("label=1/part-0.parquet: row 0" in line for line in codec.data.verify(tmp_path / "set"))


def test_partitions_that_are_not_everywhere(files: list[bytes], tmp_path: Path) -> None:
    rows = pa.table({"image": files})
    for name in ("label=0", "."):
        (tmp_path / name).mkdir(exist_ok=True)
        pq.write_table(rows, tmp_path / name / "a.parquet")
    with pytest.raises(codec.FormatError, match=r"a\.parquet.*the same partitions everywhere"):
        codec.Dataset(tmp_path)


def test_a_column_of_the_file_is_not_replaced_by_its_partition(files: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "n=5").mkdir()
    pq.write_table(pa.table({"image": files, "n": list(range(COUNT))}), tmp_path / "n=5" / "a.parquet")
    assert codec.Dataset(tmp_path).column("n").to_pylist() == list(range(COUNT))


def test_folders_in_folders(packed: Path, files: list[bytes], tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "hub" / "data")
    check(codec.Dataset(tmp_path / "hub"), files)  # the only folder in a folder
    assert list(codec.data.verify(tmp_path / "hub")) == []
    shutil.copytree(packed, tmp_path / "hub" / "test" / "deep")
    with pytest.raises(codec.FormatError, match="folders of them: data, test: open one of them"):
        codec.Dataset(tmp_path / "hub")
    check(codec.Dataset(tmp_path / "hub" / "test"), files)
    with pytest.raises(codec.FormatError, match=r"deep.* are the same shard"):
        codec.Dataset(f"{tmp_path}/hub/**/*.parquet")
    # A whole dataset does not need the folders in it. Files without numbers may.
    shutil.copytree(packed, tmp_path / "set")
    shutil.copytree(packed, tmp_path / "set" / "old")
    check(codec.Dataset(tmp_path / "set"), files)
    for file in (tmp_path / "set").glob("*.parquet"):
        pq.write_table(pq.read_table(file), file)
    with pytest.raises(codec.FormatError, match="also folders of them: old"):
        codec.Dataset(tmp_path / "set")
    check(codec.Dataset(f"{tmp_path}/set/*.parquet"), files)


def test_splits_in_the_names_of_files(table: Any, files: list[bytes], tmp_path: Path) -> None:
    pq.write_table(table.slice(0, 8), tmp_path / "train-00000-of-00001.parquet")
    pq.write_table(table.slice(8), tmp_path / "test-00000-of-00001-0a1b2c.parquet")
    with pytest.raises(codec.FormatError, match=r"several splits: test, train: open one of them"):
        codec.Dataset(tmp_path)
    check(codec.Dataset(tmp_path / "train-*.parquet"), files[:8])


def test_tables_with_a_log(table: Any, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "part-0.parquet")
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(codec.FormatError, match="Delta Lake"):
        codec.Dataset(tmp_path)
    (tmp_path / "_delta_log").rmdir()
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "v1.metadata.json").touch()
    with pytest.raises(codec.FormatError, match="Iceberg"):
        codec.Dataset(tmp_path)


def test_what_is_no_dataset(files: list[bytes], tmp_path: Path) -> None:
    for name, data, message in (
        ("a.tar", b"", r"a \.tar file, not a dataset: codec\.data\.pack"),
        ("a.cae", files[0], r"a single picture: codec\.decode"),
        ("a.arrow", b"ARROW1", "to_parquet"),
        ("a.txt", b"text", "not a Parquet file"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(codec.FormatError, match=message):
            codec.Dataset(tmp_path / name)
    for name, message in (
        ("1.png", r"but 1 \.png file: codec\.data\.pack"),
        ("sub/1.tar", r"but 1 \.tar file: codec\.data\.pack"),
        ("data-00000.arrow", "to_parquet"), ("1.cae", "codec.decode"),
    ):
        folder = tmp_path / name.replace("/", "-")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
        with pytest.raises(FileNotFoundError, match=message):
            codec.Dataset(folder)
        (line,) = codec.data.verify(folder)
        assert "codec.data.pack" in line or "to_parquet" in line
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="it is empty"):
        codec.Dataset(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="No file matches"):
        codec.Dataset(tmp_path / "*.parquet")
    with pytest.raises(TypeError):
        codec.Dataset(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="columns must be a list of names, not the name 'label'"):
        codec.Dataset(tmp_path, columns="label")


def test_files_without_an_extension(table: Any, files: list[bytes], tmp_path: Path) -> None:
    pq.write_table(table.slice(0, 4), tmp_path / "000000_0")
    pq.write_table(table.slice(4), tmp_path / "000001_0")
    (tmp_path / "README").write_text("text")
    check(codec.Dataset(tmp_path), files)
    check(codec.Dataset(tmp_path / "000000_0"), files[:4])


def test_classes_of_a_set_that_has_grown(files: list[bytes], tmp_path: Path) -> None:
    """Shards that were packed later may have more classes, and a newer version of the package."""

    def shard(number: int, names: list[str], **settings: Any) -> None:
        rows = pa.table({"image": files, "label": [0] * COUNT})
        about = json.loads(base) | {"shards": number + 1, **settings}
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        keys = {
            b"codec": json.dumps(about), b"huggingface": json.dumps({"info": {"features": features}}),
            b"codec.shard": json.dumps({"number": number}),
        }
        pq.write_table(rows.replace_schema_metadata(keys), tmp_path / f"{number}.parquet")

    codec.data.pack([{"image": files[0]}], tmp_path / "one")
    base = pq.read_schema(tmp_path / "one" / "shard-00000.parquet").metadata[b"codec"]
    shard(0, ["cat"])
    shard(1, ["cat", "dog"], package="99.0")
    dataset = codec.Dataset(tmp_path / "?.parquet")
    shutil.rmtree(tmp_path / "one")
    assert codec.Dataset(tmp_path).classes == dataset.classes == ["cat", "dog"]
    (tmp_path / "0.parquet").rename(tmp_path / "0")
    with pytest.raises(codec.FormatError, match="1 of 2 shards are missing, the first is number 0"):
        codec.Dataset(tmp_path)
    assert codec.Dataset(tmp_path, partial=True).missing == 1
    (tmp_path / "0").rename(tmp_path / "0.parquet")
    shard(1, ["dog", "cat"])
    with pytest.raises(codec.FormatError, match="column 'label' has other names of classes"):
        codec.Dataset(tmp_path)
    shard(1, ["cat"], quality=3)
    with pytest.raises(codec.FormatError, match=r"different datasets: quality .* and 3"):
        codec.Dataset(tmp_path)


@pytest.mark.parametrize("size", [np.int64(2), np.uint8(2)])
def test_numbers_of_numpy_are_integers(packed: Path, size: Any) -> None:
    dataset = codec.Dataset(packed)
    assert len(next(iter(codec.data.loader(dataset, size, num_workers=np.int32(0))))["label"]) == 2  # type: ignore[arg-type]
    assert dataset.read(size) == dataset.read(2)
    assert len(dataset[np.int64(0) : size]) == 2
    for name, value in {"batch_size": 0, "num_workers": -1}.items():
        with pytest.raises(ValueError, match=rf"{name} must be at least"):
            codec.data.loader(dataset, **{name: value})  # type: ignore[arg-type]
    for wrong in (True, 2.0, "2", np.bool_(True)):
        with pytest.raises(TypeError, match="batch_size must be an integer"):
            codec.data.loader(dataset, wrong)  # type: ignore[arg-type]


def test_shards_in_one_file_with_the_number_of_the_first(
    packed: Path, table: Any, files: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    _with_number(table, packed / "shard-00000.parquet", tmp_path / "set" / "all.parquet")
    check(codec.Dataset(tmp_path / "set"), files)
