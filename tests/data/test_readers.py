"""Other libraries read datasets: `datasets`, `webdataset`, pyarrow, DuckDB and PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import codec
import codec.data
from tests.data.test_dataset import make_tree


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("readers")
    make_tree(root / "source")
    codec.data.pack(root / "source", root / "set", quality=40, shard_rows=8)
    return root / "set"


def test_hugging_face(packed: Path, tmp_path: Path) -> None:
    import datasets

    codec.register_pillow()
    datasets.disable_progress_bars()
    names = [str(path) for path in sorted(packed.glob("*.parquet"))]
    found = datasets.Dataset.from_parquet(names, cache_dir=str(tmp_path))
    ours = codec.Dataset(packed)
    assert len(found) == 24
    assert found.features["label"].names == ["bird", "cat"]
    for index in (0, 9, 23):
        row = found[index]
        assert row["image"].format == "CAE"
        wanted = ours[index]
        assert np.abs(np.asarray(row["image"]).astype(int) - wanted["image"]).max() <= 1
        assert row["label"] == wanted["label"]
    raw = found.cast_column("image", datasets.Image(decode=False))[3]["image"]
    assert raw == {"bytes": ours.read(3), "path": ours.pathname(3)}
    # `load_dataset` reads the whole folder.
    loaded = datasets.load_dataset(str(packed), cache_dir=str(tmp_path))["train"]
    assert len(loaded) == 24


# webdataset leaves its files open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_webdataset(packed: Path, tmp_path: Path) -> None:
    import webdataset as wds

    ours = codec.Dataset(packed)
    codec.data.export(ours, tmp_path, samples=24)
    samples = list(
        wds.WebDataset(str(tmp_path / "000000.tar"), shardshuffle=False)
        .decode(wds.handle_extension("cae", codec.decompress))
    )
    assert len(samples) == 24
    for index, sample in enumerate(samples):
        assert np.abs(sample["cae"].astype(int) - ours[index]["image"]).max() <= 1
        assert sample["cls"] == ours.values(index)["label"]
        assert sample["json"]["path"] == ours.pathname(index)


def test_pyarrow_and_duckdb(packed: Path) -> None:
    import duckdb
    import pyarrow.dataset
    import pyarrow.parquet as pq

    ours = codec.Dataset(packed)
    table = pq.read_table(packed)  # the list of digests is not read as data
    assert table.num_rows == 24
    assert table["image"][5].as_py() == {"bytes": ours.read(5), "path": ours.pathname(5)}
    assert table.schema.metadata[b"codec"].startswith(b"{")
    assert pyarrow.dataset.dataset(packed).count_rows() == 24

    what = "label, count(*), sum(octet_length(image.bytes))"
    query = f"select {what} from '{packed}/*.parquet' group by label order by 1"
    sizes = [0, 0]
    for index in range(24):
        sizes[ours.values(index)["label"]] += len(ours.read(index))
    run = duckdb.connect().execute
    first_shard = f"{packed}/shard-00000.parquet"
    assert run(query).fetchall() == [(0, 12, sizes[0]), (1, 12, sizes[1])]
    (first,) = run(f"select image.bytes from '{first_shard}' limit 1").fetchall()
    assert bytes(first[0]) == ours.read(0)
    keys = run(f"select key from parquet_kv_metadata('{first_shard}')").fetchall()
    assert {b"codec", b"codec.shard", b"huggingface"} <= {bytes(key) for (key,) in keys}


def crop(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels[:40].copy())


@pytest.mark.parametrize("workers", [0, 2])
def test_data_loader(packed: Path, workers: int) -> None:
    dataset = codec.Dataset(packed, transform=crop)
    batches = list(torch.utils.data.DataLoader(dataset, 10, num_workers=workers))  # type: ignore[arg-type]
    assert [tuple(batch["image"].shape) for batch in batches] == [(10, 40, 48, 3)] * 2 + [(4, 40, 48, 3)]
    assert torch.cat([batch["label"] for batch in batches]).tolist() == [0] * 12 + [1] * 12


@pytest.mark.parametrize("context", [None, "fork", "spawn", "forkserver"])
def test_loader(packed: Path, context: str | None) -> None:
    dataset = codec.Dataset(packed)
    workers = {} if context is None else {"num_workers": 2, "multiprocessing_context": context}
    generator = torch.Generator().manual_seed(3)
    loader = codec.data.loader(dataset, 9, shuffle=True, generator=generator, **workers)  # type: ignore[arg-type]
    assert len(loader) == 3
    labels: list[int] = []
    for batch in loader:
        assert isinstance(batch["image"], list)  # the pictures have three sizes
        labels += batch["label"].tolist()
    assert sorted(labels) == [0] * 12 + [1] * 12
    assert labels != sorted(labels)
    whole = codec.data.loader(dataset, 24, transform=lambda x: x[:, :40])
    (batch,) = list(whole)
    assert (batch["image"].dtype, tuple(batch["image"].shape)) == (torch.uint8, (24, 3, 40, 48))
    for index in range(24):
        wanted = torch.from_numpy(dataset[index]["image"]).permute(2, 0, 1)[:, :40]
        assert int((batch["image"][index].int() - wanted.int()).abs().max()) <= 1


def test_loader_takes_its_own_options_only(packed: Path) -> None:
    with pytest.raises(TypeError, match="collate_fn"):
        codec.data.loader(codec.Dataset(packed), collate_fn=list)
    with pytest.raises(TypeError, match=r"codec\.Dataset, not list"):
        codec.data.loader([])  # type: ignore[arg-type]


def test_damage_in_a_worker_is_told(packed: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(packed, tmp_path / "set")
    place = codec.Dataset(tmp_path / "set").shards[0]._place(2)
    assert place is not None
    with open(tmp_path / "set" / "shard-00000.parquet", "r+b") as file:
        file.seek(place[0] + place[1] - 2)
        file.write(b"\xff\xfe")
    message = r"shard-00000\.parquet: row 2: tile 0 of 1 is damaged"
    for workers in (0, 1):
        with pytest.raises(codec.ChecksumMismatch, match=message):
            list(codec.data.loader(codec.Dataset(tmp_path / "set"), 8, num_workers=workers))


def test_parquet_of_other_engines(tmp_path: Path) -> None:
    """pyarrow writes the result of `codec.integrations.ray.Compress` as Ray and Daft do."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from codec.integrations.ray import Compress
    from tests.data.test_dataset import picture

    pictures = [picture(number) for number in range(4)]
    paths, labels = [f"{n}.png" for n in range(4)], [3, 1, 2, 0]
    batch = Compress(quality=40)({"image": pictures, "path": paths, "label": labels})
    files = codec.Codec().compress_batch(pictures, quality=40)
    for number, kind in enumerate((pa.binary(), pa.large_binary())):
        names = pa.large_string() if number else pa.string()
        image = pa.array(list(batch["image"]), pa.struct([("bytes", kind), ("path", names)]))
        table = pa.table({"image": image, "label": list(batch["label"])})
        pq.write_table(table, tmp_path / f"{number}.parquet")
        dataset = codec.Dataset(tmp_path / f"{number}.parquet")
        assert dataset.settings is None
        for index, data in enumerate(files):
            assert dataset.read(index) == data
            assert dataset.pathname(index) == f"{index}.png"
        assert [row["label"] for row in dataset] == labels
