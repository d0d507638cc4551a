"""Probability model of the latents: a hyperprior and a four-step context, in exact arithmetic.

    z_hat ─ h_s ─┬──────────── step 0 ─ mean, scale index of a quarter of the latents ─ symbols ─┐
                 ├─ y_hat so far ─ step 1 ─ …                                                  │
                 └─ … steps 2 and 3                                              y_hat ◄───────┘

The channels of the latents form four groups. Their positions form four phases, one for each
position within a 2×2 block. Step s codes channel group p XOR (0, 3, 1, 2)[s] at the positions of
phase p. Each step therefore codes one quarter of the latents, and four steps code all of them.
Within a group, step 1 codes the positions that are diagonal to those of step 0. This is a variant
of the quadtree partition of Li, Li, Lu: "Neural Video Compression with Diverse Contexts",
CVPR 2023.

Training, encoding and decoding all run `EntropyModel.run`. They differ in the callback that turns
predictions into symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.config import ModelConfig
from codec.model.exact import (
    ACTIVATION_BITS,
    LIMIT,
    ExactBlock,
    ExactDepthwise3x3,
    ExactHeads,
    ExactLayer,
    ExactLinear,
    round_to_grid,
    to_grid,
)
from codec.model.layers import QualityTable, depth_to_space

INDEX_PER_UNIT = 8.0
"""A head output of 1 changes the scale index by 8."""

STEP_XOR = (0, 3, 1, 2)

Quantizer = Callable[[int, Tensor, Tensor], Tensor]
"""Maps (step, mean, scale index) to symbols.

