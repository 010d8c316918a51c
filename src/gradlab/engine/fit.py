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
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch

from gradlab.config import Plan
from gradlab.engine import pack
from gradlab.engine.run import RunFolder
from gradlab.engine.signals import Signals
from gradlab.errors import UserError

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


@dataclass
class Progress:
    """How far a training is; saved with each checkpoint."""

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = -1
    stale: int = 0
    first_loss: float | None = None
    examples: int = 0
    step_seconds: float = 0.0
    seconds: float = 0.0
    finished: bool = False
    reason: str = ""


class Observer:
    """Watches the engine: may log, draw or stop; never touches a gradient."""

    def started(self, progress: Progress) -> None:
        """Before the first step of this process."""

    def stepped(self, progress: Progress, line: dict[str, Any]) -> None:
        """After each `log_steps` steps, with the line that was logged."""

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
    progress = Progress()
    if run.has("last"):
        saved, state = run.load("last")
        progress = Progress(**saved)
        task.load_state(state)
        if not progress.finished:
            run.append({"event": "resume", "step": progress.step})
    with Signals() as signals:
        loop = _Loop(task, plan, run, observers, progress, signals)
        for observer in observers:
            observer.started(progress)
        try:
            if not run.has("last"):
                loop.save("last")  # so that there is always a state to go back to
            while not progress.finished:
                loop.epoch()
        finally:
            for observer in observers:
                observer.ended(progress)
    return progress


class _Loop:
    """One process's part of a training."""

    def __init__(
        self,
        task: Trainable,
        plan: Plan,
        run: RunFolder,
        observers: Sequence[Observer],
        progress: Progress,
        signals: Signals,
    ) -> None:
        self.task, self.plan, self.run = task, plan, run
        self.observers, self.progress, self.signals = observers, progress, signals
        self.window: list[Scalars] = []
        self.before = progress.seconds
        self.began = self.window_began = self.saved = time.monotonic()

    def epoch(self) -> None:
        """One epoch, or what is left of it."""
        progress, plan, signals = self.progress, self.plan, self.signals
        self.window_began = time.monotonic()
        for batch in self.task.batches(progress.epoch):
            self.window.append(self.task.step(batch))
            progress.step += 1
            due = time.monotonic() - self.saved >= plan.checkpoint_seconds
            if len(self.window) >= plan.log_steps or due or signals.received:
                self.close_window()
                if due or signals.received:
                    self.save_last()
        self.close_window()
        self.judge(self.task.evaluate("val"))
        since = time.monotonic() - self.saved
        if since >= min(plan.checkpoint_seconds, _SHORT) or progress.finished or signals.received:
            self.save_last()

    def close_window(self) -> None:
        """Log the steps since the last line; the one place where the losses are waited for."""
        if not self.window:
            return
        progress, window = self.progress, self.window
        self.window = []
        line: dict[str, Any] = {
            "step": progress.step,
            "epoch": progress.epoch,
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
        self.window_began = time.monotonic()

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

    def judge(self, metrics: dict[str, float]) -> None:
        """Log an evaluation, keep the best epoch, decide whether this was the last.

        Where a task has no metrics every epoch is the best so far.
        """
        progress, plan = self.progress, self.plan
        better = improved = True
        line = {"step": progress.step, "epoch": progress.epoch, "split": "val", **metrics}
        line["seconds"] = round(self.elapsed(), 3)
        if metrics:
            self.run.append(line)
            name = plan.monitor or "loss"
            if name not in metrics:
                raise UserError(f"plan.monitor: no metric {name!r}; found {', '.join(metrics)}")
            value = metrics[name]
            best = progress.best
            improved = best is None or (value > best if plan.goal == "max" else value < best)
            # Of equal epochs the later one is kept: it was trained at a smaller learning rate.
            better = improved or value == best
            progress.best = value if better else best
        for observer in self.observers:
            observer.evaluated(progress, line)
        progress.stale = 0 if improved else progress.stale + 1
        progress.best_epoch = progress.epoch if better else progress.best_epoch
        progress.epoch += 1
        if progress.epoch >= plan.epochs:
            progress.finished, progress.reason = True, "all epochs done"
        elif plan.patience and progress.stale >= plan.patience:
            progress.finished = True
            progress.reason = f"no better {plan.monitor or 'loss'} for {plan.patience} epochs"
        if better:
            # Before `last`: a kill between the two repeats this epoch and writes the same again.
            self.save("best")

    def save_last(self) -> None:
        """Save the checkpoint `last`; leave if a signal asked for it."""
        self.save("last")
        self.saved = self.window_began = time.monotonic()
        if self.signals.received and not self.progress.finished:
            raise Interrupted(self.signals.received, self.run)

    def save(self, which: Any) -> None:
        """Save a checkpoint, unless the weights are not finite: the last good one stays."""
        progress, state = self.progress, self.task.state()
        if which == "best":  # only ever read for its weights
            state = {"model": state["model"]}
        progress.seconds = self.elapsed()
        if not pack.all_finite(state["model"]):
            raise Diverged(progress.step - 1, progress.epoch, None, "weights are not finite")
        self.run.save(which, asdict(progress), state)

    def elapsed(self) -> float:
        """Seconds of training, those of earlier processes included."""
        return self.before + time.monotonic() - self.began


def _numbers(values: list[Any]) -> list[float]:
    if isinstance(values[0], torch.Tensor):
        return [float(value) for value in torch.stack(values).float().tolist()]
    return [float(value) for value in values]
