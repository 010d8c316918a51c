"""Learning from examples with one answer each: all but the loss, the metrics, the answers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from gradlab.data import Schema
from gradlab.data.loader import Batch, Loader
from gradlab.insight import preflight
from gradlab.models import initial
from gradlab.tasks import transfer
from gradlab.tasks.base import _LOOKED_AT, _LOOKED_AT_VALUES, Task, TrainingPart
from gradlab.tasks.baselines import Baselines, baselines
from gradlab.tasks.evaluation import Part
from gradlab.tasks.findings import coefficients, importance
from gradlab.tasks.findings.groups import checked
from gradlab.tasks.frozen import FEATURES, Frozen


class Supervised(Task):
    """A task whose step is `zero_grad, loss, backward, step` on a batch."""

    serves = frozenset(
        {"init", "weights", "embedding", "freeze", "augment", "updates", "accumulate", "dataset"}
    )

    target: str
    """The name of the field that is asked for."""
    field: Any
    """That field."""
    frozen: Frozen | None = None
    """What frozen layers make of the examples, while they are frozen."""
    wrong_measure = "error"
    """What `wrong` measures."""
    group_errors = ""
    """The column by whose values the metrics are said too."""
    findings: ClassVar[tuple[Callable[[Any], Part | None], ...]] = (coefficients, importance)

    @abstractmethod
    def score(self, output: Any, y: Tensor) -> Tensor:
        """The loss of a batch: the mean over its examples."""

    @property
    def criterion(self) -> Any:
        """A person's own loss, or the task's."""
        return self.own.loss if self.own is not None and self.own.loss is not None else self.score

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch, as it is trained on."""
        return batch.loss(self.criterion, self.forward(batch), self.target)

    def measured_loss(self, output: Any, batch: Batch) -> Tensor:
        """The loss of a batch, as it is reported."""
        found: Tensor = self.criterion(output, batch[self.target])
        return found

    @abstractmethod
    def interpreted(self, output: Tensor) -> Tensor:
        """Outputs as answers: probabilities (N K), or values in the target's units (N)."""

    @abstractmethod
    def as_output(self, answers: Tensor) -> Tensor:
        """The outputs of which these answers are the interpretation."""

    @abstractmethod
    def pooled(self, outputs: Sequence[Tensor]) -> Tensor:
        """Several networks' outputs as one, whose answers are the mean of theirs."""

    @abstractmethod
    def wrong(self, output: Tensor, batch: Batch) -> tuple[Tensor, Any]:
        """How wrong each answer is (N, 0 for right ones), and what says truth and answer of one."""

    def targets(self, split: str) -> Tensor:
        """What is asked for in a split, N."""
        examples = self.dataset.split(split).only([self.target])
        batches = self.loader_of(examples, [self.target]).in_order(1 << 16)
        return torch.cat([batch[self.target] for batch in batches])

    def deciding_by(self, outputs: Iterable[tuple[Tensor, Tensor]]) -> Self:
        """This task as it decides for a baseline, of which these are outputs and truths on val."""
        return self

    def group_by(self, schema: Schema, column: str) -> None:
        """Say the metrics by the values of a table's column too; UserError where there is none."""
        self.group_errors = column
        if column:
            checked(schema, column)

    # training

    def initialise(self) -> None:
        """Initial values, or pretrained weights with their normalisation."""
        super().initialise()
        if self.recipe.transfer.weights:
            self.schema = transfer.normalised(self.schema, self.recipe.transfer.weights)

    def load_pretrained(self, weights: str) -> tuple[str, ...]:
        """Begin with pretrained weights; a last layer for other classes is new."""
        classes = getattr(self.field, "classes", ())
        return transfer.begin_with(self.model, weights, classes)

    def training_parts(self, fresh: bool) -> dict[str, TrainingPart]:
        """The loader's place, the optimizer."""
        self.train_loader = self.loader("train", self.schema.fields)
        self.plain = self.train_loader.columns, self.train_loader.fields
        before = self.recipe.transfer
        if fresh and before.init == "default" and not before.weights:
            name, field = next(iter(self.schema.inputs.items()))
            most = max(_LOOKED_AT_VALUES // max(math.prod(field.shape), 1), 2)
            looked_at = self.train_loader.spread(min(_LOOKED_AT, most))
            initial.from_data(self.model, looked_at[name])
            batches = self.in_order("train").in_order
            initial.from_examples(
                self.model, lambda: ((one[name], one[self.target]) for one in batches())
            )
        self.settle(self.steps)
        self.notes += transfer.phases(before, self.plan.epochs)
        self.updates = self.updater(transfer.groups(self.model, before), self.steps)
        return {"loader": self.train_loader, "updater": self.updates}

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.train_loader.steps

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The shuffled batches of an epoch that are still to come.

        While layers are frozen, what they make of an example stands there in place of its inputs.
        """
        self.model.train()
        before = self.recipe.transfer
        transfer.freeze(self.model, before, epoch)
        if before.views and transfer.is_frozen(before, epoch):
            if self.frozen is None:
                self.train_loader.read(*self.plain)
                self.frozen = Frozen.of(self, self.train_loader)
        else:
            self.frozen = None
        if self.frozen is None:
            self.train_loader.read(*self.plain)
        else:
            views = self.frozen.views
            self.train_loader.read(views[epoch % len(views)], self.frozen.fields)
        return self.train_loader.batches(epoch)

    def forward(self, batch: Batch) -> Any:
        """What the network makes of a batch's inputs, or its last layer of what is frozen."""
        if self.frozen is not None and FEATURES in batch.values:
            return self.frozen.head(batch[FEATURES])
        return super().forward(batch)

    def in_order(self, split: str) -> Loader:
        """A split in order, not augmented; val as features while layers are frozen."""
        kept = self.frozen.val if self.frozen is not None and split == "val" else None
        return super().in_order(split) if kept is None else kept

    def load_weights(self, state: dict[str, Any]) -> None:
        """Take only the model's weights; features of other weights are forgotten."""
        super().load_weights(state)
        self.frozen = None

    def step(self, batch: Batch) -> dict[str, Any]:
        """zero_grad, loss, backward, step."""
        return self.updates.update(self.loss, batch)

    def preflight(self) -> list[Any]:
        """Pass one batch through and say what would not learn."""
        transfer.freeze(self.model, self.recipe.transfer, 0)
        batch = self.train_loader.spread(self.train_loader.batch_size)
        inputs = [batch[name] for name in self.schema.inputs]
        return preflight(
            self.model,
            self.criterion,
            inputs[0] if len(inputs) == 1 else tuple(inputs),
            batch[self.target],
            self.updates.optimizer,
            classes=len(getattr(self.field, "classes", ())) or None,
        )

    def baselines(self, splits: Iterable[str]) -> Baselines:
        """What guessing, and a simple model, reach on these splits."""
        return baselines(self, splits)
