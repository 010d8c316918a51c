"""What is known of a training when it has ended: numbers, from which the verdict is read.

The curves come from metrics.jsonl, where a first line holds the loss before the first step and a
few values of each weight: so a training that was resumed is known like any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from gradlab.config import Recipe
from gradlab.insight import Health, Movement, frozen, look, moved, no_trace, sketch, unregistered
from gradlab.tasks.base import LossTask, Task

LOOKED_AT = 256
"""Examples of the batch that is passed through at the beginning and at the end."""

Metrics = Mapping[str, Mapping[str, float]]
"""By split."""
Curve = tuple[tuple[float, float], ...]
"""(step or epoch, value)."""


@dataclass(frozen=True)
class Network:
    """What is seen in the network itself, with the weights of the last step.

    `changed` is how far they are from the first ones; `unregistered` and `frozen` are layers that
    cannot learn.
    """

    changed: Movement
    health: Health = field(default_factory=Health)
    unregistered: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """Of one training. What a task does not have is left empty."""

    recipe: Recipe
    monitor: str
    metrics: Metrics
    """The final ones, of the weights of the best epoch."""
    baselines: Mapping[str, Metrics] = field(default_factory=dict)
    """By split, then baseline."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Examples of each split."""
    initial: float | None = None
    """The loss of a batch before the first step."""
    train: Curve = ()
    """The training loss over the steps, as it was logged: each the mean since the one before."""
    val: Mapping[str, Curve] = field(default_factory=dict)
    """The val metrics over the epochs."""
    steps: int = 0
    """Of an epoch."""
    network: Network | None = None

    @property
    def guess(self) -> float | None:
        """The training loss of an answer that looks at no input: ln K, the variance of y."""
        first = next(iter(self.baselines.get("train", {}).values()), {})
        found = first.get("loss")
        return found if found is not None and math.isfinite(found) else None

    def smoothed(self, share: float = 0.1) -> list[float]:
        """The training loss of each tenth (or other share) of the training."""
        if not self.train:
            return []
        last = self.train[-1][0]
        parts: list[list[tuple[float, float]]] = [[] for _ in range(round(1 / share))]
        before = 0.0
        for step, value in self.train:
            place = min(int((before + step) / 2 / last * len(parts)), len(parts) - 1)
            parts[place].append((step - before, value))
            before = step
        return [
            sum(weight * value for weight, value in part) / sum(weight for weight, _ in part)
            for part in parts
            if part
        ]


def beginning(task: Task) -> dict[str, Any] | None:
    """The line of metrics.jsonl that a training begins with; None for a task without examples."""
    if not isinstance(task, LossTask):
        return None
    batch = task.train_loader.spread(LOOKED_AT)
    with no_trace(task.model), torch.no_grad(), task.setup.autocast():
        task.model.train()
        loss = float(task.loss(batch))
    return {"event": "start", "step": 0, "loss": loss, "weights": sketch(task.model)}


def network(task: Task, lines: Sequence[Mapping[str, Any]]) -> Network | None:
    """What is to be seen in a task's network, which has the weights of the last step."""
    start = _start(lines)
    if not isinstance(task, LossTask) or "weights" not in start:
        return None
    batch = task.train_loader.spread(LOOKED_AT)

    def loss() -> torch.Tensor:
        with task.setup.autocast():
            return task.loss(batch)

    groups = zip(task.updates.optimizer.param_groups, task.updates.peaks, strict=True)
    asleep = {id(value) for group, lr in groups if not lr for value in group["params"]}
    own = dict(task.model.named_parameters())
    changed = moved(start["weights"], task.model)
    unchanged = tuple(
        name
        for name in changed.unchanged
        if own[name].requires_grad and id(own[name]) not in asleep
    )
    return Network(
        Movement(changed.relative, unchanged),
        look(task.model, loss),
        unregistered(task.model),
        frozen(task.model) if task.recipe.transfer.freeze == "nothing" else (),
    )


def evidence(
    task: Task,
    lines: Sequence[Mapping[str, Any]],
    seen: Network | None,
    metrics: Metrics,
    baselines: Mapping[str, Metrics],
) -> Evidence:
    """All that is known; `lines` are those of metrics.jsonl, `seen` is what `network` gave."""
    on_examples = isinstance(task, LossTask)
    steps = [line for line in lines if not {"event", "final"} & set(line)]
    train = [line for line in steps if line["split"] == "train" and line.get("loss") is not None]
    val = [line for line in steps if line["split"] == "val"]
    names = dict.fromkeys(name for line in val for name in line)
    return Evidence(
        recipe=task.recipe,
        monitor=task.plan.monitor or task.monitor,
        metrics=metrics,
        baselines=baselines,
        counts={name: len(task.dataset.split(name)) for name in metrics} if on_examples else {},
        initial=_start(lines).get("loss"),
        train=tuple((line["step"], line["loss"]) for line in train) if on_examples else (),
        val={
            name: tuple((line["epoch"], line[name]) for line in val if line.get(name) is not None)
            for name in names
        },
        steps=task.steps,
        network=seen,
    )


def _start(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next((line for line in lines if line.get("event") == "start"), {})
