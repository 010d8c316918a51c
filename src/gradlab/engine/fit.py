"""The one training loop.

    for each epoch:
        for each batch of the task:  step
        evaluate on val; keep `best` and `last`

A task gives five things (`Trainable`); whatever a step does to networks, images or environments is
the task's own affair.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch

from gradlab.config import Plan
from gradlab.engine import pack
from gradlab.engine.record import Progress, Which
from gradlab.engine.run import RunFolder
from gradlab.engine.signals import Signals
from gradlab.errors import UserError
from gradlab.measures import Measure, measure
from gradlab.text import brief

_SHORT = 1.0
"""Seconds: epochs that follow each other faster than this share a checkpoint."""

Scalars = dict[str, Any]
"""What a step tells: `loss` (watched for NaN and divergence), `examples` (summed), any others.

A step may leave out what it has not: a network that plays before it learns has no loss yet.
"""


class Trainable(Protocol):
    """What the engine asks of a task, and nothing else."""

    def batches(self, epoch: int) -> Iterator[Any]:
        """The batches of an epoch that are still to come: the task's state knows its place."""

    def step(self, batch: Any) -> Scalars:
        """Learn from a batch; tensors are returned as they are, so that nothing waits for them."""

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics on a split; empty when there is nothing to evaluate."""

    def state(self) -> dict[str, Any]:
        """All that the next step depends on: tensors by name under `model`, any tree beside it."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""


class Observer:
    """Watches the engine: may log, draw or stop; never touches a gradient."""

    def started(self, progress: Progress) -> None:
        """Before the first step of this process."""

    def stepped(self, progress: Progress, line: dict[str, Any]) -> None:
        """After each `log_steps` steps, with the line that was logged (a `record.Line`)."""

    def evaluated(self, progress: Progress, line: dict[str, Any]) -> None:
        """After an epoch, with its evaluation (no metrics where the task has none)."""

    def ended(self, progress: Progress) -> None:
        """After the last step of this process, however it came about."""


class Interrupted(Exception):
    """A signal stopped the training; the checkpoint `last` holds its exact state."""

    def __init__(self, signal: int, run: RunFolder) -> None:
        super().__init__(f"stopped by signal {signal}; all is saved in {run.path}")
        self.signal = signal
        self.run = run


class Diverged(UserError):
    """The loss became NaN or infinite, or grew beyond all measure."""

    def __init__(self, step: int, epoch: int, lr: float | None, what: str) -> None:
        self.step, self.epoch, self.lr, self.what = step, epoch, lr, what
        rate = "" if lr is None else f" at learning rate {lr:.3g}"
        super().__init__(f"step {step} (epoch {epoch + 1}){rate}: {what}")


def fit(
    task: Trainable, plan: Plan, run: RunFolder, observers: Sequence[Observer] = ()
) -> Progress:
    """Train `task` in `run` until the plan ends, and return how far it came.

    Continues from the run's checkpoint `last` when there is one; on a CPU the weights are then,
    bit for bit, those of a training that was never stopped. Raises `Interrupted` on SIGINT or
    SIGTERM after saving, and `Diverged` when the loss is lost; the checkpoints are good then.
    """
    progress = _continued(task, run) if run.has("last") else Progress()
    log = _Log(task, plan, run, observers, progress)
    with Signals() as signals:
        for observer in observers:
            observer.started(progress)
        try:
            if not run.has("last"):
                log.save("last")  # so that there is always a state to go back to
            while not progress.finished:
                log.start_clock()
                for batch in task.batches(progress.epoch):
                    log.window.append(task.step(batch))
                    progress.step += 1
                    if len(log.window) >= plan.log_steps:
                        log.record_steps()
                    due = log.unsaved_seconds() >= plan.checkpoint_seconds
                    if due or signals.received:
                        log.record_steps()
                        log.save("last")
                        if signals.received:
                            raise Interrupted(signals.received, run)
                log.record_steps()
                log.record_evaluation(task.evaluate("val"))
                if log.due() or signals.received:
                    log.save("last")
                    if signals.received and not progress.finished:
                        raise Interrupted(signals.received, run)
        finally:
            for observer in observers:
                observer.ended(progress)
    return progress


def _continued(task: Trainable, run: RunFolder) -> Progress:
    """Bring `task` to the checkpoint `last`; UserError when its state is none of this task's."""
    progress, state = run.load("last")
    try:
        task.load_state(state)
    except (AttributeError, LookupError, OverflowError, RuntimeError, TypeError, ValueError) as e:
        raise UserError(
            f"the checkpoint 'last' of {run.path} does not fit its recipe "
            f"({type(e).__name__}: {brief(str(e))}): it was edited or written by another version "
            "of gradlab. Begin the training again"
        ) from e
    if not progress.finished:
        run.append({"event": "resume", "step": progress.step})
    return progress


