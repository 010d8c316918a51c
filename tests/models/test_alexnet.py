from __future__ import annotations

import pytest
import torch
from torch import nn

from gradlab.models import create
from gradlab.models.alexnet import ResponseNorm


def test_response_normalisation_is_the_formula_of_section_3_3():
    a = torch.randn(1, 7, 1, 1, dtype=torch.float64) * 20
    found = ResponseNorm()(a).flatten()
    for i in range(7):
        neighbours = a.flatten()[max(0, i - 2) : i + 3]
        expected = a.flatten()[i] / (2 + 1e-4 * neighbours.square().sum()) ** 0.75
        assert found[i].item() == pytest.approx(expected.item())


def test_the_halves_of_2012_meet_in_the_third_convolution_only():
    with torch.device("meta"):
        model = create("alexnet_2012", inputs=(3, 224, 224), outputs=1000)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [c.groups for c in convolutions] == [1, 2, 1, 2, 2]
    assert [c.out_channels for c in convolutions] == [96, 256, 384, 384, 256]


@pytest.mark.parametrize("name", ["alexnet", "alexnet_2012"])
def test_the_maps_are_the_papers(name):
    with torch.device("meta"):
        model = create(name, inputs=(3, 224, 224), outputs=1000)
        x, sizes = torch.empty(1, 3, 224, 224), []
        for layer in model.features:
            x = layer(x)
            if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
                sizes.append(x.shape[-1])
    assert sizes == [55, 27, 27, 13, 13, 13, 13, 6]


@pytest.mark.parametrize("name", ["alexnet", "alexnet_2012"])
@pytest.mark.parametrize("size", [8, 28, 63])
def test_small_images(name, size):
    with torch.device("meta"):
        model = create(name, inputs=(1, size, size), outputs=10)
        assert model(torch.empty(2, 1, size, size)).shape == (2, 10)


def test_dropout_is_an_option():
    model = create("alexnet", inputs=(1, 28, 28), outputs=2, dropout=0.25)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.25, 0.25]
