"""A network and a loss of one's own, taken as they are.

Nothing is standardised, moved or reshaped that was not asked for: the network sees the inputs as
they were given, so that alone it answers as the run does. Targets reach the loss in the form that
it takes (`tasks.alignment`); what the outputs mean is found from it (`tasks.meanings`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from gradlab.config import Choice, Recipe, Runtime
from gradlab.data import Schema
from gradlab.data.fields.label import Label
from gradlab.data.held import Grouped
from gradlab.data.loader import Batch, Loader
from gradlab.engine import Updater
from gradlab.engine.scheduler import Scheduler
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.insight import preflight
from gradlab.measures import known as known_measures
from gradlab.tasks import tasks, transfer
from gradlab.tasks.alignment import Aligned, Alignment, Loss, fitting, loss_name, loss_of
from gradlab.tasks.answers import Answer
from gradlab.tasks.base import Own, Task, TrainingPart
from gradlab.tasks.baselines import Baselines
from gradlab.tasks.meanings import MEANINGS, Kind, Meaning, Scores, class_names, meaning_of
from gradlab.tasks.metrics import Loss as LossMetric
from gradlab.tasks.metrics import Metric
from gradlab.tasks.own_metrics import given_metrics
from gradlab.tasks.own_parts import called_with, guesses, own_optimizer, widened
from gradlab.tasks.parts import Weights

_TRIED = 32
"""Examples on which it is tried how output and target fit the loss."""


@tasks.register("own")
class OwnTask(Task):
    """Any network with any loss; its val loss decides, or of classes the accuracy."""

    serves = frozenset({"init", "weights", "freeze", "augment", "updates", "accumulate", "dataset"})
    monitor = "loss"
    metrics: tuple[type[Metric], ...] = (LossMetric,)

    def __init__(
        self,
        recipe: Recipe,
        schema: Schema,
        runtime: Runtime,
        own: Own | None = None,
        *,
        loss: Annotated[
            str, Field(description="of torch, by name; auto: by the target; given: only in Python")
        ] = "auto",
        loss_options: Annotated[dict[str, Any], Field(description="of that loss")] = {},  # noqa: B006
        inputs: Annotated[
            Grouped, Field(description="how the network is given its inputs")
        ] = "one",
        targets: Annotated[Grouped, Field(description="how the loss is given its targets")] = "one",
        align: Annotated[
            tuple[str, str, str] | None,
            Field(description="what is changed of output, shape and type for the loss"),
        ] = None,
        meaning: Annotated[Kind, Field(description="what the outputs are")] = "auto",
        scores: Annotated[Scores, Field(description="what a class's output is")] = "scores",
        names: Annotated[tuple[str, ...], Field(description="of classes or labels")] = (),
        metrics: Annotated[tuple[str, ...], Field(description="one's own, by name")] = (),
        optimizer: Annotated[str, Field(description="one's own")] = "",
        schedule: Annotated[str, Field(description="one's own")] = "",
    ) -> None:
        if not schema.targets:
            raise UserError("a network of one's own needs something to learn: data with a target")
        self.inputs_as, self.targets_as = inputs, targets
        self.target = next(iter(schema.targets))
        self.loss_named = (loss, loss_options)
        self.rule_named, self.schedule_named = optimizer, schedule
        given = own.loss if own is not None else None
        if given is None and loss != "auto":
            given = loss_of(loss, loss_options)
        self.criterion: Loss | None = given
        self.alignment = Alignment(*(align or ("", "", "")))
        self.meaning: Meaning = MEANINGS[meaning if meaning != "auto" else "unknown"](names, scores)
        self.own_metrics = given_metrics(own.metrics if own else {}, metrics)
        self._settled = align is not None
        if runtime.precision == "auto":  # taken as it is, so that alone it answers as here
            runtime = runtime.model_copy(update={"precision": "float32"})
        super().__init__(recipe, schema, runtime, own)
        if isinstance(self.criterion, nn.Module):
            self.criterion.to(self.setup.device)
        self._choose_metrics()

    @property
    def field(self) -> Any:
        """The first target, with the classes that its outputs mean."""
        return Label(classes=self.meaning.classes)

    @property
    def outputs(self) -> int:
        """Of a network by name: one for each class, or number."""
        field = self.schema.targets[self.target]
        if isinstance(field, Label):
            return len(field.classes)
        return int(torch.tensor(field.shape).prod()) if field.shape else 1

    def example(self) -> tuple[Any, ...]:
        """The inputs of a batch of one, as the network is given them."""
        values = {name: field.example() for name, field in self.schema.inputs.items()}
        args, kwargs = called_with(self.model, values, self.inputs_as)
        return (*args, *kwargs.values())

    def forward(self, batch: Batch) -> Any:
        """What the network makes of a batch's inputs."""
        return self._call(self.model, {name: batch[name] for name in self.schema.inputs})

    def _call(self, model: nn.Module, values: dict[str, Any]) -> Any:
        args, kwargs = called_with(self.model, values, self.inputs_as)
        return model(*args, **kwargs)

    # the loss

    def y(self, batch: Batch) -> Any:
        """The target of a batch as it was given: alone, a tuple, or a dictionary."""
        values = {name: batch[name] for name in self.schema.targets}
        if self.targets_as == "dict":
            return values
        return tuple(values.values()) if self.targets_as == "tuple" else values[self.target]

    def aligned(self, output: Any, batch: Batch) -> tuple[Any, Any]:
        """Output and target as the loss is given them."""
        return self.alignment(output, self.y(batch))

    positive = 1
    """Of yes and no the class that metrics are about."""

    @property
    def ignored(self) -> int:
        """The class number that the loss leaves out."""
        return int(getattr(self.criterion, "ignore_index", -100))

    def score(self, output: Any, y: Any) -> Tensor:
        """The loss of outputs and targets as they come."""
        assert self.criterion is not None
        found: Tensor = self.criterion(*self.alignment(output, y))
        return found

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch, as it is trained on."""
        if batch.mix is not None and self.targets_as != "one":
            raise UserError("data.augment.mixup: mixes one target, found several")
        if self.targets_as != "one":
            return self.score(self.forward(batch), self.y(batch))
        return batch.loss(self.score, self.forward(batch), self.target)

    def measured_loss(self, output: Any, batch: Batch) -> Tensor:
        """The loss of a batch, as it is reported; one that sums is divided by the examples."""
        found = self.score(output, self.y(batch)).detach()
        return found / len(batch) if self._sums else found

    @property
    def _sums(self) -> bool:
        return getattr(self.criterion, "reduction", "mean") == "sum"

    # training

    def training_parts(self, fresh: bool) -> dict[str, TrainingPart]:
        """The loader's place, the optimizer, and what else of one's own has a state."""
        self.train_loader = self.loader("train", self.schema.fields)
        self._settle()
        self.settle(self.steps)
        before = self.recipe.transfer
        groups = transfer.groups(self.model, before)
        parts: dict[str, TrainingPart] = {"loader": self.train_loader}
        if isinstance(self.criterion, nn.Module) and any(True for _ in self.criterion.parameters()):
            named = [(f"loss.{name}", p) for name, p in self.criterion.named_parameters()]
            groups = [*groups, (1.0, named)]
            parts["loss"] = Weights(self.criterion)
            self.notes += ("the loss has parameters of its own, which are trained too",)
        given = self.own.optimizer if self.own else None
        recipe = self.recipe
        self.updates = Updater(
            groups, recipe.optimizer, recipe.schedule, recipe.plan, self.setup, self.steps,
            rule=own_optimizer(given, groups, self.rule_named),
        )  # fmt: skip
        parts["updater"] = self.updates
        self.scheduler = self._scheduler()
        if self.scheduler is not None:
            parts["schedule"] = self.scheduler
        return parts

    def _scheduler(self) -> Scheduler | None:
        """A person's own schedule of the learning rate."""
        given = self.own.schedule if self.own else None
        if given is None:
            if self.schedule_named:
                raise UserError(
                    f"this training has a schedule of your own ({self.schedule_named}): give it "
                    "with schedule=, made as before"
                )
            return None
        rule = self.updates.optimizer
        made = given(rule) if callable(given) and not hasattr(given, "state_dict") else given
        found = Scheduler(made, rule, self.steps)
        name = type(made).__name__
        if self.schedule_named not in ("", name):
            raise UserError(f"schedule: this training has {self.schedule_named}, found {name}")
        if not self.schedule_named:
            wait = ", with the val loss" if found.waits else ""
            self.notes += (f"schedule: {name}, stepped after each {found.when}{wait}",)
        self._options(schedule=name)
        return found

    def _settle(self) -> None:
        """Find out on some examples how the loss is fed and what the outputs mean; say it."""
        if self._settled and self.criterion is None:
            raise UserError(
                "this training has a loss of your own, which a run does not keep: give it with "
                "loss=, as before"
            )
        batch = self.in_order("train").spread(_TRIED)
        try:
            with torch.random.fork_rng(devices=[]), evaluating(self.model):
                output = self.forward(batch)
        except Exception:
            output = None  # the preflight says which layer failed, and on what
        self._output_size = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
        if self._settled:
            return
        if self.criterion is None:
            self.criterion = self._default_loss(output, batch)
        called: frozenset[str] = frozenset()
        y = self.y(batch)
        field = self.schema.targets[self.target]
        if isinstance(output, Tensor) and isinstance(y, Tensor):
            output = output.detach().clone()
            classes = len(field.classes) if isinstance(field, Label) else None
            fit = fitting(self.criterion, output, y, classes)
            if fit is not None:
                self.alignment, called = fit.alignment, fit.called
                self.notes += self.alignment.words(output, y)
        if self._sums:
            self.notes += ("the loss sums over a batch; it is reported for each example",)
        given, aligned = self.alignment(output, y)
        kind, scores = meaning_of(called, given, aligned, field)
        names = class_names(kind, given, field)
        self.meaning = MEANINGS[kind](names, scores)
        if output is not None:
            self.notes += (f"outputs: {MEANINGS[kind].words}",)
        name, options = loss_name(self.criterion)
        self._options(
            loss=name,
            loss_options=options,
            align=(self.alignment.output, self.alignment.shape, self.alignment.dtype),
            meaning=kind,
            scores=scores,
            names=names,
            metrics=tuple(metric.name for metric in self.own_metrics),
        )
        self._choose_metrics()

    def _options(self, **found: Any) -> None:
        """Record options of the task, so that a run is opened with them."""
        task = Choice(name="own", **{**self.recipe.task.options, **found})
        self.recipe = self.recipe.model_copy(update={"task": task})

    def _default_loss(self, output: Any, batch: Batch) -> Loss:
        """The loss that a target asks for, where none was given; it is said."""
        y = self.y(batch)
        if output is None:
            return nn.MSELoss()  # the preflight refuses this network
        if not isinstance(output, Tensor) or not isinstance(y, Tensor):
            raise UserError(
                "which loss? The network or the data gives several parts, for which none is "
                "known: give loss=f with f(output, y)"
            )
        field = self.schema.targets[self.target]
        whole = not y.is_floating_point()
        one = output.numel() == len(output)
        found: Loss
        if whole and one and isinstance(field, Label) and len(field.classes) == 2:
            found, why = nn.BCEWithLogitsLoss(), "one output and two classes"
        elif whole and not one and y.numel() < output.numel():
            found, why = nn.CrossEntropyLoss(), "class numbers and an output for each class"
        elif whole and not one and y.shape == output.shape and bool((y * y == y).all()):
            found, why = nn.BCEWithLogitsLoss(), "several labels, 0 or 1 each"
        else:
            found, why = nn.MSELoss(), "numbers"
        self.notes += (f"loss: {type(found).__name__} ({why}); none was given",)
        return found

    def _choose_metrics(self) -> None:
        """The loss, where it is known, what the outputs' meaning adds, and a person's own."""
        first: tuple[type[Metric], ...] = () if self.criterion is None else (LossMetric,)
        self.metrics = (*first, *self.meaning.metrics, *self.own_metrics)
        self.monitor = self.meaning.monitor
        field = self.schema.targets[self.target]
        alone = int(torch.tensor(field.shape).prod()) == 1 or isinstance(field, Label)
        self.collectors = self.meaning.collectors if alone else ()

    def settle(self, steps: int) -> None:
        """Write out the plan; a metric of one's own decides only if it is said which way."""
        plan = self.recipe.plan
        own = {metric.name for metric in self.own_metrics}
        if plan.monitor in own and plan.goal is None and plan.monitor not in known_measures():
            raise UserError(
                f"plan.monitor: {plan.monitor!r} is a metric of your own: say which way is better, "
                "**{'plan.goal': 'min'} or 'max'"
            )
        super().settle(steps)

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.train_loader.steps

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The shuffled batches of an epoch that are still to come."""
        self.model.train()
        transfer.freeze(self.model, self.recipe.transfer, epoch)
        return self.train_loader.batches(epoch)

    def step(self, batch: Batch) -> dict[str, Any]:
        """zero_grad, loss, backward, step."""
        found = self.updates.update(self.loss, batch)
        if self._sums:
            found["loss"] = found["loss"] / len(batch)
        if self.scheduler is not None:
            self.scheduler.stepped()
        return found

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics on a split; a schedule that waits for the val loss is told of it."""
        found = super().evaluate(split)
        if split == "val" and self.scheduler is not None and "loss" in found:
            self.scheduler.observe(self.epoch, found["loss"])
        return found

    def preflight(self) -> list[Any]:
        """Pass one batch through and say what would not learn."""
        transfer.freeze(self.model, self.recipe.transfer, 0)
        batch = self.train_loader.spread(self.train_loader.batch_size)
        field = self.schema.targets[self.target]
        names = list(self.schema.inputs)
        alone = len(names) == 1

        def call(model: nn.Module, x: Any) -> Any:
            return self._call(model, {names[0]: x} if alone else x)

        assert self.criterion is not None
        return preflight(
            self.model,
            Aligned(self.criterion, self.alignment),
            batch[names[0]] if alone else {name: batch[name] for name in names},
            self.y(batch),
            self.updates.optimizer,
            classes=len(field.classes) if isinstance(field, Label) else None,
            call=call,
        )

    # evaluation and answers

    def outputs_of(self, loader: Loader) -> Iterator[tuple[Batch, Any]]:
        """Every batch in order with the network's output; half precision becomes float32."""
        with evaluating(self.model):
            for batch in loader.in_order():
                with self.setup.autocast():
                    output = self.forward(batch)
                yield batch, widened(output)

    def loader_of(self, examples: Any, names: Iterable[str]) -> Loader:
        """Any examples in order; of those read anew no more at once than in training."""
        loader = super().loader_of(examples, names)
        loader.batch_size = min(loader.batch_size, 4 * self.recipe.plan.batch_size)
        return loader

    def answer(self, output: Any, batch: Batch) -> Sequence[Answer]:
        """What the outputs mean, of each input."""
        return self.meaning.answers(self.alignment.turned(output))

    def interpreted(self, output: Tensor) -> Tensor:
        """Outputs as probabilities, or in the target's own units."""
        return self.meaning.interpreted(output)

    def as_output(self, answers: Tensor) -> Tensor:
        """The outputs of which these answers are the interpretation."""
        return self.meaning.as_output(answers).reshape(len(answers), *self._output_size)

    def chosen(self, output: Tensor) -> Tensor:
        """The likeliest class of each example."""
        return self.meaning.chosen(output)

    @property
    def wrong_measure(self) -> str:
        """What `wrong` measures."""
        return self.meaning.measured

    def wrong(self, output: Tensor, batch: Batch) -> tuple[Tensor, Any]:
        """How wrong each answer is, and what says truth and answer of one."""
        return self.meaning.wrong(*self.aligned(output, batch))

    def baselines(self, splits: Iterable[str]) -> Baselines:
        """What guessing, and a simple model, reach on these splits."""
        return guesses(self, splits)
