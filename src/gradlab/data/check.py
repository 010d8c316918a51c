"""A look over a dataset: what is in it, and what would spoil a training on it.

Each field says what is to be said of its own column; what concerns several (equal examples, leaks
between splits) stands here.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.dataset import SPLITS, RowNumbers, Source, SplitName
from gradlab.data.fields.base import Field, Issue
from gradlab.data.kinds import kind_of, table_files
from gradlab.data.sources import datasets, source
from gradlab.data.splits import content, finish
from gradlab.data.suspects import said, suspects
from gradlab.errors import UnknownName, UserError
from gradlab.text import one_line, width
from gradlab.wording import SHOWN, shown, some


@dataclass(frozen=True)
class Report:
    """What a dataset holds, as numbers, and the issues found in it.

    `counts` are examples by split; `copies` are examples that repeat another of their split,
    `leaks` those of val or test that are in another split too. `facts` are what its fields say:
    classes by split, sizes and modes of images, the share of a column's values that are missing.
    """

    name: str
    kind: str = ""
    target: str = ""
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    copies: int = 0
    leaks: int = 0
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    issues: tuple[Issue, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; each fact under its own name."""
        found = dataclasses.asdict(self)
        return {**found.pop("facts"), **found}

    def text(self) -> str:
        """As people read it."""
        total = f"{sum(self.counts.values()):,} examples" if self.counts else ""
        kind = ", ".join(part for part in (self.kind, self.target, total) if part)
        lines = [f"{self.name}: {kind}" if kind else self.name]
        if self.counts:
            lines += _table(self.counts, self.facts.get("classes", {}))
        for what in ("sizes", "modes"):
            if found := self.facts.get(what):
                most = [f"{key} ({count:,})" for key, count in Counter(found).most_common()]
                lines.append(f"{what}: {some(most, SHOWN)}")
        if missing := self.facts.get("missing"):
            shares = [f"{key} {share:.1%}" for key, share in missing.items()]
            lines.append(f"missing values: {some(shares, SHOWN)}")
        lines += [f"note: {note}" for note in self.notes]
        lines += [str(issue) for issue in self.issues] or ["no issues"]
        return "\n".join(lines)


def check(config: DataConfig) -> Report:
    """Look over the dataset that a configuration names, without stopping at what is broken.

    UserError only when there is nothing to look at: no such set, file or column.
    """
    issues: list[Issue] = []
    found, is_whole = _read(config, issues)
    if found is None:
        return Report(config.name, issues=tuple(issues))
    issues += found.checked.issues
    copies, leaks = _duplicates(found, issues)
    parts, notes, schema = found.parts, found.notes, found.schema
    if is_whole:
        try:
            dataset = finish(found, config)
            parts, schema = dataset.splits, dataset.schema
            suspected = suspects(dataset)
            issues += suspected
            notes = tuple(note for note in dataset.notes if note not in said(suspected))
        except UserError as error:
            issues.append(Issue("error", str(error)))
    facts: dict[str, Any] = {}
    for name, field in schema.fields.items():
        # Targets are looked at split by split as they will be; inputs as they were read.
        columns = parts if name in schema.targets else found.parts
        checked = field.issues({split: part[name] for split, part in columns.items()})
        facts |= checked.facts
        issues += checked.issues
    facts |= found.checked.facts  # files as they are on the disk, not as they were brought to
    issues.sort(key=lambda issue: issue.level)  # errors first
    targets = ", ".join(_titled(field) for field in schema.targets.values())
    return Report(
        found.name,
        ", ".join(field.word or field.type for field in schema.inputs.values()),
        targets or ("no target" if is_whole else ""),
        {name: len(part) for name, part in parts.items()},
        copies,
        leaks,
        facts,
        tuple(issues),
        notes,
    )


def _read(config: DataConfig, issues: list[Issue]) -> tuple[Source | None, bool]:
    """The dataset as far as it can be read, and whether that is with what is asked for."""
    named = config.name in datasets
    told = config.model_copy(update={"unreadable": "any"})
    bare = told.model_copy(update={"target_kind": "none", "target": None})
    is_table = not named and (kind_of(config.name) == "table" or bool(table_files(config.name)))
    if is_table and config.target is None and config.target_kind != "none":
        told = bare
    try:
        found = source(told)
    except UserError as error:
        if named or isinstance(error, UnknownName):
            raise
        issues.append(Issue("error", str(error)))
    else:
        if told is not bare:
            return found, True
        note = "give the column to predict with --data.target, to see its classes"
        return replace(found, notes=(*found.notes, note)), False
    try:
        return source(bare), False  # what is asked for may be all that is wrong
    except UserError:
        return None, False


def _titled(field: Field) -> str:
    """What is asked for: `species (class)`."""
    word, column = field.word or field.type, getattr(field, "column", "")
    return f"{column} ({word})" if column else word


def _duplicates(found: Source, issues: list[Issue]) -> tuple[int, int]:
    """Examples of equal content: within a split, in several splits, and with several targets.

    Only the splits that the source has itself are compared: equal examples stay together where
    gradlab cuts a split off.
    """
    given: list[SplitName] = [name for name in SPLITS if name in found.parts]
    parts = [found.parts[name] for name in given]
    group = content(parts, found.schema.inputs)
    split = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    repeated = np.flatnonzero(np.bincount(group)[group] > 1)
    repeated = repeated[np.argsort(group[repeated], kind="stable")]
    sets = np.split(repeated, np.flatnonzero(np.diff(group[repeated])) + 1) if len(repeated) else []
    starts = np.cumsum([0, *map(len, parts)])

    def names(members: list[np.ndarray]) -> tuple[str, ...]:
        return shown([some(map(name, one), SHOWN) for one in members[:SHOWN]], len(members))

    def name(example: int) -> str:
        part = split[example]
        label = parts[part].name_of(int(example - starts[part]))
        numbered = not parts[part].ids or isinstance(parts[part].ids, RowNumbers)
        return f"{given[part] if len(parts) > 1 else 'example'} {label}" if numbered else label

    inside = [members for members in sets if len(np.unique(split[members])) < len(members)]
    between = [members for members in sets if split[members[0]] != split[members[-1]]]
    copies = sum(len(members) - len(np.unique(split[members])) for members in inside)
    leaks = sum(int(np.sum(split[members] > split[members[0]])) for members in between)
    if leaks:
        what = (
            f"examples of val and test that are in another split too: {leaks}. This is a leak: "
            "what was learnt by heart counts as understood. Leave them in one split"
        )
        issues.append(Issue("error", what, names(between)))
    if copies:
        what = f"examples that repeat another of the same split: {copies}"
        issues.append(Issue("warning", what, names(inside)))
    if found.stratify:
        y = np.concatenate([np.asarray(part[found.stratify]) for part in parts])
        torn = [members for members in sets if len(np.unique(y[members])) > 1]
        if torn:
            what = f"equal examples of different classes: {len(torn)} times"
            issues.append(Issue("warning", what, names(torn)))
    return copies, leaks


def _table(counts: dict[str, int], classes: dict[str, dict[str, int]]) -> list[str]:
    """Counts in columns: a line for each class, then their sum."""
    rows = [(one_line(name), *(f"{n:,}" for n in f.values())) for name, f in classes.items()]
    rows = [("", *counts), *rows, ("all", *(f"{n:,}" for n in counts.values()))]
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([name + " " * (widths[0] - width(name)), *map(str.rjust, figures, widths[1:])])
        for name, *figures in rows
    ]
