from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gradlab.models import create, initial
from gradlab.models.tabular import ENCODED, Encoding


@pytest.fixture
def table() -> torch.Tensor:
    """Columns: skewed numbers, a category of 0 and 1, whole numbers, a constant. N 4."""
    generator = torch.Generator().manual_seed(0)
    skewed = torch.randn(400, generator=generator).exp()
    category = (torch.rand(400, generator=generator) > 0.7).float()
    whole = torch.randint(0, 4, (400,), generator=generator).float()
    return torch.stack((skewed, category, whole, torch.zeros(400)), dim=1)


# the encoding


def test_a_bin_says_how_much_of_it_lies_below_the_value(table):
    encoding = Encoding(4, 5)
    encoding.initialise_from(table)
    place = encoding.chosen.tolist().index(0)
    edges = table[:, 0].quantile(torch.linspace(0, 1, 6))
    value = edges[2] + 0.25 * (edges[3] - edges[2])
    out = encoding(torch.tensor([[value, 0.0, 0.0, 0.0]]))
    assert out.shape == (1, 4 + 4 * 5)
    found = out[0, 4 + 5 * place : 9 + 5 * place]
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0, 0.25, 0.0, 0.0]))


def test_half_of_the_training_values_lie_below_the_middle_edge(table):
    encoding = Encoding(4, 2)
    encoding.initialise_from(table)
    place = 4 + 2 * encoding.chosen.tolist().index(0)
    full = encoding(table)[:, place] == 1
    assert abs(full.float().mean().item() - 0.5) < 0.01


def test_inputs_with_one_or_two_values_are_left_as_they_are(table):
    encoding = Encoding(4, 5)
    encoding.initialise_from(table)
    bins = encoding(table)[:, 4:].view(-1, 4, 5)
    encoded = {c: bins[:, n].any().item() for n, c in enumerate(encoding.chosen.tolist())}
    assert encoded == {0: True, 1: False, 2: True, 3: False}


def test_values_far_outside_and_huge_ones_are_finite_and_bounded(table):
    encoding = Encoding(4, 5)
    encoding.initialise_from(table)
    out = encoding(torch.full((1, 4), 3e38))
    assert out.isfinite().all() and out.abs().max() <= 3.0


def test_all_that_is_saved_is_finite(table):
    model = create("tabular", inputs=(4,), outputs=2)
    model.initialise_from(table)
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_of_many_inputs_those_with_the_most_values_are_encoded():
    x = torch.zeros(50, 3000)
    x[:, 2500:2600] = torch.randn(50, 100, generator=torch.Generator().manual_seed(1))
    x[::2, :2000] = 1
    model = create("tabular", inputs=(3000,), outputs=2, bins=8)
    model.initialise_from(x)
    encoding = model.encoding
    assert set(range(2500, 2600)) <= set(encoding.chosen.tolist())
    assert encoding.width == 3000 + 8 * ENCODED
    assert (encoding.slope > 0).any(1).sum() == 100
    assert sum(p.numel() for p in model.parameters()) < 700_000


# the members


def written_out(model: nn.Module, x: torch.Tensor, member: int) -> torch.Tensor:
    """One member's output as a plain perceptron with weights of its own."""
    members = model.members
    out = model.encoding(x)
    for block in list(model.blocks)[::2]:
        before = block.before.factors.view(members, -1)[member]
        after = block.after.factors.view(members, -1)[member]
        bias = block.bias.factors.view(members, -1)[member]
        out = F.relu(F.linear(out, after[:, None] * block.linear.weight * before, bias))
    weight = model.heads.weight.view(members, -1, out.shape[1])[member]
    return F.linear(out, weight, model.heads.bias.view(members, -1)[member])


@pytest.fixture
def model(table) -> nn.Module:
    torch.manual_seed(0)
    model = create("tabular", inputs=(4,), outputs=3, members=5, widths=(16, 8), dropout=0.0)
    model.initialise_from(table)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.double()


def test_in_evaluation_an_example_gets_the_mean_of_all_members(model, table):
    x = table[:7].double()
    expected = torch.stack([written_out(model, x, member) for member in range(5)]).mean(0)
    torch.testing.assert_close(model.eval()(x), expected)


@pytest.mark.parametrize("count", [1, 5, 12])
def test_in_training_each_example_gets_one_member_in_turn(model, table, count):
    x = table[:count].double()
    expected = torch.cat([written_out(model, x[n : n + 1], n % 5) for n in range(count)])
    torch.testing.assert_close(model.train()(x), expected)


def test_the_members_begin_apart_and_the_encoding_without_effect(table):
    torch.manual_seed(0)
    model = create("tabular", inputs=(4,), outputs=1)
    x = table[:1].expand(model.members, -1)
    assert len(model.train()(x).unique()) == model.members
    first = model.blocks[0].linear.weight
    assert not first[:, 4:].any() and first[:, :4].all()


def test_what_is_a_members_own_is_no_weight_that_decays_or_is_filled_anew(model):
    own = {name: p for name, p in model.named_parameters() if name.endswith("factors")}
    assert len(own) == 6 and all(p.ndim == 1 for p in own.values())
    before = {name: p.clone() for name, p in own.items()}
    initial.apply(model, "he")
    assert all(torch.equal(before[name], p) for name, p in own.items())
    assert not model.heads.bias.any()
