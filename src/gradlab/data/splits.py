"""How the splits that a source lacks are cut off its training examples.

At random, equal examples on one side and classes in their shares; by groups (all examples of a
patient, a shop, a camera on one side); or by time (the last ones held out). A pure function of
`data.split_seed` and the examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.columns import hashes, numbered
from gradlab.data.dataset import SPLITS, Dataset, Parts, Source, Split, SplitName, encode
from gradlab.data.suspects import said, suspects
from gradlab.errors import UserError


def finish(source: Source, config: DataConfig) -> Dataset:
    """The dataset of a source: splits completed, fields fitted to train, columns encoded."""
    parts, cut = complete(source, config)
    dataset = encode(source, parts)
    known = len(source.notes)
    notes = (*dataset.notes[:known], *cut, *dataset.notes[known:], *said(suspects(dataset)))
    return replace(dataset, notes=notes)


def complete(source: Source, config: DataConfig) -> tuple[Parts, tuple[str, ...]]:
    """Cut the splits that are missing off train, and say how."""
    parts = dict(source.parts)
    keys = dict(source.keys)
    notes: list[str] = []

    def cut(share: float, owner: int, by_time: bool = True) -> tuple[np.ndarray, np.ndarray]:
        held = _held(
            parts["train"], source, keys if by_time else _untimed(keys), share, config, owner
        )
        return np.flatnonzero(held), np.flatnonzero(~held)

    def keep(index: np.ndarray) -> None:
        parts["train"] = parts["train"].take(index)
        for name, values in keys.items():
            keys[name] = values[index]

    missing: tuple[tuple[SplitName, float], ...] = (("test", config.test), ("val", config.val))
    for owner, (name, share) in enumerate(missing):
        if name in parts or share == 0:
            continue
        held, rest = cut(share, owner)
        if not len(held) or not len(rest):
            raise UserError(
                f"{source.name}: {len(parts['train'])} training examples "
                f"({_different(parts['train'], source, keys)}) are too few to hold out "
                f"{share:.0%} for {name}: add examples, give a {name} split, or change "
                f"--data.{name}"
            )
        parts[name] = parts["train"].take(held)
        keep(rest)
        how = "the last in time" if "time" in keys else "whole groups" if "group" in keys else ""
        notes.append(
            f"{name}: {len(held)} examples held out of train (there was no {name})"
            + (f", {how}" if how else "")
        )
    count = len(parts["train"])
    if config.limit and config.limit < count:
        keep(cut(config.limit / count, 2, by_time=False)[0])
        notes.append(f"train: limited to {len(parts['train'])} of {count} examples")
    return {name: parts[name] for name in SPLITS if name in parts}, tuple(notes)


def _untimed(keys: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values for name, values in keys.items() if name != "time"}


def _held(
    train: Split,
    source: Source,
    keys: Mapping[str, np.ndarray],
    share: float,
    config: DataConfig,
    owner: int,
) -> np.ndarray:
    """A mask of the examples that are held out."""
    if "time" in keys:
        return latest(keys["time"], share)
    rng = np.random.default_rng([config.split_seed, owner])
    if "group" in keys:
        group = np.unique(keys["group"], return_inverse=True)[1]
        return held_out(group, np.zeros(len(group), np.int64), share, rng)
    label = np.zeros(len(train), np.int64)
    if source.stratify:
        label = np.unique(np.asarray(train[source.stratify]), return_inverse=True)[1]
    return held_out(content([train], source.schema.inputs), label, share, rng)


def content(parts: Sequence[Split], inputs: Iterable[str]) -> np.ndarray:
    """A number for each example of several splits, the same where all inputs are equal."""
    names = list(inputs)
    marks = [np.concatenate([part[name].marks() for part in parts]) for name in names]
    if len(marks) > 1:
        marks = [hashes(row.tobytes() for row in np.stack(marks, 1))]
    return numbered(marks[0])


def _different(train: Split, source: Source, keys: Mapping[str, np.ndarray]) -> str:
    """How many examples there really are to choose from."""
    for name in ("time", "group"):
        if name in keys:
            return f"{len(np.unique(keys[name]))} different {name}s"
    return f"{len(np.unique(content([train], source.schema.inputs)))} different"


def latest(time: np.ndarray, share: float) -> np.ndarray:
    """A mask of about the last `share` of the examples; equal times are never torn apart.

    >>> latest(np.array([3, 1, 2, 4]), 0.5).tolist()
    [True, False, False, True]
    """
    order = np.sort(time)
    first = order[min(len(order) - max(round(share * len(order)), 1), len(order) - 1)]
    held: np.ndarray = time >= first
    return held


def held_out(
    group: np.ndarray, label: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """A mask of about `share` of the examples of each label; those of a group go together."""
    first = np.unique(group, return_index=True)[1]
    held: np.ndarray = np.zeros(len(first), bool)
    for value in np.unique(label[first]):
        members = np.flatnonzero(label[first] == value)
        count = round(share * len(members))
        if len(members) > 1:
            count = min(max(count, 1), len(members) - 1)
        held[rng.permutation(members)[:count]] = True
    mask: np.ndarray = held[group]
    return mask
