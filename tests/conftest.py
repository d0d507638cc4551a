"""Fixtures with a tiny model. It is made in seconds, and it can code thousands of pictures."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

# Must be set before torch is imported. Threads that wait actively would keep other threads from
# running where cores are shared.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# With pytest-xdist there are as many processes as cores.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else str(os.cpu_count()))

import pytest
import torch

import codec
from codec import api
from codec.coding import latents
from codec.engine import encoding
from codec.model import registry
from codec.model.config import ModelConfig
from codec.model.network import Model
from codec.model.weights import Objective, serialise
from codec.training.data import CropSampler, list_images
from codec.training.export import freeze
from codec.training.initialisation import initialise_with_klt
from codec.training.tables import collect_histograms, fit_tables
from tests.support.pictures import SAMPLES

TINY = ModelConfig(
    latents=24, hyper_latents=4, analysis_width_8=20, analysis_width_16=24, analysis_blocks_8=1,
    analysis_blocks_16=1, width_8=16, width_16=16, blocks_8=1, blocks_16=1, inner_8=8, inner_16=16,
    scale_width=8, hyper_width=8, context_width=16, context_blocks=1, context_steps=4,
)

LAMBDAS = (0.0006, 0.2)
DEAD_ZONE = 0.1
SKIP = 12


def tiny_model() -> tuple[Model, CropSampler]:
    """Return an untrained KLT model, and a source of crops.

    Its blocks are not the identity, and most of its hyper-latents are not zero.
    """
    torch.manual_seed(0)
    sampler = CropSampler(list_images(SAMPLES), 64, torch.device("cpu"))
    model = Model(TINY)
    initialise_with_klt(model, sampler.batch(64), LAMBDAS)
    with torch.no_grad():
        model.hyper_analysis.down_64.weight.mul_(8)
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model, sampler


def make_tiny_weights() -> bytes:
    """Return the weights file of the tiny model."""
    model, sampler = tiny_model()
    frozen, _ = freeze(model)
    objective = Objective(LAMBDAS, dead_zone=DEAD_ZONE, skip=SKIP)
    tables = fit_tables(*collect_histograms(frozen, sampler, batches=4, batch=8, objective=objective), SKIP)
    training = {"lambdas": LAMBDAS, "dead_zone": DEAD_ZONE, "skip": SKIP}
    return serialise(frozen, tables, {"training": {"config": {"training": training}}})


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a weights file of the tiny model."""
    path: Path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    path.write_bytes(make_tiny_weights())
    return path


@pytest.fixture(scope="session")
def tiny(tiny_weights: Path) -> codec.Codec:
    """A codec with the tiny model."""
    return codec.Codec(model=tiny_weights)


@pytest.fixture(scope="session")
def trained_for_mse() -> codec.Codec:
    """A shipped model for the mean squared error, whose PSNR rises with quality."""
    workers = (codec.Codec(model=about["name"]) for about in codec.models())
    return next(worker for worker in workers if worker._loaded.objective.metric == "mse")


@pytest.fixture
def second_model(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[registry.ModelEntry]:
    """The tiny model, shipped under the name "second" beside the others."""
    sha256 = hashlib.sha256(tiny_weights.read_bytes()).hexdigest()
    entry = registry.ModelEntry("second", str(tiny_weights), sha256, default=False)
    shipped = (*registry.entries(), entry)
    monkeypatch.setattr(registry, "entries", lambda: shipped)
    yield entry
    api._shared.cache_clear()  # the codecs of other tests must not know this model


@pytest.fixture
def never_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code latents even where storing the pixels would be smaller."""
    monkeypatch.setattr(encoding, "_store", lambda *args: None)


@pytest.fixture
def never_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip symbols even where this discards much of a latent."""
    monkeypatch.setattr(latents, "_MOST_DISCARDED", math.inf)
