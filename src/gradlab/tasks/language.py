"""The next token: language models that carry their state along a text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field as Described
from torch import Tensor
from torch.nn import functional

from gradlab.config import Recipe, Runtime
from gradlab.data import Schema, Split
from gradlab.data.columns import Ragged
from gradlab.data.fields.text import Stream
from gradlab.data.loader import Batch, Loader
from gradlab.data.streams import StreamLoader
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.answers import Answer, Cell
from gradlab.tasks.base import Own, Task, TrainingPart
from gradlab.tasks.findings.writing import SurpriseCollector, sample
from gradlab.tasks.metrics import Loss

STREAMS = 16
"""Streams of an evaluation: each begins without a context."""
WINDOW = 256
"""Tokens of a window of an evaluation; the state is carried on, so it decides nothing."""
PRIOR = 5.0
"""Occurrences that the bigram baseline adds to each token's, shared out as tokens occur."""


class Perplexity(Loss):
    """The exponential of the loss: among how many equally likely tokens the network hesitates."""

    name = "perplexity"

    def compute(self) -> float | None:
        """Of all tokens."""
        loss = super().compute()
        return None if loss is None else math.exp(min(loss, 700.0))


class Bits(Loss):
    """The loss in bits."""

    name = "bits_per_token"

    def compute(self) -> float | None:
        """Of all tokens."""
        loss = super().compute()
        return None if loss is None else loss / math.log(2)


