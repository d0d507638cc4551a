"""The mean model: predicts the mean of every latent from hyper-latents and earlier latents.

    z_hat ─ features ─┬─ step 0 ─ means of a part of the latents ─┬─ y_hat of this part
                      ├─ step 1, which sees y_hat so far ─ …      │
                      └─ …                              symbols ──┘

The channels of the latents form as many groups as there are steps. Their positions form four
phases, one for each position within a 2×2 block. With four steps, step s codes channel group
p XOR (0, 3, 1, 2)[s] at the positions of phase p; with two steps, it codes group s at positions
whose row and column are both even or both odd, and the other group elsewhere. This is a variant of
the quadtree partition of Li, Li, Lu: "Neural Video Compression with Diverse Contexts", CVPR 2023.

The decoder of symbols never sees a mean: tables have mean zero and code the difference. Means are
therefore computed in floating point. A mean that differs in its last bits between two machines
changes a latent by as much, and no symbol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.config import ModelConfig
from codec.model.layers import Depthwise3x3, QualityTable, ResidualLinear, depth_to_space, leaky_relu

_PHASES = 4
_XOR = {2: (0, 1), 4: (0, 3, 1, 2)}

Quantizer = Callable[[int, Tensor], Tensor]
"""Maps (step, mean) to symbols; both are 4×N×h/2×w/2×M/steps. Their first axis is the phase."""


def split_phases(x: Tensor) -> Tensor:
    """Rearrange N×h×w×C, h and w even, to 4×N×h/2×w/2×C."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, c).permute(2, 4, 0, 1, 3, 5)
    return x.reshape(_PHASES, n, h // 2, w // 2, c)


def merge_phases(x: Tensor) -> Tensor:
    """The inverse of `split_phases`."""
    _, n, h, w, c = x.shape
    x = x.reshape(2, 2, n, h, w, c).permute(2, 3, 0, 4, 1, 5)
    # If h and w are 1, the result is a view. Of an array that is not contiguous, torch makes one
    # product for each row of each picture.
    return x.reshape(n, 2 * h, 2 * w, c).contiguous()


def group_of(step: int, phase: int, steps: int) -> int:
    """Return the channel group that `step` of `steps` codes at the positions of `phase`."""
    return (phase if steps == _PHASES else phase >> 1 ^ phase & 1) ^ _XOR[steps][step]


def step_values(y: Tensor, step: int, steps: int) -> Tensor:
    """Select the latents that `step` codes: N×h×w×M, h and w even, to 4×N×h/2×w/2×M/steps."""
    phases = split_phases(y).unflatten(-1, (steps, -1))
    return torch.stack([phases[phase, ..., group_of(step, phase, steps), :] for phase in range(_PHASES)])


def merge_steps(values: Sequence[Tensor], steps: int) -> Tensor:
    """The inverse of `step_values` for the first steps: N×h×w×M, zeros for steps to come."""
    nothing = torch.zeros_like(values[0][0]) if len(values) < steps else values[0][0]
    slots = [[nothing] * steps for _ in range(_PHASES)]
    for step, part in enumerate(values):
        for phase in range(_PHASES):
            slots[phase][group_of(step, phase, steps)] = part[phase]
    return merge_phases(torch.stack([torch.cat(row, -1) for row in slots]))


class ContextBlock(nn.Module):
    """Residual block of 1×1, depthwise 3×3 and 1×1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix_in = nn.Linear(channels, channels)
        self.spatial = Depthwise3x3(channels)
        self.mix_out = ResidualLinear(channels, channels, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map N×H×W×C to the same shape. Without gradients the output overwrites `x`."""
        inner = leaky_relu(self.spatial(leaky_relu(self.mix_in(x))))
        out: Tensor = self.mix_out(x, inner)
        return out


class MeanModel(nn.Module):
    """Predicts the mean of each latent, step by step."""

    scale: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, hyper, steps = config.context_width, config.hyper_width, config.context_steps
        self.steps = steps
        # Powers of two. Dividing by them brings each latent channel near unit variance.
        self.register_buffer("scale", torch.ones(config.latents))
        self.up_32 = nn.Linear(config.hyper_latents, 4 * hyper)
        self.spatial_32 = Depthwise3x3(hyper)
        self.up_16 = nn.Linear(hyper, 4 * hyper)
        self.spatial_16 = Depthwise3x3(hyper)
        self.quality = QualityTable(hyper)
        self.condition = nn.Linear(hyper, steps * width)
        self.context = nn.ModuleList(nn.Linear(config.latents, width, bias=False) for _ in range(steps - 1))
        self.blocks = nn.ModuleList(ContextBlock(width) for _ in range(config.context_blocks))
        self.heads = nn.Parameter(
            torch.randn(steps, _PHASES, width, config.latents // steps) * 0.1 * width**-0.5
        )
        self.head_biases = nn.Parameter(torch.zeros(steps, _PHASES, 1, config.latents // steps))

    def normalise(self, y: Tensor) -> Tensor:
        """Return the latents `y` divided by `scale`, the units that the networks use."""
        return y / self.scale

    def features(self, z_hat: Tensor, level: Tensor) -> Tensor:
        """Return features N×4h×4w×hyper_width of hyper-latents N×h×w×C."""
        x = depth_to_space(leaky_relu(self.up_32(z_hat)), 2)
        x = depth_to_space(leaky_relu(self.up_16(self.spatial_32(x))), 2)
        out: Tensor = self.spatial_16(x) + self.quality(level)
        return out

    def run(self, z_hat: Tensor, level: Tensor, size: tuple[int, int], quantizer: Quantizer) -> Tensor:
        """Run the steps. Return the quantized latents y_hat (symbol + mean), N×h×w×M.

        `z_hat` is N×⌈h/4⌉×⌈w/4⌉×C and holds integers, `level` holds N quality levels, and `size` is
        (h, w). Odd sizes are padded to even ones; `quantizer` should return zeros for the padding.
        """
        h, w = size[0] + size[0] % 2, size[1] + size[1] % 2
        features = self.features(z_hat, level)[:, :h, :w].contiguous()  # see `merge_phases`
        conditions = self.condition(features).chunk(self.steps, -1)
        parts: list[Tensor] = []
        for step in range(self.steps):
            x = conditions[step]
            if step:
                x = x + self.context[step - 1](self.normalise(merge_steps(parts, self.steps)))
            x = F.leaky_relu(x, 0.125)  # a copy: the blocks overwrite it
            for block in self.blocks:
                x = block(x)
            phases = split_phases(x)
            with torch.autocast(x.device.type, enabled=False):
                # In bfloat16 a mean of several hundred steps would be wrong by a whole step.
                flat = phases.flatten(1, 3).float()
                mean = torch.baddbmm(self.head_biases[step], flat, self.heads[step])
                mean = mean.unflatten(1, phases.shape[1:4]) * self._scales(step)
            parts.append(quantizer(step, mean) + mean)
        return self.merge(parts, size)

    def select(self, x: Tensor, step: int) -> Tensor:
        """Return the part of N×h×w×M that `step` codes, as a `Quantizer` sees it.

        Odd sizes are padded with zeros.
        """
        return step_values(F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2)), step, self.steps)

    def merge(self, parts: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """The inverse of `select` for all steps."""
        return merge_steps(parts, self.steps)[:, : size[0], : size[1]]

    def _scales(self, step: int) -> Tensor:
        groups = [group_of(step, phase, self.steps) for phase in range(_PHASES)]
        scales: Tensor = self.scale.unflatten(-1, (self.steps, -1))[groups]
        return scales[:, None, None, None]