All tensors are 4×N×h/2×w/2×M/4. Their first axis is the phase.
"""


def split_phases(x: Tensor) -> Tensor:
    """Rearrange N×h×w×C, h and w even, to 4×N×h/2×w/2×C."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, c).permute(2, 4, 0, 1, 3, 5)
    return x.reshape(4, n, h // 2, w // 2, c)


def merge_phases(x: Tensor) -> Tensor:
    """The inverse of `split_phases`."""
    _, n, h, w, c = x.shape
    x = x.reshape(2, 2, n, h, w, c).permute(2, 3, 0, 4, 1, 5)
    return x.reshape(n, 2 * h, 2 * w, c)


def group_of(step: int, phase: int) -> int:
    """Return the channel group that `step` codes at the positions of `phase`."""
    return phase ^ STEP_XOR[step]


def inside(size: tuple[int, int], device: torch.device) -> Tensor:
    """Return a bool mask of the positions of the 4×h/2×w/2 phase grid that lie within `size`."""
    rows = torch.arange(2 * -(-size[0] // 2), device=device) < size[0]
    columns = torch.arange(2 * -(-size[1] // 2), device=device) < size[1]
    grid = rows[:, None] & columns[None, :]
    mask: Tensor = grid.unflatten(0, (-1, 2)).unflatten(2, (-1, 2)).permute(1, 3, 0, 2).flatten(0, 1)
    return mask


class HyperSynthesisTransform(nn.Module):
    """Hyper-synthesis transform h_s: maps z_hat N×h×w×C to features N×4h×4w×hyper_width."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.hyper_width
        self.up_32 = ExactLinear(config.hyper_latents, 4 * width, activation=True)
        self.spatial_32 = ExactDepthwise3x3(width)
        self.up_16 = ExactLinear(width, 4 * width, activation=True)
        self.spatial_16 = ExactDepthwise3x3(width)

    def forward(self, z_hat: Tensor) -> Tensor:
        x = depth_to_space(self.up_32(z_hat.clamp(-LIMIT, LIMIT)), 2)  # only a bound: |z| < 20 in practice
        x = depth_to_space(self.up_16(self.spatial_32(x)), 2)
        out: Tensor = self.spatial_16(x)
        return out


class EntropyModel(nn.Module):
    """Predicts mean and scale index of each latent from hyper-latents and earlier latents."""

    scale: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, hyper = config.context_width, config.hyper_width
        # Powers of two. Dividing by them brings each latent channel near unit variance.
        self.register_buffer("scale", torch.ones(config.latents))
        self.hyper_synthesis = HyperSynthesisTransform(config)
        self.quality = QualityTable(hyper)
        self.index_offset = QualityTable(config.latents)
        self.adapt = nn.ModuleList(
            ExactLinear(hyper + (config.latents if step else 0), width) for step in range(4)
        )
        self.blocks = nn.ModuleList(ExactBlock(width) for _ in range(config.context_blocks))
        self.heads = nn.ModuleList(ExactHeads(width, config.latents // 2, 0.1) for _ in range(4))
        self.frozen = False

    @torch.no_grad()
    def freeze(self) -> dict[str, float]:
        """Switch permanently to exact arithmetic.

        Return the proven bound on the sums of each layer, by layer name. Raises `InexactLayer`.
        """
        bounds = {}
        for name, layer in self.named_modules():
            if isinstance(layer, ExactLayer):
                bounds[name] = layer.freeze()
            elif isinstance(layer, QualityTable):
                table = round_to_grid(layer.table.double(), ACTIVATION_BITS)
                layer.table = nn.Parameter(table.clamp(-LIMIT, LIMIT), requires_grad=False)
        self.scale = self.scale.double()
        self.frozen = True
        return bounds

    def normalise(self, y: Tensor) -> Tensor:
        """Return the latents `y` divided by `scale`, the units that the networks use."""
        x = y / self.scale
        return to_grid(x) if self.frozen else x

    def run(self, z_hat: Tensor, level: Tensor, size: tuple[int, int], quantizer: Quantizer) -> Tensor:
        """Run the four steps. Return the quantized latents y_hat (symbol + mean), N×h×w×M.

        `z_hat` is N×⌈h/4⌉×⌈w/4⌉×C and holds integers, `level` holds N quality levels, and `size` is
        (h, w). The networks work on even heights and widths. Positions beyond `size` are zeros for
        them, whatever `quantizer` returns.
        """
        h, w = size[0] + size[0] % 2, size[1] + size[1] % 2
        quarter = self.config.latents // 4
        hyper = self.hyper_synthesis(z_hat)[:, :h, :w] + self.quality(level)
        hyper = to_grid(hyper) if self.frozen else hyper
        offset = self.index_offset(level)[:, 0, 0].unflatten(-1, (4, quarter))  # N×4×quarter
        scale = self.scale.unflatten(-1, (4, quarter))
        n = hyper.shape[0]
        nothing = hyper.new_zeros(n, h // 2, w // 2, quarter)
        mask = inside(size, hyper.device)[:, None, :, :, None]
        slots = [[nothing] * 4 for _ in range(4)]  # [phase][group]
        for step in range(4):
            groups = [group_of(step, phase) for phase in range(4)]
            x = hyper
            if step:
                y_hat = _merge_slots(slots)
                x = torch.cat([self.normalise(y_hat).to(hyper.dtype), hyper], -1)
            x = self.adapt[step](x)
            for block in self.blocks:
                x = block(x)
            phases = split_phases(x)
            out = self.heads[step](phases.flatten(1, 3)).unflatten(1, phases.shape[1:4])
            mean, index = out.float().chunk(2, -1) if not self.frozen else out.chunk(2, -1)
            mean = mean * scale[groups][:, None, None, None]
            index = index * INDEX_PER_UNIT + offset[:, groups].transpose(0, 1)[:, :, None, None]
            symbols = quantizer(step, mean, index)
            quantized = (symbols + mean) * mask
            for phase, group in enumerate(groups):
                slots[phase][group] = quantized[phase]
        return _merge_slots(slots)[:, : size[0], : size[1]]


def _merge_slots(slots: list[list[Tensor]]) -> Tensor:
    """Join the quarters of all phases and groups, each N×h/2×w/2×M/4, to N×h×w×M."""
    return merge_phases(torch.stack([torch.cat(row, -1) for row in slots]))


def step_values(y: Tensor, step: int) -> Tensor:
    """Select the latents that `step` codes: N×h×w×M to 4×N×h/2×w/2×M/4.

    Odd sizes are padded with zeros.
    """
    y = F.pad(y, (0, 0, 0, y.shape[2] % 2, 0, y.shape[1] % 2))
    phases = split_phases(y).unflatten(-1, (4, -1))
    return torch.stack([phases[phase, ..., group_of(step, phase), :] for phase in range(4)])


def merge_steps(values: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """The inverse of `step_values` for all four steps: N×h×w×M, `size` is (h, w)."""
    slots = [[values[0][0]] * 4 for _ in range(4)]
    for step, quarter in enumerate(values):
        for phase in range(4):
            slots[phase][group_of(step, phase)] = quarter[phase]
    return _merge_slots(slots)[:, : size[0], : size[1]]
