from __future__ import annotations

import torch

from gradlab.models import create
from gradlab.models.fast import Whitening


def test_whitened_patches_have_variance_one_and_no_correlation():
    torch.manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(64, 3, 20, 20), 3, 1)  # correlated pixels
    layer = Whitening(3)
    layer.begin_with(smooth)
    with torch.no_grad():
        out = layer(smooth)
    values = (out - layer.bias[:, None, None]).transpose(0, 1).flatten(1).double()
    half = values[:12] - values[:12].mean(1, keepdim=True)
    covariance = half @ half.T / half.shape[1]
    assert (covariance - torch.eye(12)).abs().max() < 0.05
    assert torch.allclose(values[12:], -values[:12], atol=1e-5)


def test_a_network_takes_its_first_values_from_images():
    torch.manual_seed(0)
    model = create("cifar_fast", classes=10, in_channels=1, image_size=28)
    before = model.whiten.weight.clone()
    model.begin_with(torch.randn(8, 1, 28, 28))
    assert not torch.equal(model.whiten.weight, before)


def test_the_first_maps_of_a_convolution_begin_as_copies():
    model = create("cifar_fast", classes=10, in_channels=3, image_size=32)
    conv = model.stages[0].conv2
    x = torch.randn(1, 64, 5, 5)
    with torch.no_grad():
        assert torch.allclose(conv(x), x, atol=1e-6)
