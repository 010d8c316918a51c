"""Examples that a person holds in Python, taken as they are: nothing is moved, scaled or reshaped.

Arrays, tensors, tuples and dictionaries of these and data frames come out alike: arrays by field
name, and how they were grouped (`Held`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from torch import Tensor

from gradlab.data.columns import Dense
from gradlab.data.dataset import Schema, Source, Split, SplitName
from gradlab.data.fields.base import Field
from gradlab.data.fields.label import Label
from gradlab.data.fields.values import Values, array_of, refuse_not_finite, table_values
from gradlab.data.frames import given_frame
from gradlab.data.streamed import Streamed
from gradlab.errors import UserError, unknown
from gradlab.wording import some

Grouped = Literal["one", "tuple", "dict"]
"""How several arrays are given to a network or a loss: one alone, in order, or by name."""
Target = str | Sequence[str] | None

LARGEST = 2_000_000_000
"""Bytes: what a dataset reads is kept in memory up to here, and read anew for each batch beyond."""
MOST_CLASSES = 1000
"""Whole numbers 0, 1, ... below this, one for each example, are split in their shares."""


@dataclass(frozen=True)
class Held:
    """Arrays (or what is read anew for each batch) by field name, and how they were grouped."""

    inputs: dict[str, Any]
    targets: dict[str, Any]
    inputs_as: Grouped = "one"
    targets_as: Grouped = "one"
    name: str = "arrays"
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    """Of a data frame: what the places of the input's last axis are called."""
    batch_size: int | None = None
    """Of a DataLoader."""

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def saying(self, notes: tuple[str, ...]) -> Held:
        """The same with more notes."""
        return replace(self, notes=(*self.notes, *notes))

    @property
    def streamed(self) -> bool:
        """Whether the examples are read anew for each batch."""
        return isinstance(next(iter(self.inputs.values())), Streamed)


def is_frame(data: Any) -> bool:
    """Whether data are a frame of polars or pandas."""
    kind = type(data)
    named = kind.__module__.split(".")[0] in ("pandas", "polars")
    return named or (hasattr(data, "iloc") and hasattr(data, "columns"))


def is_items(data: Any) -> bool:
    """Whether data are examples that can be asked for by number, as of torch's `Dataset`."""
    plain = isinstance(data, str | bytes | tuple | list | Mapping | np.ndarray | Tensor)
    return not plain and hasattr(data, "__getitem__") and hasattr(data, "__len__")


# how examples are grouped


def parts_of(
    item: Any, target: Target, where: str, *, collated: bool = False
) -> tuple[dict[str, Any], Grouped, dict[str, Any], Grouped]:
    """Inputs and targets by name, and how each were grouped, of (x, y) or a dictionary.

    Of a tuple of more than two the last is the target: torch's convention. `collated`: a list is a
    tuple, which torch's collate function has made one.
    """
    if isinstance(item, Mapping):
        inputs, targets, asked = _of_mapping(item, target, where)
        if set(inputs) == {"x"}:  # the names of arrays in a file
            return inputs, "one", targets, "one"
        return inputs, "dict", targets, "dict" if len(asked) > 1 else "one"
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise UserError(
            f"{where}: expected an input and a target, (x, y), found {_kind(item)}. For a network "
            "that gives its input back, give the input twice"
        )
    x, y = (item[0], item[1]) if len(item) == 2 else (tuple(item[:-1]), item[-1])
    inputs, inputs_as = _named(x, "x", collated)
    targets, targets_as = _named(y, "y", collated)
    if twice := set(inputs) & set(targets):
        raise UserError(f"{where}: inputs and targets have one name, {some(twice)}: rename one")
    return inputs, inputs_as, targets, targets_as


def _named(part: Any, name: str, collated: bool) -> tuple[dict[str, Any], Grouped]:
    if isinstance(part, Mapping):
        return {str(key): value for key, value in part.items()}, "dict"
    if isinstance(part, tuple) or (collated and isinstance(part, list)):
        return {f"{name}{number}": value for number, value in enumerate(part, 1)}, "tuple"
    return {name: part}, "one"


