"""What the JSON files of a run hold, as typed values: the one place where they are read.

    recipe.json      a `Record`
    metrics.jsonl    a `Line` on each line
    state.json       a `Head`, with a `Progress` in it

A file can have been edited by anyone and cut short by a crash: what does not fit is a UserError
(a line of the log is left out), and never a guess.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from gradlab import files
from gradlab.errors import UserError
from gradlab.text import brief

FORMAT = 2
"""Of the run folder. It is raised with every change that older versions cannot read."""

Which = Literal["last", "best"]
Count = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

_OPEN = ConfigDict(extra="allow")


class DatasetRecord(TypedDict):
    """What a run was trained on; the dataset itself may add to it."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    name: str
    fingerprint: str
    counts: dict[str, Count]


class RuntimeRecord(TypedDict):
    """Where and how the arithmetic was done, without any `auto`."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    device: str
    precision: str
    threads: Count


class Record(TypedDict):
    """recipe.json: all that is needed to run it again.

    `recipe`, `schema` and `metrics` are checked by those who know their types.
    """

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    format: Count
    created: str
    gradlab: str
    seed: Count
    recipe: dict[str, Any]
    schema: dict[str, Any]
    dataset: DatasetRecord
    notes: list[str]
    machine: dict[str, Any]
    runtime: RuntimeRecord
    metrics: NotRequired[dict[str, Any]]


@dataclass
class Progress:
    """How far a training is; saved with each checkpoint. Epochs are counted from 0 in it."""

    epoch: Count = 0
    """Epochs that are done, and so the number of the next one."""
    step: Count = 0
    best: Number | None = None
    """The best val metric so far."""
    best_epoch: Annotated[int, Field(strict=True, ge=-1, lt=2**63)] = -1
    """The epoch that reached it; -1 before there is one."""
    stale: Count = 0
    """Epochs since then that were no better."""
    first_loss: Number | None = None
    examples: Count = 0
    step_seconds: Annotated[Number, Field(ge=0)] = 0.0
    seconds: Annotated[Number, Field(ge=0)] = 0.0
    finished: Annotated[bool, Field(strict=True)] = False
    reason: str = ""


def _complete(value: Any) -> Any:
    """A saved progress has every field: none takes its first value."""
    given = set(value) if isinstance(value, dict) else set()
    absent = {field.name for field in fields(Progress)} - given
    if absent:
        raise ValueError(f"absent: {', '.join(sorted(absent))}")
    return value


File = Literal["model.safetensors", "state.safetensors", "state.json"]
"""The files of a checkpoint."""


class Head(TypedDict):
    """state.json: what a checkpoint holds beside its tensors, and what it belongs to."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    checkpoint: Which
    progress: Annotated[Progress, BeforeValidator(_complete)]
    state: dict[str, Any]
    sha256: Annotated[dict[File, Sha256], Field(min_length=3)]
    """Of every file; that of state.json is taken without its own entry."""
    record_sha256: Sha256


class Line(TypedDict, total=False):
    """A line of metrics.jsonl. Epochs are counted from 1 in it.

    Without an `event` all other keys are figures: finite numbers, or None for one that was not.
    """

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    step: Count
    epoch: Count
    split: str
    event: str
    steps: Count
    seconds: Number | None
    final: Annotated[bool, Field(strict=True)]
    metrics: dict[str, Number | None]
    reason: str
    by: str
    best_epoch: Count | None
    examples_per_second: Number | None


T = TypeVar("T")

_RECORD, _HEAD, _LINE = TypeAdapter(Record), TypeAdapter(Head), TypeAdapter(Line)


def read_record(path: Path) -> Record:
    """What the recipe.json at `path` holds."""
    what = f"run {path.parent}"
    value = files.read_json(path, what)
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        raise UserError(
            f"{path}: expected a run of format {FORMAT}, found {brief(found)}; "
            "it was edited or written by another version of gradlab"
        )
    return typed(_RECORD, value, f"{what}: recipe.json")


def read_head(value: Any, what: str) -> Head:
    """A checkpoint's state.json, of which `value` is the JSON."""
    return typed(_HEAD, value, f"{what}: state.json")


def read_line(text: str) -> dict[str, Any] | None:
    """A line of metrics.jsonl; None when it was cut short or is not one of ours."""
    try:
        value = files.parse_json(text)
        _LINE.validate_python(value)
    except ValueError:  # that of pydantic is one
        return None
    line: dict[str, Any] = value
    if "event" in line:
        return line if line["event"] != "resume" or "step" in line else None
    if line.get("final"):
        return line if {"split", "metrics"} <= set(line) else None
    plain = all(_is_figure(value) for key, value in line.items() if key not in _NAMED)
    return line if plain and {"step", "split"} <= set(line) else None


def typed(kind: TypeAdapter[T], value: Any, where: str) -> T:
    """`value` as a `kind`; UserError names the first part that does not fit."""
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        part = ".".join(str(step) for step in first["loc"])[:80] or "the whole"
        given = "" if first["type"] == "missing" else f", found {brief(first['input'])}"
        raise UserError(
            f"{where}: {part}: {first['msg'].lower()}{given}; it was edited, cut short or "
            "written by another version of gradlab"
        ) from None


def _is_figure(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return value is None
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # a whole number that is larger than any float
        return False


_NAMED = frozenset(Line.__annotations__)
