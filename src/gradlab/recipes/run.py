"""A run from Python: its model, its history, evaluation and prediction."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from gradlab.config import Recipe, validate
from gradlab.data import Dataset, Schema
from gradlab.data.inputs import read_noted
from gradlab.engine import Record, RunFolder
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.base import Details, Own, Prediction, Task


def learnt_from(recipe: Recipe) -> Dataset:
    """What a recipe's task learns from: its dataset, as a rule."""
    name = recipe.task.name
    return (Task if name == "auto" else tasks[name]).source(recipe)


def make(recipe: Recipe, source: Dataset | Schema, own: Own | None = None) -> Task:
    """The task of a recipe on a dataset (or on its schema alone, to predict)."""
    name = recipe.task.name
    if name == "auto":
        schema = source.schema if isinstance(source, Dataset) else source
        name = "regression" if schema.target == "number" else "classification"
        recipe = recipe.model_copy(update={"task": recipe.task.model_copy(update={"name": name})})
    options = tasks.check(name, recipe.task.options)
    return tasks[name](recipe, source, own, **options)


def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> Run:
    """The run or ensemble in a folder. `model` is one's own network, if `gradlab.fit` made it."""
    if (Path(path) / "ensemble.json").is_file():
        from gradlab.recipes.ensemble import load_ensemble

        return load_ensemble(path)
    return Run(RunFolder.open(Path(path)), model)


class Run:
    """What one training left behind. Its weights are those of the best epoch."""

    def __init__(self, folder: RunFolder, model: nn.Module | None = None) -> None:
        self.folder = folder
        self.path = folder.path
        self._own = None if model is None else Own(model)

    @cached_property
    def record(self) -> Record:
        """What recipe.json holds."""
        return self.folder.record

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, without any `auto`."""
        where = f"run {self.path}: recipe.json"
        if "recipe" not in self.record or "schema" not in self.record:
            raise UserError(f"{where}: expected a recipe and a schema; it was edited or cut short")
        return validate(Recipe, self.record["recipe"], where)

    @cached_property
    def schema(self) -> Schema:
        """What the inputs and outputs are."""
        return validate(Schema, self.record["schema"], f"run {self.path}: recipe.json")

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset, read again; UserError when it has changed since the training."""
        dataset = learnt_from(self.recipe)
        expected = self.record["dataset"]["fingerprint"]
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
        task = make(self.recipe, self.schema, self._brought())
        task.load_weights(self.folder.load("best")[1])
        return task

    @property
    def model(self) -> nn.Module:
        """The network with the weights of the best epoch."""
        return self.task.model

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: windows of steps, evaluations, events."""
        return self.folder.lines()

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """The final metrics of each split, as recorded at the end of the training."""
        return {line["split"]: line["metrics"] for line in self.history if line.get("final")}

    @property
    def summary(self) -> dict[str, Any]:
        """The training in one JSON object: what `train --json` prints."""
        end = next((line for line in self.history if line.get("event") == "end"), {})
        return {
            "run": str(self.path),
            "recipe": self.recipe.name,
            "data": self.record["dataset"]["name"],
            "seed": self.recipe.seed,
            "metrics": self.metrics,
            "seconds": end.get("seconds"),
            "examples_per_second": end.get("examples_per_second"),
            "best_epoch": end.get("best_epoch"),
        }

    def training_task(self) -> Task:
        """The task on its dataset, before any weights are loaded."""
        return make(self.recipe, self.dataset, self._brought())

    def details(self, split: str = "test") -> Details:
        """The evaluation of a split, example by example; reading test is recorded in the run."""
        if self.task.dataset is None:
            self.task.dataset = self.dataset
        found = self.task.details(split)
        if split == "test":
            self.folder.append({"event": "test read", "by": "eval", "metrics": found.metrics})
        return found

    def evaluate(self, split: str = "test") -> dict[str, float]:
        """Metrics on a split; reading test is recorded in the run."""
        return self.details(split).metrics

    def predict(self, inputs: Sequence[Any] | Any) -> list[Prediction]:
        """Answers for images (paths, folders, arrays, PIL), or rows (a CSV path, dicts)."""
        return self.predict_noted(inputs)[0]

    def predict_noted(
        self, inputs: Sequence[Any] | Any
    ) -> tuple[list[Prediction], tuple[str, ...]]:
        """As `predict`, and notes on what was converted to what the network was trained on."""
        many = isinstance(inputs, list | tuple)
        x, names, notes = read_noted(self.schema, inputs if many else [inputs])
        return self.task.predict(np.ascontiguousarray(x), names), notes

    def _brought(self) -> Own | None:
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

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"
