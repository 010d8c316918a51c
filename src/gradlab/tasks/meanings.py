"""What the outputs of a network of one's own mean: classes, yes or no, numbers, or only the loss
knows.

A meaning gives metrics in the data's own units, baselines and answers; it is found from the loss
that is called and from shapes and types, and never changes the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gradlab.data.fields.label import Label
from gradlab.tasks.answers import Answer, LabelAnswer, NumberAnswer, ranked
from gradlab.tasks.evaluation import Collector
from gradlab.tasks.findings import MistakeCollector
from gradlab.tasks.metrics import Metric
from gradlab.tasks.own_answers import ArrayAnswer, LabelsAnswer, PartsAnswer
from gradlab.tasks.own_metrics import CLASSES, LABELS, NUMBERS, YES_NO, Confused

Kind = Literal["auto", "class", "yes_no", "labels", "numbers", "unknown"]
Scores = Literal["scores", "logarithms", "probabilities"]


class Meaning:
    """Outputs that only their loss understands: no metrics, answers as they come."""

    kind: ClassVar[Kind] = "unknown"
    words: ClassVar[str] = "what they mean only the loss knows: no other metric is computed"
    metrics: tuple[type[Metric], ...] = ()
    collectors: tuple[type[Collector], ...] = ()
    measured: str = "error"
    """What `wrong` measures."""
    monitor: ClassVar[str] = "loss"
    """The val metric that chooses the best epoch."""

    def __init__(self, names: tuple[str, ...] = (), scores: Scores = "scores") -> None:
        self.classes, self.scores = names, scores

    def interpreted(self, output: Tensor) -> Tensor:
        """Outputs as answers: probabilities, or values in the target's units."""
        return output

    def as_output(self, answers: Tensor) -> Tensor:
        """The outputs of which these answers are the interpretation."""
        return answers

    def chosen(self, output: Tensor) -> Tensor:
        """The likeliest class of each."""
        raise NotImplementedError

    def answers(self, output: Any) -> Sequence[Answer]:
        """What an output says of each example of a batch."""
        if isinstance(output, Tensor):
            values = output.detach().cpu()
            kept = values.float() if values.dtype == torch.bfloat16 else values
            return [
                NumberAnswer(float(row)) if row.numel() == 1 else ArrayAnswer(row.numpy())
                for row in kept
            ]
        if isinstance(output, dict):
            parts = {str(key): self.answers(value) for key, value in output.items()}
        elif isinstance(output, tuple | list):
            parts = {str(place): self.answers(value) for place, value in enumerate(output, 1)}
        else:
            return []
        return [
            PartsAnswer(dict(zip(parts, row, strict=True)))
            for row in zip(*parts.values(), strict=True)
        ]

    def wrong(self, output: Tensor, y: Tensor) -> tuple[Tensor, Any]:
        """How wrong each answer is (N, 0 for right ones), and what says truth and answer of one."""
        raise NotImplementedError

    def baselines(self, y: Tensor) -> dict[str, Tensor]:
        """What would be answered without looking at an input, for one example, by name."""
        return {}


class Classes(Meaning):
    """One of K classes: N K, or N K T ... for one at each place."""

    kind: ClassVar[Kind] = "class"
    words = "a score for each class"
    monitor = "accuracy"
    measured = "probability"
    metrics = CLASSES
    collectors = (Confused, MistakeCollector)

    def interpreted(self, output: Tensor) -> Tensor:
        """Probabilities of the classes."""
        if self.scores == "probabilities":
            return output
        return output.exp() if self.scores == "logarithms" else output.softmax(1)

    def as_output(self, answers: Tensor) -> Tensor:
        """Probabilities as the network would have to give them."""
        return answers if self.scores == "probabilities" else answers.clamp_min(1e-12).log()

    def chosen(self, output: Tensor) -> Tensor:
        """The likeliest class."""
        return output.argmax(1)

    def answers(self, output: Any) -> Sequence[Answer]:
        """The likeliest class; of a sequence the class number at each place."""
        if output.ndim == 2:
            return ranked(self.interpreted(output.float()), self.classes)
        return [ArrayAnswer(row.cpu().numpy()) for row in self.chosen(output)]

    def wrong(self, output: Tensor, y: Tensor) -> tuple[Tensor, Any]:
        """The probability of the class that was taken for the right one."""
        probability = self.interpreted(output).cpu()
        answer = self.chosen(output).cpu()
        truth = y.reshape(len(answer)).long().cpu()
        sure = probability[torch.arange(len(answer)), answer] * (answer != truth)
        sure = sure * ((truth >= 0) & (truth < len(self.classes)))  # those that the loss leaves out

        def describe(place: int) -> tuple[str, str]:
            return self.classes[int(truth[place])], self.classes[int(answer[place])]

        return sure, describe

    def baselines(self, y: Tensor) -> dict[str, Tensor]:
        """Always the largest class, as sure as it is large."""
        shares = torch.bincount(y, minlength=len(self.classes)).double() / len(y)
        return {"majority class": shares}


