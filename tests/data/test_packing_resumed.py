"""Tests that an interrupted pack, once it is continued, has the bytes of one without interruption.

Pictures of equal size run through the networks together, so that a file may depend on the batch in
which it is encoded. A batch must therefore not depend on where packing was interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import codec
import codec.data
from codec.data.packing import rows
from tests.data.test_dataset import contents
from tests.support.pictures import textured

COUNT = 23
SHARD_ROWS = 7


def sizes() -> list[tuple[int, int]]:
    """Sizes of the pictures: some alike, some not, and some larger than a batch."""
    return [((16, 24), (40, 16), (16, 24), (25 + number, 17))[number % 4] for number in range(COUNT)]


def source(kind: str, folder: Path) -> Any:
    pictures = [textured(*size, seed) for seed, size in enumerate(sizes())]
    if kind == "iterable":
        return ({"image": picture, "label": number} for number, picture in enumerate(pictures))
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        PIL.Image.fromarray(picture).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture
def of_its_batch(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[int, int]]]:
    """Let every file depend on all pictures of its batch. Return the shapes of all batches."""
    compress = codec.Codec.compress_batch
    seen: list[list[tuple[int, int]]] = []

    def compress_batch(self: codec.Codec, images: list[Any], **options: Any) -> list[bytes]:
        shapes = [(image.height, image.width) for image in images]
        seen.append(shapes)
        options["quality"] = hash(tuple(shapes)) % 101
        return compress(self, images, **options)

    monkeypatch.setattr(codec.Codec, "compress_batch", compress_batch)
    return seen


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_BATCH_PICTURES", 4)
    monkeypatch.setattr(rows, "_BATCH_PIXELS", 1500)


@pytest.mark.parametrize("kind", ["folder", "iterable"])
def test_interrupted_after_any_batch(
    kind: str, of_its_batch: list[Any], tiny_weights: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"shard_rows": SHARD_ROWS, "model": str(tiny_weights)}
    codec.data.pack(source(kind, tmp_path / "in"), tmp_path / "set", **options)
    wanted = contents(tmp_path / "set")
    assert len(of_its_batch) > 2 * COUNT / SHARD_ROWS  # several batches in a shard
    assert max(map(len, of_its_batch)) > 1

    class Interruption:
        def __init__(self, batches: int) -> None:
            self.left = batches

        def __call__(self, report: codec.data.Report) -> None:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1

    for moment in range(len(of_its_batch)):
        out = tmp_path / f"set-{moment}"
        with pytest.raises(KeyboardInterrupt):
            codec.data.pack(source(kind, tmp_path / "in"), out, progress=Interruption(moment), **options)
        codec.data.pack(source(kind, tmp_path / "in"), out, **options)
        assert contents(out) == wanted


def test_parts_and_a_missing_shard(of_its_batch: list[Any], tiny_weights: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"shard_rows": SHARD_ROWS, "model": str(tiny_weights)}
    folder = source("folder", tmp_path / "in")
    codec.data.pack(folder, tmp_path / "set", **options)
    wanted = contents(tmp_path / "set")
    for part in (3, 1, 2):
        codec.data.pack(folder, tmp_path / "parts", part=(part, 3), **options)
    assert contents(tmp_path / "parts") == wanted
    (tmp_path / "set" / "shard-00001.parquet").unlink()
    codec.data.pack(folder, tmp_path / "set", **options)
    assert contents(tmp_path / "set") == wanted


def test_a_bad_picture_does_not_move_the_others(
    of_its_batch: list[Any], tiny_weights: Path, tmp_path: Path
) -> None:
    """The pictures of the next shard are in the same batches."""
    options: dict[str, Any] = {"shard_rows": SHARD_ROWS, "model": str(tiny_weights)}
    folder = source("folder", tmp_path / "in")
    codec.data.pack(folder, tmp_path / "set", **options)
    (folder / "02.png").write_bytes(b"no picture")
    report = codec.data.pack(folder, tmp_path / "other", **options)
    assert [failure["path"] for failure in report.failures] == ["02.png"]
    wanted, found = (codec.Dataset(tmp_path / name, columns=[]) for name in ("set", "other"))
    assert [found.read(row) for row in range(SHARD_ROWS - 1, COUNT - 1)] == [
        wanted.read(row) for row in range(SHARD_ROWS, COUNT)
    ]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_call_gives_the_same_files(threads: int, tiny_weights: Path, tmp_path: Path) -> None:
    """Of the real encoder, with large pictures of several tiles and many alike."""
    large = np.tile(textured(60, 90), (18, 1, 1))
    pictures = [textured(*size, seed) for seed, size in enumerate(sizes())]
    items = [{"image": picture} for picture in (*pictures, large)]
    for name in ("a", "b"):
        codec.data.pack(items, tmp_path / name, shard_rows=9, model=str(tiny_weights), threads=threads)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
