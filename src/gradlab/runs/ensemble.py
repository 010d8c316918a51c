"""Ensembles: several runs whose answers are averaged, used like one run.

    runs/NAME/
      ensemble.json      the recipe, and where the members are
      metrics.jsonl      what the ensemble itself reached
      member-0/ ...      ordinary runs, of seeds that follow each other

Hansen and Salamon (1990), "Neural network ensembles"; Lakshminarayanan, Pritzel and Blundell
(2017), "Simple and scalable predictive uncertainty estimation using deep ensembles".
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gradlab import files
from gradlab.config import Recipe, validate
from gradlab.data import Dataset
from gradlab.engine import Interrupted, Observer, Record, RunFolder
from gradlab.engine.record import DatasetRecord
from gradlab.errors import UserError
from gradlab.recipes import find
from gradlab.recipes.run import Run, make
from gradlab.recipes.training import is_finished, resume, train
from gradlab.tasks.base import Details, Own, Task
from gradlab.tasks.binary import Binary
from gradlab.tasks.classification import Classification
from gradlab.tasks.regression import Regression

FORMAT = 1
FILE = "ensemble.json"
FALLING = ("loss", "mse", "mae")
"""Metrics of which less is better."""


class Averaged(nn.Module):
    """Networks side by side: the answer of its output is the mean of their answers."""

    def __init__(
        self, members: Sequence[nn.Module], pooled: Callable[[Sequence[Tensor]], Tensor]
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        """x: as each member takes it; returns outputs as each member gives them."""
        return self.pooled([member(x) for member in self.members])


@dataclass(frozen=True)
class Gain:
    """One metric of an ensemble beside those of its members; a gain above 0 is an improvement."""

    metric: str
    ensemble: float
    members: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the members."""
        return statistics.fmean(self.members)

    @property
    def best(self) -> float:
        """Of the members."""
        return min(self.members) if self.metric in FALLING else max(self.members)

    @property
    def over_mean(self) -> float:
        """What the ensemble gains over the mean of its members."""
        return self._better_by(self.mean)

    @property
    def over_best(self) -> float:
        """What it gains over the best of them, which one would have to know beforehand."""
        return self._better_by(self.best)

    def _better_by(self, value: float) -> float:
        return value - self.ensemble if self.metric in FALLING else self.ensemble - value

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "metric": self.metric,
            "ensemble": self.ensemble,
            "members": list(self.members),
            "mean": self.mean,
            "best": self.best,
            "over_mean": self.over_mean,
            "over_best": self.over_best,
        }

    def cells(self) -> tuple[str, ...]:
        """A row for a screen, under `HEADER`."""
        plain = (self.mean, self.best, self.ensemble)
        gained = (self.over_mean, self.over_best)
        return (self.metric, *(f"{v:.4f}" for v in plain), *(f"{v:+.4f}" for v in gained))


# fmt: off
HEADER = (
    "metric", "mean of members", "best member", "ensemble", "gain over mean", "gain over best",
)
# fmt: on