class YesNo(Classes):
    """One output for each example: the second class or not, N or N 1."""

    kind: ClassVar[Kind] = "yes_no"
    words = "one of two classes, yes or no"
    monitor = "loss"
    metrics = YES_NO

    def interpreted(self, output: Tensor) -> Tensor:
        """Probabilities of the two classes, N 2."""
        flat = output.reshape(len(output))
        yes = flat if self.scores == "probabilities" else flat.sigmoid()
        return torch.stack([1 - yes, yes], 1)

    def as_output(self, answers: Tensor) -> Tensor:
        """Probabilities (N 2) as the network would have to give them, N."""
        yes = answers[:, 1]
        return yes if self.scores == "probabilities" else yes.logit(1e-7)

    def chosen(self, output: Tensor) -> Tensor:
        """The likelier class."""
        limit = 0.5 if self.scores == "probabilities" else 0.0
        return (output.reshape(len(output)) > limit).long()

    def answers(self, output: Any) -> Sequence[Answer]:
        """The likelier class with its probability."""
        found: list[LabelAnswer] = ranked(self.interpreted(output.float()), self.classes)
        return found


class Labels(Meaning):
    """Several labels that hold or not, N K: K yes or no."""

    kind: ClassVar[Kind] = "labels"
    words = "several labels, each yes or no"
    metrics = LABELS

    def interpreted(self, output: Tensor) -> Tensor:
        """The probability of each label."""
        return output if self.scores == "probabilities" else output.sigmoid()

    def as_output(self, answers: Tensor) -> Tensor:
        """Probabilities as the network would have to give them."""
        return answers if self.scores == "probabilities" else answers.logit(1e-7)

    def chosen(self, output: Tensor) -> Tensor:
        """1 for each label that is likelier than not."""
        return (self.interpreted(output) > 0.5).long()

    def answers(self, output: Any) -> Sequence[Answer]:
        """The labels that are likelier than not."""
        if output.ndim != 2:
            return super().answers(self.interpreted(output))
        found = []
        for row in self.interpreted(output.float()).tolist():
            pairs = tuple(zip(self.classes, row, strict=True))
            found.append(LabelsAnswer(tuple(name for name, p in pairs if p > 0.5), pairs))
        return found

    def baselines(self, y: Tensor) -> dict[str, Tensor]:
        """Each label as likely as it is common."""
        return {"majority class": y.double().mean(0)}


class Numbers(Meaning):
    """Numbers, in the target's own units: N, N 1, N K or any shape."""

    kind: ClassVar[Kind] = "numbers"
    words = "numbers in the units of the target"
    metrics = NUMBERS
    collectors = (MistakeCollector,)

    def wrong(self, output: Tensor, y: Tensor) -> tuple[Tensor, Any]:
        """The absolute error of one number for each example."""
        truth, answer = (t.reshape(len(output)).double().cpu() for t in (y, output))

        def describe(place: int) -> tuple[str, str]:
            return f"{float(truth[place]):.4g}", f"{float(answer[place]):.4g}"

        return (answer - truth).abs(), describe

    def baselines(self, y: Tensor) -> dict[str, Tensor]:
        """The mean of the training split."""
        return {"mean": y.double().mean(0)}


MEANINGS: dict[str, type[Meaning]] = {
    kind.kind: kind for kind in (Meaning, Classes, YesNo, Labels, Numbers)
}


def meaning_of(called: frozenset[str], output: Any, y: Any, field: Any) -> tuple[Kind, Scores]:
    """What outputs mean, by the torch losses that the loss has called, shapes and types.

    output, y: as the loss is given them. field: that of the target.
    """
    if not isinstance(output, Tensor) or not isinstance(y, Tensor):
        return "unknown", "scores"
    whole = not y.is_floating_point()
    one = output.numel() == len(output)
    if called & {"cross_entropy", "nll_loss", "multi_margin_loss"}:
        scores: Scores = "logarithms" if called == {"nll_loss"} else "scores"
        fits = whole and output.ndim > 1 and (len(output), *output.shape[2:]) == tuple(y.shape)
        return ("class" if fits else "unknown"), scores
    if called & _BINARY and output.shape == y.shape:
        scores = "probabilities" if called & {"binary_cross_entropy"} else "scores"
        return ("yes_no" if one else "labels"), scores
    alike = output.shape == y.shape or (one and y.numel() == len(output))
    if alike and called & _NUMBERS:
        return "numbers", "scores"
    if called & (_BINARY | _NUMBERS):
        return "unknown", "scores"
    if isinstance(field, Label) and output.ndim == 2 and output.shape[1] > 1 and whole:
        return "class", "scores"  # a loss written by hand
    return ("numbers" if alike and not whole else "unknown"), "scores"


_BINARY = {
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "multilabel_soft_margin_loss",
}
_NUMBERS = {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"}


def class_names(kind: str, output: Any, field: Any) -> tuple[str, ...]:
    """The names of the classes or labels that outputs mean: the target's, else numbers from 0."""
    named = field.classes if isinstance(field, Label) else ()
    if kind == "class":
        more = map(str, range(len(named), output.shape[1]))
        return (*named, *more)[: output.shape[1]]
    if kind == "yes_no":
        return named if len(named) == 2 else ("0", "1")
    if kind == "labels" and output.ndim == 2:
        return tuple(map(str, range(output.shape[1])))
    return ()
