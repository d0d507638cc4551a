"""Analysis and synthesis transforms: pixels to latents and back, in floating point.

                   ┌───────────── linear shortcut ────────────┐
    x ─1×1─ blocks at 1/8 ─┴─ 2×2 stride 2 ─ blocks at 1/16 ─ 1×1 ─┴─(× gain)─ y        g_a
    y ─(× gain)─┬─ 1×1 ─ blocks at 1/16 ─ 1×1 ─┬─ blocks at 1/8 ─ 1×1 ─ x̂               g_s
                └─────── linear shortcut ──────┘

No layer runs at full resolution, so the transforms are fast on a CPU. The linear path is
initialised as a two-stage Karhunen–Loève transform (see `training.initialisation`), and everything
beside it is initialised to zero. An untrained model is therefore a linear block-transform codec.
The shortcut is kept permanently, so the number of latents does not depend on the width of the
blocks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.config import ModelConfig
from codec.model.layers import (
    Block,
    Depthwise3x3,
    Linear,
    Linear32,
    QualityTable,
    ResidualLinear,
    depth_to_space,
    leaky_relu,
    multiply,
    space_to_depth,
)

PATCH = 8
"""Side in pixels of the patches from which the first layer makes features at 1/8."""


class AnalysisTransform(nn.Module):
    """Analysis transform g_a: maps pixels N×H×W×3 in [0,1] to scaled latents N×H/16×W/16×M.

    H and W must be multiples of 16.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c8, c16 = config.analysis_width_8, config.analysis_width_16
        self.embed = Linear32(PATCH * PATCH * 3, c8)
        self.scale_8 = QualityTable(c8, 1.0)
        self.blocks_8 = nn.Sequential(*(Block(c8, c8) for _ in range(config.analysis_blocks_8)))
        self.shortcut = Linear32(4 * c8, config.latents)
        self.down = nn.Linear(4 * c8, c16)
        self.scale_16 = QualityTable(c16, 1.0)
        self.blocks_16 = nn.Sequential(*(Block(c16, c16) for _ in range(config.analysis_blocks_16)))
        self.latents = ResidualLinear(c16, config.latents)
        self.log_gain = QualityTable(config.latents)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        x = self.embed(space_to_depth(x, PATCH))
        x = space_to_depth(self.blocks_8(multiply(x, self.scale_8(level))), 2)
        shortcut = self.shortcut(x)
        x = self.blocks_16(multiply(self.down(x), self.scale_16(level)))
        return multiply(self.latents(shortcut, x), torch.exp(self.log_gain(level)))


class SynthesisTransform(nn.Module):
    """Synthesis transform g_s: maps quantized latents N×h×w×M to pixels N×16h×16w×3.

    Pixels are nominally in [0,1] and are not clamped.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c8, c16 = config.width_8, config.width_16
        self.log_gain = QualityTable(config.latents)
        self.shortcut = Linear32(config.latents, 4 * c8)
        self.latents = Linear(config.latents, c16)
        self.blocks_16 = nn.Sequential(*(Block(c16, config.inner_16) for _ in range(config.blocks_16)))
        self.scale_16 = QualityTable(c16, 1.0)
        self.up = ResidualLinear(c16, 4 * c8)
        self.blocks_8 = nn.Sequential(*(Block(c8, config.inner_8) for _ in range(config.blocks_8)))
        self.scale_8 = QualityTable(c8, 1.0)
        self.pixels = Linear32(c8, PATCH * PATCH * 3)

    def dequantise(self, y_hat: Tensor, level: Tensor) -> Tensor:
        """Return y_hat times the quantization step of each channel at this level."""
        return y_hat * torch.exp(self.log_gain(level))

    def forward(self, y_hat: Tensor, level: Tensor) -> Tensor:
        return depth_to_space(self.patches(y_hat, level), PATCH)

    def patches(self, y_hat: Tensor, level: Tensor) -> Tensor:
        """Return the pixels as patches of 8×8: N×2h×2w×192, in (row, column, channel) order."""
        y = self.dequantise(y_hat, level)
        x = multiply(self.blocks_16(self.latents(y)), self.scale_16(level))
        x = depth_to_space(self.up(self.shortcut(y), x), 2)
        patches: Tensor = self.pixels(multiply(self.blocks_8(x), self.scale_8(level)))
        return patches


class HyperAnalysisTransform(nn.Module):
    """Hyper-analysis transform h_a: maps normalised latents N×h×w×M to hyper-latents.

    Hyper-latents are N×⌈h/4⌉×⌈w/4⌉×C and not yet rounded.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.hyper_width
        self.squeeze = nn.Linear(config.latents, width)
        self.spatial_16 = Depthwise3x3(width)
        self.down_32 = nn.Linear(4 * width, width)
        self.spatial_32 = Depthwise3x3(width)
        self.down_64 = nn.Linear(4 * width, config.hyper_latents)

    def forward(self, y: Tensor) -> Tensor:
        h, w = y.shape[1:3]
        y = F.pad(y, (0, 0, 0, -w % 4, 0, -h % 4))
        x = self.spatial_16(leaky_relu(self.squeeze(y)))
        x = leaky_relu(self.down_32(space_to_depth(x, 2)))
        x = space_to_depth(self.spatial_32(x), 2)
        z: Tensor = self.down_64(x)
        return z
