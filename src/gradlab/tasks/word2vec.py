"""Word vectors: skip-gram and CBOW, learnt by a compiled kernel from one stretch after the other.

    skip-gram   from each word, those around it
    CBOW        from the mean of the words around, the word between them

A batch of the engine is a stretch of text of at most `plan.batch_size` words. What is random in it
follows from the seed, the epoch and its number, so that a resume needs its place alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gradlab.config import Recipe, Runtime
from gradlab.data import Schema
from gradlab.data.corpus import END, Corpus
from gradlab.data.fields.text import Word
from gradlab.data.loader import Batch
from gradlab.data.sources.corpora import corpus_source
from gradlab.data.tokens import FIRST
from gradlab.engine.schedule import factor
from gradlab.errors import UserError, missing_extra
from gradlab.models.word2vec import Word2Vec, alias_table, huffman
from gradlab.models.word_vectors import WordVectors
from gradlab.tasks import tasks
from gradlab.tasks.answers import Answer, Cell
from gradlab.tasks.base import Own, Task, TrainingPart
from gradlab.tasks.baselines import Baselines
from gradlab.tasks.evaluation import Collector, Evaluation
from gradlab.tasks.findings.neighbours import neighbours
from gradlab.tasks.parts import Counter

PIECES = 50
"""Places from which words are held out."""
LEAST = 50_000
"""Words of such a place, at least."""
PORTIONS = 4
"""Of a stretch for each of several threads: one that is done takes the next."""
FEW = 0.3
"""A share of the words that are learnt from below which it is said how to have more."""
FULL_AT_MOST = 20_000
"""Words of a vocabulary whose softmax can be asked for in full."""

_MODES = {"negative": 0, "hierarchical": 1, "full": 2}
_OBJECTIVES = {"skip_gram": 0, "cbow": 1}
_ALL = 1 << 32


@dataclass(frozen=True)
class WordAnswer(Answer):
    """The words nearest to one, by the cosine of their vectors."""

    word: str
    near: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """The nearest words with their cosines."""
        return {"answer": self.near[0][0], "near": [list(pair) for pair in self.near]}

    def cells(self) -> dict[str, Cell]:
        """The nearest word."""
        return {"answer": self.near[0][0], "cosine": self.near[0][1]}

    def __str__(self) -> str:
        return self.near[0][0]

    def more(self) -> str:
        """All of them."""
        return ", ".join(f"{word} {cosine:.2f}" for word, cosine in self.near)


@dataclass(frozen=True)
class Lookup:
    """What the kernel looks up: which words are kept, which are negatives, ways in the tree."""

    keep: np.ndarray
    stay: np.ndarray
    other: np.ndarray
    nodes: np.ndarray
    codes: np.ndarray
    offsets: np.ndarray


@tasks.register("word2vec")
class Word2VecTask(Task):
    """Vectors of words from a corpus; the loss is the mean of a prediction, in nats."""

    serves = frozenset({"init", "weights"})
    monitor = "loss"
    findings = (neighbours,)

    def __init__(
        self,
        recipe: Recipe,
        schema: Schema,
        runtime: Runtime,
        own: Own | None = None,
        *,
        objective: Annotated[
            Literal["skip_gram", "cbow"], Field(description="what is foretold from what")
        ] = "skip_gram",
        softmax: Annotated[
            Literal["negative", "hierarchical", "full"],
            Field(description="negative: a few drawn words; hierarchical: a tree; full: all"),
        ] = "negative",
        negatives: Annotated[int, Field(ge=1, le=1000, description="drawn words")] = 5,
        exponent: Annotated[
            float, Field(ge=-2, le=2, description="of the frequency by which they are drawn")
        ] = 0.75,
        window: Annotated[int, Field(ge=1, le=1000, description="words to each side, at most")] = 5,
        sample: Annotated[
            float,
            Field(ge=0, le=1, description="words more frequent are left out at times (0: no)"),
        ] = 1e-3,
        phrases: Annotated[
            int, Field(ge=0, le=10, description="times that neighbours are joined to phrases")
        ] = 0,
        compat: Annotated[
            bool, Field(description="CBOW's gradient as word2vec.c and gensim scale it")
        ] = False,
    ) -> None:
        _, self.field = schema.input(Word, "word2vec")
        self.objective, self.softmax, self.negatives = objective, softmax, negatives
        self.exponent, self.window, self.sample = exponent, window, sample
        self.exact, self.phrases = not compat, phrases
        self._refuse(recipe, runtime)
        # Several threads write where others read: nobody gets them without asking.
        chosen = {"device": "cpu", "precision": "float32", "threads": runtime.threads or 1}
        super().__init__(recipe, schema, runtime.model_copy(update=chosen), own)
        self._cut: dict[tuple[str, int], list[slice]] = {}
        self.threads = self.setup.threads
        self._pool = ThreadPoolExecutor(self.threads)  # makes no thread before it is used

    def _refuse(self, recipe: Recipe, runtime: Runtime) -> None:
        if recipe.optimizer.name != "sgd":
            raise UserError(
                f"optimizer: word2vec is learnt by plain descent: expected sgd, found "
                f"{recipe.optimizer.name}"
            )
        if runtime.device not in ("auto", "cpu"):
            raise UserError(
                f"--device {runtime.device}: word2vec is learnt on the processor: leave it out"
            )
        if recipe.plan.clip_norm or recipe.optimizer.weight_decay:
            raise UserError("word2vec has no use for plan.clip_norm and optimizer.weight_decay")
        if recipe.schedule.name == "plateau":
            raise UserError("schedule: word2vec knows no plateau: choose linear, or another")
        words = self.field.tokens.size
        if self.softmax == "full" and words > FULL_AT_MOST:
            raise UserError(
                f"task.softmax: a full softmax is for at most {FULL_AT_MOST:,} words, found "
                f"{words:,}: choose negative or hierarchical, or keep fewer words with "
                "--data.tokens.most"
            )

    @classmethod
    def source(cls, recipe: Recipe) -> Corpus:
        """The corpus that the recipe names."""
        options = tasks.check(recipe.task.name, recipe.task.options)
        return corpus_source(recipe.data, options.get("phrases", 0))

    @property
    def outputs(self) -> int:
        """A vector for each word, or node of the tree."""
        return self.field.tokens.size

    # training

    def training_parts(self, fresh: bool) -> dict[str, TrainingPart]:
        """The number of stretches that were learnt from."""
        _kernel()
        model = self.network
        for parameter in (model.vectors.weight, model.outputs.weight):
            # An array of numpy lies in large pages of memory, which random rows need.
            parameter.data = torch.from_numpy(parameter.detach().numpy().copy())
        self.done = Counter()
        self.settle(self.steps)
        counts, tables = self.corpus.counts, self.tables
        kept = float((counts * (tables.keep.astype(np.float64) / _ALL)).sum() / counts.sum())
        if self.sample:
            few = " (few: --task.sample 0 leaves none out)" if kept < FEW else ""
            self.notes += (f"frequent words left out at times: {kept:.0%} of all are learnt{few}",)
        self.notes += (
            "one thread: repeatable; --threads with a larger number is faster"
            if self.threads == 1
            else f"{self.threads} threads learn at the same time: faster, and never twice the same",
        )
        return {"done": self.done}

    @property
    def network(self) -> Word2Vec:
        """The two vectors of each word."""
        assert isinstance(self.model, Word2Vec)
        return self.model

    @property
    def steps(self) -> int:
        """Stretches in an epoch."""
        return len(self._stretches("train"))

    @property
    def epoch(self) -> int:
        """Of the last stretch."""
        return max(self.done.value - 1, 0) // self.steps

    def batches(self, epoch: int) -> Iterator[slice]:
        """The stretches that are still to come, in an order of this epoch's own."""
        stretches = self._stretches("train")
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(stretches))
        for number in order[self.done.value - epoch * len(stretches) :].tolist():
            yield stretches[number]

    def step(self, batch: slice) -> dict[str, Any]:
        """Learn from a stretch; with several threads from its parts at the same time."""
        rates = [self.rate(self.done.value + after) for after in (0, 1)]
        seed = np.random.SeedSequence([self.recipe.seed, 1, self.done.value])
        total, count = self.learn(batch, rates, seed, learns=True)
        self.done.value += 1
        words = int((self.corpus.tokens[batch] != END).sum())
        said = {"lr": rates[0], "examples": words}
        return {"loss": total / count, **said} if count else said

    def rate(self, step: int) -> float:
        """The learning rate at a step."""
        config, total = self.recipe.schedule, self.steps * self.recipe.plan.epochs
        return self.recipe.optimizer.lr * factor(config, step, total, self.steps)

    def learn(
        self, stretch: slice, rates: Sequence[float], seed: np.random.SeedSequence, learns: bool
    ) -> tuple[float, int]:
        """The sum of the losses of a stretch, and how many predictions it holds."""
        tokens = np.array(self.corpus.tokens[stretch])
        if self.threads == 1 or not learns:
            return self._learn(tokens, rates, seed.generate_state(1, np.uint64)[0], learns)
        count = max(min(self.threads * PORTIONS, len(tokens)), 1)
        owners = seed.generate_state(count, np.uint64)
        parts = np.array_split(tokens, count)
        found = [
            self._pool.submit(self._learn, part, rates, owner, learns)
            for part, owner in zip(parts, owners, strict=True)
        ]
        results = [one.result() for one in found]
        return sum(total for total, _ in results), sum(count for _, count in results)

    def _learn(
        self, tokens: np.ndarray, rates: Sequence[float], seed: np.uint64, learns: bool
    ) -> tuple[float, int]:
        tables, model = self.tables, self.network
        total, count = _kernel().learn(
            tokens, model.vectors.weight.detach().numpy(), model.outputs.weight.detach().numpy(),
            tables.keep, tables.stay, tables.other, tables.nodes, tables.codes, tables.offsets,
            _OBJECTIVES[self.objective], _MODES[self.softmax], self.negatives, self.window,
            float(rates[0]), float(rates[1]), self.exact, seed, learns,
        )  # fmt: skip
        return float(total), int(count)

    # what is learnt from

    @property
    def corpus(self) -> Corpus:
        """The corpus; UserError where the run was opened without it."""
        if self.dataset is None:
            raise UserError("this run was opened without its dataset")
        found: Corpus = self.dataset
        return found

    def has(self, split: str) -> bool:
        """Train, and val where words are held out; instead of a test: `gradlab words RUN eval`."""
        if self.dataset is None or split == "test":
            return False
        return split == "train" or bool(self._stretches("val"))

    def _stretches(self, split: str) -> list[slice]:
        """The places of a split in the corpus: the ends of many pieces are val."""
        key = (split, id(self.corpus))
        if key not in self._cut:
            self._cut[key] = self._cut_out(split)
        return self._cut[key]

    def _cut_out(self, split: str) -> list[slice]:
        total = len(self.corpus.tokens)
        pieces = max(min(PIECES, total // LEAST), 1) if self.recipe.data.val else 1
        edges = np.linspace(0, total, pieces + 1).astype(np.int64).tolist()
        found = []
        for first, last in pairwise(edges):
            held = round((last - first) * self.recipe.data.val)
            start, stop = (first, last - held) if split == "train" else (last - held, last)
            count = -(-(stop - start) // self.recipe.plan.batch_size)
            cuts = np.linspace(start, stop, count + 1).astype(np.int64).tolist()
            found += [slice(a, b) for a, b in pairwise(cuts) if b > a]
        return found

    @property
    def tables(self) -> Lookup:
        """Made once for a corpus."""
        if self._tables is None or self._tables[0] is not self.corpus:
            self._tables = self.corpus, self._made_tables(self.corpus.counts)
        return self._tables[1]

    _tables: tuple[Corpus, Lookup] | None = None

    def _made_tables(self, counts: np.ndarray) -> Lookup:
        often = counts.astype(np.float64)
        share = often / often.sum()
        keep = np.ones(len(counts))
        if self.sample:
            known = share > 0
            ratio = self.sample / share[known]
            keep[known] = np.minimum(np.sqrt(ratio) + ratio, 1)  # as word2vec.c, not as the paper
        drawn = np.zeros(len(counts))
        drawn[FIRST:] = often[FIRST:] ** self.exponent
        stay, other = alias_table(torch.from_numpy(drawn / drawn.sum()))
        nodes, codes, offsets = np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0, np.int64)
        if self.softmax == "hierarchical":
            ways, turns = huffman(counts[FIRST:].tolist())
            lengths = [0] * FIRST + [len(way) for way in ways]
            offsets = np.cumsum([0, *lengths])
            nodes = np.array([node for way in ways for node in way], np.int64)
            codes = np.array([1 - turn for way in turns for turn in way], np.int8)
        return Lookup(
            (keep * _ALL).astype(np.uint64),
            np.minimum(stay.numpy() * _ALL, _ALL - 1).astype(np.uint32),
            other.numpy().astype(np.int32),
            nodes,
            codes,
            offsets,
        )

    # evaluation

    def measure(self, split: str, watching: Sequence[Collector] = ()) -> dict[str, float]:
        """The mean loss of the predictions of a split, drawn as in a training, by a seed."""
        total, count = 0.0, 0
        for number, stretch in enumerate(self._stretches(split)):
            seed = np.random.SeedSequence([self.recipe.data.split_seed, 2, number])
            loss, made = self.learn(stretch, (0.0, 0.0), seed, learns=False)
            total, count = total + loss, count + made
        return {"loss": total / count} if count else {}

    def details(self, split: str) -> Evaluation:
        """The loss of a split, and what stands near what."""
        if not self.has(split):
            raise UserError(
                f"{self.corpus.name} has no split {split!r}: word vectors are measured on val "
                "(--data.val), and by 'gradlab words RUN eval'"
            )
        parts = tuple(part for part in self.network_parts() if part is not None)
        return Evaluation(self.evaluate(split), parts)

    def baselines(self, splits: Iterable[str]) -> Baselines:
        """What a network without any knowledge reaches."""
        counts = self.corpus.counts[FIRST:].astype(np.float64)
        share = counts / counts.sum()
        if self.softmax == "full":
            name, loss = "frequency of words", float(-(share * np.log(share)).sum())
        elif self.softmax == "negative":
            name, loss = "vectors of zeros", (1 + self.negatives) * math.log(2)
        else:
            lengths = np.diff(self.tables.offsets)[FIRST:]
            name, loss = "vectors of zeros", float((share * lengths).sum() * math.log(2))
        return {split: {name: {"loss": loss}} for split in splits if self.has(split)}

    # answers

    def vectors(self) -> WordVectors:
        """Every word's vector."""
        weight = self.network.vectors.weight.detach().numpy()[FIRST:]
        return WordVectors(self.field.tokens.vocabulary, weight)

    def output_of(self, batch: Batch) -> Any:
        """The words themselves: an answer looks at all vectors."""
        return batch[next(iter(self.schema.inputs))]

    def answer(self, output: Tensor, batch: Batch) -> Sequence[Answer]:
        """The nearest words of each."""
        known = self.vectors()
        words = [self.field.tokens.name(number) for number in output.tolist()]
        return [WordAnswer(word, tuple(known.similar(word, 5))) for word in words]


def _kernel() -> Any:
    """The compiled steps."""
    try:
        from gradlab.models import word2vec_kernel
    except ImportError:
        raise missing_extra("numba", "words") from None
    return word2vec_kernel
