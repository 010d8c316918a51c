"""The coefficients of a linear model by the names of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gradlab.data.fields.number import Number
from gradlab.tasks.evaluation import Part, Table
from gradlab.tasks.findings.inputs import named_inputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 8
"""Classes with a column of coefficients each."""


@dataclass(frozen=True)
class Coefficients(Part):
    """A linear model: `values` of D inputs for each of R results, and the intercepts, R."""

    inputs: tuple[str, ...]
    results: tuple[str, ...]
    values: np.ndarray
    intercepts: np.ndarray
    unit: str
    title = "Coefficients"
    subject = "of the linear model"

    @property
    def caption(self) -> str:  # type: ignore[override]
        """The units."""
        return (
            f"{self.unit}, for one standard deviation more of a number, or for a category against "
            "none. Inputs that say the same share their effect."
        )

    @property
    def order(self) -> np.ndarray:
        """The inputs, those of the largest coefficients first."""
        return np.argsort(-np.abs(self.values).max(axis=1), kind="stable")

    def to_dict(self) -> dict[str, Any]:
        """By result, then input."""
        return {
            "coefficients": {
                result: {
                    "intercept": float(self.intercepts[k]),
                    **{self.inputs[d]: float(self.values[d, k]) for d in self.order},
                }
                for k, result in enumerate(self.results)
            }
        }

    def tables(self) -> Sequence[Table]:
        """A row for each input, the largest first."""
        rows = [
            (self.inputs[d], *(f"{value:+.4g}" for value in self.values[d])) for d in self.order
        ]
        rows.append(("(intercept)", *(f"{value:+.4g}" for value in self.intercepts)))
        header = ("input", *self.results)
        return (Table(header, tuple(rows), folded=True, title="All coefficients"),)

    def figure(self) -> Figure | None:
        """The largest, where there is one result."""
        if len(self.results) != 1:
            return None
        from gradlab.figures import bars

        names = [self.inputs[d] for d in self.order]
        return bars(names, self.values[self.order, 0], None, self.unit)

    def words(self) -> str:
        """The largest."""
        largest = [self.inputs[d] for d in self.order[:3]]
        return f"Coefficients of a linear model; the largest are of {', '.join(largest)}"


def coefficients(task: Any) -> Part | None:
    """The coefficients of a task whose network is one linear layer of named inputs."""
    inputs = named_inputs(task.schema)
    layers = [module for module in task.model.modules() if list(module.parameters(recurse=False))]
    if inputs is None or len(layers) != 1 or not isinstance(layers[0], nn.Linear):
        return None
    if layers[0].in_features != len(inputs.names):
        return None
    weight = layers[0].weight.detach().double().cpu().numpy()  # K D
    bias = layers[0].bias
    zero = torch.zeros(len(weight)) if bias is None else bias.detach()
    intercepts = zero.double().cpu().numpy()
    results: tuple[str, ...]
    if isinstance(task.field, Number):
        weight, intercepts = weight * task.field.std, intercepts * task.field.std + task.field.mean
        results, unit = (task.field.column or "y",), f"change of {task.field.column or 'y'}"
    elif len(task.field.classes) == 2:
        sign = 1 if task.positive else -1
        if len(weight) == 2:
            weight, intercepts = weight[1:] - weight[:1], intercepts[1:] - intercepts[:1]
        weight, intercepts = sign * weight, sign * intercepts
        results = (task.field.classes[task.positive],)
        unit = f"change of the log odds of {results[0]!r}"
    elif len(weight) <= MOST_CLASSES:
        results, unit = tuple(task.field.classes), "change of the logit of each class"
    else:
        return None
    return Coefficients(tuple(inputs.names), results, weight.T, intercepts, unit)
