"""Networks that give a value for each action.

Mnih et al. (2015), "Human-level control through deep reinforcement learning", Extended Data
Table 1: the convolutional network of the Atari games. Wang et al. (2016), "Dueling network
architectures for deep reinforcement learning", https://arxiv.org/abs/1511.06581: the value of a
state and the advantages of the actions in two streams.

Departures: initial values are torch's own; the paper of the dueling network also scales the
gradient that enters the last convolution by 1 / sqrt(2), here it is left as it is.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from gradlab.errors import UserError
from gradlab.models import Shape, models
from gradlab.models.sizes import Widths, describe

Hidden = Annotated[Widths, Field(description="units of each hidden linear layer")]
Split = Annotated[bool, Field(description="value and advantages in two streams")]


class Dueling(nn.Module):
    """Q(s, a) = V(s) + A(s, a) - mean A(s, .) (Wang et al., equation 9)."""

    def __init__(self, features: int, widths: tuple[int, ...], actions: int) -> None:
        super().__init__()
        self.value = layers(features, widths, 1)
        self.advantage = layers(features, widths, actions)

    def forward(self, x: Tensor) -> Tensor:
        """N D -> N A."""
        advantage = self.advantage(x)  # N A
        value: Tensor = self.value(x) + advantage - advantage.mean(1, keepdim=True)  # N A
        return value


def hidden(features: int, widths: tuple[int, ...]) -> list[nn.Module]:
    """Linear layers, each with a ReLU. N D -> N D."""
    found: list[nn.Module] = []
    for units in widths:
        found += [nn.Linear(features, units), nn.ReLU()]  # N D
        features = units
    return found


def layers(features: int, widths: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Linear layers with ReLU between them. N D -> N outputs."""
    last = nn.Linear((features, *widths)[-1], outputs)
    return nn.Sequential(*hidden(features, widths), last)


@models.register("q_mlp")
def q_mlp(
    inputs: Shape, outputs: int, *, widths: Hidden = (256, 256), dueling: Split = False
) -> nn.Sequential:
    """A multilayer perceptron. N D -> N A; with `dueling` the last hidden layer is split."""
    if len(inputs) != 1:
        raise UserError(
            f"q_mlp: expected vectors, found observations of {describe(inputs)}: "
            "--model q_nature takes images"
        )
    if not dueling:
        return layers(inputs[0], widths, outputs)
    features = (*inputs, *widths[:-1])[-1]
    streams = Dueling(features, widths[-1:], outputs)
    return nn.Sequential(*hidden(inputs[0], widths[:-1]), streams)  # N A


@models.register("q_nature")
def q_nature(
    inputs: Shape, outputs: int, *, widths: Hidden = (512,), dueling: Split = False
) -> nn.Sequential:
    """The network of the Atari games. N C H W (the paper: 4 84 84) -> N A."""
    if len(inputs) != 3 or min(inputs[1:]) < 36:
        raise UserError(
            "q_nature: expected images of at least 36x36 pixels, found observations of "
            f"{describe(inputs)}: --model q_mlp takes vectors"
        )
    sides = [(((side - 8) // 4 + 1) - 4) // 2 + 1 - 2 for side in inputs[1:]]
    features = 64 * math.prod(sides)
    head = Dueling(features, widths, outputs) if dueling else layers(features, widths, outputs)
    return nn.Sequential(
        nn.Conv2d(inputs[0], 32, 8, stride=4),  # N 32 20 20
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2),  # N 64 9 9
        nn.ReLU(),
        nn.Conv2d(64, 64, 3),  # N 64 7 7
        nn.ReLU(),
        nn.Flatten(),  # N 3136
        head,  # N A
    )
