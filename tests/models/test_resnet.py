from __future__ import annotations

import pytest
import torch
from torch import nn

from gradlab.models import create
from gradlab.models.resnet import CIFAR_UNITS, IMAGENET


@pytest.mark.parametrize(
    "name", [*IMAGENET, *(f"{kind}{n}" for kind in ("resnet", "plain") for n in CIFAR_UNITS)]
)
def test_the_name_is_the_number_of_layers_with_weights(name):
    with torch.device("meta"):
        model = create(name, inputs=(3, 32, 32), outputs=10)
    layers = [
        path
        for path, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and "downsample" not in path
    ]
    assert len(layers) == int(name.removeprefix("resnet").removeprefix("plain"))


@pytest.mark.parametrize(("size", "sides"), [(32, [32, 16, 8, 4]), (224, [56, 28, 14, 7])])
def test_the_sides_of_the_stages(size, sides):
    with torch.device("meta"):
        model = create("resnet50", inputs=(3, size, size), outputs=10)
        x, found = torch.empty(1, 3, size, size), []
        for name, layer in model.named_children():
            x = layer(x)
            if name.startswith("layer"):
                found.append(x.shape[-1])
    assert found == sides


@pytest.mark.parametrize(
    ("height", "width", "size"), [(60, 300, 3), (300, 60, 3), (64, 300, 7), (64, 64, 7)]
)
def test_the_smaller_side_chooses_the_stem(height, width, size):
    with torch.device("meta"):
        model = create("resnet18", inputs=(3, height, width), outputs=10)
    assert model.conv1.kernel_size == (size, size)


def silence_residuals(model: nn.Module) -> None:
    """Makes the last normalisation of each unit's path give 0."""
    for name, parameter in model.named_parameters():
        if name.endswith("path.bn2.weight"):
            nn.init.zeros_(parameter)


def test_without_residuals_the_shortcut_still_carries_the_image_and_the_plain_twin_does_not():
    x = torch.randn(2, 3, 32, 32)
    for name, carries in (("resnet20", True), ("plain20", False)):
        model = create(name, inputs=(3, 32, 32), outputs=10).eval()
        silence_residuals(model)
        with torch.no_grad():
            first, second = model(x)
        assert torch.equal(first, second) is not carries


def test_a_plain_twin_has_the_same_parameters():
    with torch.device("meta"):
        residual, plain = (
            create(name, inputs=(3, 32, 32), outputs=10).state_dict()
            for name in ("resnet56", "plain56")
        )
    assert {k: v.shape for k, v in residual.items()} == {k: v.shape for k, v in plain.items()}


def test_the_blocks_of_a_cifar_resnet_are_an_option():
    model = create("resnet20", inputs=(3, 32, 32), outputs=10, block="full_preactivation")
    assert [name for name, _ in model.layer1[0].path.named_children()] == [
        "conv1", "bn1", "relu1", "conv2"
    ]  # fmt: skip
    assert [name for name, _ in model.layer2[0].path.named_children()] == [
        "bn1", "relu1", "conv1", "bn2", "relu2", "conv2"
    ]  # fmt: skip
    assert [name for name, _ in model.last.named_children()] == ["bn1", "relu1"]
