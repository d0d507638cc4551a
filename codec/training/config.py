"""Training configuration: one TOML file per model size."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from codec.model.config import ModelConfig
from codec.model.quantization import LARGEST_DEAD_ZONE, SCALES
from codec.model.weights import Metric, Objective, check_metric
from codec.training.optimizer import OPTIMIZERS

SMALLEST_SIDE: dict[Metric, int] = {"mse": 64, "ms-ssim": 192, "visual": 192}
"""Smallest side in pixels of crops and validation pictures for each metric, a multiple of 64.

MS-SSIM halves pictures four times.
"""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Training settings. `lambdas` are the values at quality 0 and quality 100."""

    name: str
    model: ModelConfig
    crop: int = 256
    batch: int = 8
    optimizer: str = "adamw"
    metric: Metric = "mse"
    """Distortion metric: "mse", "ms-ssim" or "visual" (MS-SSIM and SSIMULACRA2)."""
    learning_rate: float = 1e-3
    linear_rate: float = 0.1
    """Factor on the learning rate for the linear path."""
    warmup_steps: int = 200
    decay: float = 0.35
    clip: float = 1.0
    ema: float = 0.999
    lambdas: tuple[float, float] = (0.0006, 0.2)
    frozen_encoder: bool = False
    """Whether this is the last phase of training.

    In the last phase the analysis transforms are frozen, and the parts that a decoder runs are
    trained on real symbols."""
    dead_zone: float = 0.0
    """Dead zone in the last phase and in the encoder of the trained model.

    See `codec.model.quantization.shrink`."""
    skip: int = 4
    """Symbols whose scale index is at most `skip` are 0 and are not coded."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            if kind in (int, float) and not _is_number(value, kind):
                needed = "an integer" if kind is int else "a finite number"
                raise ValueError(f"{field.name} must be {needed}, not {value!r}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {OPTIMIZERS}, not {self.optimizer!r}")
        check_metric(self.metric)
        smallest = SMALLEST_SIDE[self.metric]
        if self.crop < smallest and self.metric != "mse":
            raise ValueError(f"{self.metric} needs crops of {smallest} pixels or more, not {self.crop}")
        if not isinstance(self.lambdas, tuple) or not all(_is_number(v, float) for v in self.lambdas):
            raise ValueError(f"lambdas must be two numbers, not {self.lambdas!r}")
        if self.warmup_steps < 1 or self.learning_rate <= 0 or self.clip <= 0 or self.linear_rate < 0:
            raise ValueError(
                "warmup_steps, learning_rate and clip must be positive, linear_rate must not be negative"
            )
        if not isinstance(self.frozen_encoder, bool):
            raise ValueError(f"frozen_encoder must be true or false, not {self.frozen_encoder!r}")
        if not 0 <= self.dead_zone <= LARGEST_DEAD_ZONE:
            raise ValueError(f"dead_zone must be from 0 to {LARGEST_DEAD_ZONE}, not {self.dead_zone}")
        if not 0 <= self.skip < SCALES:
            raise ValueError(f"skip must be from 0 to {SCALES - 1}, not {self.skip}")
        if self.dead_zone and not self.frozen_encoder:
            raise ValueError("dead_zone needs frozen_encoder: an encoder in training works around it")
        if self.crop < 64 or self.crop % 64:
            raise ValueError(f"crop must be a positive multiple of 64, not {self.crop}")
        if self.batch < 1 or not 0 < self.decay <= 1 or not 0 < self.ema < 1:
            raise ValueError("batch must be positive, decay must be in (0, 1], ema must be in (0, 1)")
        if len(self.lambdas) != 2 or not 0 < self.lambdas[0] < self.lambdas[1]:
            raise ValueError("lambdas must be two increasing positive numbers")

    @property
    def objective(self) -> Objective:
        """The training objective and the rounding of the encoder."""
        return Objective(self.lambdas, self.metric, self.dead_zone, self.skip)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """Create a configuration from the tables of a TOML file.

        Raises `ValueError` for invalid values and for unknown keys, which it names.
        """
        for table in ("model", "training"):
            if not isinstance(values.get(table, {}), dict):
                raise ValueError(f"{table} must be a table")
        training = dict(values.get("training", {}))
        known = {field.name for field in dataclasses.fields(cls)} - {"name", "model"}
        unknown = values.keys() - {"name", "model", "training"} | training.keys() - known
        if unknown:
            raise ValueError(f"unknown configuration keys: {', '.join(sorted(unknown))}")
        if isinstance(training.get("lambdas"), list):
            training["lambdas"] = tuple(training["lambdas"])
        model = ModelConfig.from_dict(values.get("model", {}))
        return cls(name=str(values.get("name", "unnamed")), model=model, **training)

    def as_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`, for checkpoints and metadata."""
        training = dataclasses.asdict(self)
        return {"name": training.pop("name"), "model": training.pop("model"), "training": training}


def _is_number(value: Any, kind: type[int] | type[float]) -> bool:
    """Return whether `value` is a finite integer, or also a finite float if `kind` is float.

    TOML allows nan and inf.
    """
    if isinstance(value, bool) or not isinstance(value, (int, kind)):
        return False
    return math.isfinite(float(value))


def override(values: dict[str, Any], assignments: Iterable[str]) -> None:
    """Set entries of the tables of a TOML file from assignments "table.key=value".

    Raises `ValueError` for any other form.
    """
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        table, dot, name = key.strip().partition(".")
        if not (equals and dot and table in ("model", "training") and name):
            raise ValueError(f"expected model.KEY=VALUE or training.KEY=VALUE, not {assignment!r}")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value.strip()  # names need no quotes
        values.setdefault(table, {})[name] = parsed


def load_config(source: str | Path, overrides: Iterable[str] = ()) -> TrainingConfig:
    """Load a configuration and change it by `override`.

    `source` is the path of a TOML file, or the name of a file shipped in `codec/configs`.
    """
    path = Path(source)
    if path.suffix == ".toml":
        text = path.read_text(encoding="utf-8")
    else:
        shipped = resources.files("codec") / "configs" / f"{source}.toml"
        if not shipped.is_file():
            raise ValueError(f"no configuration named {source!r}")
        text = shipped.read_text(encoding="utf-8")
    values = tomllib.loads(text)
    override(values, overrides)
    return TrainingConfig.from_dict(values)
