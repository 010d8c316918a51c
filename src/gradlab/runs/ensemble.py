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
import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from torch import Tensor, nn

from gradlab import files
from gradlab.config import Config, Recipe, Runtime
from gradlab.data import Schema
from gradlab.dotted import validate
from gradlab.engine import Record, RunFolder, seeded
from gradlab.errors import UserError
from gradlab.measures import measure
from gradlab.runs.make import make
from gradlab.runs.run import Run, open_run
from gradlab.tasks.base import Own, Task
from gradlab.tasks.evaluation import Evaluation
from gradlab.tasks.supervised import Supervised
from gradlab.text import brief

FORMAT: Final = 2
FILE = "ensemble.json"
MEMBER = re.compile(r"member-[0-9]{1,6}")
"""The folder of a member that was trained as one: it lies in that of the ensemble."""


class EnsembleRecord(Config):
    """What ensemble.json holds."""

    format: Literal[2] = FORMAT
    members: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        min_length=2, description="their folders, seen from the ensemble's"
    )
    recipe: Recipe | None = Field(None, description="of the members (None: they were there before)")
    runtime: Runtime = Field(Runtime(), description="what the members are trained with")
    test: bool = Field(True, description="whether the test split is read at the end")
    decision: dict[str, Any] = Field({}, description="what was chosen on val for the whole")


