"""Weights files: safetensors with float16 networks, an integer scale model and integer tables.

The SHA-256 of a weights file identifies the model. Its first six bytes are the model id, which is
stored in every file coded with the model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from codec.entropy_coder import Table, TableSet
from codec.model.config import QUALITY_ANCHORS, ModelConfig
from codec.model.exact import ACTIVATION_BITS, WEIGHT_BITS, ExactLinear
from codec.model.network import Model, without_weights
from codec.model.quantization import LARGEST_DEAD_ZONE, SCALES
from codec.model.scale_model import ScaleModel

ARCHITECTURE = "klt-scales-means-2"
"""Name of the structure of the networks. Weights of another architecture are rejected."""

Metric = Literal["mse", "ms-ssim", "visual"]
METRICS: tuple[Metric, ...] = ("mse", "ms-ssim", "visual")

_FLOAT_PARTS = ("analysis", "synthesis", "hyper_analysis", "mean_model", "hyper_prior")
# The hyper-prior is used in training only. It is stored so that training can start from the file.
_SCALES = "scale_model."


class InvalidWeights(ValueError):
    """The weights file does not contain a usable model. The message says why."""


def check_metric(name: str) -> Metric:
    """Return `name` as a metric. Raises `ValueError` if there is no metric of this name."""
    for metric in METRICS:
        if metric == name:
            return metric
    raise ValueError(f"metric must be one of {METRICS}, not {name!r}")


def _grid_bits(scale_model: ScaleModel) -> dict[str, int]:
    """Return the number of fractional bits of each stored tensor of the scale model."""
    bits = {}
    for name, module in scale_model.named_children():
        if isinstance(module, ExactLinear):
            bits[f"{name}.weight"] = WEIGHT_BITS
            bits[f"{name}.bias"] = WEIGHT_BITS + ACTIVATION_BITS
        else:
            bits[f"{name}.table"] = ACTIVATION_BITS
    return bits


def _smallest_integers(x: Tensor) -> Tensor:
    if not bool((x.abs() < 2**31).all()):
        raise ValueError("a weight of the scale model does not fit in 32 bits")
    largest = float(x.abs().max())
    return x.to(torch.int8 if largest < 2**7 else torch.int16 if largest < 2**15 else torch.int32)


def serialise(model: Model, tables: TableSet, metadata: dict[str, Any]) -> bytes:
    """Return the bytes of a weights file.

    The scale model must be frozen. `tables` holds the tables of the scales, then those of the
    hyper-latents by anchor and channel. Raises `ValueError`.
    """
    if not model.scale_model.frozen:
        raise ValueError("freeze the scale model first")
    tensors: dict[str, Tensor] = {}
    for part in _FLOAT_PARTS:
        for name, value in getattr(model, part).state_dict().items():
            tensors[f"{part}.{name}"] = value.to(torch.float16).contiguous().cpu()
    state = model.scale_model.state_dict()
    for name, bits in _grid_bits(model.scale_model).items():
        integers = _smallest_integers(state[name].double() * 2.0**bits)
        tensors[_SCALES + name] = integers.contiguous().cpu()
    frequencies = np.concatenate([table.frequencies for table in tables.tables])
    tensors["tables.frequencies"] = torch.from_numpy(frequencies.astype(np.int32))
    tensors["tables.lowest"] = torch.tensor([t.lowest for t in tables.tables], dtype=torch.int32)
    sizes = [t.frequencies.size for t in tables.tables]
    tensors["tables.size"] = torch.tensor(sizes, dtype=torch.int32)
    tensors["tables.skip"] = torch.tensor(tables.skip, dtype=torch.int32)
    header = {
        "architecture": ARCHITECTURE,
        "config": model.config.as_dict(),
        "metadata": metadata,
    }
    # One entry: safetensors writes several in random order, but the hash must not depend on it.
    return save_tensors(tensors, {"codec": json.dumps(header, sort_keys=True)})


def read_metadata(data: bytes) -> dict[str, Any]:
    """Return architecture, configuration and metadata without building the model.

    Raises `InvalidWeights`.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["codec"])
        return {key: header[key] for key in ("architecture", "config", "metadata")}
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise InvalidWeights(f"not a weights file of this package: {error}") from None


@dataclasses.dataclass(frozen=True)
class Objective:
    """The training objective of a model and the rounding of its encoder.

    Training minimises bpp + lambda · 255² · distortion.
    """

    lambdas: tuple[float, float]
    """Lambdas at quality 0 and quality 100."""
    metric: Metric = "mse"
    """Distortion metric: "mse", "ms-ssim" or "visual" (MS-SSIM and SSIMULACRA2)."""
    dead_zone: float = 0.0
    """Dead zone of the rounding in its encoder; see `codec.model.quantization.shrink`."""
    skip: int = 0
    """Symbols whose scale index is at most `skip` are 0 and are not coded."""


