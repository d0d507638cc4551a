"""Steps of training whose gradient is not finite."""

from __future__ import annotations

import pytest
import torch

from codec.training.config import TrainingConfig
from codec.training.loop import Budget, Trainer
from tests.conftest import TINY


def test_steps_without_a_finite_gradient() -> None:
    """They change no weight, and a run of more than 100 of them ends with an error."""
    trainer, budget = Trainer(TrainingConfig("tiny", TINY), torch.device("cpu")), Budget(1.0)
    pixels = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    bias = trainer.model.synthesis.pixels.bias
    hook = bias.register_hook(lambda gradient: gradient * torch.nan)
    start, before = bias.detach().clone(), [parameter.clone() for parameter in trainer.model.parameters()]
    trainer.skipped = 99
    trainer.train_step(pixels, budget)
    for parameter, old in zip(trainer.model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
    with pytest.raises(ValueError, match="training diverged: 100 steps"):
        trainer.train_step(pixels, budget)
    hook.remove()
    trainer.train_step(pixels, budget)
    assert trainer.skipped == 0
    assert not torch.equal(bias, start)
