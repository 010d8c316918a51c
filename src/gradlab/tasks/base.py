"""What all tasks share; nothing of it stands anywhere else.

A task lives in two phases: it is built from recipe, schema and runtime, which is enough to answer;
`prepare(dataset)` then makes what only a training needs. What a training depends on are named
parts, each with a state of its own; the state of the task is the model's weights and theirs.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from gradlab import models
from gradlab.config import Plan, Recipe, Runtime
from gradlab.data import load
from gradlab.data.columns import Placement
from gradlab.data.dataset import Dataset, Schema, Split
from gradlab.data.loader import Batch, Loader
from gradlab.dotted import validate
from gradlab.engine import Generators, Updater, resolve
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.measures import measure
from gradlab.models import files as own_files
from gradlab.models import initial
from gradlab.tasks import transfer
from gradlab.tasks.answers import Answer
from gradlab.tasks.decision import Decision
from gradlab.tasks.embedding import begin_embedding
from gradlab.tasks.evaluation import Collector, Evaluation, Part
from gradlab.tasks.memory import check_training
from gradlab.tasks.metrics import Metric
from gradlab.tasks.parts import check_weights
from gradlab.tasks.sections import refuse_unserved, typed

_EVALUATED_VALUES = 200_000  # input values of an evaluation batch: its maps stay in the cache
_ANY_LENGTH = 2_000  # values of an input of any length, about
_LOOKED_AT = 1000  # examples that a network may take its initial values from
_LOOKED_AT_VALUES = 200_000_000  # of large ones fewer: so many values in all


class TrainingPart(Protocol):
    """Something that the next step of a training depends on."""

    def state(self) -> Any:
        """A tree of tensors and JSON values."""

    def load_state(self, state: Any) -> None:
        """Continue from what `state` returned."""


@dataclass(frozen=True)
class Own:
    """What a person brings along instead of a registered network and what a recipe says."""

    model: nn.Module
    loss: Any = None
    """(output, target) -> the mean over the batch."""
    optimizer: Any = None
    """An optimizer of torch, or what makes one of the parameters."""
    schedule: Any = None
    """A schedule of torch, or what makes one of the optimizer."""
    metrics: Mapping[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    """By name: (output, target) -> a number, of a whole split."""


@runtime_checkable
class LossTask(Protocol):
    """A task, prepared, that lowers one loss of batches of examples step by step."""

    train_loader: Loader
    updates: Updater

    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch, as it is trained on."""


