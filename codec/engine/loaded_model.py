"""A model in memory: what encoding and decoding share."""

from __future__ import annotations

import functools

import torch

from codec.coding.search import soft_copy
from codec.engine import running
from codec.entropy_coder import TableSet
from codec.errors import UnknownModel
from codec.model.network import Model
from codec.model.weights import InvalidWeights, Objective, deserialise, model_id, read_objective


class LoadedModel:
    """Networks and tables of one weights file on a device, each network in the precision that it runs in.

    Args:
        networks: the networks, frozen. Analysis and hyper-analysis are converted to float64.
        tables: the probability tables.
        model_id: six bytes, as files carry them.
        device: where the networks run.
        objective: what the model was trained for.
    """

    def __init__(
        self,
        networks: Model,
        tables: TableSet,
        model_id: bytes,
        device: torch.device,
        objective: Objective,
    ) -> None:
        self.networks = networks.to(device)
        self.networks.analysis.double()
        self.networks.hyper_analysis.double()
        self.tables = tables
        self.model_id = model_id
        self.device = device
        self.objective = objective
        self.halo = networks.config.halo

    @functools.cached_property
    def soft(self) -> Model:
        """The networks in float32 with gradients, for the search and for analysis at the lowest efforts."""
        return soft_copy(self.networks, self.device)


def load(name: str, weights: bytes, device: str) -> LoadedModel:
    """The model in the bytes of a weights file.

    Raises `UnknownModel`, with `name` in its message, if the weights are damaged; `ValueError` for a device
    that torch does not have.
    """
    where = check_device(device)
    try:
        with running.exclusive(None):
            networks, tables = deserialise(weights)
            return LoadedModel(networks, tables, model_id(weights), where, read_objective(weights))
    except InvalidWeights as error:
        raise UnknownModel(f"model {name!r}: {error}") from None


def check_device(device: str) -> torch.device:
    """The torch device of a name; `ValueError` unless it is a CPU or a GPU that is there."""
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} is not known: {error}") from None
    if where.type not in ("cpu", "cuda"):
        raise ValueError(f"device {device!r} is not supported: use cpu or cuda")
    if where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {device!r} was asked for, but torch does not see it")
    return where
