"""A run from Python: its model, its history, evaluation and prediction.

This is the one place that reads a dataset's test split after the training, and records that.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from torch import nn

from gradlab.config import Recipe, Runtime
from gradlab.data import Dataset, Schema
from gradlab.data.new import NewExamples, labelled, said_of, together
from gradlab.dotted import validate
from gradlab.engine import Record, RunFolder, seeded
from gradlab.errors import UserError
from gradlab.runs.kept import HELD, kept
from gradlab.runs.make import learnt_from, make
from gradlab.tasks.answers import Prediction, Predictions
from gradlab.tasks.base import Own, Task
from gradlab.tasks.evaluation import Evaluation, OnNew
from gradlab.text import printable

_NEW = "new data"


class Run:
    """What one training left behind. Its weights are those of the best epoch.

    `runtime` says on which device, in which precision and with how many threads it is used: that
    of the training where this machine has it, unless another is named.
    """

    def __init__(
        self,
        folder: RunFolder,
        model: nn.Module | Own | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.folder = folder
        self.path = folder.path
        self.asked = runtime or Runtime()
        self._own = Own(model) if isinstance(model, nn.Module) else model

    @cached_property
    def record(self) -> Record:
        """What recipe.json holds."""
        return self.folder.record

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, without any `auto`."""
        return validate(Recipe, self.record["recipe"], f"run {self.path}: recipe.json")

    @cached_property
    def schema(self) -> Schema:
        """What goes into the network, and what is asked for."""
        return validate(Schema, self.record["schema"], f"run {self.path}: recipe.json")

    @cached_property
    def trained_with(self) -> Runtime:
        """The runtime of the training."""
        return validate(Runtime, self.record["runtime"], f"run {self.path}: recipe.json")

    @property
    def runtime(self) -> Runtime:
        """The runtime asked for; what it leaves open is as in the training, if this machine has it.

        A run trained on a GPU so opens on a machine without one.
        """
        from gradlab.engine.runtime import device_of

        asked, before = self.asked, self.trained_with
        device = asked.device
        if device == "auto":
            try:
                device = str(device_of(before.device))
            except UserError:
                device = str(device_of("auto"))
        same = device.split(":")[0] == before.device.split(":")[0]
        precision = before.precision if asked.precision == "auto" and same else asked.precision
        threads = asked.threads or (before.threads if same else 0)
        return Runtime(device=device, precision=precision, threads=threads)

    @cached_property
    def dataset(self) -> Any:
        """What was learnt from, read again; UserError when it has changed since the training."""
        if self.recipe.data.name in HELD:
            found = kept(self.path, self.record, self.schema)
            if found is not None:
                return found
            raise UserError(
                f"{self.path} was trained on data held in Python ({self.recipe.data.name}), which "
                "are too large to be kept in the run: give them again, gradlab.load(path, data=...)"
                " or gradlab.resume(path, data=...); to predict no dataset is needed"
            )
        return self.same(learnt_from(self.recipe))

    def same(self, dataset: Any) -> Any:
        """`dataset`, if it is the one that was learnt from; else UserError."""
        expected = self.record["dataset"].get("fingerprint", "")
        if dataset.fingerprint != expected:
            raise UserError(
                f"dataset {self.recipe.data.name} has changed since this run was made "
                f"(fingerprint {dataset.fingerprint[:8]}, expected {expected[:8]}): put the files "
                "back as they were, or train a new run"
            )
        return dataset

    @cached_property
    def task(self) -> Task:
        """The task with the weights of the best epoch."""
        task = self.new_task(self.runtime)
        task.load_weights(self.folder.load("best")[1])
        return task

    def new_task(self, runtime: Runtime) -> Task:
        """The task as it was built, before any weights; torch's generators stay as they are."""
        self._check_code()
        with seeded(self.recipe.seed):
            return make(self.recipe, self.schema, runtime, self.brought)

    @property
    def model(self) -> nn.Module:
        """The network with the weights of the best epoch."""
        return self.task.model

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: windows of steps, evaluations, events."""
        return self.folder.lines()

    @property
    def end(self) -> dict[str, Any]:
        """The line that ends a finished training; empty before, and while it is trained longer."""
        events = [line for line in self.history if line.get("event") in ("end", "longer")]
        return events[-1] if events and events[-1]["event"] == "end" else {}

    @property
    def finished(self) -> bool:
        """Whether the training has ended and its final metrics are recorded."""
        return bool(self.end)

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """The final metrics of each split, as recorded at the end of the training.

        Of one that was made longer those of its new end; the earlier ones stay in the history.
        """
        found: dict[str, dict[str, float]] = {}
        for line in self.history:
            if line.get("event") == "longer":
                found = {}
            elif line.get("final"):
                found[line["split"]] = line["metrics"]
        return found

    @property
    def baselines(self) -> dict[str, dict[str, dict[str, float]]]:
        """What guessing and a simple model reach: by split, then baseline, then metric."""
        found: dict[str, dict[str, dict[str, float]]] = self.end.get("baselines", {})
        return found

    @property
    def summary(self) -> dict[str, Any]:
        """The training in one JSON object: what `train --json` prints."""
        end = self.end
        return {
            "run": str(self.path),
            "recipe": self.recipe.name,
            "data": self.record["dataset"].get("name", ""),
            "seed": self.recipe.seed,
            "metrics": self.metrics,
            "baselines": self.baselines,
            "left_out": self.record["dataset"].get("left_out", {}),
            "verdict": end.get("verdict", []),
            "decision": end.get("decision", {}),
            "notes": end.get("notes", []),
            "seconds": end.get("seconds"),
            "examples_per_second": end.get("examples_per_second"),
            "best_epoch": end.get("best_epoch"),
        }

    def details_on(self, data: Any) -> Evaluation:
        """The evaluation of data that this run has never seen, with the run's own fields.

        `data`: a table (a path, a data frame of polars or pandas) with the column that was the
        target, a folder or archive of class folders, or arrays x and y (.npz, or a pair). Nothing
        is learnt from it, and no split of the run is read but train, which the baselines learn
        from. What cannot be read, lacks its target or is of an unknown class is left out; the part
        `OnNew` says so.
        """
        if "dataset" not in self.task.serves:
            raise UserError(
                f"{self.path}: the task {self.recipe.task.name!r} learns from no examples, so it "
                "cannot be evaluated on some: leave --data out"
            )
        found = labelled(data, self.schema)
        splits: Any = {_NEW: found.split}
        notes = list(found.notes)
        try:
            splits["train"] = self.dataset.split("train")
        except UserError as error:
            notes.append(f"no baselines: {error}")
        task = self.task.on(Dataset(str(data), self.schema, splits, ""))
        with task.setup.applied():
            evaluation = task.details(_NEW)
            guessed = task.baselines([_NEW]) if "train" in splits else {}
        left_out = tuple((one.name, one.reason) for one in found.skipped)
        part = OnNew(len(found.split), left_out, tuple(notes))
        return replace(
            evaluation,
            parts=(*evaluation.parts, part),
            baselines=guessed.get(_NEW, {}),
        )

    def details(self, split: str = "test") -> Evaluation:
        """The evaluation of a split with its findings; reading test is recorded in the run."""
        if self.task.dataset is None:
            self.task.dataset = self.dataset
        with self.task.setup.applied():
            found = self.task.details(split)
        if split == "test":
            self.note_reading("eval", found.metrics)
        return found

    def note_reading(self, by: str, metrics: dict[str, float] | None = None) -> None:
        """Record that the test split was read; where that cannot be written, say so and go on."""
        line = {"event": "test read", "by": by}
        try:
            self.folder.append(line if metrics is None else {**line, "metrics": metrics})
        except UserError:
            note = f"note: {self.path} cannot be written: it does not record that test was read"
            print(printable(note), file=sys.stderr)

    def evaluate(self, split: str = "test", data: Any = None) -> dict[str, float]:
        """Metrics on a split, or on `data` of one's own (see `details_on`).

        Reading test is recorded in the run; new data are no split of it.
        """
        return (self.details(split) if data is None else self.details_on(data)).metrics

    def read(self, inputs: Sequence[Any] | Any) -> NewExamples:
        """New inputs as columns of the schema's inputs; what cannot be read is skipped.

        Inputs without a name are numbered, from 1. For a network of several inputs each one is a
        dictionary by field name. UserError for what is no such input at all, `NothingRead` where
        all of them were skipped.
        """
        items: list[Any] = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        several = len(self.schema.inputs) > 1
        if several and isinstance(inputs, tuple) and not isinstance(inputs[0], dict):
            items = [dict(zip(self.schema.inputs, inputs, strict=False))]
        found = {
            name: field.read([_part(item, name) for item in items] if several else items)
            for name, field in self.schema.inputs.items()
        }
        read = together(found)
        return replace(read, tables=()) if several else read

    def predict(self, inputs: Sequence[Any] | Any, *, warn: bool = True) -> Predictions:
        """Answers for images (paths, folders, arrays, PIL), or rows (a CSV path, dicts, a data
        frame of polars or pandas).

        An input that cannot be read is skipped: `skipped` of what is returned names it, and a
        warning of Python's does, unless `warn` is off. Errors as of `read`.
        """
        given = self.read(inputs)
        if given.skipped and warn:
            warnings.warn("\n".join(said_of(given.skipped)), stacklevel=2)
        with self.task.setup.applied():
            answers = self.task.predict(given.split)
        found = [Prediction(*pair) for pair in zip(given.split.ids, answers, strict=True)]
        return Predictions(found, given.skipped, given.notes, given.tables)

    def _check_code(self) -> None:
        """UserError for a network in a file that came with the run.

        A run may come from anywhere, and no code of its folder is ever executed.
        """
        name = self.recipe.model.name
        if ".py:" not in name:
            return
        file = Path(name.rpartition(":")[0])
        if not file.is_absolute() or self.path.resolve() in file.resolve().parents:
            raise UserError(
                f"run {self.path}: its network is made by the file {file}, which lies in the run "
                "itself: code that comes with a run is never executed"
            )

    @property
    def brought(self) -> Own | None:
        """The network that a person has given; UserError when it is wanted and was not."""
        if self.recipe.model.name == "own" and self._own is None:
            raise UserError(
                f"{self.path} was trained from Python with a network of your own: "
                "gradlab.load(path, model=your_network)"
            )
        return self._own

    def _repr_html_(self) -> str:
        """The report, as a notebook shows it."""
        page = self.path / "report.html"
        if not page.is_file():
            return f"<code>{escape(repr(self))}</code>"
        text = escape(page.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{text}" width="100%" height="700"></iframe>'

    @property
    def has_report(self) -> bool:
        """Whether its page has been written."""
        return (self.path / "report.html").is_file()

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


def open_run(
    path: str | os.PathLike[str],
    model: nn.Module | Own | None = None,
    runtime: Runtime | None = None,
) -> Run:
    """The run in a folder; UserError when there is none."""
    return Run(RunFolder.open(Path(path)), model, runtime)


def _part(item: Any, name: str) -> Any:
    """An input's part by its name; UserError where it has none."""
    if not isinstance(item, dict) or name not in item:
        found = ", ".join(map(str, item)) if isinstance(item, dict) else f"a {type(item).__name__}"
        raise UserError(
            f"the network has several inputs: expected a dictionary with {name!r} (or a tuple of "
            f"all in order), found {found}"
        )
    return item[name]