class Averaged(nn.Module):
    """Networks side by side: the answer of its output is the mean of their answers."""

    def __init__(
        self, members: Sequence[nn.Module], pooled: Callable[[Sequence[Tensor]], Tensor]
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.pooled = pooled

    def forward(self, *inputs: Tensor) -> Tensor:
        """inputs: as each member takes them; returns outputs as each member gives them."""
        return self.pooled([member(*inputs) for member in self.members])


@dataclass(frozen=True)
class Gain:
    """One metric of an ensemble beside those of its members; a gain above 0 is an improvement."""

    metric: str
    ensemble: float
    members: tuple[float, ...]

    @property
    def falls(self) -> bool:
        """Whether less is better."""
        return measure(self.metric).goal == "min"

    @property
    def mean(self) -> float:
        """Of the members."""
        return statistics.fmean(self.members)

    @property
    def best(self) -> float:
        """Of the members."""
        return min(self.members) if self.falls else max(self.members)

    @property
    def over_mean(self) -> float:
        """What the ensemble gains over the mean of its members."""
        return self._better_by(self.mean)

    @property
    def over_best(self) -> float:
        """What it gains over the best of them, which one would have to know beforehand."""
        return self._better_by(self.best)

    def _better_by(self, value: float) -> float:
        return value - self.ensemble if self.falls else self.ensemble - value

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
        text = measure(self.metric).text
        gained = (f"{'+' if v >= 0 else ''}{text(v)}" for v in (self.over_mean, self.over_best))
        return (self.metric, *map(text, (self.mean, self.best, self.ensemble)), *gained)


HEADER = (
    "metric", "mean of members", "best member", "ensemble", "gain over mean", "gain over best",
)  # fmt: skip


class EnsembleFolder(RunFolder):
    """The folder of an ensemble. What was left in its members is theirs to clear away."""

    def _clear(self) -> None:
        pass


class Ensemble(Run):
    """Several runs as one: evaluated, predicted with and loaded like any run.

    Its probabilities are the mean of the members' probabilities; a number is the mean of theirs.
    UserError when a member is not trained to its end, or was trained for another question or on
    another dataset.
    """

    def __init__(
        self,
        members: Sequence[Run | str | os.PathLike[str]],
        path: Path | None = None,
        kept: EnsembleRecord | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.paths = [m.path if isinstance(m, Run) else Path(m) for m in members]
        self.kept = kept
        """What its ensemble.json holds; None of one that has no folder of its own."""
        self._given = members
        # Without a folder it is called by its members.
        where = path or Path(" + ".join(map(str, self.paths)))
        super().__init__(EnsembleFolder(where), None, runtime)
        self._details: dict[str, Evaluation] = {}

    @classmethod
    def of(
        cls, members: Sequence[Run | str | os.PathLike[str]], runtime: Runtime | None = None
    ) -> Ensemble:
        """The ensemble of runs that are there already; `save` keeps it.

        `runtime` is for those that are given by their path.
        """
        ensemble = cls(members, runtime=runtime)
        twice = [path for path, n in Counter(p.resolve() for p in ensemble.paths).items() if n > 1]
        if twice:
            raise UserError(f"{twice[0]} is named more than once: the mean would count it so often")
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
            run = given if isinstance(given, Run) else self._open(path)
            if not run.finished:
                raise self._unfinished(path)
            opened.append(run)
        _check_alike(opened)
        return tuple(opened)

    @property
    def trained(self) -> bool:
        """Whether its members were trained as such, and lie in its folder."""
        return self.kept is not None and self.kept.recipe is not None

    def _open(self, path: Path) -> Run:
        try:
            if self.trained and not (path / "recipe.json").is_file():
                raise self._unfinished(path)
            return open_run(path, runtime=self.asked)
        except OSError as error:
            raise UserError(f"the member {path} cannot be read: {error.strerror}") from None

    def _unfinished(self, member: Path) -> UserError:
        whole = self.path if self.trained else member
        return UserError(
            f"the member {member} is not trained to its end: continue with 'gradlab resume {whole}'"
        )

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines of its own metrics.jsonl; none without a folder."""
        return [] if self.kept is None else super().history

    @cached_property
    def record(self) -> Record:
        """That of the first member, finished or not: all are of one task and dataset."""
        first = self._given[0]
        return (first if isinstance(first, Run) else self._open(self.paths[0])).record

    @cached_property
    def dataset(self) -> Any:
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
        if not isinstance(first, Supervised):
            raise UserError(f"an ensemble needs answers to average; {self.paths[0]} gives none")
        network = Averaged([task.model for task in tasks], first.pooled)
        with seeded(self.recipe.seed):
            whole = make(self.recipe, self.schema, first.setup.runtime, Own(network))
        if self.kept is not None and self.kept.decision:
            whole.load_decision(self.kept.decision)
        elif whole.decides:  # for all together: what was chosen for a member is of that one alone
            whole.dataset = self.dataset
            whole.decide()
        return whole

    @property
    def decision(self) -> dict[str, Any]:
        """What is chosen on val for the whole: a temperature, a threshold; mostly nothing."""
        return self.task.decision.model_dump(exclude_defaults=True)

    def keep_decision(self) -> None:
        """Write it into ensemble.json."""
        if self.kept is not None and self.decision:
            self.kept = self.kept.model_copy(update={"decision": self.decision})
            files.write_json(self.path / FILE, self.kept.model_dump(mode="json"))

    def details(self, split: str = "test") -> Evaluation:
        """The evaluation of a split with its findings; a reading of test is recorded, once."""
        if split not in self._details:
            self._details[split] = super().details(split)
        return self._details[split]

    def note_reading(self, by: str, metrics: dict[str, float] | None = None) -> None:
        """Record in every member that the test split was read."""
        for member in self.members:
            member.note_reading("ensemble", metrics)

    def gain(self, split: str = "test") -> tuple[Gain, ...]:
        """Each metric of a split, beside those of the members.

        What was recorded at the end of the training is taken; the rest is evaluated now.
        """
        metrics = self.metrics.get(split) or self.evaluate(split)
        others = [run.metrics.get(split) or run.evaluate(split) for run in self.members]
        return tuple(
            Gain(name, value, tuple(other[name] for other in others))
            for name, value in metrics.items()
            # Without those of which a figure was not finite, which are logged as null.
            if measure(name).goal and None not in (value, *(o.get(name) for o in others))
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
        place = Path(path).absolute()
        members = tuple(_seen_from(place, member) for member in self.paths)
        record = EnsembleRecord(members=members, decision=self.decision)
        folder = new_folder(place.parent, place.name, "", record)
        folder.append({"event": "end", "step": 0})

    def __repr__(self) -> str:
        return f"Ensemble({str(self.path)!r}, {len(self.paths)} members)"


def is_ensemble(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds an ensemble."""
    return (Path(path) / FILE).is_file()


def load_ensemble(path: str | os.PathLike[str], runtime: Runtime | None = None) -> Ensemble:
    """The ensemble in a folder; its members are opened when they are needed."""
    folder = Path(path)
    record = read_record(folder)
    return Ensemble([folder / member for member in record.members], folder, record, runtime)


def read_record(path: Path) -> EnsembleRecord:
    """What the ensemble.json in a folder holds; UserError for what gradlab did not write.

    Members that were trained as such are folders in this one, so that nothing but them is ever
    trained or taken away, whatever the file says. Others may be anywhere: they are only read.
    """
    where = f"ensemble {path}: {FILE}"
    value = files.read_json(path / FILE, f"ensemble {path}")
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        raise UserError(
            f"{where}: expected an ensemble of format {FORMAT}, found {brief(found)}; "
            "it was edited or written by another version of gradlab"
        )
    record = validate(EnsembleRecord, value, where)
    twice = [name for name, count in Counter(record.members).items() if count > 1]
    if twice:
        raise UserError(f"{where}: members: {brief(twice[0])} is named more than once")
    for name in record.members if record.recipe is not None else ():
        if not MEMBER.fullmatch(name):
            raise UserError(
                f"{where}: members: expected folders in that of the ensemble (member-0, "
                f"member-1, ...), found {brief(name)}; it was edited"
            )
        if (path / name).is_symlink() or (path / name).resolve().parent != path.resolve():
            raise UserError(
                f"{path / name} is a link: expected a folder in that of the ensemble. Put the "
                "member itself in its place"
            )
    return record


def new_folder(out: Path, name: str | None, stem: str, record: EnsembleRecord) -> EnsembleFolder:
    """A new folder under `out` with this ensemble.json, called `name` or the first free `stem-N`.

    One that was stopped before it had an ensemble.json is taken over. UserError when there is
    another of that name, or it is no plain name.
    """
    if name is not None:
        files.check_name(name, "--name")
    stem, number = files.plain_name(stem), 1
    while name is None and (out / f"{stem}-{number}").exists():
        number += 1
    folder = EnsembleFolder(out / (name or f"{stem}-{number}"))
    path = folder.path
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        if not folder.is_unbegun():
            raise UserError(
                f"there is a folder {path} already: resume it (gradlab resume {path}), remove it, "
                "or choose another --name"
            ) from None
    except OSError as error:
        raise files.write_error(path, error) from None
    files.write_json(path / FILE, record.model_dump(mode="json"))
    return folder


def _seen_from(folder: Path, member: Path) -> str:
    """The way from a folder to a member; as it is where there is none (another drive)."""
    try:
        return Path(os.path.relpath(member, folder)).as_posix()
    except ValueError:
        return member.absolute().as_posix()


def _check_alike(members: Sequence[Run]) -> None:
    """UserError says in what the first two members that do not go together differ."""
    if len(members) < 2:
        raise UserError(f"an ensemble has at least 2 members, found {len(members)}")
    first = members[0]
    for other in members[1:]:
        pairs = (
            ("target", _asked(first.schema), _asked(other.schema)),
            ("task", first.recipe.task.name, other.recipe.task.name),
            ("dataset", _named(first.record["dataset"]), _named(other.record["dataset"])),
            # Networks that begin with published weights keep the normalisation of these.
            ("normalisation", _inputs(first.schema), _inputs(other.schema)),
        )
        for what, mine, theirs in pairs:
            if mine != theirs:
                raise UserError(
                    f"these runs make no ensemble, their {what} differs: {first.path} has "
                    f"{mine}, {other.path} has {theirs}"
                )


def _asked(schema: Schema) -> str:
    """The targets in words, with the names of classes."""
    classes = (", ".join(getattr(field, "classes", ())) for field in schema.targets.values())
    kinds = (field.type for field in schema.targets.values())
    return "; ".join(
        f"{kind} ({names})" if names else kind for kind, names in zip(kinds, classes, strict=True)
    )


def _inputs(schema: Schema) -> str:
    return "; ".join(field.model_dump_json() for field in schema.inputs.values())


def _named(dataset: Mapping[str, Any]) -> str:
    return f"{dataset.get('name')} (fingerprint {dataset.get('fingerprint')})"
