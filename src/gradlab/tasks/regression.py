"""A number: linear regression, and networks that estimate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional

from gradlab.config import Recipe
from gradlab.data import Dataset, Schema
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.base import Details, Own, Prediction
from gradlab.tasks.classification import WORST
from gradlab.tasks.supervised import Supervised


@tasks.register("regression")
class Regression(Supervised):
    """Squared error; the target is standardised in training, and metrics are in its own units."""

    monitor = ("loss", "min")

    def __init__(
        self, recipe: Recipe, source: Dataset | Schema, own: Own | None = None
    ) -> None:
        schema = source.schema if isinstance(source, Dataset) else source
        if schema.target != "number":
            raise UserError(
                "regression needs a number to predict, but this dataset has classes "
                f"({', '.join(schema.classes[:5])}); use --task classification"
            )
        super().__init__(recipe, source, own)

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """Mean squared error in standardised units; output: N 1, y: N."""
        target = (y - self.schema.target_mean) / self.schema.target_std
        return functional.mse_loss(output[:, 0], target.to(output.dtype))

    def metrics(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """Loss (standardised), MSE and MAE in the target's units, and R2."""
        error = self.restored(output).double() - y.double()
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

    def restored(self, output: Tensor) -> Tensor:
        """Outputs in the target's units, N."""
        return output[:, 0] * self.schema.target_std + self.schema.target_mean

    def details(self, split: str) -> Details:
        """The metrics and the largest errors."""
        output, y = self.outputs_of(split)
        answer = self.restored(output)
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
        answers = self.restored(self.outputs_for(x)).tolist()
        return [Prediction(name, value) for name, value in zip(names, answers, strict=True)]
