"""The initial values of weights, for any network.

Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural
networks", https://proceedings.mlr.press/v9/glorot10a.html (xavier);
He et al. (2015), "Delving deep into rectifiers", https://arxiv.org/abs/1502.01852 (he);
Saxe et al. (2014), "Exact solutions to the nonlinear dynamics of learning in deep linear neural
networks", https://arxiv.org/abs/1312.6120 (orthogonal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from gradlab.errors import unknown

Fill = Callable[[Tensor, torch.Generator | None], object]


FILLS: dict[str, Fill] = {
    "zeros": lambda weight, generator: nn.init.zeros_(weight),
    "constant": lambda weight, generator: nn.init.constant_(weight, 0.01),
    "normal": lambda weight, generator: nn.init.normal_(weight, std=0.01, generator=generator),
    "xavier": lambda weight, generator: nn.init.xavier_uniform_(weight, generator=generator),
    "he": lambda weight, generator: nn.init.kaiming_normal_(
        weight, nonlinearity="relu", generator=generator
    ),
    "orthogonal": lambda weight, generator: nn.init.orthogonal_(weight, generator=generator),
}
"""How each name fills one weight. "he" counts the inputs of a unit (fan_in): so the deep families
here learn faster than by its outputs, most of all VGG, which has no normalisation."""
KEPT = (nn.LayerNorm, nn.RMSNorm)
"""Layers whose scales may have several dimensions and yet are no weights."""


def from_data(model: nn.Module, x: Tensor) -> None:
    """Let a network take initial values from training inputs, if it can (`initialise_from`)."""
    if callable(initialise := getattr(model, "initialise_from", None)):
        initialise(x)


def from_examples(
    model: nn.Module, examples: Callable[[], Iterable[tuple[Tensor, Tensor]]]
) -> None:
    """Let a network count the training split, if it does (`initialise_from_examples`).

    `examples` gives all of them once.
    """
    if callable(initialise := getattr(model, "initialise_from_examples", None)):
        with torch.no_grad():
            initialise(examples())


def apply(model: nn.Module, name: str, generator: torch.Generator | None = None) -> None:
    """Give the weights of `model` the initial values `name`, in place.

    Weights are the parameters of two or more dimensions; the biases beside them become 0.
    Normalisation and other scales keep what they have. "default" changes nothing: the family's
    own initial values stay. UserError for an unknown name.

    >>> layer = nn.Linear(2, 1)
    >>> apply(layer, "constant")
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[0.009999999776482582, 0.009999999776482582]], [0.0])
    """
    if name == "default":
        return
    if name not in FILLS:
        raise unknown("initial values", name, ("default", *FILLS))
    for module in model.modules():
        own = tuple(module.parameters(recurse=False))
        weights = tuple(p for p in own if p.ndim >= 2)
        if not weights or isinstance(module, KEPT):
            continue
        for parameter in own:
            if parameter.ndim >= 2:
                FILLS[name](parameter, generator)
            else:
                nn.init.zeros_(parameter)
