"""A number: linear regression, and networks that estimate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gradlab.config import Recipe
from gradlab.data import Dataset, Schema
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.base import Details, Own, Prediction
from gradlab.tasks.classification import WORST
from gradlab.tasks.losses import NUMBERS
from gradlab.tasks.supervised import Supervised


@tasks.register("regression")
class Regression(Supervised):
    """Squared error (or another loss) of a standardised target; metrics are in its own units."""

    monitor = ("loss", "min")

    def __init__(
        self,
        recipe: Recipe,
        source: Dataset | Schema,
        own: Own | None = None,
        *,
        loss: Annotated[
            Literal["mse", "mae", "huber"], Field(description="what an error costs")
        ] = "mse",
    ) -> None:
        schema = source.schema if isinstance(source, Dataset) else source
        if schema.target != "number":
            raise UserError(
                "regression needs a number to predict, but this dataset has classes "
                f"({', '.join(schema.classes[:5])}); use --task classification"
            )
        self.cost = NUMBERS[loss]
        super().__init__(recipe, source, own)

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """The chosen loss in standardised units; output: N 1, y: N."""
        target = (y - self.schema.target_mean) / self.schema.target_std
        return self.cost(output[:, 0], target.to(output.dtype))

    def metrics(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """Loss (standardised), MSE and MAE in the target's units, and R2."""
        error = self.answers(output).double() - y.double()
        spread = float((y.double() - y.double().mean()).square().sum())
        squared = error.square()
        figures = {
            "loss": float(self.score(output, y)),
            "mse": float(squared.mean()),
            "mae": float(error.abs().mean()),
        }
        if spread:
            figures["r2"] = 1 - float(squared.sum()) / spread
        return figures

    def answers(self, output: Tensor) -> Tensor:
        """Outputs in the target's units, N."""
        return output[:, 0] * self.schema.target_std + self.schema.target_mean

    def pooled(self, outputs: Sequence[Tensor]) -> Tensor:
        """Several networks' outputs as one, whose answers are the mean of theirs."""
        return torch.stack([output.float() for output in outputs]).mean(0)

    def details(self, split: str) -> Details:
        """The metrics and the largest errors."""
        output, y = self.outputs_of(split)
        answer = self.answers(output)
        error = (answer - y).abs()
        worst = error.argsort(descending=True, stable=True)[:WORST]
        return Details(
            self.figures(output, y),
            worst=tuple(
                (i, f"{float(y[i]):.4g}", f"{float(answer[i]):.4g}", float(error[i]))
                for i in worst.tolist()
            ),
        )

    def predict(self, x: np.ndarray, names: Sequence[str]) -> list[Prediction]:
        """The number, in the target's units."""
        answers = self.answers(self.outputs_for(x)).tolist()
        return [Prediction(name, value) for name, value in zip(names, answers, strict=True)]
