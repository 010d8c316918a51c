"""One of two classes by one output: logistic regression."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from gradlab.config import Recipe, Runtime
from gradlab.data import Schema
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.base import Own
from gradlab.tasks.classification import Classes
from gradlab.tasks.metrics import Accuracy, Loss, RocAuc


@tasks.register("binary")
class Binary(Classes):
    """Binary cross-entropy of one logit; the second class is the positive one."""

    monitor = "loss"
    metrics = (Loss, Accuracy, RocAuc)

    def __init__(
        self, recipe: Recipe, schema: Schema, runtime: Runtime, own: Own | None = None
    ) -> None:
        self.take_target(schema, "binary classification")
        if len(self.field.classes) != 2:
            raise UserError(
                f"binary classification needs two classes, found {len(self.field.classes)}; "
                "use --task classification or regression"
            )
        super().__init__(recipe, schema, runtime, own)

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """Binary cross-entropy; output: N 1 logits, y: N of 0 and 1."""
        return functional.binary_cross_entropy_with_logits(output[:, 0], y.to(output.dtype))

    def chosen(self, output: Tensor) -> Tensor:
        """The likelier class of each example."""
        return (output[:, 0] > 0).long()

    def interpreted(self, output: Tensor) -> Tensor:
        """Probabilities of the two classes, N 2."""
        positive = output[:, 0].sigmoid()
        return torch.stack([1 - positive, positive], dim=1)

    def as_output(self, answers: Tensor) -> Tensor:
        """Probabilities (N 2) as the network would have to give them."""
        return answers[:, 1:].logit(1e-7)

    def pooled(self, outputs: Sequence[Tensor]) -> Tensor:
        """Several networks' outputs as one, whose answers are the mean of theirs."""
        logits = torch.stack([output.float() for output in outputs])
        yes, no = (functional.logsigmoid(sign * logits).logsumexp(0) for sign in (1, -1))
        return yes - no
