"""Labels: one class of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field as Described
from torch import Tensor

from gradlab.data.columns import Column, Dense
from gradlab.data.fields import fields
from gradlab.data.fields.base import Checked, Field, Inputs, Issue, Skipped
from gradlab.errors import UserError
from gradlab.text import brief
from gradlab.wording import SHOWN, shown, some

IMBALANCE = 10.0
"""A largest class of more than so many times the smallest is an issue."""


@fields.register("label")
class Label(Field):
    """A class for each example, kept as its number."""

    word = "class"

    type: Literal["label"] = "label"
    classes: tuple[str, ...] = Described((), description="the names of the classes, in order")
    column: str = Described("", description="the column of a table that it was read from")

    @property
    def shape(self) -> tuple[int, ...]:
        """K: one score for each class."""
        return (len(self.classes),)

    def fit(self, raw: Dense) -> Label:
        """With the names that stand in the training split, where none were given."""
        if self.classes:
            return self
        return self.model_copy(update={"classes": tuple(map(str, np.unique(raw[:])))})

    def encode(self, raw: Dense) -> Dense:
        """Class numbers, int64 N."""
        values = raw[:]
        if values.dtype.kind in "iu":
            return Dense(values.astype(np.int64))
        number = {name: k for k, name in enumerate(self.classes)}
        return Dense(np.array([number[str(value)] for value in values], np.int64))

    def read(self, items: Sequence[Any]) -> Inputs:
        """Names of classes, numbers as they are written; those that are not known are skipped.

        Whole numbers are those of the classes where the classes are not called by numbers.
        """
        number = {name: k for k, name in enumerate(self.classes)}
        numbered = any(_is_number(name) for name in self.classes)
        codes: list[int] = []
        skipped: list[Skipped] = []
        for place, item in enumerate(items):
            text = _as_text(item)
            code = number.get(text)
            if code is None and _is_number(text):
                code = number.get(f"{float(text):.10g}")  # 1.0 is the class 1
                if code is None and not numbered and isinstance(item, int | np.integer):
                    code = int(item) if 0 <= item < len(self.classes) else None
            if code is not None:
                codes.append(code)
                continue
            known = some(self.classes, SHOWN)
            why = f"its class {text!r} is not known ({known} are)" if text else "it has no class"
            skipped.append(Skipped("", why, place))
        column = Dense(np.array(codes, np.int64))
        return Inputs(column, ("",) * len(codes), tuple(skipped))

    def issues(self, raw: Mapping[str, Column]) -> Checked:
        """Examples by class and split, classes that a split lacks, imbalance."""
        counted = {
            name: np.bincount(np.asarray(self.encode(column)), minlength=len(self.classes))  # type: ignore[arg-type]
            for name, column in raw.items()
        }
        facts: dict[str, Any] = {
            "classes": {
                label: {name: int(counts[number]) for name, counts in counted.items()}
                for number, label in enumerate(self.classes)
            }
        }
        issues = []
        for name, counts in counted.items():
            absent = [self.classes[number] for number in np.flatnonzero(counts == 0)]
            if absent:
                what = f"classes without an example in {name}: {len(absent)} of {len(self.classes)}"
                issues.append(Issue("warning", what, shown(absent)))
        totals = np.sum(list(counted.values()), axis=0)
        if len(totals) and totals.min() > 0:
            facts["imbalance"] = ratio = float(totals.max() / totals.min())
            if ratio > IMBALANCE:
                largest, smallest = (self.classes[f(totals)] for f in (np.argmax, np.argmin))
                what = (
                    f"the classes are out of balance: {largest!r} has {ratio:.1f} times the "
                    f"examples of {smallest!r}; a model may learn to ignore the small one"
                )
                issues.append(Issue("warning", what, (largest, smallest)))
        return Checked(facts, tuple(issues))

    def show(self, value: Any) -> str:
        """The name of the class."""
        return self.classes[int(value)]

    def example(self) -> Tensor:
        """1."""
        return torch.zeros(1, dtype=torch.int64)


def _as_text(item: Any) -> str:
    """A class as a table has it; "" where there is none."""
    if item is None or (isinstance(item, float) and np.isnan(item)):
        return ""
    if isinstance(item, bool | np.bool_):
        return str(item).lower()
    if isinstance(item, float | np.floating):
        return f"{item:.10g}"
    if isinstance(item, str | int | np.integer):
        return str(item)
    raise UserError(f"a class is a name or a number, found {brief(item)}")


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
