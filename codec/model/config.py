"""Model configuration: the numbers that determine the shape of every weight."""

from __future__ import annotations

import dataclasses
from typing import Any

QUALITY_ANCHORS = 9
"""Learned quality tables have one row per anchor. Levels between anchors are interpolated."""

STEPS_PER_ANCHOR = 128
"""Quality levels from one anchor to the next. A power of two makes interpolation exact."""

MAX_LEVEL = (QUALITY_ANCHORS - 1) * STEPS_PER_ANCHOR
"""Quality levels are the integers 0…1024. A file stores the quality level."""

PIXELS_PER_LATENT = 16
LATENTS_PER_HYPER_LATENT = 4


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Widths and depths of one model size. Widths count channels and depths count blocks."""

    width_8: int = 128
    """Channels at 1/8 of the picture's resolution."""
    width_16: int = 192
    """Channels at 1/16 of the picture's resolution."""
    blocks_8: int = 3
    """Blocks of the analysis transform at 1/8. `blocks_16` gives those at 1/16."""
    blocks_16: int = 3
    synthesis_blocks_8: int = 3
    synthesis_blocks_16: int = 3
    latents: int = 320
    """Channels of the latents y; a multiple of four."""
    hyper_latents: int = 64
    """Channels of the hyper-latents z."""
    hyper_width: int = 128
    context_width: int = 192
    context_blocks: int = 2

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 4096:
                raise ValueError(f"{field.name} must be an integer from 1 to 4096, not {value!r}")
        if self.latents % 4:
            raise ValueError(f"latents must be a multiple of 4, not {self.latents}")
        if self.width_8 > 192 or max(self.width_16, self.latents) > 4 * self.width_8:
            raise ValueError(
                "widths are too large: width_8 must be at most 192, width_16 and latents at most 4 * width_8"
            )

    @property
    def halo(self) -> int:
        """Number of latents that a window needs beyond its tile for seamless transforms.

        Each 3×3 layer at 1/16 extends the reach by one latent, each 3×3 layer at 1/8 by half a
        latent.
        """
        return max(
            self.blocks_16 + (self.blocks_8 + 1) // 2,
            self.synthesis_blocks_16 + (self.synthesis_blocks_8 + 1) // 2,
        )

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
        # Until 0.2 both transforms had the same depths, and weights files stored them only once.
        mirrored = {f"synthesis_{name}": values[name] for name in ("blocks_8", "blocks_16") if name in values}
        return cls(**mirrored | values)