def read_objective(data: bytes) -> Objective:
    """Return the objective in the metadata of a weights file. Raises `InvalidWeights`."""
    try:
        training = read_metadata(data)["metadata"]["training"]["config"]["training"]
        low, high = training["lambdas"]
        metric, dead_zone = check_metric(training.get("metric", "mse")), float(training.get("dead_zone", 0.0))
        skip = int(training.get("skip", 0))
        if not 0 <= dead_zone <= LARGEST_DEAD_ZONE:
            raise ValueError("the dead zone is out of range")
        if not 0 <= skip < SCALES:
            raise ValueError("the skip index is out of range")
        lambdas = (float(low), float(high))
        if not all(0 < value < math.inf for value in lambdas):
            raise ValueError("lambdas must be positive")
        return Objective(lambdas, metric, dead_zone, skip)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InvalidWeights("the training objective in the metadata is missing or invalid") from None


def model_id(data: bytes) -> bytes:
    """Return the model id of a weights file: the first six bytes of its SHA-256."""
    return hashlib.sha256(data).digest()[:6]


def read_tensors(data: bytes) -> dict[str, Tensor]:
    """Return the tensors of a weights file as they are stored. Raises `InvalidWeights`."""
    try:
        return load_tensors(data)
    except Exception as error:  # safetensors has its own exception type
        raise InvalidWeights(f"weights cannot be loaded: {error}") from None


def deserialise(data: bytes) -> tuple[Model, TableSet]:
    """Return the model, frozen and proven exact, and its tables. Raises `InvalidWeights`."""
    header = read_metadata(data)
    if header["architecture"] != ARCHITECTURE:
        raise InvalidWeights(f"unknown architecture {header['architecture']!r}")
    tensors = read_tensors(data)
    try:
        config = ModelConfig.from_dict(header["config"])
        _check_size(config, sum(tensor.numel() for tensor in tensors.values()))
        model = without_weights(config)
        for part in _FLOAT_PARTS:
            own = {
                name.removeprefix(part + "."): value.float()
                for name, value in tensors.items()
                if name.startswith(part + ".")
            }
            getattr(model, part).load_state_dict(own)
        scale_model = model.scale_model
        bits = _grid_bits(scale_model)
        scale_model.load_state_dict(
            {name: (tensors[_SCALES + name].double() * 2.0**-b).float() for name, b in bits.items()}
        )
        scale = model.mean_model.scale
        if not bool((torch.frexp(scale)[0] == 0.5).all() and (scale >= 1).all()):
            raise ValueError("scales must be powers of two")
        scale_model.freeze()
        skip = int(tensors["tables.skip"])
        tables = TableSet(_read_tables(tensors), skip)
    except Exception as error:  # a missing tensor is a KeyError, and torch raises RuntimeError
        raise InvalidWeights(f"weights cannot be loaded: {error}") from None
    if len(tables.tables) != SCALES + QUALITY_ANCHORS * model.config.hyper_latents:
        raise InvalidWeights(f"{len(tables.tables)} tables do not fit the model")
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
        raise InvalidWeights("a weight is not finite")
    if not 0 <= skip < SCALES:
        raise InvalidWeights("the skip index is not a scale index")
    return model.requires_grad_(False).eval(), tables


def _check_size(c: ModelConfig, weights: int) -> None:
    """Raise `ValueError` if a model of this configuration has more than `weights` weights.

    This check runs before memory is allocated for the model.
    """
    needed = 5 * (c.analysis_blocks_8 * c.analysis_width_8**2 + c.analysis_blocks_16 * c.analysis_width_16**2)
    needed += 5 * (c.blocks_8 * c.width_8 * c.inner_8 + c.blocks_16 * c.width_16 * c.inner_16)
    needed += 4 * c.latents * c.width_8 + c.latents * c.context_width * c.context_steps
    needed += 2 * c.context_blocks * c.context_width**2
    needed += 4 * c.hyper_width * (c.hyper_width + c.hyper_latents)
    needed += c.scale_width * (9 * c.hyper_latents + c.scale_width + 16 * c.latents)
    if needed > weights:  # a lower bound: no other layer is much larger than these
        raise ValueError(f"a model of this configuration has over {needed} weights, the file has {weights}")


def _read_tables(tensors: dict[str, Tensor]) -> list[Table]:
    sizes = tensors["tables.size"].numpy().astype(np.int64)
    ends = np.cumsum(sizes)
    frequencies = tensors["tables.frequencies"].numpy().astype(np.int64)
    if ends[-1] != frequencies.size:
        raise InvalidWeights("the table sizes do not add up to the number of frequencies")
    return [
        Table(int(lowest), frequencies[end - size : end])
        for lowest, size, end in zip(tensors["tables.lowest"], sizes, ends, strict=True)
    ]
