"""A loaded model, which encoding and decoding share."""

from __future__ import annotations

import torch

from codec.coding.search import soft_copy
from codec.engine import running
from codec.entropy_coder import TableSet
from codec.errors import UnknownModel
from codec.model.layers import in_bfloat16
from codec.model.network import Model
from codec.model.runtime import Precision, has_bfloat16
from codec.model.weights import InvalidWeights, Objective, deserialise, model_id, read_objective


class LoadedModel:
    """The networks and tables of one weights file on a device.

    Args:
        networks: the networks, frozen.
        tables: the probability tables.
        model_id: six bytes, as stored in files.
        device: the device on which the networks run.
        objective: the training objective of the model.
        precision: precision of the synthesis transform for pictures of eight bits.
    """

    def __init__(
        self,
        networks: Model,
        tables: TableSet,
        model_id: bytes,
        device: torch.device,
        objective: Objective,
        precision: Precision = "float32",
    ) -> None:
        self.networks = networks.to(device)
        self.networks.scale_model.cpu()  # integers are computed where symbols are decoded
        self.fast_synthesis = networks.synthesis
        if precision == "bfloat16":
            self.fast_synthesis = in_bfloat16(networks.synthesis)
        self.tables = tables
        self.model_id = model_id
        self.device = device
        self.objective = objective
        self._soft: Model | None = None

    @property
    def soft(self) -> Model:
        """The networks in float32 with gradients.

        The search uses them. They are made on first use, which must be in the thread that runs the
        call.
        """
        if self._soft is None:
            self._soft = soft_copy(self.networks, self.device)
        return self._soft


def load(name: str, weights: bytes, device: str, precision: Precision | None = None) -> LoadedModel:
    """Load the model from the bytes of a weights file.

    A `precision` of None is bfloat16 where the device multiplies it in hardware, else float32.
    Raises `UnknownModel`, with `name` in its message, if the weights are damaged, and `ValueError`
    for a device that torch does not have.
    """
    try:
        with running.exclusive(None):
            running.keep_freed_memory()
            where = check_device(device)
            networks, tables = deserialise(weights)
            chosen = precision or ("bfloat16" if has_bfloat16(where) else "float32")
            return LoadedModel(networks, tables, model_id(weights), where, read_objective(weights), chosen)
    except InvalidWeights as error:
        raise UnknownModel(f"model {name!r}: {error}") from None


def check_device(device: str) -> torch.device:
    """Return the torch device with this name.

    Raises `ValueError` unless it is a CPU or an available GPU.
    """
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}: {error}") from None
    if where.type not in ("cpu", "cuda"):
        raise ValueError(f"device {device!r} is not supported: use cpu or cuda")
    if where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {device!r} is not available: torch does not find it")
    return where
