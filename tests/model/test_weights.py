"""Weights files load as they were written, and invalid files raise a specific error."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

import codec
from codec.model import registry, weights
from codec.model.config import ModelConfig
from codec.model.weights import (
    InvalidWeights,
    deserialise,
    model_id,
    read_metadata,
    read_objective,
    serialise,
)


def test_shipped_models_load_and_are_registered() -> None:
    for entry in registry.entries():
        data = entry.read()
        assert len(data) <= 10_000_000
        assert model_id(data) == entry.id
        assert registry.by_id(entry.id) is entry
        model, _ = deserialise(data)  # checks all bounds
        assert model.entropy_model.frozen
        metadata = read_metadata(data)["metadata"]
        # Minutes of the last run only: `--init` does not add the minutes of earlier runs.
        assert metadata["training"]["minutes"] >= 20
        assert [row["quality"] for row in metadata["validation"]] == [0, 25, 50, 75, 100]
        for row in metadata["validation"]:
            assert abs(row["payload_bpp"] / row["estimated_bpp"] - 1) < 0.01


def test_each_model_has_a_card() -> None:
    folder = Path(codec.__file__).parent / "weights"
    for entry in registry.entries():
        card = (folder / entry.file).with_suffix(".md").read_text(encoding="utf-8")
        assert entry.id.hex() in card
        assert "codec train" in card


def test_serialising_again_gives_the_same_bytes(tiny_weights: Path) -> None:
    data = tiny_weights.read_bytes()
    model, tables = deserialise(data)
    assert serialise(model, list(tables.tables), read_metadata(data)["metadata"]) == data


def rebuilt(data: bytes, change: str, value: torch.Tensor) -> bytes:
    tensors = load(data)
    tensors[change] = value
    length = int.from_bytes(data[:8], "little")
    return save(tensors, json.loads(data[8 : 8 + length])["__metadata__"])


def test_bad_weights_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    data = tiny_weights.read_bytes()
    tensors = load(data)
    some = "entropy_model.adapt.1.weight"
    nan = torch.full_like(tensors["analysis.embed.weight"], float("nan"))
    frequencies = tensors["tables.frequencies"].clone()
    frequencies[0] += 1
    cases = [
        b"",
        b"junk" * 100,
        data[:-5],
        (2**63).to_bytes(8, "little") + data[8:],
        data.replace(b"klt-hyperprior-context4", b"klt-hyperprior-context5"),
        rebuilt(data, some, torch.full((16, 32), 2**30, dtype=torch.int32)),
        rebuilt(data, some, tensors[some][:, :-1].contiguous()),
        rebuilt(data, "analysis.embed.weight", nan),
        rebuilt(data, "tables.frequencies", frequencies),
        rebuilt(data, "tables.size", tensors["tables.size"][:-1].contiguous()),
    ]
    for case in cases:
        with pytest.raises(InvalidWeights):
            deserialise(case)
        path = tmp_path / "bad.safetensors"
        path.write_bytes(case)
        with pytest.raises(codec.UnknownModel):
            codec.Codec(model=path)


@pytest.mark.parametrize("scale", [3.0, 0.5, 0.0, -2.0])
def test_scales_that_are_no_powers_of_two(tiny_weights: Path, scale: float) -> None:
    data = tiny_weights.read_bytes()
    scales = load(data)["entropy_model.scale"].float()
    scales[0] = scale
    with pytest.raises(InvalidWeights, match="powers of two"):
        deserialise(rebuilt(data, "entropy_model.scale", scales))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks_8": 0}, "1 to 4096"), ({"blocks_8": 4097}, "1 to 4096"), ({"latents": 6}, "multiple of 4"),
        ({"width_8": 193}, "widths"), ({"width_16": 516}, "widths"), ({"latents": 516}, "widths"),
        ({"depth": 3}, "unknown model fields: depth"),
    ],
)
def test_configurations_of_no_model(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_dict(fields)


def test_tables_fit_the_model_and_their_frequencies(tiny_weights: Path) -> None:
    data = tiny_weights.read_bytes()
    tensors = load(data)
    sizes, frequencies = tensors["tables.size"], tensors["tables.frequencies"]
    with pytest.raises(InvalidWeights, match="add up"):
        deserialise(rebuilt(data, "tables.frequencies", torch.cat([frequencies, frequencies[:1]])))
    fewer = rebuilt(data, "tables.size", sizes[:-1].contiguous())
    fewer = rebuilt(fewer, "tables.lowest", tensors["tables.lowest"][:-1].contiguous())
    with pytest.raises(InvalidWeights, match="fit the model"):
        deserialise(rebuilt(fewer, "tables.frequencies", frequencies[: -int(sizes[-1])].contiguous()))


def test_only_what_can_be_read_again_is_written(tiny_weights: Path) -> None:
    model, tables = deserialise(tiny_weights.read_bytes())
    with pytest.raises(ValueError, match="32 bits"):
        weights._smallest_integers(torch.tensor([2.0**31]))
    model.entropy_model.frozen = False
    with pytest.raises(ValueError, match="freeze"):
        serialise(model, list(tables.tables), {})


def described(data: bytes, path: str, value: object) -> bytes:
    """Return the file with one value of its description replaced."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["codec"])
    *above, last = path.split()
    inner = header
    for key in above:
        inner = inner[key]
    inner[last] = value
    return save(load(data), {"codec": json.dumps(header)})


