"""Check that processes that train on different crops end with the same parameters.

`test_training` runs this under torchrun.

    torchrun --nproc-per-node 2 -m tests.support.distributed_worker CONFIG.toml [TABLE.KEY=VALUE …]

It trains once with the configuration and once more with each of the changes, and prints for each
run the number of processes and the number of different results.
"""

from __future__ import annotations

import hashlib
import sys

import torch
import torch.distributed as dist

from codec.training import distributed
from codec.training.config import TrainingConfig, load_config
from codec.training.loop import Budget, Trainer


def main() -> None:
    device = distributed.start(torch.device("cpu"))
    for changes in ([], *([change] for change in sys.argv[2:])):
        _train(load_config(sys.argv[1], changes), device)
    distributed.stop()


def _train(config: TrainingConfig, device: torch.device) -> None:
    torch.manual_seed(distributed.rank())  # different parameters and crops in each process
    trainer = Trainer(config, device)
    trainer.replica = distributed.replicate(trainer.model, device)
    for _ in range(2):
        size = (config.batch, config.crop, config.crop, 3)
        trainer.train_step(torch.randint(0, 256, size, dtype=torch.uint8), Budget(1.0))
    state = b"".join(value.numpy().tobytes() for value in trainer.model.state_dict().values())
    digests: list[str | None] = [None] * distributed.size()
    dist.all_gather_object(digests, hashlib.sha256(state).hexdigest())
    if distributed.rank() == 0:
        print(len(digests), len(set(digests)))


if __name__ == "__main__":
    main()
