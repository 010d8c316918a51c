from __future__ import annotations

import pytest
import torch

from gradlab.models import create, initial
from gradlab.models.fast import Whitening


def test_whitened_patches_have_variance_one_and_no_correlation():
    torch.manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(64, 3, 20, 20), 3, 1)  # correlated pixels
    layer = Whitening(3)
    layer.initialise_from(smooth)
    with torch.no_grad():
        out = layer(smooth)
    values = (out - layer.bias[:, None, None]).transpose(0, 1).flatten(1).double()
    half = values[:12] - values[:12].mean(1, keepdim=True)
    covariance = half @ half.T / half.shape[1]
    assert (covariance - torch.eye(12)).abs().max() < 0.05
    assert torch.allclose(values[12:], -values[:12], atol=1e-5)


def test_a_network_takes_its_first_values_from_images():
    torch.manual_seed(0)
    model = create("cifar_fast", inputs=(1, 28, 28), outputs=10)
    before = model.whiten.weight.clone()
    initial.from_data(model, torch.randn(8, 1, 28, 28))
    assert not torch.equal(model.whiten.weight, before)


def test_the_first_maps_of_a_convolution_begin_as_copies():
    model = create("cifar_fast", inputs=(3, 32, 32), outputs=10)
    conv = model.stages[0].conv2
    x = torch.randn(1, 64, 5, 5)
    with torch.no_grad():
        assert torch.allclose(conv(x), x, atol=1e-6)


def test_in_evaluation_an_image_and_its_mirror_image_are_averaged():
    torch.manual_seed(0)
    model = create("cifar_fast", inputs=(1, 16, 24), outputs=3, widths=(8, 8)).eval()
    x = torch.randn(2, 1, 16, 24)
    with torch.no_grad():
        assert torch.equal(model(x), model(x.flip(3)))
        torch.testing.assert_close(
            model(x), (model.forward_once(x) + model.forward_once(x.flip(3))) / 2
        )
        assert not torch.equal(model.forward_once(x), model.forward_once(x.flip(3)))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 40), (40, 8)])
def test_the_smaller_side_decides_how_the_maps_are_pooled(height, width):
    model = create("cifar_fast", inputs=(1, height, width), outputs=3, widths=(8, 8, 8, 8)).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 1, height, width)).isfinite().all()