HUGE = 10**400
LAMBDAS = "metadata training config training lambdas"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("architecture", []), ("config", None), ("config", [["latents", 4]]), ("config latents", True),
        ("config latents", HUGE), ("metadata", None), ("metadata", [1]), (LAMBDAS, None), (LAMBDAS, [1]),
        (LAMBDAS, [1, 2, 3]), (LAMBDAS, [HUGE, 1]), (LAMBDAS, [0.1, -HUGE]), (LAMBDAS, [float("nan"), 1]),
        (LAMBDAS, [0.0, 1]), (LAMBDAS, [-1, 1]), (LAMBDAS, [1, float("inf")]), (LAMBDAS, "ab"),
        ("metadata training config training dead_zone", HUGE),
    ],
)
def test_descriptions_that_lie_are_refused(
    tiny_weights: Path, tmp_path: Path, path: str, value: object
) -> None:
    file = tmp_path / "lies.safetensors"
    file.write_bytes(described(tiny_weights.read_bytes(), path, value))
    with pytest.raises(codec.UnknownModel):
        codec.Codec(model=file)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ModelConfig)])
def test_configurations_of_a_larger_model_take_no_memory(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    largest = {"width_8": 192, "width_16": 64, "latents": 64}.get(name, 4096)  # still a valid configuration
    data = described(tiny_weights.read_bytes(), f"config {name}", largest)
    unseen = name in ("width_16", "latents", "hyper_latents")
    if not unseen:
        monkeypatch.setattr(weights, "Model", None)  # no model may be created
    with pytest.raises(InvalidWeights, match="weights" if unseen else "of this configuration"):
        deserialise(data)


@pytest.mark.parametrize("levels", [1000, 100_000])
def test_deep_descriptions_are_refused(tiny_weights: Path, levels: int) -> None:
    nested = "[" * levels
    header = nested.encode()
    for data in (
        save(load(tiny_weights.read_bytes()), {"codec": nested}),
        save(load(tiny_weights.read_bytes()), {"codec": nested + "]" * levels}),
        len(header).to_bytes(8, "little") + header,
    ):
        with pytest.raises(InvalidWeights):
            deserialise(data)


def test_a_shipped_file_that_was_changed_is_refused() -> None:
    entry = dataclasses.replace(registry.entries()[0], sha256="0" * 64)
    with pytest.raises(codec.UnknownModel, match="SHA-256 differs"):
        entry.read()
    with pytest.raises(codec.UnknownModel, match="cannot be read"):
        dataclasses.replace(entry, file="missing.safetensors").read()


@pytest.mark.parametrize("zone", [-0.1, 0.3, float("nan"), float("inf"), "wide"])
def test_bad_dead_zones_are_refused(tiny_weights: Path, tmp_path: Path, zone: float | str) -> None:
    data = tiny_weights.read_bytes()
    model, tables = deserialise(data)
    metadata = read_metadata(data)["metadata"]
    metadata["training"]["config"]["training"]["dead_zone"] = zone
    path = tmp_path / "wide.safetensors"
    path.write_bytes(serialise(model, list(tables.tables), metadata))
    with pytest.raises(InvalidWeights):
        read_objective(path.read_bytes())
    with pytest.raises(codec.CodecError):
        codec.Codec(model=path)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "evil.safetensors"
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(canary),))

    torch.save({"x": Evil()}, path)
    with pytest.raises(codec.UnknownModel):
        codec.Codec(model=path)
    assert not canary.exists()


def test_a_file_names_its_model(tiny: codec.Codec) -> None:
    from tests.support.pictures import textured

    data = tiny.compress(textured(50, 60), quality=20)
    assert codec.inspect(data).model == tiny.model_id
    with pytest.raises(codec.UnknownModel, match=tiny.model_id):
        codec.decompress(data)
    shipped = codec.compress(textured(50, 60), quality=20)
    assert np.array_equal(tiny.decompress(shipped), codec.decompress(shipped))
