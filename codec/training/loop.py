"""The training loop: a trunk at constant learning rate, a decay at the end, checkpoints, a log.

The length of a run is given in minutes or in crops. With minutes, the same command uses the
available time on any machine. With crops, runs on machines of different speed can be compared. When
the decay begins, the trunk is saved beside the checkpoint. A later run with a larger budget
continues from the trunk, so the training of several runs adds up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from codec.model.config import MAX_LEVEL
from codec.model.network import Model
from codec.model.runtime import has_bfloat16
from codec.model.weights import Objective
from codec.pictures.atomic import replacing
from codec.training import distributed
from codec.training.config import SMALLEST_SIDE, TrainingConfig
from codec.training.data import CropSampler, list_images, split, usable_images
from codec.training.initialisation import TrainedStart, initialise_from, initialise_with_klt
from codec.training.loss import psnr, rate_distortion
from codec.training.optimizer import build_optimizers, set_rate

CHECKPOINT = "checkpoint.pt"
TRUNK = "trunk.pt"
LOG = "log.jsonl"
VALIDATION_LEVELS = (0, 256, 512, 768, 1024)

Report = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class Budget:
    """The total length of a run, including earlier runs."""

    amount: float
    unit: Literal["minutes", "crops"] = "minutes"


class Trainer:
    """Model, optimisers, averaged weights and progress: everything that a checkpoint stores."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.mixed = has_bfloat16(device)
        self.model = Model(config.model).to(device)
        if config.frozen_encoder:
            self.model.analysis.requires_grad_(False)
            self.model.hyper_analysis.requires_grad_(False)
        self.replica: nn.Module = self.model
        """Module for the forward pass: the model, or its wrapper for several processes."""
        self.average = Model(config.model).to(device).requires_grad_(False)
        self.optimizers = build_optimizers(self.model, config.optimizer, config.linear_rate)
        self.step = 0
        self.minutes = 0.0
        self.crops = 0
        self.skipped = 0  # consecutive steps without a finite gradient
        self.decay_budget: Budget | None = None  # that of the schedule, once its decay has begun

    def save(self, path: Path) -> None:
        """Write a checkpoint. If interrupted, the previous checkpoint is left unchanged."""
        state = {
            "config": self.config.as_dict(),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "minutes": self.minutes,
            "crops": self.crops,
            "decay_budget": self.decay_budget and dataclasses.asdict(self.decay_budget),
        }
        with replacing(path) as file:
            torch.save(state, file)

    def load(self, path: Path) -> None:
        """Load a checkpoint.

        Raises `ValueError` if its model, objective, optimiser or phase differs.
        """
        # Load to the CPU: AdamW's step counters belong there. The rest is copied to the device.
        state = torch.load(path, map_location="cpu", weights_only=True)
        saved = TrainingConfig.from_dict(state["config"])
        for name in ("model", "lambdas", "metric", "optimizer", "frozen_encoder", "dead_zone", "skip"):
            if getattr(saved, name) != getattr(self.config, name):
                raise ValueError(f"{path} was trained with another {name}: start from weights with --init")
        if state["model"].keys() != self.model.state_dict().keys():
            raise ValueError(f"{path} was written by another version of codec, with other layers")
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, values in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        self.step = state["step"]
        self.minutes = state["minutes"]
        self.crops = state["crops"]
        self.decay_budget = state["decay_budget"] and Budget(**state["decay_budget"])

    def spent(self, budget: Budget) -> float:
        """Return the share of a budget that the run has used."""
        return (self.minutes if budget.unit == "minutes" else self.crops) / budget.amount

    def learning_rate(self, budget: Budget) -> float:
        """Return the learning rate.

        It rises during the warm-up steps, is then constant, and falls along a cosine to 2 % over
        the last share of the budget.
        """
        config = self.config
        rate = config.learning_rate * min(1.0, (self.step + 1) / config.warmup_steps)
        progress = (self.spent(budget) - (1 - config.decay)) / config.decay
        if progress > 0:
            rate *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return rate

    def train_step(self, pixels: Tensor, budget: Budget) -> dict[str, float]:
        """Run one optimiser step on N×S×S×3 uint8 and return figures for the log.

        A step without a finite gradient is skipped. Raises `ValueError` after too many in a row.
        """
        x = pixels.to(torch.float32) / 255
        level = torch.randint(0, MAX_LEVEL + 1, (len(x),), device=self.device)
        noise, dead_zone = not self.config.frozen_encoder, self.config.dead_zone
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            output = self.replica(x, level, noise=noise, dead_zone=dead_zone, skip=self.config.skip)
        loss = rate_distortion(output, x, level, self.config.lambdas, self.config.metric)
        self.model.zero_grad(set_to_none=True)
        loss.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        set_rate(self.optimizers, self.learning_rate(budget))
        if not torch.isfinite(norm):
            self.skipped += 1
            if self.skipped > 100:
                raise ValueError("training diverged: 100 steps without a finite gradient")
        else:
            self.skipped = 0
            for optimizer in self.optimizers:
                optimizer.step()
        self.step += 1
        # A short memory at first, so that the initial weights do not persist in the average.
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():  # otherwise every step adds a node to the graph of the average
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)
        return {
            "loss": float(loss.total.detach()),
            "bpp": float(loss.bpp.mean()),
            "hyper_bpp": float(loss.hyper_bpp.mean()),
            "mse": float(loss.mse.mean()),
            "gradient_norm": float(norm),
        }


