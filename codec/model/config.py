"""What a model is made of: the numbers that decide the shape of every weight."""

from __future__ import annotations

import dataclasses
from typing import Any

QUALITY_ANCHORS = 9
"""Learned quality tables hold one row at each anchor and are interpolated between them."""

STEPS_PER_ANCHOR = 128
"""Quality levels between two anchors: a power of two, so that interpolation is exact."""

MAX_LEVEL = (QUALITY_ANCHORS - 1) * STEPS_PER_ANCHOR
"""Quality levels are the integers 0…1024; they are what a file stores."""

PIXELS_PER_LATENT = 16
LATENTS_PER_HYPER_LATENT = 4


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Widths and depths of one model size. All widths are channels, all depths are blocks."""

    width_8: int = 128
    """Channels at 1/8 of the picture's resolution."""
    width_16: int = 192
    """Channels at 1/16 of the picture's resolution."""
    blocks_8: int = 3
    """Of the analysis transform, as `blocks_16`."""
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
            raise ValueError("widths exceed the values they are computed from")

    @property
    def halo(self) -> int:
        """Latents that a window must see beyond its tile for the transforms to be seamless.

        Every 3×3 layer at 1/16 reaches one latent further, every one at 1/8 half a latent.
        """
        return max(
            self.blocks_16 + (self.blocks_8 + 1) // 2,
            self.synthesis_blocks_16 + (self.synthesis_blocks_8 + 1) // 2,
        )

    def as_dict(self) -> dict[str, int]:
        """The fields as plain integers, for metadata."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """The inverse of `as_dict`; `ValueError` names what is unknown or out of range."""
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"unknown model fields: {', '.join(sorted(unknown))}")
        # Until 0.2 the transforms had equal depths, and weights say only one.
        mirrored = {f"synthesis_{name}": values[name] for name in ("blocks_8", "blocks_16") if name in values}
        return cls(**mirrored | values)
