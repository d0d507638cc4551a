"""Several processes, one model: what `torchrun` asks of the training loop, and nothing more.

Every process cuts its own crops and computes its own gradient; gradients are averaged, so all take
the same step. The first process keeps the time, writes the files and speaks. Without `torchrun` all of
this does nothing.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def start(device: torch.device | None) -> torch.device:
    """Join the processes that `torchrun` started, if it did; returns this one's device."""
    if device is None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def stop() -> None:
    """Leave the processes."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """This process's number; the first is 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def replicate(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` to run forward: with several processes, one that averages gradients as they are computed.

    Every process then starts from the first one's parameters.
    """
    if size() == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def from_first(value: float, device: torch.device) -> float:
    """The first process's `value`: clocks differ, and all must stop at the same step."""
    if size() == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return float(shared)
