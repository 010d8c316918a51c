"""Names, shapes and arithmetic are those of torchvision, whose published weights load unchanged.

torchvision is not installed: its networks are written here a second time, with functions, over a
state dict.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradlab.models import create

State = dict[str, Tensor]
NAMES = (
    "alexnet",
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    "googlenet",
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
)


@pytest.fixture(scope="module")
def reference() -> dict[str, dict[str, object]]:
    """torchvision-state.json: of each network the parameters' number, all names and shapes."""
    folder = os.environ.get("GRADLAB_REFERENCE")
    if folder is None and "GRADLAB_DATA" in os.environ:
        folder = str(Path(os.environ["GRADLAB_DATA"]).parent / "reference")
    if folder is None:
        pytest.skip("neither GRADLAB_REFERENCE nor GRADLAB_DATA is set")
    file = Path(folder) / "torchvision-state.json"
    if not file.is_file():
        pytest.skip(f"there is no {file}")
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes(name, reference):
    with torch.device("meta"):
        model = create(name, inputs=(3, 224, 224), outputs=1000)
    found = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert found == reference[name]["state"]
    assert sum(p.numel() for p in model.parameters()) == reference[name]["parameters"]


def test_every_network_of_the_reference_is_there(reference):
    assert set(reference) == set(NAMES)


