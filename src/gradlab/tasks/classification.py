"""One class of several: softmax regression, and every image or text classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from gradlab.config import Recipe
from gradlab.data import Dataset, Schema
from gradlab.data.feed import Batch
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.base import Details, Own, Prediction
from gradlab.tasks.losses import CLASSES, squared_norm
from gradlab.tasks.supervised import Supervised

WORST = 24
"""How many mistakes a report shows."""


@tasks.register("classification")
class Classification(Supervised):
    """Cross-entropy (or another loss) over K classes; accuracy decides."""

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
        loss: Annotated[
            Literal["cross_entropy", "hinge", "nll", "bce", "mse"],
            Field(description="what an example costs; nll is for log-probabilities"),
        ] = "cross_entropy",
        l2: Annotated[
            float, Field(ge=0, description="of the squared weights, added to the loss")
        ] = 0.0,
    ) -> None:
        schema = source.schema if isinstance(source, Dataset) else source
        if schema.target != "class":
            raise UserError(
                f"classification needs classes, but the target of this dataset is a number "
                f"({schema.target_name or 'y'}); use --task regression"
            )
        if label_smoothing and loss != "cross_entropy":
            raise UserError(f"label smoothing goes with cross_entropy, not with the loss {loss!r}")
        self.smoothing = label_smoothing
        self.cost = CLASSES[loss]
        self.l2 = l2
        super().__init__(recipe, source, own)

    @property
    def outputs(self) -> int:
        """One for each class."""
        return len(self.schema.classes)

    def score(self, output: Tensor | tuple[Tensor, ...], y: Tensor) -> Tensor:
        """The chosen loss; output: N K (several with auxiliary heads), y: N class numbers."""
        if isinstance(output, tuple):
            return self.with_heads(output, y)
        if self.smoothing:
            return functional.cross_entropy(output, y, label_smoothing=self.smoothing)
        return self.cost(output, y)

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch, with the squared weights and a network's auxiliary heads."""
        output = self.model(batch.x)
        value = batch.loss(self.with_heads if isinstance(output, tuple) else self.criterion, output)
        return value + self.l2 * squared_norm(self.updater.parameters) if self.l2 else value

    def with_heads(self, output: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """The loss of the logits, and of each auxiliary head with the network's weight."""
        main, *heads = output
        weight = float(getattr(self.model, "aux_weight", 1.0))
        extra = [self.criterion(head, y) for head in heads if head is not None]
        return self.criterion(main, y) + weight * sum(extra, torch.zeros_like(main[0, 0]))

    def metrics(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """The chosen loss without smoothing (cross-entropy in nats), and accuracy."""
        return {
            "loss": float(self.cost(output, y)),
            "accuracy": float((output.argmax(1) == y).float().mean()),
        }

    def details(self, split: str) -> Details:
        """Confusion matrix (rows: truth), precision, recall and F1, and the worst mistakes."""
        output, y = self.outputs_of(split)
        return class_details(self.figures(output, y), self.answers(output), y, self.schema.classes)

    def predict(self, x: np.ndarray, names: Sequence[str]) -> list[Prediction]:
        """The likeliest class, and the five likeliest with their probabilities."""
        return ranked(self.answers(self.outputs_for(x)), names, self.schema.classes)

    def answers(self, output: Tensor) -> Tensor:
        """Probabilities of the classes, N K."""
        return output.softmax(1)

    def pooled(self, outputs: Sequence[Tensor]) -> Tensor:
        """Several networks' outputs as one, whose answers are the mean of theirs."""
        logs = torch.stack([output.float().log_softmax(1) for output in outputs])
        return logs.logsumexp(0) - math.log(len(outputs))


def ranked(probability: Tensor, names: Sequence[str], classes: tuple[str, ...]) -> list[Prediction]:
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
    probability, y = probability.cpu(), y.cpu()
    answer = probability.argmax(1)
    count = len(classes)
    confusion = torch.bincount(y * count + answer, minlength=count**2).view(count, count)
    right, truth, given = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    # By the counts: scikit-learn, loaded for this alone, would take a second and 60 MB.
    figures = {
        "precision": right / given.clamp(min=1),
        "recall": right / truth.clamp(min=1),
        "f1": 2 * right / (truth + given).clamp(min=1),
        "count": truth,
    }
    per_class = {
        name: {key: float(values[k]) for key, values in figures.items()}
        for k, name in enumerate(classes)
    }
    sure = probability.gather(1, answer[:, None])[:, 0]
    wrong = torch.nonzero(answer != y)[:, 0]
    worst = wrong[sure[wrong].argsort(descending=True, stable=True)][:WORST]
    return Details(
        metrics,
        classes,
        confusion.numpy(),
        per_class,
        tuple((i, classes[y[i]], classes[answer[i]], float(sure[i])) for i in worst.tolist()),
    )
