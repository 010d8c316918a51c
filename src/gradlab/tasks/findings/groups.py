"""Errors by the values of a column: a good mean may hide a group that is served badly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gradlab.data.dataset import Split
from gradlab.data.loader import Batch
from gradlab.errors import UserError, unknown
from gradlab.measures import measure
from gradlab.tasks.evaluation import Collector, Part, Table
from gradlab.tasks.findings.inputs import Inputs, named_inputs

MOST = 20
"""Groups; a column of more values is cut into quarters, or its rare values are taken together."""
_LEFT_OUT = ("loss", "ece")  # of the table, not of the JSON

GroupErrors = Annotated[
    str, Field(description="a table's column: the metrics for each of its values, in the report")
]


@dataclass(frozen=True)
class Groups(Part):
    """The examples and the metrics of each group of a column's values."""

    column: str
    groups: tuple[tuple[str, int, dict[str, float]], ...]
    title = "Errors by group"

    @property
    def caption(self) -> str:  # type: ignore[override]
        """What the groups are."""
        return f"Examples by their {self.column}. Few examples make uncertain figures."

    def to_dict(self) -> dict[str, Any]:
        """By group."""
        found = {name: {"count": count, **metrics} for name, count, metrics in self.groups}
        return {"groups": {"column": self.column, "values": found}}

    def tables(self) -> Sequence[Table]:
        """A row for each group."""
        names = dict.fromkeys(name for _, _, found in self.groups for name in found)
        shown = [name for name in names if name not in _LEFT_OUT]
        rows = tuple(
            (
                group,
                str(count),
                *(measure(n).text(found[n]) if n in found else "" for n in shown),
            )
            for group, count, found in self.groups
        )
        return (Table((self.column, "examples", *shown), rows),)


class GroupCollector(Collector):
    """The metrics of each group, where a column is named (`task.group_errors`)."""

    def __init__(self, task: Any, split: Split) -> None:
        super().__init__(task, split)
        self.column = task.group_errors
        if not self.column:
            return
        found = checked(task.schema, self.column)
        self.names, self.numbers = _groups(task, split, found, self.column)
        self.meters = [[metric(task) for metric in task.metrics] for _ in self.names]

    def update(self, output: Tensor, batch: Batch) -> None:
        """Give each group its examples."""
        if not self.column:
            return
        y, numbers = batch[self.task.target], self.numbers[batch.rows]
        for group in np.unique(numbers).tolist():
            index = torch.from_numpy(np.flatnonzero(numbers == group)).to(y.device)
            part = Batch({self.task.target: y[index]}, len(index))
            for meter in self.meters[group]:
                meter.update(output[index], part)

    def compute(self) -> Part | None:
        """None where no column is named."""
        if not self.column:
            return None
        counts = np.bincount(self.numbers, minlength=len(self.names)).tolist()
        groups = []
        for name, count, meters in zip(self.names, counts, self.meters, strict=True):
            found = {meter.name: meter.compute() for meter in meters}
            groups.append((name, count, {k: v for k, v in found.items() if v is not None}))
        return Groups(self.column, tuple(group for group in groups if group[1]))


def checked(schema: Any, column: str) -> Inputs:
    """The inputs of a table with this column; UserError where there is none."""
    inputs = named_inputs(schema)
    if inputs is None:
        raise UserError(
            f"task.group_errors: expected a column of a table, but the inputs are {schema.words()}:"
            " leave it out"
        )
    if column not in inputs.columns:
        raise unknown("input column (task.group_errors)", column, inputs.columns)
    return inputs


def _groups(task: Any, split: Split, inputs: Inputs, column: str) -> tuple[list[str], np.ndarray]:
    """The names of the groups, and the number of each example's."""
    loader = task.loader_of(split.only([inputs.name]), [inputs.name])
    places = inputs.columns[column]
    x = np.concatenate([b[inputs.name][:, places].cpu().numpy() for b in loader.in_order()])
    rows, number = np.unique(x, axis=0, return_inverse=True)
    number = number.reshape(-1)

    def named(values: np.ndarray) -> str:
        return str(inputs.field.show_inputs(column, values))

    names = [named(values) for values in rows]
    if len(rows) <= MOST:
        return names, number
    if len(set(x[:, 0].tolist())) > MOST:  # a number: a quarter of the examples each
        edges = np.quantile(x[:, 0], (0.25, 0.5, 0.75))
        ends = [named(np.array([edge, *np.zeros(len(places) - 1)])) for edge in edges]
        between = [f"above {low} to {high}" for low, high in pairwise(ends)]
        cuts = [f"up to {ends[0]}", *between, f"above {ends[-1]}"]
        return cuts, np.searchsorted(edges, x[:, 0], side="left")
    common = [group for group, _ in Counter(number.tolist()).most_common(MOST - 1)]
    place = {group: index for index, group in enumerate(common)}
    found = np.array([place.get(group, len(common)) for group in number.tolist()])
    return [*(names[group] for group in common), "other"], found
