"""The distortion of the search: exact squared error, approximate MS-SSIM, costs in their place."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_msssim import ms_ssim

from codec.coding.distortion import MS_SSIM_WEIGHT, MSE_SHARE, distortion_of
from codec.model.weights import METRICS, Metric
from codec.training.data import read_rgb
from tests.support.pictures import SAMPLES

LAM = 0.02


def photo(side: int = 256) -> torch.Tensor:
    pixels = read_rgb(SAMPLES / "mountains.jpg")[100 : 100 + side, 200 : 200 + side]
    return torch.from_numpy(pixels)[None].float() / 255


def as_jpeg(x: torch.Tensor, quality: int) -> torch.Tensor:
    stream = io.BytesIO()
    Image.fromarray((x[0] * 255).byte().numpy()).save(stream, "jpeg", quality=quality)
    return torch.from_numpy(np.array(Image.open(stream)))[None].float() / 255


def test_squared_error() -> None:
    x = photo(64)
    decoded = as_jpeg(x, 50)
    found = distortion_of("mse", x, 64, 64, LAM)(decoded)
    assert found.shape == (1, 4, 4, 1)
    # lam · 255² · MSE bits for each pixel
    expected = LAM * 255**2 * float((x - decoded).square().mean()) * 64**2
    assert float(found.sum()) == pytest.approx(expected, rel=1e-4)
    block = (x - decoded)[:, 16:32, 48:64].square().sum() * LAM * 255**2 / 3
    assert float(found[0, 1, 3, 0]) == pytest.approx(float(block), rel=1e-4)


@pytest.mark.parametrize("quality", [10, 30, 60, 90])
def test_ms_ssim_of_coded_pictures(quality: int) -> None:
    """The approximation is near the true value for errors of a codec, most of all small ones."""
    x = photo()
    decoded = as_jpeg(x, quality)
    squares = MSE_SHARE * float(distortion_of("mse", x, 256, 256, LAM)(decoded).sum())
    found = float(distortion_of("ms-ssim", x, 256, 256, LAM)(decoded).sum()) - squares
    planes = decoded.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2)
    missing = 1 - float(ms_ssim(*planes, data_range=1.0))
    true = LAM * 255**2 * (1 - MSE_SHARE) * MS_SSIM_WEIGHT * missing * 256**2
    assert 0.6 * true < found < 1.3 * true


@pytest.mark.parametrize("metric", METRICS)
def test_costs_are_near_their_error(metric: Metric) -> None:
    x = photo(128)
    decoded = x.clone()
    decoded[:, 64:80, 64:80] += 0.1 * torch.randn(1, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    found = distortion_of(metric, x, 128, 128, LAM)(decoded)[0, :, :, 0]
    assert int(found.argmax()) == 4 * 8 + 4
    assert float(found[3:6, 3:6].sum()) > 0.9 * float(found.sum())


@pytest.mark.parametrize("metric", METRICS)
def test_gray_costs_as_much_as_in_colour(metric: Metric) -> None:
    gray = photo(64).mean(-1, keepdim=True)
    decoded = gray + 0.02 * torch.randn(gray.shape, generator=torch.Generator().manual_seed(0))
    one, three = (
        distortion_of(metric, gray.expand(-1, -1, -1, channels), 64, 64, LAM)(decoded.expand(-1, -1, -1, 3))
        for channels in (1, 3)
    )
    assert torch.allclose(one, three, rtol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (1, 1), (16, 48)])
def test_small_windows(metric: Metric, height: int, width: int) -> None:
    x = photo(64)[:, :16, : -(-width // 16) * 16]
    decoded = (x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    total = distortion_of(metric, x, height, width, LAM)(decoded).sum()
    (gradient,) = torch.autograd.grad(total, decoded)
    assert float(total.detach()) > 0
    assert bool(torch.isfinite(gradient).all())
    assert not gradient[:, height:].any()
    assert not gradient[:, :, width:].any()


@pytest.mark.parametrize("metric", METRICS)
def test_no_error_costs_nothing(metric: Metric) -> None:
    x = photo(64)
    assert float(distortion_of(metric, x, 64, 64, LAM)(x).abs().sum()) == 0
