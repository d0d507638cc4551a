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
from codec.model.network import without_weights
from codec.model.scale_model import ScaleModel
from codec.model.weights import (
    ARCHITECTURE,
    InvalidWeights,
    deserialise,
    model_id,
    read_metadata,
    read_objective,
    serialise,
)
from codec.training.config import load_config
from codec.training.export import freeze
from tests.conftest import SKIP, TINY, tiny_model


def test_shipped_models_load_and_are_registered() -> None:
    for entry in registry.entries():
        data = entry.read()
        assert len(data) <= 10_000_000
        assert model_id(data) == entry.id
        assert registry.by_id(entry.id) is entry
        model, tables = deserialise(data)  # checks all bounds
        assert model.scale_model.frozen
        assert tables.skip == read_objective(data).skip
        metadata = read_metadata(data)["metadata"]
        assert metadata["training"]["steps"] > 0
        assert metadata["largest_exact_sum"] < 1 << 24
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
    assert serialise(model, tables, read_metadata(data)["metadata"]) == data


def metadata_of(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return metadata


def rebuilt(data: bytes, change: str, value: torch.Tensor) -> bytes:
    return save(load(data) | {change: value}, metadata_of(data))


def test_bad_weights_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    data = tiny_weights.read_bytes()
    tensors = load(data)
    some = "scale_model.hidden.weight"
    nan = torch.full_like(tensors["analysis.embed.weight"], float("nan"))
    frequencies = tensors["tables.frequencies"].clone()
    frequencies[0] += 1
    cases = [
        b"",
        b"junk" * 100,
        data[:-5],
        (2**63).to_bytes(8, "little") + data[8:],
        data.replace(ARCHITECTURE.encode(), b"x" * len(ARCHITECTURE)),
        rebuilt(data, some, torch.full((8, 8), 2**30, dtype=torch.int32)),
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


@pytest.mark.parametrize("scale", [3.0, 0.5, 0.0, -2.0, float("inf"), float("nan")])
def test_scales_that_are_no_powers_of_two(tiny_weights: Path, scale: float) -> None:
    data = tiny_weights.read_bytes()
    scales = load(data)["mean_model.scale"].float()
    scales[0] = scale
    with pytest.raises(InvalidWeights, match="powers of two"):
        deserialise(rebuilt(data, "mean_model.scale", scales))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks_8": -1}, "0 to 4096"), ({"blocks_8": 4097}, "0 to 4096"), ({"latents": 6}, "multiple of 4"),
        ({"analysis_width_8": 193}, "widths"), ({"width_16": 516}, "widths"), ({"latents": 516}, "widths"),
        ({"analysis_width_16": 516}, "widths"), ({"analysis_width_8": 127}, "at most analysis_width_8"),
        ({"context_steps": 3}, "2 or 4"), ({"context_steps": 0}, "1 to 4096"), ({"inner_8": 0}, "1 to 4096"),
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
    for far in (1 << 40, -(1 << 40), (1 << 20) + 1):
        lowest = tensors["tables.lowest"].long()
        lowest[3] = far
        with pytest.raises(InvalidWeights, match="lowest symbol"):
            deserialise(rebuilt(data, "tables.lowest", lowest))


def test_the_skip_index_is_a_scale_index(tiny_weights: Path) -> None:
    data = tiny_weights.read_bytes()
    assert deserialise(data)[1].skip == SKIP
    assert deserialise(rebuilt(data, "tables.skip", torch.tensor(63)))[1].skip == 63
    for wrong in (
        torch.tensor(-1), torch.tensor(64), torch.tensor([1, 2]), torch.tensor(float("nan")),
        torch.tensor(2**40), torch.zeros(0),
    ):
        with pytest.raises(InvalidWeights):
            deserialise(rebuilt(data, "tables.skip", wrong))


def test_tables_of_another_skip_index_than_the_training(tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(rebuilt(tiny_weights.read_bytes(), "tables.skip", torch.tensor(SKIP + 1)))
    with pytest.raises(codec.UnknownModel, match="skip index"):
        codec.Codec(model=path)


@pytest.mark.parametrize("name", [
    "tables.skip", "tables.lowest", "tables.size", "tables.frequencies", "mean_model.scale",
    "scale_model.index.bias", "hyper_prior.mean.table", "synthesis.pixels.weight",
])
def test_a_missing_tensor_is_refused(tiny_weights: Path, name: str) -> None:
    data = tiny_weights.read_bytes()
    tensors = load(data)
    del tensors[name]
    with pytest.raises(InvalidWeights):
        deserialise(save(tensors, metadata_of(data)))


@pytest.mark.parametrize("name", [name for name, _ in ScaleModel(TINY).named_parameters()])
@pytest.mark.parametrize("value", [2**23 - 1, 2**31 - 1, -(2**31)])
def test_integers_beyond_the_bounds_are_refused(tiny_weights: Path, name: str, value: int) -> None:
    data = tiny_weights.read_bytes()
    stored = load(data)[f"scale_model.{name}"].to(torch.int32)
    stored.view(-1)[3] = value
    changed = rebuilt(data, f"scale_model.{name}", stored)
    if name.endswith(".bias") and name != "index.bias" and value < 2**24 - 1 and value > 0:
        assert deserialise(changed)[0].scale_model.frozen  # half of the range
    else:
        with pytest.raises(InvalidWeights, match=r"units exceed the 16777216 of float32"):
            deserialise(changed)


def test_what_is_loaded_is_what_was_frozen(tiny_weights: Path) -> None:
    """Float weights come back in 16 bits, integers and tables exactly."""
    model, _ = tiny_model()
    frozen, _ = freeze(model)
    loaded, tables = deserialise(tiny_weights.read_bytes())
    for (name, value), other in zip(frozen.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    again = serialise(loaded, tables, {})
    assert load(again)["scale_model.hidden.weight"].dtype == torch.int16
    assert load(again)["synthesis.pixels.weight"].dtype == torch.float16


def test_only_what_can_be_read_again_is_written(tiny_weights: Path) -> None:
    model, tables = deserialise(tiny_weights.read_bytes())
    with pytest.raises(ValueError, match="32 bits"):
        weights._smallest_integers(torch.tensor([2.0**31]))
    model.scale_model.frozen = False
    with pytest.raises(ValueError, match="freeze"):
        serialise(model, tables, {})


def described(data: bytes, path: str, value: object) -> bytes:
    """Return the file with one value of its description replaced."""
    header = json.loads(metadata_of(data)["codec"])
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
        ("metadata training config training skip", HUGE), ("metadata training config training skip", -1),
        ("metadata training config training skip", 64), ("metadata training config training skip", []),
    ],
)
def test_descriptions_that_lie_are_refused(
    tiny_weights: Path, tmp_path: Path, path: str, value: object
) -> None:
    file = tmp_path / "lies.safetensors"
    file.write_bytes(described(tiny_weights.read_bytes(), path, value))
    with pytest.raises(codec.UnknownModel):
        codec.Codec(model=file)


LARGEST = {
    "analysis_width_8": 192, "width_8": 20, "analysis_width_16": 80, "width_16": 64, "latents": 64,
    "context_steps": 2,
}
"""The largest values of fields that others bound, and another value of `context_steps`."""

UNSEEN = {"latents", "analysis_width_8", "analysis_width_16", "width_8", "width_16", "context_steps"}
"""Fields for which a model of the largest value is not much larger than the tiny model."""


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ModelConfig)])
def test_configurations_of_another_model_take_no_memory(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = described(tiny_weights.read_bytes(), f"config {name}", LARGEST.get(name, 4096))
    if name not in UNSEEN:
        monkeypatch.setattr(weights, "without_weights", None)  # no model may be created
    with pytest.raises(InvalidWeights, match="weights" if name in UNSEEN else "of this configuration"):
        deserialise(data)


def test_the_smallest_number_of_weights_is_a_bound() -> None:
    """No configuration is refused whose weights are all there, and most of them are counted."""
    shipped = [load_config(name).model for name in ("fast", "medium", "large")]
    bare = dataclasses.replace(TINY, **{
        field.name: 0 for field in dataclasses.fields(TINY) if "blocks" in field.name
    })
    for config in [*shipped, TINY, bare, dataclasses.replace(TINY, context_steps=2)]:
        total = sum(parameter.numel() for parameter in without_weights(config).parameters())
        weights._check_size(config, total)
        with pytest.raises(ValueError, match="of this configuration"):
            weights._check_size(config, total // 4)


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
    path.write_bytes(serialise(model, tables, metadata))
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
