"""Live progress on the terminal's error stream, or in a notebook."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from gradlab.engine.fit import Observer
from gradlab.engine.record import Progress, Record
from gradlab.measures import measure
from gradlab.text import printable
from gradlab.wording import counted


class Console(Observer):
    """A bar that moves with the steps, and a line for each epoch.

    `record`: what the run's recipe.json holds. `epochs`: those that will run, at most; `steps`: of
    an epoch. Where there is no terminal only the lines are written.
    """

    def __init__(self, record: Record, epochs: int, steps: int) -> None:
        self.record, self.epochs, self.steps = record, epochs, steps
        self.last: dict[str, Any] = {}
        self.losses: list[tuple[float, int]] = []
        """Of the epoch: mean losses, each of so many steps."""
        self.began, self.first, self.is_told = 0.0, 0, False
        self.console = RichConsole(stderr=True)
        self.bars = Bars(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.bar: TaskID | None = None

    def started(self, progress: Progress) -> None:
        """Say what is trained on what, and where."""
        dataset, runtime = self.record["dataset"], self.record["runtime"]
        counts = ", ".join(f"{name} {count:,}" for name, count in dataset["counts"].items())
        size = f" ({counts})" if counts else ""
        name = self.record["recipe"]["name"]
        self.say(f"{name} on {dataset['name']}{size}, seed {self.record['seed']}")
        threads = counted(runtime["threads"], "thread")
        self.say(f"device {runtime['device']}, {runtime['precision']}, {threads}")
        epochs, steps = counted(self.epochs, "epoch"), counted(self.steps, "step")
        patience = self.record["recipe"].get("plan", {}).get("patience")
        self.say(f"{'up to ' if patience else ''}{epochs} of {steps}")
        for note in self.record["notes"]:
            self.say(f"note: {note}")
        if progress.step:
            self.say(f"continued at step {progress.step} (epoch {progress.epoch + 1})")
        self.bar = self.bars.add_task(
            "",
            total=self.epochs * self.steps,
            completed=progress.step,
            epoch=progress.epoch + 1,
            epochs=self.epochs,
            said="",
        )
        self.bars.start()
        self.began, self.first = time.monotonic(), progress.step

    def stepped(self, progress: Progress, line: dict[str, Any]) -> None:
        """Move the bar; after the first seconds, say how long it will take."""
        self.last = line
        if "loss" in line:
            self.losses.append((line["loss"], line.get("steps", 1)))
        self._estimate(progress)
        rate = progress.examples / max(progress.step_seconds, 1e-9)
        said = f"loss {line['loss']:.4f}  " if "loss" in line else ""
        if self.bar is not None:
            self.bars.update(
                self.bar,
                completed=progress.step,
                epoch=progress.epoch + 1,
                said=f"{said}{rate:,.0f}/s",
            )

    def evaluated(self, progress: Progress, line: dict[str, Any]) -> None:
        """A line for the epoch; of many epochs every so many."""
        losses, self.losses = self.losses, []
        if progress.epoch % max(self.epochs // 20, 1) and progress.epoch + 1 < self.epochs:
            return
        shown = line if set(line) - _PLAIN else {**self.last, **line, "split": "train"}
        monitor = self.record["recipe"].get("plan", {}).get("monitor") or "loss"
        names = [name for name in shown if name not in _PLAIN]
        kept = {"loss", "accuracy", monitor} if len(names) > _FIGURES else set(names)
        figures = "  ".join(
            f"{name} {measure(name).text(shown[name])}" for name in names if name in kept
        )
        epoch = f"epoch {line['epoch']:>3}/{self.epochs}"
        count = sum(steps for _, steps in losses)
        if shown is line and count:
            mean = sum(loss * steps for loss, steps in losses) / count
            epoch += f"  train loss {measure('loss').text(mean)}"
        self.say(f"{epoch}  {shown['split']} {figures}  {line['seconds']:.1f} s")

    def _estimate(self, progress: Progress) -> None:
        """Say once how long it will take, where that is minutes."""
        seconds, done = time.monotonic() - self.began, progress.step - self.first
        if self.is_told or seconds < _LOOKED or not done:
            return
        self.is_told = True
        minutes = seconds / done * (self.epochs * self.steps - progress.step) / 60
        if minutes >= 1:
            self.say(f"about {counted(round(minutes), 'minute')} more for all {self.epochs} epochs")

    def ended(self, progress: Progress) -> None:
        """Take the bar away."""
        self.bars.stop()
        if progress.finished and progress.epoch < self.epochs:
            self.say(f"stopped early: {progress.reason}")

    def say(self, text: str) -> None:
        """One plain line: names from a person's data are read neither as markup nor as commands."""
        # One line stays one line: in a pipe it is not torn at 80 columns.
        self.bars.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


_LOOKED = 5.0
"""Seconds after which it is said how long a training will take."""
_FIGURES = 4
"""Of more metrics the usual ones and the one that decides are written: a line is 80 letters."""
_PLAIN = {"step", "epoch", "split", "seconds", "steps", "examples", "lr"}  # no figures