class _Log:
    """What `fit` writes down: windows of steps, evaluations, checkpoints, and the time it took."""

    def __init__(
        self,
        task: Trainable,
        plan: Plan,
        run: RunFolder,
        observers: Sequence[Observer],
        progress: Progress,
    ) -> None:
        self.task, self.plan, self.run = task, plan, run
        self.observers, self.progress = observers, progress
        self.monitor = _monitor(plan)
        self.window: list[Scalars] = []
        self.before = progress.seconds
        self.began = self.window_began = self.saved = time.monotonic()

    def start_clock(self) -> None:
        """The steps that follow are timed from now."""
        self.window_began = time.monotonic()

    def unsaved_seconds(self) -> float:
        """Seconds since the checkpoint `last` was written."""
        return time.monotonic() - self.saved

    def due(self) -> bool:
        """Whether the end of an epoch is to be saved: epochs that follow each other fast share."""
        often = min(self.plan.checkpoint_seconds, _SHORT)
        return self.progress.finished or self.unsaved_seconds() >= often

    def elapsed(self) -> float:
        """Seconds of training, those of earlier processes included."""
        return self.before + time.monotonic() - self.began

    def record_steps(self) -> None:
        """Log the steps since the last line; the one place where the losses are waited for."""
        if not self.window:
            return
        progress, window = self.progress, self.window
        self.window = []
        line: dict[str, Any] = {
            "step": progress.step,
            "epoch": progress.epoch + 1,
            "split": "train",
            "steps": len(window),
        }
        for key in dict.fromkeys(key for scalars in window for key in scalars):
            having = [index for index, scalars in enumerate(window) if key in scalars]
            values = _numbers([window[index][key] for index in having])
            if key == "loss":
                self.check_losses(values, having, window)
            line[key] = sum(values) if key == "examples" else sum(values) / len(values)
        now = time.monotonic()
        progress.step_seconds += now - self.window_began
        progress.examples += int(line.get("examples", 0))
        line["seconds"] = round(self.elapsed(), 3)
        self.run.append(line)
        for observer in self.observers:
            observer.stepped(progress, line)
        self.start_clock()

    def check_losses(self, values: list[float], steps: list[int], window: list[Scalars]) -> None:
        """Stop on the first loss that is not finite, or on a mean that has grown too far."""
        progress = self.progress
        first = progress.step - len(window)
        for offset, value in zip(steps, values, strict=True):
            if not math.isfinite(value):
                lr = window[offset].get("lr")
                raise Diverged(first + offset, progress.epoch, lr, f"the loss is {value}")
        mean = sum(values) / len(values)
        if progress.first_loss is None:
            progress.first_loss = mean
        limit = progress.first_loss + (self.plan.divergence - 1) * abs(progress.first_loss)
        if mean > limit and mean > 1e-6:
            raise Diverged(
                progress.step - 1,
                progress.epoch,
                window[-1].get("lr"),
                f"the loss has grown to {mean:.4g}, from {progress.first_loss:.4g} at the start",
            )

    def record_evaluation(self, metrics: dict[str, float]) -> None:
        """Log an evaluation, keep the best epoch, decide whether this was the last.

        Where a task has no metrics, or the plan keeps the last epoch, every one is the best so far.
        """
        progress, plan, monitor = self.progress, self.plan, self.monitor
        better = improved = True
        line = {"step": progress.step, "epoch": progress.epoch + 1, "split": "val", **metrics}
        line["seconds"] = round(self.elapsed(), 3)
        if metrics:
            self.run.append(line)
            if monitor.name not in metrics:
                found = ", ".join(metrics)
                raise UserError(f"plan.monitor: no metric {monitor.name!r}; found {found}")
            value = metrics[monitor.name]
            improved = monitor.improves(value, progress.best)
            # Of equal epochs the later one is kept: it was trained at a smaller learning rate.
            better = improved or value == progress.best
            progress.best = value if better else progress.best
            better = better or (plan.keep == "last" and math.isfinite(value))
        for observer in self.observers:
            observer.evaluated(progress, line)
        progress.stale = 0 if improved else progress.stale + 1
        progress.best_epoch = progress.epoch if better else progress.best_epoch
        progress.epoch += 1
        if progress.epoch >= plan.epochs:
            progress.finished, progress.reason = True, "all epochs done"
        elif (
            plan.patience and progress.stale >= plan.patience and progress.epoch >= plan.min_epochs
        ):
            progress.finished = True
            progress.reason = f"no better {monitor.name} for {plan.patience} epochs"
        if progress.finished and progress.best_epoch < 0:
            what = f"the val {monitor.name} was never a finite number"
            raise Diverged(progress.step - 1, progress.epoch - 1, None, what)
        if better and (plan.keep == "best" or self.due()):
            # Before `last`: a kill between the two repeats this epoch and writes the same again.
            self.save("best")

    def save(self, which: Which) -> None:
        """Save a checkpoint, unless the weights are not finite: the last good one stays."""
        progress, state = self.progress, self.task.state()
        if which == "best":  # only ever read for its weights
            state = {"model": state["model"]}
        progress.seconds = self.elapsed()
        if not pack.all_finite(state["model"]):
            raise Diverged(progress.step - 1, progress.epoch, None, "weights are not finite")
        self.run.save(which, progress, state)
        if which == "last":
            self.saved = time.monotonic()
            self.start_clock()


def _monitor(plan: Plan) -> Measure:
    """The metric that chooses the best epoch, and the way it improves."""
    found = measure(plan.monitor or "loss")
    if plan.goal is not None:
        return replace(found, goal=plan.goal)
    if found.goal is None:
        raise UserError(
            f"plan.monitor: {found.name!r} is neither better when it is larger nor when it is "
            "smaller: choose another metric, or say which way with --plan.goal min or max"
        )
    return found


def _numbers(values: list[Any]) -> list[float]:
    if isinstance(values[0], torch.Tensor):
        return [float(value) for value in torch.stack(values).float().tolist()]
    return [float(value) for value in values]