@torch.no_grad()
def validate(model: Model, files: list[Path], objective: Objective) -> list[dict[str, float]]:
    """Return mean bpp, PSNR and loss of held-out pictures at five qualities.

    bpp is computed from estimated bits.
    """
    device = next(model.parameters()).device
    usable = usable_images(files, SMALLEST_SIDE[objective.metric])
    images = [torch.from_numpy(image)[None].to(device) for image in usable]
    rows = []
    for level in VALIDATION_LEVELS:
        levels = torch.tensor([level], device=device)
        total = bpp = decibels = hyper = 0.0
        for image in images:
            x = image.to(torch.float32) / 255
            output = model(x, levels, noise=False, dead_zone=objective.dead_zone, skip=objective.skip)
            output.x_hat = (output.x_hat.clamp(0, 1) * 255).round() / 255
            loss = rate_distortion(output, x, levels, objective.lambdas, objective.metric)
            total += float(loss.total)
            bpp += float(loss.bpp)
            hyper += float(loss.hyper_bpp)
            decibels += psnr(float(loss.mse))
        n = len(images)
        row = {"level": level, "loss": total / n, "bpp": bpp / n, "hyper_bpp": hyper / n}
        rows.append({**row, "psnr": decibels / n})
    return rows


def open_run(
    config: TrainingConfig, out: Path, budget: Budget, resume: bool, init: TrainedStart | None,
    device: torch.device, sampler: CropSampler,
) -> Trainer:
    """Return a new trainer, or one resumed from the newest state that fits the schedule.

    Raises `ValueError` if the arguments do not fit together or do not fit the files in `out`.
    """
    trainer = Trainer(config, device)
    if resume:
        if init is not None:
            raise ValueError("a run cannot both be resumed and start from other weights")
        if not (out / CHECKPOINT).exists():
            raise ValueError(f"nothing to resume in {out}")
        trainer.load(out / CHECKPOINT)
        # A decay for another budget is discarded: continue from the state where it began.
        if trainer.decay_budget not in (None, budget):
            trainer.load(out / TRUNK)
        return trainer
    if (out / CHECKPOINT).exists():
        raise ValueError(f"{out} already holds a run: pass --resume, or choose another folder")
    if config.frozen_encoder and (init is None or init.lambdas != config.lambdas):
        raise ValueError("frozen_encoder needs trained weights of the same lambdas: pass them with --init")
    if init is None:
        initialise_with_klt(trainer.model, sampler.batch(128), config.lambdas)
    else:
        initialise_from(trainer.model, init, config.lambdas)
    trainer.average.load_state_dict(trainer.model.state_dict())
    return trainer


