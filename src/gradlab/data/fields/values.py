"""Values: arrays of numbers of one shape, such as features, series, tokens, images as tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field as Described
from torch import Tensor

from gradlab import paths
from gradlab.data.augment import Draws
from gradlab.data.columns import Column, Dense, DenseTensor, Rows
from gradlab.data.fields import fields
from gradlab.data.fields.base import Checked, Field, Inputs, Issue
from gradlab.data.frames import given_frame, read_frame
from gradlab.data.kinds import kind_of
from gradlab.data.npz import given_array
from gradlab.errors import UserError
from gradlab.wording import SHOWN, shown, some


@fields.register("values")
class Values(Field):
    """Numbers without names, of any shape and type: N D, N T F, N C H W, or one for each, N.

    With `standardise` floats are given to a model with mean 0 and standard deviation 1 in each
    place of the last axis, or (of three axes or more) of the first one, the channels.
    """

    baseline = "linear"

    type: Literal["values"] = "values"
    size: tuple[int, ...] = Described(description="of one example; 0: any length")
    dtype: str = Described("float32", description="the type of the numbers, as torch names it")
    standardise: bool = Described(True, description="whether a mean and a deviation are learnt")
    columns: tuple[str, ...] = Described((), description="of a table, where they came from one")
    mean: tuple[float, ...] = Described((), description="of each place, in the training split")
    std: tuple[float, ...] = Described((), description="standard deviation, of the same")

    @property
    def shape(self) -> tuple[int, ...]:
        """As it is kept."""
        return self.size

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type of a batch."""
        found: torch.dtype = getattr(torch, self.dtype)
        return found

    @property
    def kept_dtype(self) -> np.dtype[Any]:
        """The type of the column: numpy has no bfloat16."""
        return np.dtype("float32" if self.dtype == "bfloat16" else self.dtype)

    @property
    def _axis(self) -> int:
        """Of an example: the one whose places have a mean of their own."""
        return 0 if len(self.size) > 2 else len(self.size) - 1

    def fit(self, raw: Dense) -> Values:
        """With the mean and standard deviation of each place, where they are asked for."""
        if not (self.standardise and self.size and self.torch_dtype.is_floating_point):
            return self
        flat = np.moveaxis(raw[:], 1 + self._axis, -1).reshape(-1, self.size[self._axis])
        mean = flat.mean(axis=0, dtype=np.float64)
        std = flat.std(axis=0, dtype=np.float64)
        return self.model_copy(
            update={
                "mean": tuple(float(value) for value in mean),
                "std": tuple(float(value) if value > 1e-8 else 1.0 for value in std),
            }
        )

    def encode(self, raw: Any) -> Any:
        """Numbers in their type; UserError when there are not as many as in training."""
        if not self._fits(raw.shape[1:]):
            raise UserError(
                f"expected {self._words(self.size)} for each example, found "
                f"{self._words(raw.shape[1:])}"
            )
        if not isinstance(raw, Dense) or raw.dtype == self.kept_dtype:
            return raw
        return Dense(self._kept(raw[:], "the values"), notes=raw.notes)

    def batch(self, column: DenseTensor, rows: Rows, draws: Draws | None) -> Tensor:
        """N ..., of mean 0 and standard deviation 1 where these were learnt."""
        x = column.gather(rows)
        if not self.mean:
            return x.to(self.torch_dtype)
        after = len(self.size) - 1 - self._axis
        scale, shift = _scaling(self.mean, self.std, after, self.torch_dtype, x.device)
        return torch.addcmul(shift, x.to(self.torch_dtype), scale)

    def read(self, items: Sequence[Any]) -> Inputs:
        """Arrays or tensors of one example or N of them, or an .npz file with the array x.

        Where the values were columns of a table: data frames, CSV or Parquet files, dictionaries
        with a value for each column.
        """
        blocks = []
        for number, item in enumerate(items, 1):
            where = f"input {number}"
            values = self._kept(self._array(item, where), where)
            values = values[None] if values.ndim == len(self.size) else values
            if not self._fits(values.shape[1:]):
                raise UserError(
                    f"{where} has the shape {values.shape}: expected {self._words(self.size)} for "
                    "each"
                )
            blocks.append(values)
        if not blocks:
            raise UserError("there is nothing to predict: expected at least one input")
        x = np.concatenate(blocks)
        return Inputs(Dense(x), ("",) * len(x))

    def _array(self, item: Any, where: str) -> np.ndarray:
        """One input as an array."""
        if isinstance(item, Tensor):
            return array_of(item)
        if not self.columns:
            return given_array(item, where)
        if isinstance(item, dict):
            import polars as pl

            self._has_columns(item, where)
            row = pl.DataFrame({name: [item[name]] for name in self.columns})
            return table_values(row, self.columns, where)
        if isinstance(item, str | os.PathLike) and kind_of(item) == "table":
            frame = read_frame(paths.given(item, where))[0]
        elif hasattr(item, "columns"):
            frame = given_frame(item, where)
        else:
            return given_array(item, where)
        self._has_columns(frame.columns, where)
        return table_values(frame, self.columns, where)

    def _has_columns(self, found: Any, where: str) -> None:
        absent = [name for name in self.columns if name not in set(found)]
        if absent:
            raise UserError(
                f"{where} lacks the columns {some(absent, SHOWN)}; "
                f"it has {some(map(str, found), SHOWN)}"
            )

    def _fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an example may have this shape."""
        pairs = zip(self.size, shape, strict=False)
        return len(shape) == len(self.size) and all(own in (0, given) for own, given in pairs)

    def _words(self, shape: tuple[int, ...]) -> str:
        """A shape in words."""
        return f"{' x '.join(str(side or 'any') for side in shape) or 'one'} values"

    def _kept(self, values: np.ndarray, where: str) -> np.ndarray:
        """Values in the type of the column; UserError for what cannot be brought to it."""
        if values.dtype.kind not in "biufc":
            raise UserError(f"{where} has the type {values.dtype}: expected numbers")
        refuse_not_finite(values, where)
        with np.errstate(over="ignore", invalid="ignore"):
            kept = np.ascontiguousarray(values, self.kept_dtype)
        if kept.dtype.kind == "f":
            refuse_not_finite(kept, where)
        elif kept.dtype.kind in "iub" and not np.array_equal(kept, values):
            raise UserError(f"{where} holds {values.dtype} values: expected {self.dtype}")
        return kept

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
        """1 ..., a length that may be any is 1."""
        return torch.zeros(1, *(side or 1 for side in self.size), dtype=self.torch_dtype)


def refuse_not_finite(values: np.ndarray, where: str) -> None:
    """UserError that names the first value that is NaN or infinite."""
    if values.dtype.kind not in "fc":
        return
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise UserError(
            f"{where}: {len(bad)} of its values are no finite {values.dtype} numbers, the first at "
            f"{list(place)} ({values[place]}): leave those examples out or fill them"
        )


def array_of(tensor: Tensor) -> np.ndarray:
    """A tensor as an array, bfloat16 as float32."""
    plain = tensor.detach().cpu()
    found: np.ndarray = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return found


def table_values(frame: Any, columns: Sequence[str], where: str) -> np.ndarray:
    """Columns of a polars frame as N D in their common type; text that is numbers is read so.

    UserError names the first column that holds anything else, or lacks values.
    """
    import polars as pl

    found = []
    for name in columns:
        column = frame[name]
        if column.dtype == pl.String:
            parsed = column.cast(pl.Float64, strict=False)
            column = parsed if parsed.null_count() == column.null_count() else column
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            raise UserError(
                f"{where}: the column {name!r} holds {column.dtype} values, which a network cannot "
                "take: leave it out, encode it as numbers, or give standardise=True to have the "
                "table encoded (categories one-hot, numbers standardised, missing ones filled)"
            )
        if column.null_count():
            raise UserError(
                f"{where}: the column {name!r} lacks {column.null_count()} values: fill them, "
                "leave those rows out, or give standardise=True to have the table encoded"
            )
        found.append(column.to_numpy())
    stacked: np.ndarray = np.stack(found, 1)
    return stacked


@lru_cache(maxsize=16)
def _scaling(
    mean: tuple[float, ...],
    std: tuple[float, ...],
    after: int,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Factor and summand, for values that have so many axes after the one that is standardised."""
    shape = (-1, *(1,) * after)
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    means, stds = (torch.tensor(value, dtype=kind).view(shape) for value in (mean, std))
    return (1 / stds).to(device, dtype), (-means / stds).to(device, dtype)
