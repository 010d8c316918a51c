"""One of two classes by one output: logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gradlab.config import Recipe, Runtime
from gradlab.data import Schema
from gradlab.data.loader import Batch
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.base import Own
from gradlab.tasks.classes import TWO, Classes
from gradlab.tasks.decision import Calibrate, ClassWeight, Positive, Threshold
from gradlab.tasks.findings import GroupErrors


@tasks.register("binary")
class Binary(Classes):
    """Binary cross-entropy of one logit, which is that of the second class."""

    monitor = "loss"
    metrics = TWO

    def __init__(
        self,
        recipe: Recipe,
        schema: Schema,
        runtime: Runtime,
        own: Own | None = None,
        *,
        class_weight: ClassWeight = "none",
        positive: Positive = "",
        threshold: Threshold = 0.5,
        calibrate: Calibrate = False,
        group_errors: GroupErrors = "",
    ) -> None:
        self.take_target(schema, "binary classification")
        if len(self.field.classes) != 2:
            raise UserError(
                f"binary classification needs two classes, found {len(self.field.classes)}; "
                "use --task classification or regression"
            )
        super().__init__(
            recipe, schema, runtime, own, class_weight=class_weight, positive=positive,
            threshold=threshold, calibrate=calibrate, group_errors=group_errors,
        )  # fmt: skip

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """Binary cross-entropy; output: N 1 logits, y: N of 0 and 1."""
        weight = None if self.weights is None else self.weights[y]
        return functional.binary_cross_entropy_with_logits(output[:, 0], y.to(output.dtype), weight)

    def measured_loss(self, output: Any, batch: Batch) -> Tensor:
        """Binary cross-entropy without weights, or a person's own loss."""
        if self.criterion != self.score:
            return super().measured_loss(output, batch)
        y = batch[self.target].to(output.dtype)
        return functional.binary_cross_entropy_with_logits(output[:, 0], y)

    def logits(self, output: Tensor) -> Tensor:
        """0 for the first class, N 2."""
        return torch.cat([torch.zeros_like(output), output], dim=1)

    def likeliest(self, output: Tensor) -> Tensor:
        """The second class where the logit is above 0."""
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
