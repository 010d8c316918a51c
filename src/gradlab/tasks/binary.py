"""One of two classes by one output: logistic regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gradlab.config import Recipe
from gradlab.data import Dataset, Schema
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.base import Details, Own, Prediction
from gradlab.tasks.classification import class_details, ranked
from gradlab.tasks.supervised import Supervised


@tasks.register("binary")
class Binary(Supervised):
    """Binary cross-entropy of one logit; the second class is the positive one."""

    monitor = ("loss", "min")

    def __init__(self, recipe: Recipe, source: Dataset | Schema, own: Own | None = None) -> None:
        schema = source.schema if isinstance(source, Dataset) else source
        if len(schema.classes) != 2:
            raise UserError(
                f"binary classification needs two classes, found {len(schema.classes)}; "
                "use --task classification or regression"
            )
        super().__init__(recipe, source, own)

    @property
    def outputs(self) -> int:
        """One logit."""
        return 1

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """Binary cross-entropy; output: N 1 logits, y: N of 0 and 1."""
        return functional.binary_cross_entropy_with_logits(output[:, 0], y.to(output.dtype))

    def metrics(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """Cross-entropy in nats, accuracy, and the area under the ROC curve."""
        from sklearn.metrics import roc_auc_score

        figures = {
            "loss": float(self.score(output, y)),
            "accuracy": float(((output[:, 0] > 0) == (y == 1)).float().mean()),
        }
        if 0 < int(y.sum()) < len(y) and bool(torch.isfinite(output).all()):
            figures["roc_auc"] = float(roc_auc_score(y.cpu().numpy(), output[:, 0].cpu().numpy()))
        return figures

    def details(self, split: str) -> Details:
        """Confusion matrix (rows: truth), precision, recall and F1, and the worst mistakes."""
        output, y = self.outputs_of(split)
        return class_details(self.figures(output, y), self.answers(output), y, self.schema.classes)

    def predict(self, x: np.ndarray, names: Sequence[str]) -> list[Prediction]:
        """The likelier class and both probabilities."""
        return ranked(self.answers(self.outputs_for(x)), names, self.schema.classes)

    def answers(self, output: Tensor) -> Tensor:
        """Probabilities of the two classes, N 2."""
        positive = output[:, 0].sigmoid()
        return torch.stack([1 - positive, positive], dim=1)

    def pooled(self, outputs: Sequence[Tensor]) -> Tensor:
        """Several networks' outputs as one, whose answers are the mean of theirs."""
        logits = torch.stack([output.float() for output in outputs])
        yes, no = (functional.logsigmoid(sign * logits).logsumexp(0) for sign in (1, -1))
        return yes - no
