"""The transforms: their windows, their start as a linear codec, and bfloat16."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from codec.model.config import PIXELS_PER_LATENT, ModelConfig
from codec.model.layers import Depthwise3x3, Linear, Linear32, depth_to_space, in_bfloat16, space_to_depth
from codec.model.network import Model
from codec.training.initialisation import initialise_with_klt
from tests.conftest import LAMBDAS, TINY, tiny_model


def test_space_and_depth() -> None:
    x = torch.arange(2 * 8 * 12 * 3).reshape(2, 8, 12, 3)
    deep = space_to_depth(x, 4)
    assert torch.equal(deep[1, 1, 2].reshape(4, 4, 3), x[1, 4:8, 8:12])
    assert torch.equal(depth_to_space(deep, 4), x)


@pytest.mark.parametrize(("blocks_16", "blocks_8", "halo"), [(0, 0, 0), (1, 1, 2), (2, 2, 3), (2, 3, 4)])
def test_the_halo_is_the_reach_of_a_latent(blocks_16: int, blocks_8: int, halo: int) -> None:
    """A latent changes pixels up to `halo` latents away, and none beyond."""
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, blocks_16=blocks_16, blocks_8=blocks_8)
    assert config.halo == halo
    synthesis = Model(config).synthesis
    for parameter in synthesis.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    y = torch.zeros(1, 15, 15, config.latents, requires_grad=True)
    middle = slice(7 * PIXELS_PER_LATENT, 8 * PIXELS_PER_LATENT)
    synthesis(y, torch.tensor([500]))[:, middle, middle].square().sum().backward()
    assert y.grad is not None
    seen = y.grad[0].abs().sum(-1) > 0
    reach = max(abs(int(edge) - 7) for edge in torch.nonzero(seen).flatten())
    assert reach <= halo
    assert reach == halo or blocks_8 % 2  # half a latent is rounded up


def linear_part(config: ModelConfig) -> float:
    """Return the PSNR of an untrained model whose latents are not rounded."""
    torch.manual_seed(0)
    _, sampler = tiny_model()
    crops = sampler.batch(64)
    model = Model(config)
    initialise_with_klt(model, crops, LAMBDAS)
    x, level = crops.float() / 255, torch.tensor([900]).expand(64)
    with torch.no_grad():
        error = (model.synthesis(model.analysis(x, level), level) - x).square().mean()
    return float(-10 * torch.log10(error))


def test_an_untrained_model_is_a_block_transform() -> None:
    """With as many latents as samples nothing is lost. With fewer, the last components are."""
    whole = dataclasses.replace(
        TINY, latents=768, analysis_width_8=192, width_8=192, analysis_width_16=32, width_16=32
    )
    assert linear_part(whole) > 80
    fewer = [linear_part(dataclasses.replace(whole, latents=latents)) for latents in (384, 192, 64, 16)]
    assert 80 > fewer[0] > fewer[1] + 2 > fewer[2] + 4 > fewer[3] + 6 > 20


def test_a_narrow_decoder_starts_as_a_block_transform() -> None:
    """A decoder of fewer channels at 1/8 drops the last components of the first stage."""
    wide = dataclasses.replace(TINY, latents=160, analysis_width_8=96, width_8=96)
    found = [linear_part(dataclasses.replace(wide, width_8=width)) for width in (96, 80, 64, 48)]
    assert found[0] > found[1] > found[2] > found[3] > 25
    # Its quality is that of an encoder with as few channels: it decodes what it has well.
    narrow = dataclasses.replace(wide, analysis_width_8=48, width_8=48)
    assert found[3] == pytest.approx(linear_part(narrow), abs=0.5)


def test_bfloat16() -> None:
    """A copy of the synthesis transform multiplies in bfloat16, except on the linear path."""
    model, sampler = tiny_model()
    level = torch.tensor([300, 900])
    with torch.no_grad():
        y = model.analysis(sampler.batch(2).float() / 255, level).round()
        before = {name: value.clone() for name, value in model.synthesis.state_dict().items()}
        exact, fast = model.synthesis(y, level), in_bfloat16(model.synthesis)(y, level)
    assert fast.dtype == torch.float32
    assert 0 < float((exact - fast).abs().max()) < 2 / 255
    assert all(torch.equal(value, before[name]) for name, value in model.synthesis.state_dict().items())
    kinds = {type(module): {p.dtype for p in module.parameters(recurse=False)}
             for module in in_bfloat16(model.synthesis).modules()}
    assert kinds[Linear] == kinds[Depthwise3x3] == {torch.bfloat16}
    assert kinds[Linear32] == {torch.float32}


def test_latents_of_thousands_in_bfloat16() -> None:
    """The linear path carries large latents without the error of bfloat16."""
    model, _ = tiny_model()
    with torch.no_grad():
        for blocks in (model.synthesis.blocks_8, model.synthesis.blocks_16):
            for parameter in blocks.parameters():
                parameter.zero_()
        model.synthesis.up.weight.zero_()
        y = torch.full((1, 2, 2, TINY.latents), 3001.0)
        exact, fast = (network(y, torch.tensor([512])) for network in (
            model.synthesis, in_bfloat16(model.synthesis)
        ))
    assert float(exact.abs().max()) > 5
    assert torch.allclose(exact, fast, rtol=1e-3, atol=1e-3)
