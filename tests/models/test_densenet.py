from __future__ import annotations

import pytest
import torch
from torch import nn

from gradlab.models import create
from gradlab.models.densenet import VARIANTS


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("densenet121", 121),
        ("densenet161", 161),
        ("densenet169", 169),
        ("densenet201", 201),
        ("densenet_bc_40_12", 40),
        ("densenet_bc_100_12", 100),
    ],
)
def test_the_depth_is_the_number_of_layers_with_weights(name, depth):
    with torch.device("meta"):
        model = create(name, inputs=(3, 32, 32), outputs=10)
    assert sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.modules()) == depth


@pytest.mark.parametrize("name", VARIANTS)
def test_what_the_last_layer_reads(name):
    width = {"densenet121": 1024, "densenet161": 2208, "densenet169": 1664, "densenet201": 1920,
             "densenet_bc_40_12": 132, "densenet_bc_100_12": 342}[name]  # fmt: skip
    with torch.device("meta"):
        model = create(name, inputs=(3, 224, 224), outputs=10)
    assert model.classifier.in_features == width


def test_a_layer_adds_its_maps_to_those_that_came_in():
    model = create("densenet_bc_40_12", inputs=(3, 32, 32), outputs=10)
    x = torch.randn(2, 24, 5, 5)
    out = model.features.denseblock1.denselayer1(x)
    assert out.shape == (2, 36, 5, 5)
    assert torch.equal(out[:, :24], x)


def test_dropout_takes_some_of_the_new_maps_only():
    model = create("densenet_bc_40_12", inputs=(3, 32, 32), outputs=10, dropout=0.5)
    x = torch.randn(2, 24, 16, 16)
    out = model.features.denseblock1.denselayer1(x)
    assert torch.equal(out[:, :24], x)
    assert (out[:, 24:] == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("name", "size", "sides"),
    [
        ("densenet121", 32, [32, 16, 8, 4]),
        ("densenet121", 224, [56, 28, 14, 7]),
        ("densenet_bc_40_12", 32, [32, 16, 8]),
    ],
)
def test_the_sides_of_the_blocks(name, size, sides):
    with torch.device("meta"):
        model = create(name, inputs=(3, size, size), outputs=10)
        x, found = torch.empty(1, 3, size, size), []
        for part, layer in model.features.named_children():
            x = layer(x)
            if part.startswith("denseblock"):
                found.append(x.shape[-1])
    assert found == sides