class Ensemble(Run):
    """Several runs as one: evaluated, predicted with and loaded like any run.

    Its probabilities are the mean of the members' probabilities; a number is the mean of theirs.
    UserError when a member is not trained to its end, or was trained for another question or on
    another dataset.
    """

    def __init__(
        self, members: Sequence[Run | str | os.PathLike[str]], path: Path | None = None
    ) -> None:
        self.paths = [m.path if isinstance(m, Run) else Path(m) for m in members]
        self._given = members
        # Without a folder of its own it is called by its members.
        super().__init__(RunFolder(path or Path(" + ".join(map(str, self.paths)))))
        self._details: dict[str, Details] = {}

    @classmethod
    def of(cls, members: Sequence[Run | str | os.PathLike[str]]) -> Ensemble:
        """The ensemble of runs that are there already; `save` keeps it."""
        ensemble = cls(members)
        for path in ensemble.paths:
            if is_ensemble(path):
                raise UserError(f"{path} is an ensemble itself: give the runs in it")
        _ = ensemble.members  # so that a mistake is said here
        return ensemble

    @cached_property
    def members(self) -> tuple[Run, ...]:
        """The runs, trained to their end and all for the same question."""
        opened = []
        for given, path in zip(self._given, self.paths, strict=True):
            saved = (self.path / FILE).is_file()
            if saved and not (path / "recipe.json").is_file():
                raise self._unfinished(path, self.path)
            run = given if isinstance(given, Run) else Run(RunFolder.open(path))
            if not is_finished(run):
                raise self._unfinished(path, self.path if saved else path)
            opened.append(run)
        _check_alike(opened)
        return tuple(opened)

    def _unfinished(self, member: Path, whole: Path) -> UserError:
        return UserError(
            f"the member {member} is not trained to its end: continue with 'gradlab resume {whole}'"
        )

    @cached_property
    def record(self) -> Record:
        """That of the first member: all are of one task and dataset."""
        return self.members[0].record

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset of all members."""
        dataset = self.members[0].dataset
        for member in self.members[1:]:
            member.dataset = dataset
        return dataset

    @cached_property
    def task(self) -> Task:
        """The members' task, with a network that averages their answers."""
        tasks = [member.task for member in self.members]
        first = tasks[0]
        if not isinstance(first, Classification | Binary | Regression):
            raise UserError(f"an ensemble needs answers to average; {self.paths[0]} gives none")
        network = Averaged([task.model for task in tasks], first.pooled)
        return make(self.recipe, self.schema, Own(network))

    def training_task(self) -> Task:
        """UserError: the members are trained one by one."""
        raise UserError(f"{self.path} is an ensemble: its members are trained one by one")

    def details(self, split: str = "test") -> Details:
        """The evaluation of a split, example by example; a reading of test is recorded."""
        if split not in self._details:
            self._details[split] = self._judge(split)
            for member in self.members if split == "test" else ():
                metrics = self._details[split].metrics
                member.folder.append({"event": "test read", "by": "ensemble", "metrics": metrics})
        return self._details[split]

    def _judge(self, split: str) -> Details:
        self.task.dataset = self.dataset
        return self.task.details(split)

    def gain(self, split: str = "test") -> tuple[Gain, ...]:
        """Each metric of a split, beside those of the members.

        What was recorded at the end of the training is taken; the rest is evaluated now.
        """
        metrics = self.metrics.get(split) or self.evaluate(split)
        others = [run.metrics.get(split) or run.evaluate(split) for run in self.members]
        return tuple(
            Gain(name, value, tuple(other[name] for other in others))
            for name, value in metrics.items()
            if all(name in other for other in others)
        )

    @property
    def summary(self) -> dict[str, Any]:
        """The training in one JSON object: what `train --ensemble --json` prints."""
        gains = {split: self.gain(split) for split in self.metrics}
        return {
            **super().summary,
            "members": [str(path) for path in self.paths],
            "gain": {split: [g.to_dict() for g in found] for split, found in gains.items()},
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `ensemble.json` into a new folder, with the members where they are."""
        folder = _new_folder(Path(path).parent, Path(path).name, "")
        places = [os.path.relpath(member, folder) for member in self.paths]
        files.write_json(
            folder / FILE, {"format": FORMAT, "members": [Path(p).as_posix() for p in places]}
        )
        RunFolder(folder).append({"event": "end", "step": 0})

    def __repr__(self) -> str:
        return f"Ensemble({str(self.path)!r}, {len(self.paths)} members)"


def is_ensemble(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds an ensemble."""
    return (Path(path) / FILE).is_file()


def load_ensemble(path: str | os.PathLike[str]) -> Ensemble:
    """The ensemble in a folder; its members are opened when they are needed."""
    return Ensemble([Path(path) / member for member in _read(Path(path))["members"]], Path(path))


def train_ensemble(recipe: str | Recipe, count: int = 5, **options: Any) -> Ensemble:
    """Train `count` members, of the recipe's seed and those that follow, and return the ensemble.

    Options are those of `gradlab.train`. The folder is `out/name`; `resume_ensemble` continues one
    that was stopped.
    """
    if count < 2:
        raise UserError(f"an ensemble has at least 2 members, found {count}")
    out, name = Path(options.pop("out", None) or "runs"), options.pop("name", None)
    manner = {key: options.pop(key) for key in ("progress", "log", "observers") if key in options}
    test = options.pop("test", True)
    chosen = find(recipe, {key: value for key, value in options.items() if value is not None})
    folder = _new_folder(out, name, f"{chosen.name}-{Path(chosen.data.name).stem}-ensemble")
    record = {
        "format": FORMAT,
        "recipe": chosen.model_dump(mode="json"),
        "test": test,
        "members": [f"member-{index}" for index in range(count)],
    }
    files.write_json(folder / FILE, record)
    try:
        return resume_ensemble(folder, **manner)
    except UserError:
        if not any(folder.glob("*/recipe.json")):
            shutil.rmtree(folder)  # nothing has begun: the recipe or the data were refused
        raise


def resume_ensemble(
    path: str | os.PathLike[str],
    *,
    test: bool = True,
    progress: bool = True,
    log: Sequence[str] = (),
    observers: Sequence[Observer] = (),
) -> Ensemble:
    """Train the members that are missing or were stopped, then evaluate the whole.

    Members that are finished stay as they are. The options are those of `gradlab.resume`.
    """
    ensemble = load_ensemble(path)
    if is_finished(ensemble):
        return ensemble
    record = _read(ensemble.path)
    test = test and record["test"]
    with ensemble.folder.locked():
        for index, member in enumerate(ensemble.paths):
            if progress:
                print(f"member {index + 1} of {len(ensemble.paths)}", file=sys.stderr)
            try:
                if (member / "recipe.json").is_file():
                    resume(member, test=test, progress=progress, log=log, observers=observers)
                    continue
                shutil.rmtree(member, ignore_errors=True)  # it was stopped before it began
                recipe = _recipe(ensemble, record)
                train(
                    recipe,
                    seed=recipe.seed + index,
                    out=member.parent,
                    name=member.name,
                    test=test,
                    progress=progress,
                    log=log,
                    observers=observers,
                )
            except Interrupted as stopped:
                raise Interrupted(stopped.signal, ensemble.folder) from None
        _conclude(ensemble, test)
    return ensemble


def _recipe(ensemble: Ensemble, record: dict[str, Any]) -> Recipe:
    """The recipe of the first member, without any `auto`; before it has begun, the one given."""
    first = ensemble.paths[0]
    if (first / "recipe.json").is_file():
        return Run(RunFolder.open(first)).recipe
    return validate(Recipe, record["recipe"], str(ensemble.path / FILE))


def _conclude(ensemble: Ensemble, test: bool) -> None:
    """Evaluate the ensemble once, and record it."""
    for split in ("val", "test") if test else ("val",):
        if split in ensemble.dataset.splits:
            metrics = ensemble._judge(split).metrics
            ensemble.folder.append({"split": split, "final": True, "metrics": metrics})
    ends = [member.summary for member in ensemble.members]
    rates = [end["examples_per_second"] for end in ends if end["examples_per_second"]]
    ensemble.folder.append(
        {
            "event": "end",
            "seconds": round(sum(end["seconds"] for end in ends), 3),
            "examples_per_second": round(statistics.fmean(rates), 1) if rates else None,
        }
    )


def _check_alike(members: Sequence[Run]) -> None:
    """UserError says in what the first two members that do not go together differ."""
    if len(members) < 2:
        raise UserError(f"an ensemble has at least 2 members, found {len(members)}")
    first = members[0]
    for other in members[1:]:
        pairs = (
            ("classes", *(", ".join(run.schema.classes) for run in (first, other))),
            ("target", first.schema.target, other.schema.target),
            ("task", first.recipe.task.name, other.recipe.task.name),
            ("dataset", *(_named(run.record["dataset"]) for run in (first, other))),
        )
        for what, mine, theirs in pairs:
            if mine != theirs:
                raise UserError(
                    f"these runs make no ensemble, their {what} differs: {first.path} has "
                    f"{mine}, {other.path} has {theirs}"
                )


def _named(dataset: DatasetRecord) -> str:
    return f"{dataset['name']} (fingerprint {dataset['fingerprint']})"


def _read(path: Path) -> dict[str, Any]:
    """What ensemble.json holds."""
    where = f"ensemble {path}"
    record = files.read_json(path / FILE, where)
    found = record.get("format") if isinstance(record, dict) else None
    members = record.get("members") if isinstance(record, dict) else None
    if found != FORMAT or not isinstance(members, list) or len(members) < 2:
        raise UserError(
            f"{path / FILE}: expected an ensemble of format {FORMAT} with its members, found "
            f"format {found!r}; it was edited or written by another version of gradlab"
        )
    return dict(record)


def _new_folder(out: Path, name: str | None, stem: str) -> Path:
    """A new folder under `out`, called `name` or the first free `stem-N`."""
    number = 1
    while name is None and (out / f"{stem}-{number}").exists():
        number += 1
    path = out / (name or f"{stem}-{number}")
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise UserError(
            f"there is a folder {path} already: resume it (gradlab resume {path}), remove it, or "
            "choose another --name"
        ) from None
    except OSError as error:
        raise files.write_error(path, error) from None
    return path
