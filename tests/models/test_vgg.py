from __future__ import annotations

import pytest
import torch
from torch import nn

from gradlab.models import create


@pytest.mark.parametrize("name", ["vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg19_bn"])
def test_the_name_is_the_number_of_layers_with_weights(name):
    with torch.device("meta"):
        model = create(name, inputs=(3, 32, 32), outputs=10)
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(layers) == int(name.removeprefix("vgg").removesuffix("_bn"))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == (len(layers) - 3 if name.endswith("_bn") else 0)


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        (8, [4, 2, 1, 1, 1]),
        (28, [14, 7, 4, 2, 1]),
        (32, [16, 8, 4, 2, 1]),
        (224, [112, 56, 28, 14, 7]),
    ],
)
def test_no_map_disappears(size, sizes):
    with torch.device("meta"):
        model = create("vgg11", inputs=(1, size, size), outputs=10)
        x, found = torch.empty(1, 1, size, size), []
        for layer in model.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                found.append(x.shape[-1])
    assert found == sizes
