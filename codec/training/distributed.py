"""Training of one model in several processes, started by `torchrun`.

Every process cuts its own crops and computes its own gradient. Gradients are averaged, so all
processes take the same step. The first process measures the time, writes the files and reports.
Without `torchrun` these functions have no effect.
"""

from __future__ import annotations

import gc
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def start(device: torch.device | None) -> torch.device:
    """Join the process group if `torchrun` started this process. Return the device to use."""
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
    """Leave the process group."""
    if dist.is_available() and dist.is_initialized():
        # Replicas are in reference cycles and hold the group. Its threads must end before the
        # interpreter does, or it aborts.
        gc.collect()
        dist.destroy_process_group()
        gc.collect()


def rank() -> int:
    """Return the rank of this process. The first process has rank 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def replicate(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the module to use for the forward pass.

    With a single process this is `model`. With several processes it is a wrapper that averages
    gradients as they are computed, and every process starts from the parameters of the first.
    """
    if size() == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def from_first(value: float, device: torch.device) -> float:
    """Return `value` of the first process.

    Clocks differ between processes, but all processes must stop at the same step.
    """
    if size() == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return float(shared)
