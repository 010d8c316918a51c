"""Numbers: one value that is to be estimated."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field as Described
from torch import Tensor

from gradlab.data.columns import Dense
from gradlab.data.fields import fields
from gradlab.data.fields.base import Field


@fields.register("number")
class Number(Field):
    """A number for each example, float32, in its own units."""

    type: Literal["number"] = "number"
    column: str = Described("", description="the column of a table that it was read from")
    mean: float = Described(0.0, description="of the training split")
    std: float = Described(1.0, description="standard deviation of the training split")

    @property
    def shape(self) -> tuple[int, ...]:
        """One number."""
        return (1,)

    def fit(self, raw: Dense) -> Number:
        """With mean and standard deviation of the training split."""
        y = raw[:].astype(np.float64)
        return self.model_copy(update={"mean": float(y.mean()), "std": float(y.std()) or 1.0})

    def encode(self, raw: Dense) -> Dense:
        """float32 N."""
        return Dense(raw[:].astype(np.float32))

    def show(self, value: Any) -> str:
        """With four digits."""
        return f"{float(value):.4g}"

    def example(self) -> Tensor:
        """1."""
        return torch.zeros(1)
