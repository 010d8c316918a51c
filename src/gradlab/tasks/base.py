"""What every task has beside the five things that the engine asks of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from gradlab.config import Recipe
from gradlab.data import Dataset, Schema, load
from gradlab.errors import UserError


@dataclass(frozen=True)
class Prediction:
    """What a model says of one input."""

    name: str
    answer: str | float
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Details:
    """An evaluation example by example, for reports: numbers first."""

    metrics: dict[str, float]
    classes: tuple[str, ...] = ()
    confusion: np.ndarray | None = None
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    worst: tuple[tuple[int, str, str, float], ...] = ()
    """Index, truth, answer, and probability (or error) of the worst mistakes, worst first."""


@dataclass(frozen=True)
class Own:
    """What a person brings along instead of a registered network and the task's loss."""

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor] | None = None


class Task(ABC):
    """One kind of problem: its loss, its training step, its metrics, its prediction.

    Made from a recipe and either a dataset (to train) or a schema alone (to predict); `own` is a
    person's own network and loss. Afterwards `recipe` holds no `auto` any more.
    """

    monitor: ClassVar[tuple[str, Literal["min", "max"]]] = ("loss", "min")
    """The val metric that chooses the best epoch, and which way it improves."""

    recipe: Recipe
    schema: Schema
    dataset: Dataset | None
    model: nn.Module
    notes: tuple[str, ...] = ()
    """What was done that a person should know."""

    @abstractmethod
    def __init__(
        self, recipe: Recipe, source: Dataset | Schema, own: Own | None = None
    ) -> None: ...

    @abstractmethod
    def batches(self, epoch: int) -> Iterator[Any]:
        """The batches of an epoch that are still to come."""

    @abstractmethod
    def step(self, batch: Any) -> dict[str, Any]:
        """Learn from a batch."""

    @abstractmethod
    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics on a split."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""

    @classmethod
    def source(cls, recipe: Recipe) -> Dataset:
        """What is learnt from: the recipe's dataset. An environment is one without splits."""
        return load(recipe.data)

    @property
    @abstractmethod
    def steps(self) -> int:
        """Batches in an epoch."""

    def load_weights(self, state: dict[str, Any]) -> None:
        """Take only the model's weights from a state."""
        self.model.load_state_dict(state["model"])

    def has(self, split: str) -> bool:
        """Whether there is such a split to evaluate."""
        return self.dataset is not None and split in self.dataset.splits

    def preflight(self) -> list[Any]:
        """Findings about one batch, before the first step."""
        return []

    def details(self, split: str) -> Details:
        """The evaluation of a split, example by example."""
        return Details(self.evaluate(split))

    def pictures(self) -> dict[str, np.ndarray]:
        """What the model makes now, as images (uint8 H W C) by title; drawn after each epoch."""
        return {}

    def predict(self, x: np.ndarray, names: Sequence[str]) -> list[Prediction]:
        """Answers for inputs as a split keeps them, one for each name."""
        raise UserError(f"the task {self.recipe.task.name!r} has nothing to predict")
