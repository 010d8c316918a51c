"""One class of several: softmax regression, and every image or text classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from gradlab.config import Recipe, Runtime
from gradlab.data import Schema
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.loader import Batch
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.answers import Answer, ranked
from gradlab.tasks.base import Own
from gradlab.tasks.evaluation import ConfusionCollector, MistakeCollector
from gradlab.tasks.losses import CLASSES, squared_norm
from gradlab.tasks.metrics import Accuracy, Loss
from gradlab.tasks.supervised import Supervised


class Classes(Supervised):
    """What all tasks that answer with one of several classes share."""

    collectors = (ConfusionCollector, MistakeCollector)
    wrong_measure = "probability"
    field: Label

    def take_target(self, schema: Schema, what: str) -> None:
        """The label that is asked for; UserError when there is none."""
        numbers = [f for f in schema.targets.values() if isinstance(f, Number)]
        if numbers:
            raise UserError(
                f"{what} needs classes, but the target of this dataset is a number "
                f"({numbers[0].column or 'y'}); use --task regression, or --data.target_kind "
                "class if its values are classes"
            )
        self.target, self.field = schema.target(Label, what)

    def chosen(self, output: Tensor) -> Tensor:
        """The likeliest class of each example, int64 N."""
        return output.argmax(1)

    def answer(self, output: Tensor, batch: Batch) -> Sequence[Answer]:
        """The likeliest class, and the five likeliest with their probabilities."""
        return ranked(self.interpreted(output), self.field.classes)

    def wrong(self, output: Tensor, batch: Batch) -> tuple[Tensor, Any]:
        """The probability of the class that was taken for the right one."""
        probability = self.interpreted(output).cpu()
        truth, answer = batch[self.target].cpu(), probability.argmax(1)
        sure = probability.gather(1, answer[:, None])[:, 0] * (answer != truth)

        def describe(place: int) -> tuple[str, str]:
            return self.field.show(truth[place]), self.field.show(answer[place])

        return sure, describe


@tasks.register("classification")
class Classification(Classes):
    """Cross-entropy (or another loss) over K classes; accuracy decides."""

    monitor = "accuracy"
    metrics = (Loss, Accuracy)
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
    ) -> None:
        if label_smoothing and loss != "cross_entropy":
            raise UserError(f"label smoothing goes with cross_entropy, not with the loss {loss!r}")
        self.take_target(schema, "classification")
        self.smoothing = label_smoothing
        self.cost = CLASSES[loss]
        self.l2 = l2
        super().__init__(recipe, schema, runtime, own)

    @property
    def outputs(self) -> int:
        """One for each class."""
        return len(self.field.classes)

    def score(self, output: Tensor | tuple[Tensor, ...], y: Tensor) -> Tensor:
        """The chosen loss; output: N K (several with auxiliary heads), y: N class numbers."""
        if isinstance(output, tuple):
            return self.with_heads(output, y)
        if self.smoothing:
            return functional.cross_entropy(output, y, label_smoothing=self.smoothing)
        return self.cost(output, y)

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch, with the squared weights and a network's auxiliary heads."""
        output = self.forward(batch)
        criterion = self.with_heads if isinstance(output, tuple) else self.criterion
        value = batch.loss(criterion, output, self.target)
        return value + self.l2 * squared_norm(self.updates.parameters) if self.l2 else value

    def measured_loss(self, output: Tensor, batch: Batch) -> Tensor:
        """The chosen loss without smoothing (cross-entropy in nats), or a person's own."""
        criterion = self.cost if self.criterion == self.score else self.criterion
        return criterion(output, batch[self.target])

    def with_heads(self, output: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """The loss of the logits, and of each auxiliary head with the network's weight."""
        main, *heads = output
        weight = float(getattr(self.model, "aux_weight", 1.0))
        extra = [self.criterion(head, y) for head in heads if head is not None]
        found: Tensor = self.criterion(main, y)
        return found + weight * sum(extra, torch.zeros_like(main[0, 0]))

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
