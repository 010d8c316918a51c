"""One class of several: softmax regression, and every image or text classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from gradlab.config import Recipe
from gradlab.data import Dataset, Schema
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.base import Details, Own, Prediction
from gradlab.tasks.supervised import Supervised

WORST = 24
"""How many mistakes a report shows."""


@tasks.register("classification")
class Classification(Supervised):
    """Cross-entropy over K classes; accuracy decides."""

    monitor = ("accuracy", "max")

    def __init__(
        self,
        recipe: Recipe,
        source: Dataset | Schema,
        own: Own | None = None,
        *,
        label_smoothing: Annotated[
            float, Field(ge=0, lt=1, description="share of the target spread over all classes")
        ] = 0.0,
    ) -> None:
        schema = source.schema if isinstance(source, Dataset) else source
        if schema.target != "class":
            raise UserError(
                f"classification needs classes, but the target of this dataset is a number "
                f"({schema.target_name or 'y'}); use --task regression"
            )
        self.label_smoothing = label_smoothing
        super().__init__(recipe, source, own)

    @property
    def outputs(self) -> int:
        """One for each class."""
        return len(self.schema.classes)

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy; output: N K logits, y: N class numbers."""
        return functional.cross_entropy(output, y, label_smoothing=self.label_smoothing)

    def metrics(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """Cross-entropy in nats, and accuracy."""
        return {
            "loss": float(functional.cross_entropy(output, y)),
            "accuracy": float((output.argmax(1) == y).float().mean()),
        }

    def details(self, split: str) -> Details:
        """Confusion matrix (rows: truth), precision, recall and F1, and the worst mistakes."""
        output, y = self.outputs_of(split)
        return class_details(self.figures(output, y), output.softmax(1), y, self.schema.classes)

    def predict(self, x: np.ndarray, names: Sequence[str]) -> list[Prediction]:
        """The likeliest class, and the five likeliest with their probabilities."""
        return ranked(self.outputs_for(x).softmax(1), names, self.schema.classes)


def ranked(
    probability: Tensor, names: Sequence[str], classes: tuple[str, ...]
) -> list[Prediction]:
    """Predictions from probabilities of N K."""
    values, order = probability.topk(min(5, len(classes)), dim=1)
    answers = []
    for name, row, chosen in zip(names, values.tolist(), order.tolist(), strict=True):
        top = tuple((classes[k], value) for k, value in zip(chosen, row, strict=True))
        answers.append(Prediction(name, top[0][0], top[0][1], top))
    return answers


def class_details(
    metrics: dict[str, float], probability: Tensor, y: Tensor, classes: tuple[str, ...]
) -> Details:
    """Details of a classification from probabilities of N K and class numbers of N."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    probability, y = probability.cpu(), y.cpu()
    answer = probability.argmax(1)
    labels = range(len(classes))
    confusion = confusion_matrix(y.numpy(), answer.numpy(), labels=labels)
    figures = precision_recall_fscore_support(
        y.numpy(), answer.numpy(), labels=labels, zero_division=0
    )
    per_class = {
        name: {
            "precision": float(figures[0][k]), "recall": float(figures[1][k]),
            "f1": float(figures[2][k]), "count": float(figures[3][k]),
        }
        for k, name in enumerate(classes)
    }
    sure = probability.gather(1, answer[:, None])[:, 0]
    wrong = torch.nonzero(answer != y)[:, 0]
    worst = wrong[sure[wrong].argsort(descending=True, stable=True)][:WORST]
    return Details(
        metrics, classes, confusion, per_class,
        tuple((i, classes[y[i]], classes[answer[i]], float(sure[i])) for i in worst.tolist()),
    )
