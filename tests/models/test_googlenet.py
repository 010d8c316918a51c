from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gradlab.models import create
from gradlab.models.googlenet import GoogLeNetOutput


def test_training_returns_the_heads_and_evaluation_does_not():
    model = create("googlenet", inputs=(1, 28, 28), outputs=4)
    x = torch.randn(2, 1, 28, 28)
    out = model.train()(x)
    assert isinstance(out, GoogLeNetOutput)
    assert [head.shape for head in out] == [(2, 4)] * 3
    assert model.eval()(x).shape == (2, 4)
    assert model.aux_weight == 0.3


def test_without_heads_training_returns_the_logits():
    model = create("googlenet", inputs=(1, 28, 28), outputs=4, aux=False)
    assert model.train()(torch.randn(2, 1, 28, 28)).shape == (2, 4)
    assert not [name for name, _ in model.named_parameters() if "aux" in name]


def test_the_heads_read_blocks_4a_and_4d():
    model = create("googlenet", inputs=(3, 32, 32), outputs=4).double().train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    maps = {}
    for name in ("inception4a", "inception4d"):
        getattr(model, name).register_forward_hook(
            lambda _, __, out, name=name: maps.update({name: out})
        )
    out = model(torch.randn(4, 3, 32, 32, dtype=torch.float64))
    for found, head, name in (
        (out.aux1, model.aux1, "inception4a"),
        (out.aux2, model.aux2, "inception4d"),
    ):
        x = F.adaptive_avg_pool2d(maps[name], 4)
        x = F.conv2d(x, head.conv.conv.weight)
        bn = head.conv.bn
        x = F.relu(F.batch_norm(x, None, None, bn.weight, bn.bias, training=True, eps=0.001))
        x = F.relu(F.linear(x.flatten(1), head.fc1.weight, head.fc1.bias))
        expected = F.linear(x, head.fc2.weight, head.fc2.bias)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("size", "sides"), [(28, [14, 7, 4]), (32, [16, 8, 4]), (224, [28, 14, 7])]
)
def test_the_maps_that_the_blocks_read(size, sides):
    with torch.device("meta"):
        model = create("googlenet", inputs=(3, size, size), outputs=4).eval()
        found = []
        for name in ("inception3a", "inception4a", "inception5a"):
            getattr(model, name).register_forward_hook(
                lambda _, given, __: found.append(given[0].shape[-1])
            )
        model(torch.empty(1, 3, size, size))
    assert found == sides


def test_the_shares_dropped():
    with torch.device("meta"):
        model = create("googlenet", inputs=(3, 224, 224), outputs=4)
    assert (model.dropout.p, model.aux1.dropout.p, model.aux2.dropout.p) == (0.2, 0.7, 0.7)