@dataclass(frozen=True)
class TextAnswer(Answer):
    """How a text strikes a language model, and what it expects to come next."""

    loss: float
    """Nats a token."""
    tokens: int
    next: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Nats a token, perplexity, and the likeliest next tokens."""
        return {
            "answer": self.next[0][0],
            "loss": self.loss,
            "perplexity": math.exp(min(self.loss, 700.0)),
            "tokens": self.tokens,
            "next": [list(pair) for pair in self.next],
        }

    def cells(self) -> dict[str, Cell]:
        """The same, the likeliest next token alone."""
        return {"answer": self.next[0][0], "loss": self.loss, "tokens": self.tokens}

    def __str__(self) -> str:
        return f"{self.loss:.4g} nats a token"

    def more(self) -> str:
        """What it expects next."""
        return "next: " + ", ".join(f"{name} {share:.1%}" for name, share in self.next)


class Memory:
    """The state that a network carries from window to window: a part of the training."""

    def __init__(self) -> None:
        self.value: Any = None

    def keep(self, value: Any) -> None:
        """Take over a state; no gradient goes back beyond it."""
        many = isinstance(value, tuple)
        self.value = tuple(part.detach() for part in value) if many else value.detach()

    def state(self) -> dict[str, Any]:
        """Its tensors by number; none before the first window."""
        if self.value is None:
            return {"tensors": {}, "many": False}
        many = isinstance(self.value, tuple)
        values = self.value if many else (self.value,)
        return {"tensors": {str(n): part for n, part in enumerate(values)}, "many": many}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        values = tuple(state["tensors"][key] for key in sorted(state["tensors"]))
        self.value = None if not values else values if state["many"] else values[0]


@tasks.register("language_model")
class LanguageModeling(Task):
    """Cross-entropy of the next token, in nats; perplexity is its exponential."""

    serves = frozenset({"init", "weights", "embedding", "dataset"})
    monitor = "loss"
    metrics = (Loss, Perplexity, Bits)
    answers = "stream"
    collectors = (SurpriseCollector,)
    findings = (sample,)

    def __init__(
        self,
        recipe: Recipe,
        schema: Schema,
        runtime: Runtime,
        own: Own | None = None,
        *,
        window: Annotated[
            int, Described(ge=1, le=100_000, description="tokens that a gradient goes back through")
        ] = 64,
    ) -> None:
        self.name, self.field = schema.input(Stream, "a language model")
        self.window = window
        super().__init__(recipe, schema, runtime, own)

    @property
    def outputs(self) -> int:
        """A score for each token of the vocabulary."""
        return self.field.tokens.size

    # training

    def training_parts(self, fresh: bool) -> dict[str, TrainingPart]:
        """The place in the text, the state carried so far, the optimizer."""
        split = self.dataset.split("train")
        if len(split) < 2 * self.window:
            raise UserError(
                f"{self.dataset.name}: the training text has {len(split)} tokens, too few for "
                f"windows of {self.window}: give a longer text, or a smaller --task.window"
            )
        self.train_loader = self._streams(split, self.recipe.plan.batch_size, self.window)
        self.memory = Memory()
        self.settle(self.steps)
        self.updates = self.updater([(1.0, list(self.model.named_parameters()))], self.steps)
        return {"loader": self.train_loader, "memory": self.memory, "updater": self.updates}

    def _streams(self, split: Split, streams: int, window: int) -> StreamLoader:
        fields = {self.name: self.field}
        return StreamLoader(
            split, fields, batch_size=streams, window=window, placement=self.placement
        )

    @property
    def steps(self) -> int:
        """Windows in an epoch."""
        return self.train_loader.steps

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The windows of an epoch that are still to come; at its first the memory is empty."""
        self.model.train()
        if self.train_loader.epoch != epoch or self.train_loader.index == 0:
            self.memory.value = None
        return self.train_loader.batches(epoch)

    def step(self, batch: Batch) -> dict[str, Any]:
        """zero_grad, loss, backward, step."""
        return self.updates.update(self.loss, batch)

    def loss(self, batch: Batch) -> Tensor:
        """Nats a token of a window, after all that has been read before it."""
        tokens = batch[self.name]  # N T+1
        scores, state = self.model(tokens[:, :-1], self.memory.value)  # N T V
        self.memory.keep(state)
        return self.criterion(scores, tokens)

    def criterion(self, scores: Tensor, tokens: Tensor) -> Tensor:
        """Cross-entropy; scores: N T V, tokens: N T+1."""
        return functional.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())

    # evaluation

    def in_order(self, split: str) -> Loader:
        """A split in a few long streams."""
        if self.dataset is None:
            raise UserError("this run was opened without its dataset")
        if split not in self._in_order:
            self._in_order[split] = self._streams(self.dataset.split(split), STREAMS, WINDOW)
        return self._in_order[split]

    def outputs_of(self, loader: Loader) -> Iterator[tuple[Batch, Any]]:
        """Scores of window after window, the state carried on."""
        state = None
        with evaluating(self.model):
            for batch in loader.in_order():
                with self.setup.autocast():
                    scores, state = self.model(batch[self.name][:, :-1], state)
                yield batch, scores.float()

    def measured_loss(self, output: Tensor, batch: Batch) -> Tensor:
        """As it is trained on."""
        return self.criterion(output, batch[self.name])

    def predict(self, inputs: Split) -> list[Answer]:
        """What the network says of each text."""
        column = inputs[self.name]
        assert isinstance(column, Ragged)
        found: list[Answer] = []
        with evaluating(self.model):
            for numbers in column:
                tokens = torch.from_numpy(numbers.astype(np.int64))[None].to(self.setup.device)
                with self.setup.autocast():
                    scores, _ = self.model(tokens, None)  # 1 T V
                scores = scores.float()
                loss = self.criterion(scores[:, :-1], tokens) if tokens.shape[1] > 1 else math.nan
                share, place = scores[0, -1].softmax(0).topk(min(5, scores.shape[-1]))
                names = [self.field.tokens.name(number) for number in place.tolist()]
                likely = tuple(zip(names, share.tolist(), strict=True))
                found.append(TextAnswer(float(loss), len(numbers), likely))
        return found

    def baselines(self, splits: Iterable[str]) -> dict[str, dict[str, dict[str, float]]]:
        """How often each token occurs, and how often after the one before it."""
        train = self.dataset.split("train")[self.name][:].astype(np.int64)
        count = Counts(train, self.outputs)
        found = {}
        for split in splits:
            tokens = self.dataset.split(split)[self.name][:].astype(np.int64)
            found[split] = {
                name: self._figures(loss)
                for name, loss in (
                    ("frequency of tokens", count.unigram(tokens)),
                    ("frequency of pairs", count.bigram(tokens)),
                )
            }
        return found

    def _figures(self, loss: float) -> dict[str, float]:
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "bits_per_token": loss / math.log(2),
        }

    # writing

    def write(
        self, prompt: Sequence[int], *, temperature: float, top_k: int, seed: int
    ) -> Iterator[int]:
        """Token after token that follows a prompt, without end.

        `temperature` 0 takes the likeliest; `top_k` draws among so many alone (0: all).
        """
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.tensor([list(prompt)], device=self.setup.device)
        state = None
        while True:
            with evaluating(self.model), self.setup.autocast():
                scores, state = self.model(tokens, state)
            last = scores[0, -1].float().cpu().clone()  # one that may be changed
            last[:2] = -math.inf  # padding and unknown tokens are no text
            if top_k:
                last[last < last.topk(min(top_k, len(last))).values[-1]] = -math.inf
            if temperature:
                chances = (last / temperature).softmax(0)
                number = int(torch.multinomial(chances, 1, generator=generator))
            else:
                number = int(last.argmax())
            yield number
            tokens = torch.tensor([[number]], device=self.setup.device)


class Counts:
    """How often tokens and pairs of them occur in a training text."""

    def __init__(self, tokens: np.ndarray, size: int) -> None:
        self.size = size
        counts = np.bincount(tokens, minlength=size) + 1.0  # one more: none is impossible
        self.shares = counts / counts.sum()
        self.firsts = np.bincount(tokens[:-1], minlength=size)
        self.pairs, self.pair_counts = np.unique(
            tokens[:-1] * size + tokens[1:], return_counts=True
        )

    def unigram(self, tokens: np.ndarray) -> float:
        """Nats a token."""
        return float(-np.log(self.shares[tokens[1:]]).mean())

    def bigram(self, tokens: np.ndarray) -> float:
        """Nats a token, each after the one before it (Dirichlet smoothing)."""
        first, second = tokens[:-1], tokens[1:]
        wanted = first * self.size + second
        place = np.searchsorted(self.pairs, wanted).clip(max=len(self.pairs) - 1)
        seen = np.where(self.pairs[place] == wanted, self.pair_counts[place], 0)
        chance = (seen + PRIOR * self.shares[second]) / (self.firsts[first] + PRIOR)
        return float(-np.log(chance).mean())