def _of_mapping(
    item: Mapping[Any, Any], target: Target, where: str
) -> tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]:
    names = [str(key) for key in item]
    if target is None and {"x", "y"} <= set(names):
        target = "y"
    if target is None:
        raise UserError(
            f"{where}: which of {some(names, 12)} is the target? Give target=NAME, or a tuple of "
            "names"
        )
    asked = (target,) if isinstance(target, str) else tuple(target)
    for name in asked:
        if name not in names:
            raise unknown(f"entry of {where}:", name, names)
    inputs = {str(key): value for key, value in item.items() if str(key) not in asked}
    if not inputs:
        raise UserError(f"{where}: there is nothing beside {some(asked)} to learn from")
    return inputs, {name: item[name] for name in asked}, asked


def grouped(data: Any, target: Target, where: str) -> Held:
    """Arrays by field name, of a pair or a dictionary that holds them."""
    inputs, inputs_as, targets, targets_as = parts_of(data, target, where)
    names = {**inputs, **targets}
    arrays = {name: _array(value, f"{where}: {name}") for name, value in names.items()}
    return Held(
        {name: arrays[name] for name in inputs},
        {name: arrays[name] for name in targets},
        inputs_as,
        targets_as,
    )


def _array(value: Any, where: str) -> Any:
    """An array with an entry for each example."""
    if isinstance(value, Streamed):
        return value
    if isinstance(value, Tensor):
        found = array_of(value)
    elif hasattr(value, "to_numpy") and not isinstance(value, np.ndarray):  # a column of a frame
        found = np.asarray(value.to_numpy())
    else:
        try:
            found = np.asarray(value)
        except ValueError:
            found = np.asarray(None)
    if found.dtype.kind == "O" and found.ndim and all(isinstance(v, str) for v in found.flat):
        found = found.astype(str)
    if found.dtype.kind not in "biufcU" or not found.ndim:
        raise UserError(
            f"{where}: expected an array with an entry for each example, of one shape, found "
            f"{_kind(value)}"
        )
    if found.dtype.kind == "u" and found.dtype.itemsize > 1:  # torch computes with uint8 alone
        found = found.astype(np.int64)
    return found.astype(found.dtype.newbyteorder("=")) if not found.dtype.isnative else found


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray | Tensor):
        return f"{type(value).__name__} of the shape {tuple(value.shape)}, {value.dtype}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} entries"
    return f"a {type(value).__name__}"


