from __future__ import annotations

import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from gradlab.errors import UserError
from gradlab.models import create
from gradlab.models.lenet import C3_INPUTS


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("size", "maps"), [(8, 4), (12, 6), (16, 4), (27, 6), (28, 5), (32, 5), (64, 13), (224, 53)]
)
def test_lenet5_takes_any_size(size, maps):
    model = create("lenet5", inputs=(2, size, size), outputs=3)
    assert model.fc1.in_features == 16 * maps * maps
    assert model(torch.randn(2, 2, size, size)).shape == (2, 3)


@pytest.mark.parametrize(("height", "width", "maps"), [(8, 40, 80), (28, 40, 40), (48, 16, 48)])
def test_lenet5_takes_images_that_are_not_square(height, width, maps):
    model = create("lenet5", inputs=(1, height, width), outputs=3)
    assert model.fc1.in_features == 16 * maps
    assert model(torch.randn(2, 1, height, width)).shape == (2, 3)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(UserError, match="at least 8x8 pixels, found 1x1"):
        create("lenet5", inputs=(1, 1, 1), outputs=10)


def test_a_table_is_refused():
    with pytest.raises(UserError, match="the network 'mlp' or 'linear'"):
        create("lenet5_1998", inputs=(13,), outputs=10)


def test_the_layers_of_1998_have_the_papers_parameters():
    model = create("lenet5_1998", inputs=(1, 32, 32), outputs=10)
    layers = {name: count(module) for name, module in model.named_children() if count(module)}
    assert layers == {
        "c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164, "output": 850
    }  # fmt: skip


def test_each_map_of_s2_is_read_by_ten_maps_of_c3():
    assert [sum(column in row for row in C3_INPUTS) for column in range(6)] == [10] * 6
    assert [len(row) for row in C3_INPUTS] == [3] * 6 + [4] * 9 + [6]
    assert len(set(map(frozenset, C3_INPUTS))) == 16


def test_c3_sees_the_maps_of_its_table_and_no_others():
    model = create("lenet5_1998", inputs=(1, 32, 32), outputs=10)
    x = torch.randn(1, 6, 14, 14, requires_grad=True)
    for row, columns in enumerate(C3_INPUTS):
        (gradient,) = torch.autograd.grad(model.c3(x)[:, row].sum(), x)
        assert gradient.abs().sum((0, 2, 3)).nonzero().flatten().tolist() == sorted(columns)


def test_c3_is_a_sum_of_convolutions():
    c3 = create("lenet5_1998", inputs=(1, 32, 32), outputs=10).c3
    x = torch.randn(2, 6, 14, 14)
    found, kernel = c3(x), 0
    for row, columns in enumerate(C3_INPUTS):
        expected = torch.full((2, 1, 10, 10), c3.bias[row].item())
        for column in columns:
            expected = expected + F.conv2d(x[:, [column]], c3.weight[None, [kernel]])
            kernel += 1
        torch.testing.assert_close(found[:, [row]], expected)


def test_subsampling_is_a_sum_times_a_coefficient_plus_a_bias():
    s2 = create("lenet5_1998", inputs=(1, 32, 32), outputs=10).s2
    torch.nn.init.uniform_(s2.weight)
    torch.nn.init.uniform_(s2.bias)
    x = torch.randn(2, 6, 4, 4)
    total = x[:, 3, 2:4, 0:2].sum((1, 2))
    torch.testing.assert_close(s2(x)[:, 3, 1, 0], total * s2.weight[3] + s2.bias[3])


def test_the_squashing_is_about_one_at_one():
    tanh = create("lenet5_1998", inputs=(1, 32, 32), outputs=10).tanh1
    assert tanh(torch.tensor(1.0)).item() == pytest.approx(1.0, abs=1e-4)
    assert tanh(torch.tensor(50.0)).item() == pytest.approx(1.7159)
    assert tanh(torch.tensor(-0.3)).item() == pytest.approx(-1.7159 * math.tanh(0.2))


def test_28_pixels_become_32_by_repeating_the_edge():
    to32 = create("lenet5_1998", inputs=(1, 28, 28), outputs=10).input
    x = torch.rand(1, 1, 28, 28)
    out = to32(x)
    assert torch.equal(out[..., 2:30, 2:30], x)
    assert torch.equal(out[..., 0, 2:30], x[..., 0, :])
    assert (out[..., :3, :3] == x[..., 0, 0]).all()
    for height, width in ((8, 8), (40, 28), (40, 32)):
        assert to32(torch.rand(1, 1, height, width)).shape == (1, 1, 32, 32)


def test_initial_weights_of_1998_are_within_the_papers_bounds():
    torch.manual_seed(0)
    model = create("lenet5_1998", inputs=(1, 32, 32), outputs=10)
    assert model.c5.weight.abs().max().item() == pytest.approx(2.4 / 400, rel=0.01)
    assert model.c3.weight[:18].abs().max().item() == pytest.approx(2.4 / 75, rel=0.05)
    assert model.c3.weight[54:].abs().max().item() == pytest.approx(2.4 / 150, rel=0.1)


def test_lenet5_learns_the_digits():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None]
    x, y = (x - x.mean()) / x.std(), torch.tensor(digits.target)
    order = torch.randperm(len(x))
    train, test = order[:1500], order[1500:]
    model = create("lenet5", inputs=(1, 8, 8), outputs=10)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(12):
        for batch in train[torch.randperm(len(train))].split(50):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    assert (model(x[test]).argmax(1) == y[test]).float().mean().item() > 0.96
