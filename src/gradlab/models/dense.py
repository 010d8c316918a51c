"""Networks of fully connected layers.

Rosenblatt (1958), "The perceptron"; Rumelhart, Hinton and Williams (1986), "Learning
representations by back-propagating errors".
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from gradlab.models import Shape, models
from gradlab.models.sizes import Widths

Activation = Literal["relu", "sigmoid", "tanh", "leaky_relu", "gelu", "identity"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
}


@models.register("linear")
def linear(inputs: Shape, outputs: int) -> nn.Sequential:
    """One linear map: linear, logistic or softmax regression, by the loss."""
    return nn.Sequential(
        nn.Flatten(),  # N D
        nn.Linear(math.prod(inputs), outputs),  # N K
    )


@models.register("mlp")
def mlp(
    inputs: Shape,
    outputs: int,
    *,
    widths: Annotated[Widths, Field(description="units of each hidden layer")] = (128,),
    activation: Annotated[Activation, Field(description="after each hidden layer")] = "relu",
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="share of units dropped in training")
    ] = 0.0,
    batch_norm: Annotated[bool, Field(description="normalise before each activation")] = False,
) -> nn.Sequential:
    """A multilayer perceptron: any widths, one activation."""
    layers: list[nn.Module] = [nn.Flatten()]  # N D
    width = math.prod(inputs)
    for units in widths:
        layers.append(nn.Linear(width, units))  # N D
        if batch_norm:
            layers.append(nn.BatchNorm1d(units))  # N D
        layers.append(ACTIVATIONS[activation]())  # N D
        if dropout:
            layers.append(nn.Dropout(dropout))  # N D
        width = units
    return nn.Sequential(*layers, nn.Linear(width, outputs))  # N K
