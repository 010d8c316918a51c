"""A network for tables: encoded numbers, and an ensemble of perceptrons that share their weights.

Gorishniy, Kotelnikov and Babenko (2024), "TabM: advancing tabular deep learning with
parameter-efficient ensembling", https://arxiv.org/abs/2410.24210 (the members: they share every
weight matrix and differ by scales before and after it, by biases and by their last layers);
Gorishniy, Rubachev and Babenko (2022), "On embeddings for numerical features in tabular deep
learning", https://arxiv.org/abs/2203.05556 (the piecewise-linear encoding);
Holzmueller, Grinsztajn and Steinwart (2024), "Better by default: strong pre-tuned MLPs and boosted
trees on tabular data", https://arxiv.org/abs/2407.04491 (the smooth clipping).

Departures:
- In training a batch is dealt out: each example goes to one member, so that a step costs what it
  costs for a single network, the members see different batches, and the output is N K, as every
  task expects it. (The paper gives each batch to all members and adds up their losses.)
- In evaluation the members' outputs are averaged: of classes these are the logits, so that the
  probabilities are the normalised geometric mean of theirs, and no task has to know of members.
- The encoding goes straight into the first layer, beside the clipped inputs, and its weights begin
  at 0; only the inputs with the most different values are encoded.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gradlab.models import Shape, models
from gradlab.models.sizes import Units, Widths

ENCODED = 128
"""So many inputs of an example are encoded at most: those with the most different values."""
CLIP = 3.0
"""Standard deviations that clipped inputs never go beyond."""
NARROW = 1e-6
"""A bin of less than this width (in standard deviations) is left out."""


class Encoding(nn.Module):
    """Inputs, clipped, and for those with many values how much of each bin lies below them.

    A bin between the edges a and b gives clamp((x - a) / (b - a), 0, 1). The edges are quantiles of
    training inputs (`initialise_from`), until then those of a normal distribution. An input with
    two values, such as a one-hot category, has no bins.
    """

    low: Tensor
    slope: Tensor
    chosen: Tensor

    def __init__(self, inputs: int, bins: int) -> None:
        super().__init__()
        count = min(inputs, ENCODED)
        self.width = inputs + count * bins
        quantiles = torch.special.ndtri(torch.linspace(0, 1, bins + 1)).clamp(-CLIP, CLIP)
        self.register_buffer("chosen", torch.arange(count))  # S
        self.register_buffer("low", quantiles[:-1].repeat(count, 1))  # S B
        self.register_buffer("slope", (1 / quantiles.diff()).repeat(count, 1))  # S B

    @torch.no_grad()
    def initialise_from(self, x: Tensor) -> None:
        """Take the inputs to encode, and their edges, from training inputs, N D."""
        count, bins = self.slope.shape
        distinct = (x.sort(0).values.diff(dim=0) > 0).sum(0) + 1  # D
        self.chosen.copy_(distinct.argsort(descending=True, stable=True)[:count])
        shares = torch.linspace(0, 1, bins + 1, device=x.device)
        edges = x[:, self.chosen].quantile(shares, dim=0).T  # S B+1
        widths = edges.diff(dim=1)  # S B
        used = (widths > NARROW) & (distinct[self.chosen] > 2)[:, None]  # S B
        self.low.copy_(edges[:, :-1])
        self.slope.copy_(torch.where(used, 1 / widths, 0))

    def forward(self, x: Tensor) -> Tensor:
        """N D -> N P."""
        bins = ((x[:, self.chosen, None] - self.low) * self.slope).clamp(0, 1)  # N S B
        return torch.cat((CLIP * torch.tanh(x / CLIP), bins.flatten(1)), dim=1)  # N P


class Scale(nn.Module):
    """A factor of each unit, a member's own. N M E -> N M E.

    Flat, and apart from the matrix beside it: it is no weight that decays or is filled anew.
    """

    def __init__(self, members: int, factors: Tensor) -> None:
        super().__init__()
        self.members = members
        self.factors = nn.Parameter(factors)  # M*E

    def forward(self, x: Tensor) -> Tensor:
        """N M E -> N M E."""
        return x * self.factors.view(self.members, -1)  # N M E


class Shift(Scale):
    """A bias of each unit, a member's own. N M E -> N M E."""

    def forward(self, x: Tensor) -> Tensor:
        """N M E -> N M E."""
        return x + self.factors.view(self.members, -1)  # N M E


class Block(nn.Sequential):
    """A linear map that all members share, between scales of their own. N M D -> N M E."""

    def __init__(self, members: int, inputs: int, units: int, factors: Tensor) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.before = Scale(members, factors)
        self.linear = nn.Linear(inputs, units, bias=False)
        self.after = Scale(members, torch.ones(members * units))
        self.bias = Shift(members, torch.empty(members * units).uniform_(-bound, bound))
        self.relu = nn.ReLU()


class Heads(nn.Linear):
    """A linear map of each member's own, kept as one of M*K rows. N M E -> N M K."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__(inputs, members * outputs)
        self.members = members

    def forward(self, x: Tensor) -> Tensor:
        """N M E -> N M K."""
        weight = self.weight.view(self.members, -1, self.in_features)  # M K E
        bias = self.bias.view(self.members, -1)  # M K
        return torch.einsum("nme,mke->nmk", x, weight) + bias  # N M K


class Tabular(nn.Module):
    """Encoding, blocks of shared weights, a head for each member; one answer for each example."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: tuple[int, ...],
        members: int,
        bins: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.members = members
        self.flatten = nn.Flatten()
        self.encoding = Encoding(inputs, bins)
        self.blocks = nn.Sequential()
        width = self.encoding.width
        factors = torch.randint(0, 2, (members * width,)) * 2.0 - 1  # signs: members begin apart
        for units in widths:
            self.blocks.append(Block(members, width, units, factors))
            self.blocks.append(nn.Dropout(dropout))
            width, factors = units, torch.ones(members * units)
        self.heads = Heads(members, width, outputs)
        first = next(m for m in self.modules() if isinstance(m, nn.Linear))
        with torch.no_grad():
            first.weight[:, inputs:] = 0

    def initialise_from(self, x: Tensor) -> None:
        """Take the edges of the encoding from training inputs, N ..."""
        self.encoding.initialise_from(self.flatten(x))

    def forward(self, x: Tensor) -> Tensor:
        """N ... -> N K: in training what one of the members says, else the mean of all."""
        x = self.encoding(self.flatten(x))  # N P
        if not self.training:
            x = x[:, None].expand(-1, self.members, -1)  # N M P
            every: Tensor = self.heads(self.blocks(x))  # N M K
            return every.mean(1)  # N K
        count = len(x)
        rest = -count % self.members
        x = nn.functional.pad(x, (0, 0, 0, rest))  # G*M P
        x = x.view(-1, self.members, x.shape[1])  # G M P
        own: Tensor = self.heads(self.blocks(x))  # G M K
        return own.flatten(0, 1)[:count]  # N K


@models.register("tabular")
def tabular(
    inputs: Shape,
    outputs: int,
    *,
    widths: Annotated[Widths, Field(description="units of each hidden layer")] = (128, 128),
    members: Annotated[Units, Field(description="networks that share their weights")] = 16,
    bins: Annotated[
        Units, Field(description="pieces of the encoding of an input with many values")
    ] = 8,
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="share of units dropped in training")
    ] = 0.1,
) -> Tabular:
    """An ensemble of perceptrons in one network, for any table."""
    return Tabular(math.prod(inputs), outputs, widths, members, bins, dropout)
