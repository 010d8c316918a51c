"""Arrays in an .npz file: x and y, or x_train and y_train (and x_val, y_val, x_test, y_test).

x is images (N H W or N H W C: uint8, whole numbers 0..255, or floats 0..1) or inputs (N D). y is
class numbers (or names), or floats to predict; for a task that asks for no classes (`target_kind`
none) it may be left out. `classes` may give the names of the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gradlab import paths
from gradlab.config import DataConfig
from gradlab.data.columns import Dense
from gradlab.data.dataset import SPLITS, Parts, Schema, Source, Split, SplitName
from gradlab.data.decode import pixels, refit
from gradlab.data.fields.base import Checked, Issue
from gradlab.data.fields.image import Image
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.fields.values import Values
from gradlab.data.npz import EXPECTED, numbers, read_npz
from gradlab.errors import UserError
from gradlab.text import quoted
from gradlab.wording import shown, some


def array_source(path: Path, config: DataConfig) -> Source:
    """The arrays of an .npz file as a `Source`; UserError says which array does not fit."""
    return from_arrays(read_npz(path), str(path), config)


def from_arrays(arrays: Mapping[str, np.ndarray], path: str, config: DataConfig) -> Source:
    """Arrays by name as a `Source`; `path` is what to call them. UserError as `array_source`."""
    x: dict[SplitName, np.ndarray] = {}
    y: dict[SplitName, np.ndarray] = {}
    optional = config.target_kind == "none"
    for split in SPLITS:
        names = [f"x_{split}", f"y_{split}"]
        if split == "train" and names[0] not in arrays:
            names = ["x", "y"]
        if split != "train" and names[0] not in arrays:
            continue
        for name in names:
            if name not in arrays and not (optional and name == names[1]):
                held = ", ".join(arrays) or "nothing"
                raise UserError(f"{path} has no array {name!r} (it holds {held}). {EXPECTED}")
        x[split] = inputs(arrays[names[0]], f"{path}: {names[0]}")
        if names[1] in arrays:
            y[split] = _targets(arrays[names[1]], len(x[split]), f"{path}: {names[1]}", config)
    shapes = {array.shape[1:] for array in x.values()}
    if len(shapes) > 1:
        raise UserError(f"{path}: the splits' examples differ in shape: {some(map(str, shapes))}")
    if y and set(y) != set(x):
        lacking = ", ".join(split for split in x if split not in y)
        raise UserError(f"{path} has a y, but none for {lacking}: give one for each split or none")
    notes: list[str] = []
    field: Image | Values
    if x["train"].dtype == np.uint8:
        x = _formed(x, config, notes)
        height, width, channels = x["train"].shape[1:]
        field = Image(height=height, width=width, channels=channels)
    else:
        field = Values(size=x["train"].shape[1:])
    issues: tuple[Issue, ...] = ()
    target: Label | Number | None = None
    if y and y["train"].dtype.kind == "f":
        target = Number(column="y")
    elif y:
        issues = _gaps(y)
        classes, y = _classes(path, arrays.get("classes"), y, notes, least=1 if optional else 2)
        target = Label(classes=classes)
    targets = {} if target is None else {target.type: target}
    parts: Parts = {
        split: Split({field.type: Dense(x[split]), **{name: Dense(y[split]) for name in targets}})
        for split in x
    }
    return Source(
        str(path),
        Schema(inputs={field.type: field}, targets=targets),
        parts,
        tuple(notes),
        stratify="label" if "label" in targets else "",
        checked=Checked(issues=issues),
    )


def _gaps(y: Mapping[SplitName, np.ndarray]) -> tuple[Issue, ...]:
    """Class numbers that are not 0..K-1."""
    labels = np.unique(np.concatenate(list(y.values())))
    if labels.dtype.kind not in "iu" or np.array_equal(labels, np.arange(len(labels))):
        return ()
    low, high, count = int(labels[0]), int(labels[-1]), len(labels)
    what = (
        f"the labels in y are not 0 to {count - 1}: {count} different ones from {low} to {high}, "
        f"{high - low + 1 - count} left out between them; each becomes the number of its place in "
        "this order"
    )
    return (Issue("warning", what, shown([str(label) for label in labels])),)


def inputs(x: np.ndarray, where: str) -> np.ndarray:
    """Images as uint8 N H W C (C 1, 3 or 4), other inputs as float32 N D; UserError if neither."""
    if not x.size:
        raise UserError(f"{where} is empty: its shape is {x.shape}")
    if x.ndim == 2:
        return numbers(x, where)
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[-1] not in (1, 3, 4)):
        raise UserError(
            f"{where} has the shape {x.shape}: expected N H W or N H W C (C 1, 3 or 4) for images, "
            "N D for other inputs"
        )
    try:
        images = pixels(x)
    except ValueError as error:
        raise UserError(f"{where} holds no images: {error}") from None
    return images if images.ndim == 4 else images[..., None]


def _targets(y: np.ndarray, count: int, where: str, config: DataConfig) -> np.ndarray:
    """One target for each example: float32, or whole numbers or names as they are."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise UserError(
            f"{where} has the shape {y.shape}: expected one value for each example "
            "(for one-hot rows save their argmax)"
        )
    if len(y) != count:
        raise UserError(f"{where} has {len(y)} values, but there are {count} examples in x")
    if y.dtype.kind in "biuU" and config.target_kind != "number":
        return y.astype(np.int64) if y.dtype.kind in "biu" else y
    values = numbers(y, where)
    if config.target_kind == "class":
        if not np.array_equal(values, np.rint(values)):
            raise UserError(f"{where} holds fractions: expected class numbers (or names)")
        return values.astype(np.int64)
    return values


