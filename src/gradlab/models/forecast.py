"""What comes next in a series: a linear model of the window, and a recurrent network beside it.

Lai et al. (2018), "Modeling long- and short-term temporal patterns with deep neural networks",
https://arxiv.org/abs/1703.07015, add the two for the same reason: a linear autoregression is hard
to beat, and follows the level of a series. Instance normalisation: Kim et al. (2022), "Reversible
instance normalization for accurate time-series forecasting".
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from gradlab.errors import UserError
from gradlab.models import Shape, models
from gradlab.models.sizes import describe

EPS = 1e-3
"""Added to the deviation of a window: one without any change stays finite."""


class Forecaster(nn.Module):
    """Begins as the forecast that all stays as it is, and learns what to add. N C T F -> N K.

    Variable 0 of the first channel is the one that is forecast.
    """

    def __init__(
        self,
        inputs: Shape,
        outputs: int,
        *,
        cell: str,
        width: int,
        layers: int,
        dropout: float,
        linear: bool,
        instance: bool,
    ) -> None:
        super().__init__()
        channels, steps, variables = inputs
        self.instance = instance
        self.linear = nn.Linear(channels * steps * variables, outputs) if linear else None
        kinds = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
        self.recurrent = (
            kinds[cell](
                channels * variables, width, layers, batch_first=True,
                dropout=dropout if layers > 1 else 0.0,
            )
            if cell != "none"
            else None
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs) if cell != "none" else None
        for layer in (self.linear, self.head):
            if layer is not None:
                nn.init.normal_(layer.weight, std=1e-3)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x: N C T F, a window of F variables."""
        level, spread = x.new_zeros(()), x.new_ones(())
        if self.instance:
            mean, std = x.mean(2, keepdim=True), x.std(2, keepdim=True) + EPS  # N C 1 F
            level, spread = mean[:, 0, :, 0], std[:, 0, :, 0]  # N 1
            x = (x - mean) / std
        y = x[:, 0, -1, :1]  # N 1: the last value
        if self.linear is not None:
            y = y + self.linear(x.flatten(1))  # N K
        if self.recurrent is not None and self.head is not None:
            steps = x.transpose(1, 2).flatten(2)  # N T C*F
            h = self.recurrent(steps)[0][:, -1]  # N H
            y = y + self.head(self.dropout(h))  # N K
        return y * spread + level


@models.register("forecaster")
def forecaster(
    inputs: Shape,
    outputs: int,
    *,
    cell: Annotated[
        Literal["lstm", "gru", "rnn", "none"],
        Field(description="recurrent layers (none: a linear model of the window)"),
    ] = "lstm",
    width: Annotated[int, Field(ge=1, le=65536, description="units of a recurrent layer")] = 32,
    layers: Annotated[int, Field(ge=1, le=100, description="recurrent layers")] = 1,
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="in front of the last layer and between layers")
    ] = 0.2,
    linear: Annotated[bool, Field(description="a linear model of the window beside it")] = True,
    instance: Annotated[
        bool, Field(description="each window by its own mean and deviation: for several series")
    ] = False,
) -> Forecaster:
    """A recurrent network and a linear model; inputs (C, T, F): steps and variables."""
    if len(inputs) != 3 or inputs[1] < 1:
        raise UserError(
            f"this network reads series, images whose rows are steps, but the inputs are not "
            f"({describe(inputs)}): give a table with --data.horizon, or choose the network 'mlp'"
        )
    if cell == "none" and not linear:
        raise UserError("model.cell none and model.linear false leave nothing to learn with")
    return Forecaster(
        inputs, outputs, cell=cell, width=width, layers=layers, dropout=dropout, linear=linear,
        instance=instance,
    )  # fmt: skip
