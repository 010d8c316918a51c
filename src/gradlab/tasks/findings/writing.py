"""What a language model writes, and which tokens of a text surprise it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gradlab.data.dataset import Split
from gradlab.data.loader import Batch
from gradlab.tasks.evaluation import Collector, Part, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LETTERS = 900
"""Letters of a passage that are shown, about."""
SAMPLE = {"character": 600}
"""Tokens of a sample; of words and pieces `_WORDS`."""
_WORDS = 150
_TABLED = 20
"""Tokens in the table: those that cost most in all."""
_WIDTH = 76
"""Letters of a line."""


@dataclass(frozen=True)
class Sample(Part):
    """A text that the network has written, from nothing, by seed 0."""

    text: str
    temperature: float
    title = "What it writes"
    subject = "the network"

    @property
    def caption(self) -> str:  # type: ignore[override]
        """How it was drawn."""
        return (
            f"Drawn token by token at temperature {self.temperature:g}, from the end of a line and "
            "seed 0; 'gradlab generate RUN --prompt TEXT' writes on from a beginning of your own."
        )

    def to_dict(self) -> dict[str, Any]:
        """The text."""
        return {"sample": self.text}

    def tables(self) -> Sequence[Table]:
        """Its lines."""
        rows = [(line,) for line in self.text.split("\n") if line.strip()]
        return (Table(("text",), tuple(rows)),) if rows else ()


def sample(task: Any) -> Part:
    """A text of a language model's own."""
    tokens, temperature = task.field.tokens, 0.8
    with task.setup.applied():
        written = task.write([tokens.start], temperature=temperature, top_k=0, seed=0)
        count = SAMPLE.get(tokens.by, _WORDS)
        text = "".join(tokens.pieces_of([tokens.start], islice(written, count)))
    return Sample(text, temperature)


@dataclass(frozen=True)
class Surprise(Part):
    """What each token of a split costs, in nats; and a passage of it, token by token.

    names: the tokens that cost most in all; counts, means: how often each occurs and its mean cost;
    share: of the split's whole cost. passage and costs: tokens as they are written, and nats.
    """

    names: tuple[str, ...]
    counts: np.ndarray
    means: np.ndarray
    shares: np.ndarray
    passage: tuple[str, ...]
    costs: np.ndarray
    title = "What surprises it"
    caption = (
        "The darker a token, the less it was expected after all before it: its cost is minus the "
        "logarithm of its probability, and the mean cost is the loss."
    )

    def to_dict(self) -> dict[str, Any]:
        """Tokens, and the passage."""
        columns = (self.counts.tolist(), self.means.tolist(), self.shares.tolist())
        return {
            "surprise": [
                {"token": name, "count": count, "nats": mean, "share": share}
                for name, count, mean, share in zip(self.names, *columns, strict=True)
            ],
            "passage": [
                [token, cost] for token, cost in zip(self.passage, self.costs.tolist(), strict=True)
            ],
        }

    def tables(self) -> Sequence[Table]:
        """The tokens that cost most in all."""
        rows = tuple(
            (found["token"], f"{found['count']:,}", f"{found['nats']:.3f}", f"{found['share']:.1%}")
            for found in self.to_dict()["surprise"]
        )
        return (Table(("token", "occurs", "nats each", "of the whole loss"), rows, folded=True),)

    def figure(self) -> Figure | None:
        """The passage in its colours."""
        from gradlab.figures import passage

        title = "nats a token: white 0, dark {} and more"
        return passage(self.passage, self.costs, _WIDTH, title)

    def words(self) -> str:
        """The passage."""
        return "A passage, token by token in the colour of its cost: " + "".join(self.passage)


class SurpriseCollector(Collector):
    """Adds up what each token costs, and keeps the beginning of the first stream."""

    def __init__(self, task: Any, split: Split) -> None:
        super().__init__(task, split)
        self.counts = torch.zeros(task.outputs, dtype=torch.float64)
        self.totals = torch.zeros(task.outputs, dtype=torch.float64)
        self.kept: list[tuple[int, float]] = []
        self.letters = 0

    def update(self, output: Tensor, batch: Batch) -> None:
        """output: N T V, the batch's tokens N T+1."""
        targets = batch[self.task.name][:, 1:]  # N T
        each = functional.cross_entropy(output.flatten(0, 1), targets.flatten(), reduction="none")
        number = targets.flatten().cpu()
        self.counts += torch.bincount(number, minlength=len(self.counts))
        costs = each.cpu().double()
        self.totals += torch.bincount(number, costs, minlength=len(self.totals))
        if self.letters < LETTERS:
            first = zip(targets[0].tolist(), each.view(targets.shape)[0].tolist(), strict=True)
            for pair in first:
                if self.letters < LETTERS:
                    self.kept.append(pair)
                    self.letters += len(self.task.field.tokens.decode(pair[:1])) + 1

    def compute(self) -> Part | None:
        """None where a cost is not finite."""
        if not self.kept or not bool(self.totals.isfinite().all()):
            return None
        tokens = self.task.field.tokens
        order = self.totals.argsort(descending=True, stable=True)[:_TABLED]
        order = order[self.counts[order] > 0]
        numbers = [number for number, _ in self.kept]
        return Surprise(
            names=tuple(tokens.name(number) or "(padding)" for number in order.tolist()),
            counts=self.counts[order].long().numpy(),
            means=(self.totals / self.counts.clamp(min=1))[order].numpy(),
            shares=(self.totals / self.totals.sum().clamp(min=1e-12))[order].numpy(),
            passage=tuple(tokens.pieces_of([], numbers)),
            costs=np.array([cost for _, cost in self.kept]),
        )
