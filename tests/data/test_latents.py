"""Tests of batches of latents, and of what the workers of a loader send."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import codec
import codec.data
from codec.data.reading import batches
from codec.engine.running import exclusive
from codec.model import registry
from tests.conftest import TINY
from tests.support.pictures import noise, textured

ROOT = Path(__file__).parents[2]


def packed(folder: Path, *pictures: Any) -> codec.Dataset:
    items = ({"image": picture, "label": number} for number, picture in enumerate(pictures))
    codec.data.pack(items, folder, quality=40)
    return codec.Dataset(folder)


def painted(latents: Tensor, data: bytes) -> torch.Tensor:
    """Return the pixels H×W×3 in [0,255] that the synthesis transform makes of M×h×w latents."""
    info = codec.inspect(data)
    assert info.model is not None
    synthesis = codec.Codec().model_for(bytes.fromhex(info.model)).networks.synthesis
    level = torch.tensor([round((info.quality or 0) * 10.24)])
    y = latents.permute(1, 2, 0)[None]
    with exclusive(None), torch.no_grad():
        found: Tensor = synthesis(y / synthesis.dequantise(torch.ones_like(y), level), level)
    return found[0, : info.height, : info.width].clamp(0, 1) * 255


@pytest.mark.parametrize("workers", [0, 2])
def test_latents_are_the_input_of_the_synthesis_transform(workers: int, tmp_path: Path) -> None:
    pictures = [textured(48, 80, seed) for seed in range(5)]
    dataset = packed(tmp_path / "set", *pictures)
    seen = 0
    for batch in codec.data.loader(dataset, 2, output="latents", num_workers=workers):
        latents = batch["image"]
        count = len(batch["label"])
        channels = codec.Codec()._loaded.networks.config.latents
        assert (latents.shape, latents.dtype) == ((count, channels, 3, 5), torch.float32)
        assert not latents.requires_grad
        assert not latents.is_inference()  # a network that is trained on them can save them
        for row in range(count):
            pixels = painted(latents[row], dataset.read(seen + row))
            wanted = torch.from_numpy(codec.Codec(precision="float32").decompress(dataset.read(seen + row)))
            assert float((pixels - wanted).abs().max()) < 1.01
        seen += count
    assert seen == 5


def test_pictures_of_every_kind_have_latents(tmp_path: Path) -> None:
    rgb = textured(50, 70)
    alpha = np.full((50, 70, 1), 255, np.uint8)
    kinds: list[Any] = [
        rgb, np.dstack([rgb, alpha]), rgb.astype(np.uint16) * 257, rgb[:, :, 0], textured(1050, 40)
    ]
    dataset = packed(tmp_path / "set", *kinds)
    (batch,) = codec.data.loader(dataset, len(kinds), output="latents")
    plain, with_alpha, deep, gray, large = batch["image"]
    assert torch.equal(with_alpha, plain)
    assert deep.shape == plain.shape == gray.shape
    decoded = [torch.from_numpy(row["image"].astype(np.float32)) for row in dataset]
    assert float((painted(deep, dataset.read(2)) - decoded[2] / 257).abs().max()) < 1.01
    assert float((painted(gray, dataset.read(3)).mean(-1) - decoded[3]).abs().mean()) < 0.5
    # A picture of two tiles, whose latents are joined. The transform sees more than a window then.
    assert codec.inspect(dataset.read(4)).tiles == 2
    assert large.shape[1:] == (66, 3)
    assert float((painted(large, dataset.read(4)) - decoded[4]).abs().mean()) < 0.5


def test_a_picture_without_latents_is_named(tmp_path: Path) -> None:
    dataset = packed(tmp_path / "set", textured(48, 48), noise(2, 2), textured(48, 48, 2))
    assert codec.inspect(dataset.read(1)).lossless
    assert len(list(codec.data.loader(dataset, 3))) == 1
    message = r"shard-00000\.parquet: row 1: the picture is stored losslessly and has no latents"
    for workers in (0, 1):
        with pytest.raises(codec.FormatError, match=message):
            list(codec.data.loader(dataset, 3, output="latents", num_workers=workers))
    rows = [row for row in range(3) if not codec.inspect(dataset.read(row)).lossless]
    (batch,) = codec.data.loader(dataset, 3, output="latents", sampler=rows)
    assert batch["label"].tolist() == [0, 2]


def test_latents_of_several_models_are_not_mixed(
    tmp_path: Path, second_model: registry.ModelEntry
) -> None:
    other = codec.Codec(model="second").compress(textured(48, 48), quality=40)
    dataset = packed(tmp_path / "set", textured(48, 48), other)
    for size in (1, 2):
        assert sum(len(batch["label"]) for batch in codec.data.loader(dataset, size)) == 2
        with pytest.raises(codec.FormatError, match=rf"models .*{second_model.id.hex()}"):
            list(codec.data.loader(dataset, size, output="latents"))
    (batch,) = codec.data.loader(dataset, 2, output="latents", sampler=[1])
    assert batch["image"].shape == (1, TINY.latents, 3, 3)


def test_sizes_and_transforms_of_latents(tmp_path: Path) -> None:
    dataset = packed(tmp_path / "set", textured(48, 48), textured(64, 40), textured(33, 48))
    (batch,) = codec.data.loader(dataset, 3, output="latents")
    assert [tuple(latents.shape[1:]) for latents in batch["image"]] == [(3, 3), (4, 3), (3, 3)]
    (batch,) = codec.data.loader(dataset, 3, output="latents", transform=lambda latents: latents[:4, :3])
    assert batch["image"].shape == (3, 4, 3, 3)
    with pytest.raises(ValueError, match="output must be 'pixels' or 'latents', not 'symbols'"):
        codec.data.loader(dataset, output="symbols")  # type: ignore[arg-type]


def test_the_example(tmp_path: Path) -> None:
    """A classifier of latents learns as well as one of pixels."""
    command = [sys.executable, "-W", "error", "examples/train_on_latents.py", str(tmp_path / "digits")]
    done = subprocess.run(
        [*command, "--count", "600", "--epochs", "10"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["600", "input", "pixels", "latents"]
    assert [line[1].split("×")[1:] for line in lines[2:]] == [["4", "4"]] * 2
    for line in lines[2:]:
        assert float(line[-1].rstrip("%")) > 75


@pytest.mark.parametrize("output", ["pixels", "latents"])
def test_workers_send_few_bytes(output: batches.Output, tmp_path: Path) -> None:
    """Integers, in one byte each unless a symbol needs more."""
    dataset = packed(tmp_path / "set", textured(128, 128), textured(128, 128, 1), textured(1050, 64))
    (rows,) = codec.data.loader(dataset, 3, output=output).batches
    assert [len(entry.tiles) for entry, _ in rows] == [1, 1, 2]
    for entry, _ in rows:
        assert all((tile.latents.dtype, tile.hyper.dtype) == (np.int8, np.int32) for tile in entry.tiles)
        assert len(pickle.dumps(entry)) < entry.header.height * entry.header.width * 3 / 2


@pytest.mark.parametrize("workers", [0, 1])
def test_pictures_of_several_tiles(workers: int, tmp_path: Path) -> None:
    """Their pixels come from the symbols that workers send, and are those of `codec.decompress`."""
    dataset = packed(tmp_path / "set", textured(1050, 40), textured(64, 64), textured(40, 1100)[:, :, 0])
    (batch,) = codec.data.loader(dataset, 3, num_workers=workers)
    for row in (0, 2):
        wanted = torch.from_numpy(dataset[row]["image"])
        wanted = wanted.permute(2, 0, 1) if wanted.ndim == 3 else wanted[None]
        assert torch.equal(batch["image"][row], wanted)


def test_symbols_that_need_more_than_a_byte(tmp_path: Path) -> None:
    """They are stacked with symbols of one byte, and nothing is cut off."""
    rows, columns = np.mgrid[:64, :64]
    board = np.where((rows // 16 + columns // 16) % 2, 255, 0).astype(np.uint8)
    strong = codec.compress(np.dstack([board] * 3) ^ textured(64, 64) % 2, quality=100)
    dataset = packed(tmp_path / "set", strong, codec.compress(textured(64, 64), quality=20))
    (found,) = codec.data.loader(dataset, 2, output="latents").batches
    assert [entry.tiles[0].latents.dtype for entry, _ in found] == [np.int16, np.int8]
    (batch,) = codec.data.loader(dataset, 2)
    for row in range(2):
        wanted = torch.from_numpy(dataset[row]["image"]).permute(2, 0, 1)
        assert int((batch["image"][row].int() - wanted.int()).abs().max()) <= 1


def calls(monkeypatch: pytest.MonkeyPatch, *names: str) -> dict[str, list[int]]:
    """Record the batch sizes with which functions of the decoder are called."""
    from codec.engine import tile_decoding

    seen: dict[str, list[int]] = {name: [] for name in names}

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            seen[name].append(len(arguments[-2]))
            return function(*arguments)

        return run

    for name in names:
        monkeypatch.setattr(tile_decoding, name, counted(name, getattr(tile_decoding, name)))
    return seen


def test_tiny_pictures_are_decoded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = packed(tmp_path / "set", *(textured(32, 32, seed) for seed in range(40)))
    seen = calls(monkeypatch, "decode_symbols", "reconstruct")
    files = [dataset.read(row) for row in range(40)]
    codec.Codec().decompress_batch(files)
    dataset.__getitems__(range(40))
    list(codec.data.loader(dataset, 40))
    list(codec.data.loader(dataset, 40, output="latents"))
    assert seen == {"decode_symbols": [40] * 4, "reconstruct": [40] * 4}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("workers", [0, 1])
def test_the_precision_of_batches(precision: Any, workers: int, tmp_path: Path) -> None:
    """It holds for pictures that workers decode, too: the second has alpha."""
    pictures = [textured(64, 64), np.dstack([textured(64, 64), textured(64, 64, 1)[:, :, 0]])]
    dataset = packed(tmp_path / "set", *pictures)
    expected = codec.Codec(precision=precision).decompress_batch([dataset.read(0), dataset.read(1)])
    other = {"float32": "bfloat16", "bfloat16": "float32"}[precision]
    for options in ({"precision": precision}, {}):
        where = codec.Dataset(tmp_path / "set", precision=other if options else precision)  # type: ignore[arg-type]
        (batch,) = codec.data.loader(where, 2, num_workers=workers, **options)
        assert all(
            np.array_equal(found.permute(1, 2, 0), picture)
            for found, picture in zip(batch["image"], expected, strict=True)
        )
    rows = codec.Dataset(tmp_path / "set", precision=precision)[:2]
    assert all(np.array_equal(row["image"], picture) for row, picture in zip(rows, expected, strict=True))
