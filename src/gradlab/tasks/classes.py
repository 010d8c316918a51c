"""What all tasks that answer with one of several classes share: rare ones count, and are found."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from gradlab.config import Recipe, Runtime
from gradlab.data import Schema
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.loader import Batch
from gradlab.errors import UserError, unknown
from gradlab.tasks.answers import Answer, ranked
from gradlab.tasks.base import Own
from gradlab.tasks.decision import Decision, best_threshold, figure_at, fit_temperature
from gradlab.tasks.findings import (
    ConfusionCollector,
    GroupCollector,
    MistakeCollector,
    ReliabilityCollector,
)
from gradlab.tasks.metrics import (
    F1,
    Accuracy,
    AveragePrecision,
    BalancedAccuracy,
    Bins,
    CalibrationError,
    Loss,
    MacroF1,
    Metric,
    RocAuc,
)
from gradlab.tasks.supervised import Supervised

MAJORITY = 0.7
"""A class with a larger share of the training examples hides in accuracy what becomes of others."""
ENOUGH = 10
"""Examples of a class on val from which a metric of rare classes may choose the best epoch."""

TWO: tuple[type[Metric], ...] = (
    Loss,
    Accuracy,
    BalancedAccuracy,
    F1,
    RocAuc,
    AveragePrecision,
    CalibrationError,
)
MANY: tuple[type[Metric], ...] = (Loss, Accuracy, BalancedAccuracy, MacroF1, CalibrationError)


class Classes(Supervised):
    """One of K classes. Of two, one is positive: the rarer in training, unless it is named."""

    metrics = MANY
    collectors = (ConfusionCollector, ReliabilityCollector, MistakeCollector, GroupCollector)
    wrong_measure = "probability"
    field: Label

    def __init__(
        self,
        recipe: Recipe,
        schema: Schema,
        runtime: Runtime,
        own: Own | None = None,
        *,
        class_weight: str = "none",
        positive: str = "",
        threshold: float | str = 0.5,
        calibrate: bool = False,
        group_errors: str = "",
    ) -> None:
        classes = self.field.classes
        two = len(classes) == 2
        if two:
            self.metrics = TWO
        elif positive or threshold != 0.5:
            option = "positive" if positive else "threshold"
            raise UserError(
                f"task.{option}: it is for two classes, found {len(classes)}: leave it out"
            )
        if positive and positive not in classes:
            raise unknown("class (task.positive)", positive, classes)
        if class_weight != "none" and own is not None and own.loss is not None:
            raise UserError(
                "task.class_weight is for the task's own losses, and this one was given: weigh the "
                "classes in it (such as nn.CrossEntropyLoss(weight=...)), or leave the option out"
            )
        self.positive = classes.index(positive) if positive else len(classes) - 1
        """The number of the positive class."""
        self.weighted = class_weight == "balanced"
        self.weights: Tensor | None = None
        """Of the classes in the training loss, of mean 1 over the training examples; K."""
        self.rule, self.calibrates = threshold, calibrate
        self.group_by(schema, group_errors)
        super().__init__(recipe, schema, runtime, own)

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

    # what the training split says of its classes

    def settle(self, steps: int) -> None:
        """Write out the plan, the positive class and the classes' weights."""
        counts = self.class_counts("train")
        if len(counts) == 2 and not self.recipe.task.options.get("positive"):
            self.positive = int(counts[0] >= counts[1])
            task = self.recipe.task
            named = {**task.model_dump(), "positive": self.field.classes[self.positive]}
            self.recipe = self.recipe.model_copy(update={"task": type(task)(**named)})
        if self.weighted:
            there = counts > 0
            each = counts.sum() / (int(there.sum()) * counts.clamp(min=1)) * there
            self.weights = each.float().to(self.setup.device)
            named_weights = zip(self.field.classes[:10], each.tolist(), strict=False)
            said = ", ".join(f"{name} {value:.3g}" for name, value in named_weights)
            more = ", ..." if len(counts) > 10 else ""
            self.notes += (
                f"class weights in the training loss: {said}{more}; the loss that is reported of a "
                "split is without them. They make rare classes likelier than they are: decide by "
                "them, but do not take the probabilities at their word",
            )
        if self.decides and not self.has("val"):
            asked = "calibrate" if self.calibrates else f"threshold {self.rule}"
            raise UserError(
                f"task.{asked}: it is chosen on val, which this dataset has not: hold out a part "
                "of it (--data.val 0.1), or leave the option out"
            )
        self._take_monitor(counts)
        super().settle(steps)

    def _take_monitor(self, counts: Tensor) -> None:
        """Where one class is most of the examples, another metric than the usual decides."""
        share = float(counts.max() / counts.sum())
        if self.recipe.plan.monitor or not self.has("val"):
            return
        if share <= MAJORITY and not self.weighted:
            return
        rarest = int(self.class_counts("val").min())
        two = len(counts) == 2
        self.monitor = "average_precision" if two else "balanced_accuracy"
        if rarest < (1 if self.weighted else ENOUGH):
            self.monitor = "loss"
        name = self.field.classes[int(counts.argmax())]
        found = f"{share:.1%} of the training examples are {name!r}"
        self.notes += (f"the best epoch is that of the best {self.monitor} on val ({found})",)
        if two and share > MAJORITY and not self.weighted and self.rule == 0.5:
            self.notes += (
                f"to find more of {self.field.classes[self.positive]!r}: --task.threshold f1, or "
                "--task.class_weight balanced",
            )

    def class_counts(self, split: str) -> Tensor:
        """Examples of each class in a split, K."""
        return torch.bincount(self.targets(split), minlength=len(self.field.classes)).cpu()

    # what each kind of output means

    @abstractmethod
    def logits(self, output: Tensor) -> Tensor:
        """Outputs as N K whose softmax are the probabilities."""

    @abstractmethod
    def likeliest(self, output: Tensor) -> Tensor:
        """The likeliest class of each example, int64 N."""

    def tempered(self, output: Tensor) -> Tensor:
        """Outputs at the temperature that was fitted."""
        return output / self.decision.temperature

    def log_odds(self, output: Tensor) -> Tensor:
        """The logarithm of the odds of the positive of two classes, N."""
        logits = self.logits(output)
        return logits[:, self.positive] - logits[:, 1 - self.positive]

    # answers

    @property
    def threshold(self) -> float | None:
        """The probability from which the positive class is answered; None: the likeliest is."""
        if self.decision.threshold is not None:
            return self.decision.threshold
        return None if isinstance(self.rule, str) or self.rule == 0.5 else self.rule

    def chosen(self, output: Tensor) -> Tensor:
        """The class that is answered for each example, int64 N."""
        if self.threshold is None:
            return self.likeliest(output)
        return self.picked(self.interpreted(output.double()))

    def picked(self, probability: Tensor) -> Tensor:
        """The class that is answered for probabilities of N K, int64 N."""
        if self.threshold is None:
            return probability.argmax(1)
        found = probability[:, self.positive] >= self.threshold
        return torch.where(found, self.positive, 1 - self.positive)

    def sureness(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """What calibration is about, N each: probabilities, and whether what they are of was so.

        Of two classes the positive one, of more the likeliest.
        """
        return self._sureness(self.interpreted(output), batch[self.target])

    def _sureness(self, probability: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if probability.shape[1] == 2:
            return probability[:, self.positive], y == self.positive
        sure, answer = probability.max(1)
        return sure, answer == y

    def output_of(self, batch: Batch) -> Any:
        """The network's output, calibrated where a temperature was fitted."""
        output = super().output_of(batch)
        return output if self.decision.temperature == 1 else self.tempered(output)

    def answer(self, output: Tensor, batch: Batch) -> Sequence[Answer]:
        """The class that is answered, and the five likeliest with their probabilities."""
        return ranked(self.interpreted(output), self.field.classes, self.chosen(output))

    def wrong(self, output: Tensor, batch: Batch) -> tuple[Tensor, Any]:
        """The probability of the class that was taken for the right one."""
        probability = self.interpreted(output).cpu()
        truth, answer = batch[self.target].cpu(), self.chosen(output).cpu()
        sure = probability.gather(1, answer[:, None])[:, 0] * (answer != truth)

        def describe(place: int) -> tuple[str, str]:
            return self.field.show(truth[place]), self.field.show(answer[place])

        return sure, describe

    # what is chosen on val

    @property
    def decides(self) -> bool:
        """Whether a temperature or a threshold is chosen on val after the training."""
        return self.calibrates or isinstance(self.rule, str)

    def decide(self) -> dict[str, Any]:
        """Choose temperature and threshold on val, with the weights that it has."""
        self.decision = Decision()
        if not self.decides:
            return {}
        pairs = ((out, batch[self.target]) for batch, out in self.outputs_of(self.in_order("val")))
        self._decide_by(pairs, self.calibrates)
        return self.decision.model_dump(exclude_defaults=True)

    def deciding_by(self, outputs: Iterable[tuple[Tensor, Tensor]]) -> Self:
        """This task as it decides for a baseline, of which these are the outputs and truths on val:
        a threshold is chosen for each anew, by the same rule."""
        found = copy.copy(self)
        found.decision = Decision()
        if isinstance(self.rule, str):
            found._decide_by(outputs, False)
        return found

    def _decide_by(self, outputs: Iterable[tuple[Tensor, Tensor]], calibrate: bool) -> None:
        pairs = [(self.logits(output).cpu(), y.cpu()) for output, y in outputs]
        logits = torch.cat([one for one, _ in pairs]).double().nan_to_num()
        y = torch.cat([one for _, one in pairs])
        found: dict[str, Any] = {"examples": len(y)}
        if calibrate:
            found["temperature"] = fit_temperature(logits, y)
            found["ece_before"] = self._error(logits, y)
            logits = logits / found["temperature"]
            found["ece_after"] = self._error(logits, y)
        if isinstance(self.rule, str):
            chances = logits.softmax(1)[:, self.positive].numpy()
            positive = (y == self.positive).numpy()
            threshold, figure = best_threshold(chances, positive, self.rule)
            found |= {
                "threshold": threshold,
                "chosen_by": self.rule,
                "at_threshold": figure,
                "at_half": figure_at(chances, positive, self.rule, 0.5),
                "positives": int(positive.sum()),
            }
        self.decision = Decision(**found)

    def _error(self, logits: Tensor, y: Tensor) -> float | None:
        bins = Bins()
        bins.update(*self._sureness(logits.softmax(1), y))
        return bins.error