def _classes(
    path: str,
    names: np.ndarray | None,
    y: dict[SplitName, np.ndarray],
    notes: list[str],
    least: int,
) -> tuple[tuple[str, ...], dict[SplitName, np.ndarray]]:
    """The names of the classes, and the targets as numbers 0..K-1 of them."""
    for split, labels in y.items():
        if labels.dtype.kind != y["train"].dtype.kind:
            raise UserError(
                f"{path}: y of train is {y['train'].dtype}, y of {split} {labels.dtype}"
            )
    if names is not None:
        classes = tuple(str(name) for name in names.reshape(-1))
        known = np.arange(len(classes)) if y["train"].dtype.kind != "U" else np.array(classes)
    else:
        known = np.unique(y["train"])
        classes = tuple(str(label) for label in known)
        if known.dtype.kind != "U" and not np.array_equal(known, np.arange(len(known))):
            notes.append(f"y: the labels {some(classes, 5)} are the classes 0 to {len(known) - 1}")
    unreadable = [name for name in classes if not paths.is_text(name)]
    if unreadable:
        raise UserError(f"{path}: the class {quoted(unreadable[0])} is no text")
    if len(classes) < least:
        raise UserError(
            f"{path}: classification needs at least two classes, found only {some(classes)} in y"
        )
    for split, labels in y.items():
        absent = np.setdiff1d(labels, known)
        if len(absent):
            expected = "train" if names is None else f"0 to {len(classes) - 1} or the names"
            raise UserError(
                f"{path}: y of {split} has labels out of range: {some(map(str, absent))}; expected "
                f"those of {expected}: {some(classes, 10)}"
            )
    order = np.argsort(known)
    return classes, {
        split: order[np.searchsorted(known[order], labels)].astype(np.int64)
        for split, labels in y.items()
    }


def _formed(
    x: dict[SplitName, np.ndarray], config: DataConfig, notes: list[str]
) -> dict[SplitName, np.ndarray]:
    """Images in the size that is asked for, without transparency."""
    height, width, channels = x["train"].shape[1:]
    size = config.size or (height, width)
    if size != (height, width):
        notes.append(
            f"images: all {width}x{height} (width x height), brought to {size[1]}x{size[0]}: "
            "resized, and cropped at the centre where the shape is another"
        )
    if channels == 4:
        notes.append("images with 4 channels: taken as RGBA, laid on white")
    kept = 3 if channels == 4 else channels
    return {split: refit(array, size, kept) for split, array in x.items()}
