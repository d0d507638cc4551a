"""Check that processes that train on different crops end with the same parameters.

`test_training` runs this under torchrun.

    torchrun --nproc-per-node 2 -m tests.support.distributed_worker CONFIG.toml [TABLE.KEY=VALUE …]
"""

from __future__ import annotations

import hashlib
import sys

import torch
import torch.distributed as dist

from codec.training import distributed
from codec.training.config import load_config
from codec.training.loop import Trainer


def main() -> None:
    device = distributed.start(torch.device("cpu"))
    config = load_config(sys.argv[1], sys.argv[2:])
    torch.manual_seed(distributed.rank())  # different parameters and crops in each process
    trainer = Trainer(config, device)
    trainer.replica = distributed.replicate(trainer.model, device)
    for _ in range(2):
        size = (config.batch, config.crop, config.crop, 3)
        trainer.train_step(torch.randint(0, 256, size, dtype=torch.uint8), 1.0)
    state = b"".join(value.numpy().tobytes() for value in trainer.model.state_dict().values())
    digests: list[str | None] = [None] * distributed.size()
    dist.all_gather_object(digests, hashlib.sha256(state).hexdigest())
    if distributed.rank() == 0:
        print(len(digests), len(set(digests)))
    distributed.stop()


if __name__ == "__main__":
    main()
