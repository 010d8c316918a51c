"""A look over a dataset: what is in it, and what would spoil a training on it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.dataset import SPLITS, Parts, Schema, Source, finish
from gradlab.data.decode import some
from gradlab.data.kinds import kind_of
from gradlab.data.sources import datasets, examine
from gradlab.errors import UnknownName, UserError

if TYPE_CHECKING:
    import polars as pl

    from gradlab.data.sources.folders import Photo

SHOWN = 10
"""So many files, rows or columns are named in an issue."""
IMBALANCE = 10.0
"""A largest class of more than so many times the smallest is an issue."""
MOSTLY = 0.5
"""A column that lacks more than this share of its values is an issue."""


@dataclass(frozen=True)
class Issue:
    """Something wrong with a dataset, and where: files, rows, columns or classes.

    An error stops a training or makes its figures wrong; a warning may be meant.
    """

    level: Literal["error", "warning"]
    what: str
    where: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([f"{self.level}: {self.what}", *(f"    {place}" for place in self.where)])


@dataclass(frozen=True)
class Finding:
    """What a dataset holds, as numbers, and the issues found in it.

    `counts` are examples by split; `classes` by class, then split. `sizes` ("WIDTHxHEIGHT") and
    `modes` (Pillow's) count images as they are on the disk. `unreadable` gives the reason for
    each file. `copies` are examples that repeat another of their split, `leaks` those of val or
    test that are in another split too. `missing` is the share of a column's values.
    """

    name: str
    kind: str = ""
    target: str = ""
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    classes: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    imbalance: float | None = None
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    modes: dict[str, int] = dataclasses.field(default_factory=dict)
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    copies: int = 0
    leaks: int = 0
    constant: tuple[str, ...] = ()
    missing: dict[str, float] = dataclasses.field(default_factory=dict)
    issues: tuple[Issue, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON has it."""
        return dataclasses.asdict(self)

    def text(self) -> str:
        """The finding as people read it."""
        total = f"{sum(self.counts.values()):,} examples" if self.counts else ""
        kind = ", ".join(part for part in (self.kind, self.target, total) if part)
        lines = [f"{self.name}: {kind}" if kind else self.name]
        if self.counts:
            lines += _table(self.counts, self.classes)
        for what, found in (("sizes", self.sizes), ("modes", self.modes)):
            if found:
                most = [f"{key} ({count:,})" for key, count in Counter(found).most_common()]
                lines.append(f"{what}: {some(most, SHOWN)}")
        if self.missing:
            shares = [f"{key} {share:.1%}" for key, share in self.missing.items()]
            lines.append(f"missing values: {some(shares, SHOWN)}")
        lines += [f"note: {note}" for note in self.notes]
        lines += [str(issue) for issue in self.issues] or ["no issues"]
        return "\n".join(lines)


def check(config: DataConfig, imbalance: float = IMBALANCE) -> Finding:
    """Look over the dataset that a configuration names, without stopping at what is broken.

    UserError only when there is nothing to look at: no such set, file or column.
    """
    made: dict[str, Any] = {"name": config.name}
    issues: list[Issue] = []
    path = None if config.name in datasets else Path(config.name).expanduser()
    try:
        if path and path.is_file() and kind_of(path) == "table":
            from gradlab.data.sources.frames import read_frame

            frame, notes = read_frame(path)
            made |= {"kind": "table", "notes": notes} | _columns(frame, issues)
            if config.target is None:
                notes += ("give the column to predict with --data.target, to see its classes",)
                return Finding(**made | {"notes": notes}, issues=tuple(issues))
        source, photos = examine(config)
    except UserError as error:
        if path is None or isinstance(error, UnknownName):
            raise
        return Finding(**made, issues=(Issue("error", str(error)), *issues))
    if path and kind_of(path) == "arrays":
        issues += _labels(path)
    parts, notes = source.parts, source.notes
    made |= _images(source, photos, issues)
    made |= _duplicates(source, bool(photos), issues)
    if "missing" not in made:
        made |= _columns(source.parts["train"].x, issues) if source.schema.kind != "image" else {}
    try:
        dataset = finish(source, config)
        parts, notes = dataset.splits, dataset.notes
    except UserError as error:
        issues.append(Issue("error", str(error)))
    made |= _counts(source.schema, parts, imbalance, issues)
    issues.sort(key=lambda issue: issue.level)  # errors first
    return Finding(**made | {"notes": notes}, issues=tuple(issues))


def _counts(schema: Schema, parts: Parts, limit: float, issues: list[Issue]) -> dict[str, Any]:
    """Examples by split and class."""
    made: dict[str, Any] = {
        "kind": schema.kind,
        "target": f"{schema.target_name} ({schema.target})" if schema.target_name else "class",
        "counts": {name: len(split) for name, split in parts.items()},
    }
    if schema.target != "class":
        return made
    counted = {
        name: np.bincount(split.y, minlength=len(schema.classes)) for name, split in parts.items()
    }
    made["classes"] = {
        label: {name: int(counts[number]) for name, counts in counted.items()}
        for number, label in enumerate(schema.classes)
    }
    for name, counts in counted.items():
        absent = [schema.classes[number] for number in np.flatnonzero(counts == 0)]
        if absent:
            what = f"classes without an example in {name}: {len(absent)} of {len(schema.classes)}"
            issues.append(Issue("warning", what, _shown(absent)))
    totals = np.sum(list(counted.values()), axis=0)
    if totals.min() > 0:
        made["imbalance"] = ratio = float(totals.max() / totals.min())
        if ratio > limit:
            largest, smallest = (schema.classes[f(totals)] for f in (np.argmax, np.argmin))
            what = (
                f"the classes are out of balance: {largest!r} has {ratio:.1f} times the examples "
                f"of {smallest!r}; a model may learn to ignore the small one"
            )
            issues.append(Issue("warning", what, (largest, smallest)))
    return made


def _images(source: Source, photos: tuple[Photo, ...], issues: list[Issue]) -> dict[str, Any]:
    """Sizes and modes of images, and the files that cannot be read."""
    if source.schema.kind != "image":
        return {}
    if not photos:  # arrays
        channels, height, width = source.schema.shape
        count = sum(map(len, source.parts.values()))
        return {"sizes": {f"{width}x{height}": count}, "modes": {_MODES[channels]: count}}
    broken = {photo.look.name: photo.look.error for photo in photos if photo.look.error}
    good = [photo.look for photo in photos if not photo.look.error]
    if broken:
        where = _shown([f"{name}: {error}" for name, error in broken.items()])
        what = f"images that cannot be read: {len(broken)} of {len(photos)}. Remove or replace them"
        issues.append(Issue("error", what, where))
    return {
        "sizes": dict(Counter(f"{look.width}x{look.height}" for look in good).most_common()),
        "modes": dict(Counter(look.mode for look in good).most_common()),
        "unreadable": broken,
    }


_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def _duplicates(source: Source, files: bool, issues: list[Issue]) -> dict[str, Any]:
    """Examples of equal content: within a split, in several splits, and with several classes.

    Only the splits that the source has itself are compared: equal examples stay together where
    gradlab cuts a split off.
    """
    given = [name for name in SPLITS if name in source.parts]
    parts = [source.parts[name] for name in given]
    rows: Any = parts[0].x if len(parts) == 1 else chain.from_iterable(part.x for part in parts)
    group = source.groups(rows)
    split = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    y = np.concatenate([part.y for part in parts])
    repeated = np.flatnonzero(np.bincount(group)[group] > 1)
    repeated = repeated[np.argsort(group[repeated], kind="stable")]
    sets = np.split(repeated, np.flatnonzero(np.diff(group[repeated])) + 1) if len(repeated) else []
    starts = np.cumsum([0, *map(len, parts)])

    def names(found: list[np.ndarray]) -> tuple[str, ...]:
        return _shown([some(map(name, members), SHOWN) for members in found[:SHOWN]], len(found))

    def name(example: int) -> str:
        part = split[example]
        index = int(example - starts[part])
        label = parts[part].ids[index] if parts[part].ids else str(index)
        return label if files else f"{given[part] if len(parts) > 1 else 'example'} {label}"

    inside = [members for members in sets if len(np.unique(split[members])) < len(members)]
    between = [members for members in sets if split[members[0]] != split[members[-1]]]
    torn = [members for members in sets if len(np.unique(y[members])) > 1]
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
    if torn and source.schema.target == "class":
        what = f"equal examples of different classes: {len(torn)} times"
        issues.append(Issue("warning", what, names(torn)))
    return {"copies": copies, "leaks": leaks}


def _columns(table: pl.DataFrame | np.ndarray, issues: list[Issue]) -> dict[str, Any]:
    """Columns that are constant or lack values; a table's, or the inputs of an array N D."""
    if isinstance(table, np.ndarray):
        still = np.flatnonzero(table.min(axis=0) == table.max(axis=0))
        constant, missing = [f"input {number}" for number in still], {}
    else:
        absent = {column.name: column.null_count() / table.height for column in table}
        missing = {name: share for name, share in absent.items() if share > 0}
        constant = [column.name for column in table if column.n_unique() == 1]
        constant = [name for name in constant if name not in missing]
    mostly = [f"{name}: {share:.1%}" for name, share in missing.items() if share > MOSTLY]
    if constant:
        what = f"constant columns, which teach nothing: {len(constant)}"
        issues.append(Issue("warning", what, _shown(constant)))
    if mostly:
        what = f"columns that lack more than {MOSTLY:.0%} of their values: {len(mostly)}"
        issues.append(Issue("warning", what, _shown(mostly)))
    return {"constant": tuple(constant), "missing": missing}


def _labels(path: Path) -> list[Issue]:
    """Class numbers of an .npz file that are not 0..K-1."""
    from gradlab.data.sources.arrays import read_npz

    arrays = [array for name, array in read_npz(path).items() if name.split("_")[0] == "y"]
    if not arrays:
        return []
    labels = np.unique(np.concatenate([array.reshape(-1) for array in arrays]))
    if labels.dtype.kind not in "iu" or np.array_equal(labels, np.arange(len(labels))):
        return []
    low, high, count = int(labels[0]), int(labels[-1]), len(labels)
    gaps = high - low + 1 - count
    what = (
        f"the labels in y are not 0 to {count - 1}: {count} different ones from {low} to {high}, "
        f"{gaps} left out between them; each becomes the number of its place in this order"
    )
    return [Issue("warning", what, _shown([str(label) for label in labels]))]


def _shown(places: Sequence[str], count: int = 0) -> tuple[str, ...]:
    """The first places, and how many there are beside (of `count`, where some are not given)."""
    more = (count or len(places)) - SHOWN
    return (*places[:SHOWN], *([f"and {more} more"] if more > 0 else []))


def _table(counts: dict[str, int], classes: dict[str, dict[str, int]]) -> list[str]:
    """Counts in columns: a line for each class, then their sum."""
    rows = [(label, *(f"{n:,}" for n in found.values())) for label, found in classes.items()]
    rows = [("", *counts), *rows, ("all", *(f"{n:,}" for n in counts.values()))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
