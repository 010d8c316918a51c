"""A number: linear regression, and networks that estimate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from gradlab.config import Recipe, Runtime
from gradlab.data import Schema
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.loader import Batch
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.answers import Answer, NumberAnswer
from gradlab.tasks.base import Own
from gradlab.tasks.findings import (
    GroupCollector,
    GroupErrors,
    MistakeCollector,
    ResidualCollector,
)
from gradlab.tasks.losses import NUMBERS
from gradlab.tasks.metrics import Absolute, Determination, Loss, Squared
from gradlab.tasks.supervised import Supervised


@tasks.register("regression")
class Regression(Supervised):
    """Squared error (or another loss) of a standardised target; metrics are in its own units."""

    monitor = "loss"
    metrics = (Loss, Squared, Absolute, Determination)
    collectors = (ResidualCollector, MistakeCollector, GroupCollector)
    answers = "number"
    field: Number

    def __init__(
        self,
        recipe: Recipe,
        schema: Schema,
        runtime: Runtime,
        own: Own | None = None,
        *,
        loss: Annotated[
            Literal["mse", "mae", "huber"], Field(description="what an error costs")
        ] = "mse",
        group_errors: GroupErrors = "",
    ) -> None:
        labels = [f for f in schema.targets.values() if isinstance(f, Label)]
        if labels:
            raise UserError(
                "regression needs a number to predict, but this dataset has classes "
                f"({', '.join(labels[0].classes[:5])}); use --task classification, or "
                "--data.target_kind number if they are numbers to estimate"
            )
        self.target, self.field = schema.target(Number, "regression")
        self.cost = NUMBERS[loss]
        self.group_by(schema, group_errors)
        super().__init__(recipe, schema, runtime, own)

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """The chosen loss in standardised units; output: N 1, y: N."""
        target = (y - self.field.mean) / self.field.std
        return self.cost(output[:, 0], target.to(output.dtype))

    def interpreted(self, output: Tensor) -> Tensor:
        """Outputs in the target's units, N."""
        return output[:, 0] * self.field.std + self.field.mean

    def as_output(self, answers: Tensor) -> Tensor:
        """Values in the target's units (N) as the network would have to give them."""
        return ((answers - self.field.mean) / self.field.std)[:, None]

    def pooled(self, outputs: Sequence[Tensor]) -> Tensor:
        """Several networks' outputs as one, whose answers are the mean of theirs."""
        return torch.stack([output.float() for output in outputs]).mean(0)

    def answer(self, output: Tensor, batch: Batch) -> Sequence[Answer]:
        """The number, in the target's units."""
        values = self.interpreted(output).tolist()
        return [NumberAnswer(value, self.field.column) for value in values]

    def wrong(self, output: Tensor, batch: Batch) -> tuple[Tensor, Any]:
        """The absolute error."""
        truth, answer = batch[self.target].cpu(), self.interpreted(output).cpu()

        def describe(place: int) -> tuple[str, str]:
            return self.field.show(truth[place]), self.field.show(answer[place])

        return (answer - truth).abs(), describe
