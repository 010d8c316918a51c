"""Values: arrays of numbers of one shape, such as features that were computed before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field as Described
from torch import Tensor

from gradlab.data.augment import Draws
from gradlab.data.columns import Column, Dense, DenseTensor, Rows
from gradlab.data.fields import fields
from gradlab.data.fields.base import Checked, Field, Inputs, Issue
from gradlab.data.npz import given_array, numbers
from gradlab.errors import UserError
from gradlab.words import shown


@fields.register("values")
class Values(Field):
    """Numbers without names, float32 N D."""

    baseline = "linear"

    type: Literal["values"] = "values"
    size: tuple[int, ...] = Described(description="of one example")
    mean: tuple[float, ...] = Described((), description="of the last axis, in the training split")
    std: tuple[float, ...] = Described((), description="standard deviation, of the same")

    @property
    def shape(self) -> tuple[int, ...]:
        """As it is kept."""
        return self.size

    def fit(self, raw: Dense) -> Values:
        """With mean and standard deviation of each place of the last axis."""
        flat = raw[:].reshape(-1, self.size[-1])
        mean = flat.mean(axis=0, dtype=np.float64)
        std = flat.std(axis=0, dtype=np.float64)
        return self.model_copy(
            update={
                "mean": tuple(float(value) for value in mean),
                "std": tuple(float(value) if value > 1e-8 else 1.0 for value in std),
            }
        )

    def encode(self, raw: Dense) -> Dense:
        """Numbers are kept as they are; UserError when there are not as many as in training."""
        if raw.shape[1:] != self.size:
            expected, found = (" x ".join(map(str, size)) for size in (self.size, raw.shape[1:]))
            raise UserError(f"expected {expected} values for each example, found {found}")
        return raw

    def batch(self, column: DenseTensor, rows: Rows, draws: Draws | None) -> Tensor:
        """N D of mean 0 and standard deviation 1."""
        x = column.gather(rows)
        if not self.mean:
            return x
        scale, shift = _scaling(self.mean, self.std, x.device)
        return torch.addcmul(shift, x.float(), scale)

    def read(self, items: Sequence[Any]) -> Inputs:
        """D values, N of them, or an .npz file with the array x."""
        blocks = []
        for number, item in enumerate(items, 1):
            where = f"input {number}"
            values = numbers(given_array(item, where), where)
            values = values[None] if values.ndim == len(self.size) else values
            if values.shape[1:] != self.size:
                expected = " x ".join(map(str, self.size))
                raise UserError(
                    f"{where} has the shape {values.shape}: expected {expected} values for each"
                )
            blocks.append(values)
        if not blocks:
            raise UserError("there is nothing to predict: expected at least one input")
        x = np.concatenate(blocks)
        return Inputs(Dense(x), ("",) * len(x))

    def issues(self, raw: Mapping[str, Column]) -> Checked:
        """Inputs that are the same in every example of train."""
        train: Any = raw["train"]
        flat = train[:].reshape(len(train), -1)
        still = np.flatnonzero(flat.min(axis=0) == flat.max(axis=0))
        constant = tuple(f"input {number}" for number in still)
        what = f"constant columns, which teach nothing: {len(constant)}"
        found = (Issue("warning", what, shown(constant)),) if constant else ()
        return Checked({"constant": constant}, found)

    def show(self, value: Any) -> str:
        """The first numbers."""
        flat = np.asarray(value).reshape(-1)
        more = " ..." if len(flat) > 6 else ""
        return ", ".join(f"{number:.4g}" for number in flat[:6]) + more

    def example(self) -> Tensor:
        """1 D."""
        return torch.zeros(1, *self.size)


@lru_cache(maxsize=16)
def _scaling(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    means, stds = torch.tensor(mean), torch.tensor(std)
    return (1 / stds).to(device), (-means / stds).to(device)