def train(
    data: Path,
    out: Path,
    config: TrainingConfig,
    *,
    budget: Budget,
    resume: bool = False,
    init: TrainedStart | None = None,
    device: torch.device | None = None,
    seed: int = 0,
    report: Report = lambda entry: None,
    log_every: int = 100,
    save_minutes: float = 5.0,
    validate_minutes: float = 15.0,
) -> Model:
    """Train for `budget` in total, including earlier runs. Return the averaged model.

    `report` is called with every log entry, a dict, when it is written to `out/log.jsonl`. Under
    `torchrun` only the first process writes and reports. Speeds count the crops of all processes.
    """
    device = distributed.start(device)
    first = distributed.rank() == 0
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    training, held_out = split(list_images(data))
    sampler = CropSampler(training, config.crop, device, seed)
    usable_images(held_out, SMALLEST_SIDE[config.metric])
    trainer = open_run(config, out, budget, resume, init, device, sampler)
    trainer.replica = distributed.replicate(trainer.model, device)
    # Use another seed after a resume and in every process, so that crops are not repeated.
    sampler.generator.manual_seed(seed + trainer.step + 1_000_003 * distributed.rank())
    torch.manual_seed(seed + trainer.step + 1_000_003 * distributed.rank())

    with contextlib.ExitStack() as stack:
        log = stack.enter_context((out / LOG if first else Path(os.devnull)).open("a", encoding="utf-8"))

        def save(path: Path) -> None:
            if first:
                trainer.save(path)

        def write(entry: dict[str, Any]) -> None:
            if not first:
                return
            log.write(json.dumps(entry) + "\n")
            log.flush()
            report(entry)

        def progress() -> dict[str, Any]:
            return {
                "step": trainer.step, "minutes": round(trainer.minutes, 3), "crops": trainer.crops,
                "share": trainer.spent(budget),
            }

        def write_validation() -> None:
            if first:
                rows = validate(trainer.average, held_out, config.objective)
                write({**progress(), "validation": rows})

        @stack.callback
        def save_progress() -> None:  # also on Ctrl-C and errors
            if trainer.step > saved_step:
                save(out / CHECKPOINT)

        saved_step = trainer.step
        if init is not None:
            write_validation()  # figures of the initial weights
        sums: dict[str, float] = {}
        start, offset = time.monotonic(), trainer.minutes
        saved = validated = trainer.minutes
        window = time.monotonic()
        counted = 0
        while (share := trainer.spent(budget)) < 1:
            if trainer.decay_budget is None and share >= 1 - config.decay:
                save(out / TRUNK)
                trainer.decay_budget = budget
            counted += 1
            for key, value in trainer.train_step(sampler.batch(config.batch), budget).items():
                sums[key] = sums.get(key, 0.0) + value
            trainer.crops += config.batch * distributed.size()
            trainer.minutes = distributed.from_first(offset + (time.monotonic() - start) / 60, device)
            if trainer.step % log_every == 0:
                means = {key: value / counted for key, value in sums.items()}
                speed = counted * config.batch * distributed.size() / (time.monotonic() - window)
                write({
                    **progress(),
                    "learning_rate": trainer.learning_rate(budget),
                    **means,
                    "psnr": psnr(means.pop("mse")),
                    "patches_per_second": speed,
                })
                sums, counted, window = {}, 0, time.monotonic()
            if trainer.minutes - saved >= save_minutes:
                save(out / CHECKPOINT)
                saved, saved_step = trainer.minutes, trainer.step
            if trainer.minutes - validated >= validate_minutes:
                validated = trainer.minutes
                write_validation()
        save(out / CHECKPOINT)
        saved_step = trainer.step
        write_validation()
    return trainer.average
