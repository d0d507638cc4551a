"""Several processes, one model: what `torchrun` asks of the training loop, and nothing more.

Every process cuts its own crops and computes its own gradient; gradients are averaged, so all take
the same step. The first process keeps the time, writes the files and speaks. Without `torchrun` all of
this does nothing.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import Tensor, nn


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


def average_gradients(model: nn.Module) -> None:
    """Replace every gradient by its mean over the processes, in one exchange."""
    if size() == 1:
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, mean in zip(gradients, (flat / size()).split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def from_first(value: float, device: torch.device) -> float:
    """The first process's `value`: clocks differ, and all must stop at the same step."""
    if size() == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return float(shared)


def share_start(tensors: list[Tensor]) -> None:
    """Overwrite `tensors` with those of the first process."""
    if size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)
