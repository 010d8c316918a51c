"""Numbers: one value that is to be estimated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field as Described
from torch import Tensor

from gradlab.data.columns import Dense
from gradlab.data.fields import fields
from gradlab.data.fields.base import Field, Inputs, Skipped
from gradlab.errors import UserError
from gradlab.text import brief

_LARGEST = float(np.finfo(np.float32).max)


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

    def read(self, items: Sequence[Any]) -> Inputs:
        """Numbers, or texts as people write them; what is none, or too large, is skipped."""
        import polars as pl

        from gradlab.data.tabular.written import numbers_in

        if items and all(isinstance(item, str | None) for item in items):
            items = numbers_in(pl.Series(items, dtype=pl.String), lambda: ".")[0].to_list()
        values: list[float] = []
        skipped: list[Skipped] = []
        for place, item in enumerate(items):
            if not isinstance(item, str | int | float | np.number | None):
                raise UserError(f"expected a number to compare with, found {brief(item)}")
            try:
                value = float("nan" if item is None else item)
            except ValueError:
                skipped.append(
                    Skipped("", f"its {self.column or 'y'} is {item!r}, no number", place)
                )
                continue
            if abs(value) <= _LARGEST:
                values.append(value)
            else:
                skipped.append(Skipped("", f"it has no {self.column or 'y'}", place))
        column = Dense(np.array(values, np.float32))
        return Inputs(column, ("",) * len(values), tuple(skipped))

    def show(self, value: Any) -> str:
        """With four digits."""
        return f"{float(value):.4g}"

    def example(self) -> Tensor:
        """1."""
        return torch.zeros(1)
