"""One class of several: softmax regression, and every image or text classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from gradlab.config import Recipe, Runtime
from gradlab.data import Schema
from gradlab.data.loader import Batch
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.base import Own
from gradlab.tasks.classes import Classes
from gradlab.tasks.decision import Calibrate, ClassWeight, Positive, Threshold
from gradlab.tasks.findings import GroupErrors
from gradlab.tasks.losses import CLASSES, EACH, squared_norm


@tasks.register("classification")
class Classification(Classes):
    """Cross-entropy (or another loss) over K classes; accuracy decides, where no class is most."""

    monitor = "accuracy"
    answers = "label"

    def __init__(
        self,
        recipe: Recipe,
        schema: Schema,
        runtime: Runtime,
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
        class_weight: ClassWeight = "none",
        positive: Positive = "",
        threshold: Threshold = 0.5,
        calibrate: Calibrate = False,
        group_errors: GroupErrors = "",
    ) -> None:
        if label_smoothing and loss != "cross_entropy":
            raise UserError(f"label smoothing goes with cross_entropy, not with the loss {loss!r}")
        if calibrate and loss not in ("cross_entropy", "nll"):
            raise UserError(
                "task.calibrate: a temperature is of outputs that are learnt as probabilities; it "
                f"goes with the losses cross_entropy and nll, not with {loss!r}"
            )
        self.take_target(schema, "classification")
        self.smoothing = label_smoothing
        self.cost, self.each = CLASSES[loss], EACH[loss]
        self.normalised = loss == "nll"
        self.l2 = l2
        super().__init__(
            recipe, schema, runtime, own, class_weight=class_weight, positive=positive,
            threshold=threshold, calibrate=calibrate, group_errors=group_errors,
        )  # fmt: skip

    @property
    def outputs(self) -> int:
        """One for each class."""
        return len(self.field.classes)

    def score(self, output: Tensor | tuple[Tensor, ...], y: Tensor) -> Tensor:
        """The chosen loss; output: N K (several with auxiliary heads), y: N class numbers."""
        if isinstance(output, tuple):
            return self.with_heads(output, y)
        if self.weights is not None:
            return (self._each(output, y) * self.weights[y]).mean()
        if self.smoothing:
            return functional.cross_entropy(output, y, label_smoothing=self.smoothing)
        return self.cost(output, y)

    def _each(self, output: Tensor, y: Tensor) -> Tensor:
        if not self.smoothing:
            return self.each(output, y)
        return functional.cross_entropy(output, y, label_smoothing=self.smoothing, reduction="none")

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch, with the squared weights and a network's auxiliary heads."""
        output = self.forward(batch)
        criterion = self.with_heads if isinstance(output, tuple) else self.criterion
        value = batch.loss(criterion, output, self.target)
        return value + self.l2 * squared_norm(self.updates.parameters) if self.l2 else value

    def measured_loss(self, output: Tensor, batch: Batch) -> Tensor:
        """The chosen loss without smoothing and weights (cross-entropy in nats), or one's own."""
        criterion = self.cost if self.criterion == self.score else self.criterion
        return criterion(output, batch[self.target])

    def with_heads(self, output: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """The loss of the logits, and of each auxiliary head with the network's weight."""
        main, *heads = output
        weight = float(getattr(self.model, "aux_weight", 1.0))
        extra = [self.criterion(head, y) for head in heads if head is not None]
        found: Tensor = self.criterion(main, y)
        return found + weight * sum(extra, torch.zeros_like(main[0, 0]))

    def logits(self, output: Tensor) -> Tensor:
        """As they are."""
        return output

    def likeliest(self, output: Tensor) -> Tensor:
        """The class of the largest output."""
        return output.argmax(1)

    def tempered(self, output: Tensor) -> Tensor:
        """Outputs at the temperature that was fitted; log-probabilities stay such."""
        found = super().tempered(output)
        return found.log_softmax(1) if self.normalised else found

    def interpreted(self, output: Tensor) -> Tensor:
        """Probabilities of the classes, N K."""
        return output.softmax(1)

    def as_output(self, answers: Tensor) -> Tensor:
        """Probabilities (N K) as the network would have to give them."""
        return answers.clamp_min(1e-12).log()

    def pooled(self, outputs: Sequence[Tensor]) -> Tensor:
        """Several networks' outputs as one, whose answers are the mean of theirs."""
        logs = torch.stack([output.float().log_softmax(1) for output in outputs])
        return logs.logsumexp(0) - math.log(len(outputs))
