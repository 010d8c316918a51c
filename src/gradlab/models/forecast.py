"""What comes next in a series: a linear model of the window, and a recurrent network beside it.

Lai et al. (2018), "Modeling long- and short-term temporal patterns with deep neural networks",
https://arxiv.org/abs/1703.07015, add the two for the same reason: a linear autoregression is hard
to beat, and follows the level of a series. Instance normalisation: Kim et al. (2022), "Reversible
instance normalization for accurate time-series forecasting".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gradlab.errors import UserError
from gradlab.models import Shape, models
from gradlab.models.sizes import describe

Examples = Callable[[], Iterable[tuple[Tensor, Tensor]]]
MOST = 5_000
"""Inputs of the linear model up to which it begins by least squares."""
STRENGTHS = (1e-6, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
"""Of the ridge, of the mean square of an input."""
OTHERS = (1.0, 30.0, 1e3, 1e6)
"""So many times stronger for inputs that are not the past of what is forecast."""
QUANTILES = 100_000
"""Examples whose errors say where the quantiles begin."""
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
        channels, steps, variables = self.shape = inputs
        self.instance = instance
        self.linear = nn.Linear(channels * steps * variables, outputs) if linear else None
        kinds = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
        self.rnn = (
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

    def normalised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A window by its own mean and deviation, and these of variable 0; or as it is, 0 and 1."""
        if not self.instance:
            return x, x.new_zeros(1, 1), x.new_ones(1, 1)
        mean, std = x.mean(2, keepdim=True), x.std(2, keepdim=True) + EPS  # N C 1 F
        return (x - mean) / std, mean[:, 0, :, 0], std[:, 0, :, 0]

    @torch.no_grad()
    def begin_with_least_squares(self, examples: Examples, shares: Sequence[float]) -> None:
        """Let the linear model begin as the best one of the examples, in the order of time.

        Weights by ridge regression, whose strengths (for the past of what is forecast, and for all
        else) are those that do best on the last fifth when learnt from the rest. The outputs are H
        values, then H for each quantile: the same forecast, shifted by that quantile of what is
        left. examples: x N C T F and y N H, as often as they are asked for.
        """
        if self.linear is None or self.linear.in_features > MOST:
            return
        count = sum(len(x) for x, _ in examples())
        sums: list[tuple[Tensor, ...]] = []  # of the first four fifths, and of the last
        seen = 0
        for x, y in examples():
            a, b = self._lags(x), self._steps(x, y)
            cut = min(max(int(0.8 * count) - seen, 0), len(x))
            parts = [
                (lags.T @ lags, lags.T @ steps, steps.square().sum())
                for lags, steps in ((a[:cut], b[:cut]), (a[cut:], b[cut:]))
            ]
            if sums:
                parts = [
                    (old[0] + new[0], old[1] + new[1], old[2] + new[2])
                    for old, new in zip(sums, parts, strict=True)
                ]
            sums = [*parts]
            seen += len(x)
        first, last = sums
        own = torch.zeros(self.shape, dtype=torch.bool)
        own[0, :, 0] = True  # the past of what is forecast
        best, least = None, float("inf")
        for others in OTHERS:
            times = torch.where(own.flatten(), 1.0, others).to(first[0])
            for strength in STRENGTHS:
                w = _ridge(first[0], first[1], strength * times)
                error = float(last[2] - 2 * (w * last[1]).sum() + (w * (last[0] @ w)).sum())
                if error < least:
                    best, least = strength * times, error
        if best is None:
            return
        weights = _ridge(first[0] + last[0], first[1] + last[1], best)  # T*F+1 H
        left = torch.cat([self._steps(x, y) - self._lags(x) @ weights for x, y in examples()])
        level = [torch.zeros(left.shape[1]).to(left)]
        level += [torch.quantile(left[:QUANTILES], share, dim=0) for share in shares]
        wanted = weights.T.repeat(len(level), 1)  # (1+Q)*H T*F+1
        self.linear.weight.copy_(wanted[:, :-1])
        self.linear.bias.copy_(wanted[:, -1] + torch.cat(level))

    def keep_linear(self) -> bool:
        """Train the recurrent layers alone, where there are any beside a linear model."""
        kept = self.linear is not None and self.rnn is not None
        if kept and self.linear is not None and self.linear.in_features <= MOST:
            self.linear.requires_grad_(False)
            return True
        return False

    def _lags(self, x: Tensor) -> Tensor:
        """All that a window holds, and 1, float64."""
        flat = self.normalised(x)[0].flatten(1).double()
        return torch.cat([flat, flat.new_ones(len(flat), 1)], 1)

    def _steps(self, x: Tensor, y: Tensor) -> Tensor:
        """What the linear model is to add to the last value, float64 N H."""
        x, level, spread = self.normalised(x)
        return ((y - level) / spread - x[:, 0, -1, :1]).double()

    def forward(self, x: Tensor) -> Tensor:
        """x: N C T F, a window of F variables."""
        x, level, spread = self.normalised(x)
        y = x[:, 0, -1, :1]  # N 1: the last value
        if self.linear is not None:
            y = y + self.linear(x.flatten(1))  # N K
        if self.rnn is not None and self.head is not None:
            steps = x.transpose(1, 2).flatten(2)  # N T C*F
            h = self.rnn(steps)[0][:, -1]  # N H
            y = y + self.head(self.dropout(h))  # N K
        return y * spread + level


def _ridge(square: Tensor, product: Tensor, strength: Tensor) -> Tensor:
    """Weights of least squares; the last input is the constant, which is free."""
    scale = square.diagonal()[:-1].mean()
    penalty = torch.cat([strength * scale, 1e-9 * square[-1:, -1]])
    found: Tensor = torch.linalg.solve(square + torch.diag(penalty), product)
    return found


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