class Task(ABC):
    """One kind of problem: its loss, its training step, its metrics, its answers."""

    serves: ClassVar[frozenset[str]] = frozenset()
    """The `SECTIONS` of a recipe that it uses; any other that was set is refused."""
    monitor: str = "loss"
    """The val metric that chooses the best epoch."""
    metrics: tuple[type[Metric], ...] = ()
    collectors: tuple[type[Collector], ...] = ()
    """What `details` adds to the metrics."""
    findings: ClassVar[tuple[Callable[[Any], Part | None], ...]] = ()
    """What it adds of the network itself, whatever the split: functions of the task."""
    answers: ClassVar[str] = ""
    """The type of target that `task auto` gives to it."""
    feature_layer: ClassVar[str | None] = None
    """The layer whose values are the features of an example (None: before the last linear one)."""

    def __init__(
        self, recipe: Recipe, schema: Schema, runtime: Runtime, own: Own | None = None
    ) -> None:
        refuse_unserved(recipe, self.serves)
        self.schema = schema
        self.own = own
        self.model = own.model if own else self.build(recipe)
        self.setup = resolve(runtime, self.model, self.example(), recipe.plan.batch_size)
        self.recipe = typed(recipe)
        self.placement = Placement(self.setup.device)
        # Filters of convolutions alone have 4 dimensions; nothing else is changed.
        self.model.to(self.setup.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dataset: Any = None
        self.parts: dict[str, TrainingPart] = {}
        self.notes: tuple[str, ...] = ()
        self.decision = Decision()
        self._in_order: dict[str, Loader] = {}
        self._network_parts: tuple[Part | None, ...] | None = None

    # what a task says of itself

    @property
    def outputs(self) -> int:
        """How many numbers the network gives for an example."""
        return 1

    def build(self, recipe: Recipe) -> nn.Module:
        """The recipe's network for the inputs and outputs of this schema."""
        shape = next(iter(self.schema.inputs.values())).shape
        name, options = recipe.model.name, recipe.model.options
        if own_files.is_file(name):
            return own_files.create_from(name, shape, self.outputs, **options)
        return models.create(name, inputs=shape, outputs=self.outputs, **options)

    def example(self) -> tuple[Any, ...]:
        """The inputs of a batch of one, on the processor."""
        return tuple(field.example() for field in self.schema.inputs.values())

    @classmethod
    def source(cls, recipe: Recipe) -> Any:
        """What is learnt from: the recipe's dataset, as a rule."""
        return load(recipe.data)

    # what only a training needs

    def prepare(self, dataset: Any, *, fresh: bool = True) -> None:
        """Make ready to train on `dataset`; `fresh`: from initial values, not from a checkpoint."""
        self.dataset = dataset
        if self.setup.device.type == "cpu":
            shape = next(iter(self.schema.inputs.values())).shape
            check_training(self.model.parameters(), shape, self.recipe)
        if fresh:
            # Values are drawn where, and laid out as, every machine draws the same.
            self.model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            self.initialise()
            self.model.to(self.setup.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.parts = {"random": Generators(self.setup.device), **self.training_parts(fresh)}

    def initialise(self) -> None:
        """Give the network its initial values, or pretrained weights."""
        initial.apply(self.model, self.recipe.transfer.init)
        if self.recipe.transfer.embedding:
            source = self.recipe.transfer.embedding
            self.notes += begin_embedding(self.model, self.schema, source)
        if self.recipe.transfer.weights:
            self.notes += self.load_pretrained(self.recipe.transfer.weights)

    def load_pretrained(self, weights: str) -> tuple[str, ...]:
        """Begin with pretrained weights, all of which must fit; say what was done."""
        found, _ = transfer.read_weights(weights)
        check_weights(self.model, found)
        self.model.load_state_dict(found)
        return (f"weights: begun with {weights}",)

    @abstractmethod
    def training_parts(self, fresh: bool) -> dict[str, TrainingPart]:
        """What the next step depends on, beside the model and torch's generators, by name."""

    def loader(self, split: str, names: Iterable[str]) -> Loader:
        """The shuffled, augmented batches of a split, of these fields."""
        augment = self.recipe.data.augment
        fields = {name: self.schema.fields[name] for name in names}
        asked = sorted(
            key for key in type(augment).model_fields if key != "mixup" and getattr(augment, key)
        )
        if asked and not any(field.augmented for field in fields.values()):
            raise UserError(
                f"augment: {', '.join(asked)} expected images, but the inputs here are "
                f"{self.schema.words()}: leave --data.augment out for this dataset"
            )
        sides = [min(field.shape[1:]) for field in fields.values() if field.augmented]
        for key, most in (("shift", -1), ("crop", -1), ("cutout", 0)):
            if any(getattr(augment, key) > max(side + most, 0) for side in sides):
                raise UserError(
                    f"data.augment.{key}: {getattr(augment, key)} pixels are more than images of "
                    f"{min(sides)} pixels leave room for"
                )
        return Loader(
            self.dataset.split(split),
            fields,
            batch_size=self.recipe.plan.batch_size,
            placement=self.placement,
            seed=self.recipe.seed,
            augment=augment,
            order=self.dataset.order,
        )

    def updater(self, groups: Any, steps: int) -> Updater:
        """An updater of these parameters; `steps` are those of an epoch."""
        recipe = self.recipe
        return Updater(
            groups,
            recipe.optimizer,
            recipe.schedule,
            recipe.plan,
            self.setup,
            steps,
            again=transfer.thaw(recipe.transfer, steps),
        )

    def settle(self, steps: int) -> None:
        """Write out the plan: the epochs, the metric that decides, and which way it improves."""
        plan = self.recipe.plan
        known = self.metric_names()
        name = plan.monitor or self.monitor
        if name not in known:
            raise UserError(f"plan.monitor: no metric {name!r}; found {', '.join(known)}")
        epochs = max(plan.epochs, -(-plan.updates // steps))
        if epochs > plan.epochs:
            self.notes += (f"{epochs} epochs (plan.updates {plan.updates})",)
        changes = {
            "monitor": name,
            "goal": plan.goal or measure(name).goal or "min",
            "epochs": epochs,
            "updates": 0,
        }
        self.recipe = self.recipe.model_copy(update={"plan": plan.model_copy(update=changes)})
        if self.recipe.schedule.name == "plateau" and "loss" not in known:
            raise UserError(
                "the schedule 'plateau' needs a loss on val, which this task has not: choose "
                "another schedule"
            )

    def metric_names(self) -> list[str]:
        """The names of all metrics that an evaluation may give, the one that decides first."""
        return [*dict.fromkeys((self.monitor, *(metric.name for metric in self.metrics)))]

    @property
    def plan(self) -> Plan:
        """How long it is trained."""
        return self.recipe.plan

    @property
    @abstractmethod
    def steps(self) -> int:
        """Batches in an epoch."""

    # what the engine asks for

    @abstractmethod
    def batches(self, epoch: int) -> Iterator[Any]:
        """The batches of an epoch that are still to come."""

    @abstractmethod
    def step(self, batch: Any) -> dict[str, Any]:
        """Learn from a batch."""

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics on a split; empty when there is nothing to evaluate."""
        if not self.has(split):
            return {}
        found = self.measure(split)
        if split == "val":
            self._tell_schedules(found)
        return found

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        states = {name: part.state() for name, part in self.parts.items()}
        return {"model": self.model.state_dict(), **states}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned; UserError when it is of another training."""
        missing = [name for name in self.parts if name not in state]
        if missing:
            raise UserError(f"the checkpoint lacks the state of {', '.join(missing)}")
        self.load_weights(state)
        # The generators last: whatever the others do, they are then where they were.
        for name, part in [*self.parts.items()][::-1]:
            part.load_state(state[name])

    # evaluation

    def on(self, dataset: Dataset) -> Self:
        """The same network and weights, with other examples."""
        other = copy.copy(self)
        other.dataset, other._in_order = dataset, {}
        return other

    def load_weights(self, state: dict[str, Any]) -> None:
        """Take only the model's weights, and what was chosen on val with them.

        UserError names what does not fit.
        """
        check_weights(self.model, state["model"])
        self.model.load_state_dict(state["model"])
        self.load_decision(state.get("decision", {}))

    @property
    def decides(self) -> bool:
        """Whether anything is chosen on val once the training has ended."""
        return False

    def decide(self) -> dict[str, Any]:
        """Choose it with the weights of the best epoch; returned to be kept beside these."""
        return {}

    def load_decision(self, state: Any) -> None:
        """Decide as what `decide` returned says."""
        self._network_parts = None
        self.decision = validate(Decision, state, "what was chosen on val")

    def has(self, split: str) -> bool:
        """Whether there is such a split to evaluate."""
        return self.dataset is not None and split in self.dataset.splits

    def forward(self, batch: Batch) -> Any:
        """What the network makes of a batch's inputs."""
        return self.model(*(batch[name] for name in self.schema.inputs))

    def measure(self, split: str, watching: Sequence[Collector] = ()) -> dict[str, float]:
        """The metrics of a split, seen batch by batch."""
        meters = [metric(self) for metric in self.metrics]
        watchers: list[Metric | Collector] = [*meters, *watching]
        for batch, output in self.outputs_of(self.in_order(split)):
            for watcher in watchers:
                watcher.update(output, batch)
        found = {meter.name: meter.compute() for meter in meters}
        return {name: value for name, value in found.items() if value is not None}

    def outputs_of(self, loader: Loader) -> Iterator[tuple[Batch, Any]]:
        """Every batch of a loader in order with the network's output for it (float32)."""
        with evaluating(self.model):
            for batch in loader.in_order():
                yield batch, self.output_of(batch)

    def output_of(self, batch: Batch) -> Any:
        """The network's output for a batch (float32), as it is measured and answers are made."""
        with self.setup.autocast():
            output = self.forward(batch)
        return output.float() if isinstance(output, Tensor) else output

    def details(self, split: str) -> Evaluation:
        """The evaluation of a split with the findings about it."""
        examples = self.dataset.split(split) if isinstance(self.dataset, Dataset) else None
        if examples is None:
            return Evaluation(self.evaluate(split))
        watching = [collector(self, examples) for collector in self.collectors]
        metrics = self.measure(split, watching)
        parts = (*(collector.compute() for collector in watching), *self.network_parts())
        return Evaluation(metrics, tuple(part for part in parts if part is not None))

    def network_parts(self) -> Sequence[Part | None]:
        """Findings about the network itself; worked out once for the weights that it has."""
        if self._network_parts is None:
            self._network_parts = tuple(finding(self) for finding in self.findings)
        return self._network_parts

    def in_order(self, split: str) -> Loader:
        """A split in order, not augmented."""
        if self.dataset is None:
            raise UserError("this run was opened without its dataset")
        if split not in self._in_order:
            self._in_order[split] = self.loader_of(self.dataset.split(split), self.schema.fields)
        return self._in_order[split]

    def loader_of(self, examples: Split, names: Iterable[str]) -> Loader:
        """Any examples of this schema in order, of these fields."""
        shapes = [field.shape for field in self.schema.inputs.values()]
        values = sum(int(np.prod(shape)) or _ANY_LENGTH for shape in shapes)
        size = min(max(_EVALUATED_VALUES // max(values, 1), 16), 1024)
        fields = {name: self.schema.fields[name] for name in names}
        return Loader(examples, fields, batch_size=size, placement=self.placement)

    def predict(self, inputs: Split) -> list[Answer]:
        """An answer for each input; `inputs` holds the columns of the schema's inputs."""
        loader = self.loader_of(inputs, self.schema.inputs)
        found: list[Answer] = []
        for batch, output in self.outputs_of(loader):
            found += self.answer(output, batch)
        return found

    def answer(self, output: Any, batch: Batch) -> Sequence[Answer]:
        """What an output (float32) says of each input of a batch."""
        raise UserError(f"the task {self.recipe.task.name!r} has nothing to predict")

    def preflight(self) -> list[Any]:
        """Findings about one batch, before the first step."""
        return []

    def pictures(self) -> dict[str, np.ndarray]:
        """What the model makes now, as images (uint8 H W C) by title; drawn after each epoch."""
        return {}

    def baselines(self, splits: Iterable[str]) -> dict[str, dict[str, dict[str, float]]]:
        """What guessing would reach: by split, then baseline, then metric."""
        return {}

    def _tell_schedules(self, metrics: Mapping[str, float]) -> None:
        """A schedule that waits for the loss to stand still is told of it, once an epoch."""
        for part in self.parts.values():
            if isinstance(part, Updater) and "loss" in metrics:
                part.observe(self.epoch, metrics["loss"])

    @property
    def epoch(self) -> int:
        """The epoch that the last batch was of."""
        loader = self.parts.get("loader")
        return loader.epoch if isinstance(loader, Loader) else -1