def checked(found: Held, where: str) -> Held:
    """As it is, if all of it can be learnt from; UserError names what does not fit."""
    counts = {name: len(value) for name, value in {**found.inputs, **found.targets}.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise UserError(
            f"{where}: expected as many entries in each, one for each example, found {listed}"
        )
    if not len(found):
        raise UserError(f"{where}: there are no examples")
    notes = list(found.notes)
    for name, value in found.inputs.items():
        if isinstance(value, np.ndarray):
            if value.dtype.kind == "U":
                raise UserError(
                    f"{where}: {name} holds text, which a network cannot take: encode it as numbers"
                )
            refuse_not_finite(value, f"{where}: {name}")
    for name, value in found.targets.items():
        bad = isinstance(value, np.ndarray) and value.dtype.kind in "fc"
        if bad and (count := int((~np.isfinite(value)).sum())):
            notes.append(
                f"{name}: {count} values are not finite; the loss is given them as they are"
            )
    return replace(found, notes=tuple(notes))


def of_frame(data: Any, target: Target, where: str) -> Held:
    """The columns of a frame as one input N D, those asked for as y."""
    frame = given_frame(data, where)
    if target is None:
        raise UserError(
            f"{where}: which column is to be predicted? Give target=NAME. "
            f"Columns: {some(frame.columns, 30)}"
        )
    asked = (target,) if isinstance(target, str) else tuple(target)
    for name in asked:
        if name not in frame.columns:
            raise unknown(f"column of {where}:", name, frame.columns)
    columns = tuple(name for name in frame.columns if name not in asked)
    if not columns:
        raise UserError(f"{where}: there is no column beside {some(asked)} to learn from")
    known = frame.drop_nulls(list(asked))
    lost = frame.height - known.height
    said = (f"{lost} rows without {', '.join(asked)} left out",) if lost else ()
    if isinstance(target, str):
        y = _array(known[target], f"{where}: {target}")
    else:
        y = table_values(known, asked, where)
    return Held(
        {"x": table_values(known, columns, where)},
        {"y": y},
        name="data frame",
        notes=said,
        columns=columns,
    )


# from what is held to a source


def source_of(
    parts: Mapping[SplitName, Held], types: Mapping[str, str], standardise: bool = False
) -> Source:
    """The splits as a `Source` whose fields leave everything as it is.

    `types` names the type in which a field is kept, where it is another than it came in.
    """
    train = parts["train"]
    if standardise and train.streamed:
        raise UserError(
            "standardise=True needs the data in memory, and these are read anew for each batch: "
            "standardise them where they are read"
        )
    for split, part in parts.items():
        names = [(set(one.inputs), set(one.targets)) for one in (train, part)]
        if names[0] != names[1]:
            raise UserError(
                f"{split}: expected the inputs and targets of train, "
                f"{some([*train.inputs, *train.targets], 8)}; found "
                f"{some([*part.inputs, *part.targets], 8)}"
            )
    inputs: dict[str, Field] = {}
    for name, value in train.inputs.items():
        kind = types.get(name) or _type(value)
        columns = train.columns if name == "x" else ()
        inputs[name] = Values(
            size=tuple(value.shape[1:]), dtype=kind, standardise=standardise, columns=columns
        )
    targets = {
        name: _target(name, [part.targets[name] for part in parts.values()], types.get(name))
        for name in train.targets
    }
    fields = {**inputs, **targets}
    splits: dict[SplitName, Split] = {}
    for split, part in parts.items():
        columns_of = {**part.inputs, **part.targets}
        for name, field in fields.items():
            value = columns_of[name]
            if (
                isinstance(field, Values)
                and tuple(value.shape[1:]) != field.size
                and not (isinstance(value, Streamed))
            ):
                raise UserError(
                    f"{split}: {name} has examples of {value.shape[1:]}, those of train are "
                    f"{field.size}"
                )
        splits[split] = Split(
            {
                name: value if isinstance(value, Streamed) else Dense(value)
                for name, value in columns_of.items()
            }
        )
    labels = [name for name, field in targets.items() if isinstance(field, Label)]
    return Source(
        train.name,
        Schema(inputs=inputs, targets=targets),
        splits,
        tuple(dict.fromkeys(note for part in parts.values() for note in part.notes)),
        stratify=labels[0] if len(targets) == 1 and labels else "",
    )


def _type(value: Any) -> str:
    """The type of an array as torch names it."""
    return str(value.dtype.name)


def _target(name: str, values: Sequence[Any], kind: str | None) -> Field:
    """A label for names and for class numbers, one for each example; else values as they are."""
    first = values[0]
    if isinstance(first, Streamed):
        return Values(size=tuple(first.shape[1:]), dtype=kind or _type(first), standardise=False)
    if first.dtype.kind in "bU" and first.ndim == 1:
        return Label(classes=tuple(map(str, np.unique(np.concatenate(values)))), column=name)
    if first.dtype.kind == "U":
        raise UserError(f"{name} holds texts of the shape {first.shape}: expected one a example")
    if first.dtype.kind in "iu" and first.ndim == 1:
        low = min(int(value.min()) for value in values)
        high = max(int(value.max()) for value in values)
        if low >= 0 and 0 < high < min(MOST_CLASSES, len(first)):
            return Label(classes=tuple(map(str, range(high + 1))), column=name)
    return Values(size=first.shape[1:], dtype=kind or _type(first), standardise=False)
