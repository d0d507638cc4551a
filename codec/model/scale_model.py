"""The scale model: predicts the scale index of every latent, in exact arithmetic.

    z_hat ─ 3×3 at 1/64 (+ quality) ─ 1×1 ─ 1×1 to 4×4 latents (+ quality) ─ scale index

A scale index selects the table that codes a latent. It depends on the hyper-latents and the quality
level only, so all symbols of a tile are decoded in one pass, before any float network runs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.model.config import LATENTS_PER_HYPER_LATENT, STEP_BITS, ModelConfig
from codec.model.exact import (
    ACTIVATION_BITS,
    LIMIT,
    SUM_BITS,
    ExactLinear,
    check_products,
    neighbourhoods,
    round_to_grid,
    straight_through_grid,
    to_activation,
)
from codec.model.layers import QualityTable, depth_to_space, interpolate
from codec.model.quantization import SCALES

_INDEX_BITS = 3
INDEX_PER_UNIT = 2.0**_INDEX_BITS
"""An output of 1 of the last layer changes the scale index by 8."""

_TABLE_BITS = ACTIVATION_BITS + STEP_BITS
"""Entries of quality tables are multiples of 2^-4, and of 2^-_TABLE_BITS after interpolation."""


class ScaleModel(nn.Module):
    """Predicts scale indexes from hyper-latents. `freeze` switches it to exact arithmetic."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.scale_width
        self.hyper_latents = config.hyper_latents
        self.spatial = ExactLinear(9 * config.hyper_latents, width)
        self.quality = QualityTable(width)
        self.hidden = ExactLinear(width, width)
        self.index = ExactLinear(width, LATENTS_PER_HYPER_LATENT**2 * config.latents, gain=0.1)
        self.offset = QualityTable(config.latents)
        self.frozen = False

    @torch.no_grad()
    def freeze(self) -> int:
        """Switch permanently to exact arithmetic.

        Returns the bound on all sums, in units of their grids; it is below 2^24. Raises
        `InexactLayer`.
        """
        check_products()
        for table in (self.quality, self.offset):
            rounded = round_to_grid(table.table.double(), ACTIVATION_BITS)
            table.table = nn.Parameter(rounded.float(), requires_grad=False)
        quality, offset = (float(table.table.abs().max()) for table in (self.quality, self.offset))
        # The bounds on sums with a table include one on its entries. Interpolation is then exact.
        largest = max(
            self.spatial.freeze(quality, max(SUM_BITS, _TABLE_BITS)),
            self.hidden.freeze(),
            self.index.freeze(offset / INDEX_PER_UNIT, max(SUM_BITS, _TABLE_BITS + _INDEX_BITS)),
        )
        self.frozen = True
        return largest

    def _table(self, table: QualityTable, level: Tensor) -> Tensor:
        rows = table.table if self.frozen else straight_through_grid(table.table, ACTIVATION_BITS)
        return interpolate(rows, level)

    def forward(self, z_hat: Tensor, level: Tensor) -> Tensor:
        """Map hyper-latents N×h×w×C and N quality levels to real scale indexes N×4h×4w×M."""
        return depth_to_space(self._blocks(z_hat, level), LATENTS_PER_HYPER_LATENT)

    def indexes(self, z_hat: Tensor, level: Tensor) -> Tensor:
        """Return the scale indexes as integers from 0 to 63, N×4h×4w×M uint8.

        The model must be frozen, and `z_hat` holds integers.
        """
        indexes = self._blocks(z_hat, level).round_().clamp_(0, SCALES - 1).to(torch.uint8)
        return depth_to_space(indexes, LATENTS_PER_HYPER_LATENT)

    def _blocks(self, z_hat: Tensor, level: Tensor) -> Tensor:
        """Return the scale indexes of the 4×4 latents of each hyper-latent, N×h×w×16M."""
        with torch.autocast(z_hat.device.type, enabled=False):
            x = neighbourhoods(z_hat.float().clamp(-LIMIT, LIMIT))  # only a bound: |z| < 20 in practice
            x = to_activation(self.spatial(x) + self._table(self.quality, level))
            x = to_activation(self.hidden(x))
            offset = self._table(self.offset, level).repeat(1, 1, 1, LATENTS_PER_HYPER_LATENT**2)
            return torch.add(offset, self.index(x), alpha=INDEX_PER_UNIT)
