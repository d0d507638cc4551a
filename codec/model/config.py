"""Model configuration: the numbers that determine the shape of every weight."""

from __future__ import annotations

import dataclasses
from typing import Any

QUALITY_ANCHORS = 9
"""Learned quality tables have one row per anchor. Levels between anchors are interpolated."""

STEP_BITS = 7
STEPS_PER_ANCHOR = 1 << STEP_BITS
"""Quality levels from one anchor to the next. A power of two makes interpolation exact."""

MAX_LEVEL = (QUALITY_ANCHORS - 1) * STEPS_PER_ANCHOR
"""Quality levels are the integers 0…1024. A file stores the quality level."""

PIXELS_PER_LATENT = 16
LATENTS_PER_HYPER_LATENT = 4


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Widths and depths of one model size. Widths count channels and depths count blocks."""

    latents: int = 320
    """Channels of the latents y; a multiple of four."""
    hyper_latents: int = 64
    """Channels of the hyper-latents z."""
    analysis_width_8: int = 128
    """Channels of the analysis transform at 1/8 of the picture's resolution."""
    analysis_width_16: int = 192
    analysis_blocks_8: int = 5
    """Blocks of the analysis transform at 1/8. `analysis_blocks_16` gives those at 1/16."""
    analysis_blocks_16: int = 5
    width_8: int = 128
    """Channels of the synthesis transform at 1/8. `width_16` gives those at 1/16."""
    width_16: int = 192
    blocks_8: int = 2
    blocks_16: int = 2
    inner_8: int = 64
    """Channels inside the blocks of the synthesis transform at 1/8."""
    inner_16: int = 192
    scale_width: int = 160
    """Hidden channels of the scale model."""
    hyper_width: int = 128
    """Channels of the hyper-analysis transform, and of the features from which means follow."""
    context_width: int = 128
    """Channels of the mean model. `context_blocks` gives its blocks."""
    context_blocks: int = 1
    context_steps: int = 4
    """Steps in which means are predicted, 2 or 4. A step sees the latents of the steps before."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, lowest = getattr(self, field.name), 0 if "blocks" in field.name else 1
            if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= 4096:
                raise ValueError(f"{field.name} must be an integer from {lowest} to 4096, not {value!r}")
        if self.latents % 4:
            raise ValueError(f"latents must be a multiple of 4, not {self.latents}")
        if self.context_steps not in (2, 4):
            raise ValueError(f"context_steps must be 2 or 4, not {self.context_steps}")
        if self.width_8 > self.analysis_width_8:
            raise ValueError(
                f"width_8 must be at most analysis_width_8, {self.analysis_width_8}, not {self.width_8}"
            )
        for name, of_8, of_16 in (
            ("analysis_width", self.analysis_width_8, self.analysis_width_16),
            ("width", self.width_8, self.width_16),
        ):
            if of_8 > 192 or max(of_16, self.latents) > 4 * of_8:
                raise ValueError(
                    f"widths are too large: {name}_8 must be at most 192, "
                    f"{name}_16 and latents at most 4 * {name}_8"
                )

    @property
    def halo(self) -> int:
        """Number of latents that a window needs beyond its tile for a seamless synthesis transform.

        Each 3×3 layer at 1/16 extends the reach by one latent, each 3×3 layer at 1/8 by half a
        latent.
        """
        return self.blocks_16 + (self.blocks_8 + 1) // 2

    def as_dict(self) -> dict[str, int]:
        """Return the fields as plain integers, for metadata."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Create a configuration from the dict of `as_dict`.

        Raises `ValueError` that names the unknown or invalid fields.
        """
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"unknown model fields: {', '.join(sorted(unknown))}")
        return cls(**values)