def conv(s: State, x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(x, s[f"{name}.weight"], s.get(f"{name}.bias"), stride, padding)


def bn(s: State, x: Tensor, name: str, eps: float = 1e-5) -> Tensor:
    mean, var = s[f"{name}.running_mean"], s[f"{name}.running_var"]
    return F.batch_norm(x, mean, var, s[f"{name}.weight"], s[f"{name}.bias"], eps=eps)


def fc(s: State, x: Tensor, name: str) -> Tensor:
    return F.linear(x, s[f"{name}.weight"], s[f"{name}.bias"])


def alexnet(s: State, x: Tensor) -> Tensor:
    x = F.max_pool2d(F.relu(conv(s, x, "features.0", 4, 2)), 3, 2)
    x = F.max_pool2d(F.relu(conv(s, x, "features.3", 1, 2)), 3, 2)
    for index in (6, 8, 10):
        x = F.relu(conv(s, x, f"features.{index}", 1, 1))
    x = F.adaptive_avg_pool2d(F.max_pool2d(x, 3, 2), 6).flatten(1)
    x = F.relu(fc(s, x, "classifier.1"))
    x = F.relu(fc(s, x, "classifier.4"))
    return fc(s, x, "classifier.6")


def vgg11_bn(s: State, x: Tensor) -> Tensor:
    for index in (0, 4, 8, 11, 15, 18, 22, 25):
        x = conv(s, x, f"features.{index}", 1, 1)
        x = F.relu(bn(s, x, f"features.{index + 1}"))
        if index in (0, 4, 11, 18, 25):
            x = F.max_pool2d(x, 2)
    x = F.adaptive_avg_pool2d(x, 7).flatten(1)
    x = F.relu(fc(s, x, "classifier.0"))
    x = F.relu(fc(s, x, "classifier.3"))
    return fc(s, x, "classifier.6")


def googlenet(s: State, x: Tensor) -> Tensor:
    def basic(x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        x = conv(s, x, f"{name}.conv", stride, padding)
        return F.relu(bn(s, x, f"{name}.bn", eps=1e-3))

    def inception(x: Tensor, name: str) -> Tensor:
        pooled = F.max_pool2d(x, 3, stride=1, padding=1, ceil_mode=True)
        return torch.cat(
            (
                basic(x, f"{name}.branch1"),
                basic(basic(x, f"{name}.branch2.0"), f"{name}.branch2.1", padding=1),
                basic(basic(x, f"{name}.branch3.0"), f"{name}.branch3.1", padding=1),
                basic(pooled, f"{name}.branch4.1"),
            ),
            dim=1,
        )

    x = F.max_pool2d(basic(x, "conv1", 2, 3), 3, 2, ceil_mode=True)
    x = basic(basic(x, "conv2"), "conv3", padding=1)
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = inception(inception(x, "inception3a"), "inception3b")
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    for letter in "abcde":
        x = inception(x, f"inception4{letter}")
    x = F.max_pool2d(x, 2, 2, ceil_mode=True)
    x = inception(inception(x, "inception5a"), "inception5b")
    return fc(s, x.mean((2, 3)), "fc")


def resnet(blocks: tuple[int, ...], bottleneck: bool) -> Callable[[State, Tensor], Tensor]:
    def run(s: State, x: Tensor) -> Tensor:
        x = F.relu(bn(s, conv(s, x, "conv1", 2, 3), "bn1"))
        x = F.max_pool2d(x, 3, 2, padding=1)
        for stage, count in enumerate(blocks, start=1):
            for index in range(count):
                name = f"layer{stage}.{index}"
                stride = 2 if stage > 1 and index == 0 else 1
                if bottleneck:  # the stride is in the 3x3 convolution
                    f = F.relu(bn(s, conv(s, x, f"{name}.conv1"), f"{name}.bn1"))
                    f = F.relu(bn(s, conv(s, f, f"{name}.conv2", stride, 1), f"{name}.bn2"))
                    f = bn(s, conv(s, f, f"{name}.conv3"), f"{name}.bn3")
                else:
                    f = F.relu(bn(s, conv(s, x, f"{name}.conv1", stride, 1), f"{name}.bn1"))
                    f = bn(s, conv(s, f, f"{name}.conv2", 1, 1), f"{name}.bn2")
                if f"{name}.downsample.0.weight" in s:
                    x = bn(s, conv(s, x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
                x = F.relu(x + f)
        return fc(s, x.mean((2, 3)), "fc")

    return run


def densenet121(s: State, x: Tensor) -> Tensor:
    x = F.relu(bn(s, conv(s, x, "features.conv0", 2, 3), "features.norm0"))
    x = F.max_pool2d(x, 3, 2, padding=1)
    for block, count in enumerate((6, 12, 24, 16), start=1):
        maps = [x]
        for layer in range(1, count + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            new = conv(s, F.relu(bn(s, torch.cat(maps, 1), f"{name}.norm1")), f"{name}.conv1")
            maps.append(conv(s, F.relu(bn(s, new, f"{name}.norm2")), f"{name}.conv2", 1, 1))
        x = torch.cat(maps, 1)
        if block < 4:
            name = f"features.transition{block}"
            x = conv(s, F.relu(bn(s, x, f"{name}.norm")), f"{name}.conv")
            x = F.avg_pool2d(x, 2)
    x = F.relu(bn(s, x, "features.norm5"))
    return fc(s, x.mean((2, 3)), "classifier")


REFERENCES: dict[str, Callable[[State, Tensor], Tensor]] = {
    "alexnet": alexnet,
    "vgg11_bn": vgg11_bn,
    "googlenet": googlenet,
    "resnet18": resnet((2, 2, 2, 2), bottleneck=False),
    "resnet34": resnet((3, 4, 6, 3), bottleneck=False),
    "resnet50": resnet((3, 4, 6, 3), bottleneck=True),
    "densenet121": densenet121,
}


@pytest.mark.parametrize("name", REFERENCES)
def test_outputs(name):
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = create(name, inputs=(3, 224, 224), outputs=20).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as if trained: else eps would not be seen
            nn.init.uniform_(module.running_var, 0.2, 1.5, generator=generator)
            nn.init.normal_(module.running_mean, std=0.2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.0, generator=generator)
            nn.init.normal_(module.bias, std=0.2, generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.bias, std=0.2, generator=generator)
    x = torch.randn(2, 3, 97, 110, generator=generator)
    with torch.inference_mode():
        found = model(x)
        expected = REFERENCES[name](model.state_dict(), x)
        spread = (expected[0] - expected[1]).abs().max()
    assert spread > 1e-3 * expected.abs().max()  # the two images are told apart
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
