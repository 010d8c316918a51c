"""Learning from examples with answers: everything but the loss and the metrics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from gradlab import models
from gradlab.config import Plan, Recipe
from gradlab.data import Dataset, Schema, Split
from gradlab.data.feed import Batch, Feed
from gradlab.engine import Updater, resolve
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.insight import preflight
from gradlab.models import initial
from gradlab.tasks import transfer
from gradlab.tasks.base import Own, Task


class Supervised(Task):
    """A task whose step is `zero_grad, loss, backward, step` on a batch of x and y."""

    feature_layer: ClassVar[str | None] = None
    """The layer whose values are the features of an example (None: before the last linear one)."""

    def __init__(self, recipe: Recipe, source: Dataset | Schema, own: Own | None = None) -> None:
        self.dataset = source if isinstance(source, Dataset) else None
        self.schema = source.schema if isinstance(source, Dataset) else source
        # One seed owns the initial values, dropout, the order of batches and augmentation.
        torch.manual_seed(recipe.seed)
        self.notes: tuple[str, ...] = ()
        self.model = self.build(recipe) if own is None else own.model
        if self.dataset is not None:
            initial.apply(self.model, recipe.transfer.init)
            if recipe.transfer.weights:
                weights = recipe.transfer.weights
                self.notes += self.borrow(weights)
                self.schema = transfer.normalised(self.schema, weights)
        self.criterion = self.score if own is None or own.loss is None else own.loss
        example = torch.zeros(1, *self.schema.shape)
        self.setup = resolve(recipe, self.model, example)
        self.setup.apply()
        self.recipe = recipe.model_copy(
            update={
                "device": str(self.setup.device),
                "precision": self.setup.precision,
                "threads": self.setup.threads,
            }
        )
        layout = torch.channels_last if self.schema.kind == "image" else torch.contiguous_format
        self.model.to(self.setup.device, memory_format=layout)  # type: ignore[call-overload]
        self._feeds: dict[str, Feed] = {}
        if self.dataset is not None:
            self.feed = self.training_feed(self.dataset)
            if recipe.transfer.init == "default" and not recipe.transfer.weights:
                initial.from_data(self.model, self.spread(_LOOKED_AT).x)
            plan = self.plan(recipe.plan, self.feed.steps)
            self.recipe = self.recipe.model_copy(update={"plan": plan})
            self.updater = Updater(
                transfer.groups(self.model, recipe.transfer),
                recipe.optimizer,
                recipe.schedule,
                plan,
                self.setup,
                self.feed.steps,
            )

    def borrow(self, weights: str) -> tuple[str, ...]:
        """Begin with weights learnt before, and say what was done."""
        return transfer.begin_with(self.model, weights, self.schema.classes)

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many outputs the model has."""

    @abstractmethod
    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """The loss of a batch: the mean over its examples."""

    @abstractmethod
    def metrics(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """Metrics of a whole split. output: N outputs, float32; y: N."""

    def figures(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """The metrics; with a loss of one's own in place of the task's."""
        found = self.metrics(output, y)
        if self.criterion != self.score:
            found["loss"] = float(self.criterion(output, y))
        return found

    def build(self, recipe: Recipe) -> nn.Module:
        """The recipe's network for inputs and outputs of this schema."""
        channels, size = self.schema.shape[0], 0
        if self.schema.kind == "image":
            size = self.schema.shape[1]
        return models.create(
            recipe.model.name,
            classes=self.outputs,
            in_channels=channels,
            image_size=size,
            **recipe.model.options,
        )

    def plan(self, plan: Plan, steps: int) -> Plan:
        """The plan with its epochs and the metric that decides written out."""
        name, goal = self.monitor
        if plan.monitor is not None:
            name = plan.monitor
            goal = plan.goal or ("min" if name in _FALLING else "max")
        epochs = max(plan.epochs, -(-plan.updates // steps))
        return plan.model_copy(
            update={"monitor": name, "goal": goal, "epochs": epochs, "updates": 0}
        )

    def training_feed(self, dataset: Dataset) -> Feed:
        """The shuffled, augmented batches of the training split."""
        return Feed(
            dataset.splits["train"],
            self.schema,
            batch_size=self.recipe.plan.batch_size,
            device=self.setup.device,
            seed=self.recipe.seed,
            changes=self.recipe.data.augment,
        )

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.feed.steps

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch of x and y."""
        return batch.loss(self.criterion, self.model(batch.x))

    # what the engine asks for

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The shuffled batches of an epoch that are still to come."""
        self.model.train()
        transfer.freeze(self.model, self.recipe.transfer, epoch)
        return self.feed.batches(epoch)

    def step(self, batch: Batch) -> dict[str, Any]:
        """zero_grad, loss, backward, step."""
        return self.updater.update(self.loss, batch)

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics on a split; empty when the dataset has no such split."""
        if not self.has(split):
            return {}
        metrics = self.figures(*self.outputs_of(split))
        if split == "val":
            self.updater.observe(self.feed.epoch, metrics["loss"])
        return metrics

    def state(self) -> dict[str, Any]:
        """Weights, optimizer, place in the epoch, and the generator that dropout draws from."""
        state = {
            "model": self.model.state_dict(),
            "updater": self.updater.state(),
            "feed": self.feed.state(),
            "generator": torch.get_rng_state(),
        }
        if self.setup.device.type == "cuda":
            state["cuda_generator"] = torch.cuda.get_rng_state(self.setup.device)
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.load_weights(state)
        self.updater.load_state(state["updater"])
        self.feed.load_state(state["feed"])
        torch.set_rng_state(state["generator"])
        if "cuda_generator" in state and self.setup.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_generator"], self.setup.device)

    def load_weights(self, state: dict[str, Any]) -> None:
        """Take only the model's weights; UserError names what does not fit."""
        check_weights(self.model, state["model"])
        self.model.load_state_dict(state["model"])

    # beside training

    def feed_of(self, split: str) -> Feed:
        """A split in order, not augmented."""
        if self.dataset is None:
            raise UserError("this run was opened without its dataset")
        if split not in self.dataset.splits:
            known = ", ".join(self.dataset.splits)
            raise UserError(f"{self.dataset.name} has no split {split!r}; it has {known}")
        if split not in self._feeds:
            examples = self.dataset.splits[split]
            self._feeds[split] = self.plain_feed(examples)
        return self._feeds[split]

    def plain_feed(self, examples: Split) -> Feed:
        """Any examples of this schema in order."""
        size = min(max(_EVALUATED_VALUES // int(np.prod(self.schema.shape)), 16), 1024)
        return Feed(examples, self.schema, batch_size=size, device=self.setup.device)

    def forward(self, feed: Feed) -> tuple[Tensor, Tensor]:
        """Outputs (float32, N outputs) and y of all examples of a feed, in evaluation mode."""
        # One array from the start: small pieces between large ones would hold on to much memory.
        outputs, start = torch.empty(0), 0
        with evaluating(self.model), self.setup.autocast():
            for batch in feed.in_order(feed.batch_size):
                output = self.model(batch.x)
                if not start:
                    shape = (len(feed), *output.shape[1:])
                    outputs = torch.empty(shape, device=output.device)
                outputs[start : start + len(batch)] = output
                start += len(batch)
        return outputs, feed.y

    def outputs_of(self, split: str) -> tuple[Tensor, Tensor]:
        """Outputs and y of a whole split."""
        return self.forward(self.feed_of(split))

    def outputs_for(self, x: np.ndarray) -> Tensor:
        """Outputs for inputs as a split keeps them."""
        return self.forward(self.plain_feed(Split(x, np.zeros(len(x), np.int64))))[0]

    def spread(self, count: int) -> Batch:
        """Training examples from all over the split."""
        count = min(count, len(self.feed))
        index = torch.linspace(0, len(self.feed) - 1, count).long().to(self.setup.device)
        return self.feed.make(index, 0)

    def preflight(self) -> list[Any]:
        """Pass one batch through and say what would not learn."""
        transfer.freeze(self.model, self.recipe.transfer, 0)
        batch = self.spread(self.feed.batch_size)
        return preflight(
            self.model,
            self.criterion,
            batch.x,
            batch.y,
            self.updater.optimizer,
            classes=len(self.schema.classes) or None,
        )


_EVALUATED_VALUES = 200_000  # input values of an evaluation batch: its maps stay in the cache
_LOOKED_AT = 1000  # examples that a network may take its initial values from
_FALLING = ("loss", "mse", "mae")


def check_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """UserError with the first names that are missing, unexpected or of another shape."""
    own = model.state_dict()
    problems = [
        f"{name}: expected {tuple(value.shape)}, found {tuple(weights[name].shape)}"
        if name in weights
        else f"{name}: expected {tuple(value.shape)}, found nothing"
        for name, value in own.items()
        if name not in weights or weights[name].shape != value.shape
    ]
    problems += [f"{name}: not in this network" for name in weights if name not in own]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise UserError(
            f"these weights are of another network: {'; '.join(problems[:3])}{more}. "
            "Use the recipe that they were trained with"
        )
