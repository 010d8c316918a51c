"""One's own images: a folder of class folders, with or without splits, or an archive of one.

    PHOTOS/CLASS/photo.jpg              splits are cut off at random
    PHOTOS/train/CLASS/photo.jpg        PHOTOS/val and PHOTOS/test beside it are optional

For a task that asks for no classes (`target_kind` none) the class folders may be left out. Images
that cannot be read and classes of fewer than two images are left out, and named.

An archive of the same (.zip, .tar, .tar.gz, .tar.xz) is read as it is.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gradlab import paths
from gradlab.config import DataConfig
from gradlab.data.columns import Dense
from gradlab.data.dataset import SPLITS, Parts, Schema, Source, Split, SplitName
from gradlab.data.decode import ImageFile, Look, common_form, survey, unreadable
from gradlab.data.fields.base import Checked, Issue
from gradlab.data.fields.image import Image
from gradlab.data.fields.label import Label
from gradlab.data.image_cache import MUCH, decoded
from gradlab.data.kinds import IMAGES
from gradlab.data.listing import Listing, in_words, opened
from gradlab.errors import UserError
from gradlab.text import quoted
from gradlab.wording import SHOWN, shown, some

MOST_UNREADABLE = 0.1
"""A larger share of images that cannot be read is refused: they are more than a few accidents."""
LEAST = 2
"""Training images of a class: a single one would be learnt by heart, and never be held out."""

SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def image_source(path: Path, config: DataConfig) -> Source:
    """The images in a folder or archive as a `Source`.

    UserError when the layout is not one of those above, when there are fewer than two classes and
    the configuration asks for classes, and when more images cannot be read than
    `config.unreadable` lets pass.
    """
    seen: list[Look] = []
    parts: Parts = {}
    left_out: dict[str, str] = {}
    with opened(path) as found:
        listing = found if path.is_dir() else _inside(found)
        checked = config.target_kind != "none"
        items, notes = arrange(listing, classes=checked)
        classes, lone = sorted({label for _, label, _ in items}), dict[str, int]()
        named = any(classes)
        looks = survey([file for _, _, file in items])
        (height, width), channels, converted = common_form(looks, config)
        size = len(items) * height * width * channels
        if size >= MUCH:
            converted += (f"images: {len(items):,} of this size take {size / 1e9:.1f} GB",)
        # Each split is an array of its own, so that one can be let go without the others.
        for split in SPLITS:
            index = [i for i, item in enumerate(items) if item[0] == split]
            files = [items[i][2] for i in index]
            chosen = [looks[i] for i in index]
            x, decoded_looks, said = decoded(files, chosen, (height, width), channels)
            notes = (*notes, *said)
            seen += decoded_looks
            labels = [items[i][1] for i in index]
            if split == "train" and checked:
                classes, lone = _learnable(labels, decoded_looks)
            number = {label: k for k, label in enumerate(classes)}
            for look, label in zip(decoded_looks, labels, strict=True):
                if look.error or label not in number:
                    left_out[look.name] = look.error or f"too few images of the class {label}"
            good = np.array([look.name not in left_out for look in decoded_looks], bool)
            if not good.any():
                continue
            columns: dict[str, Any] = {"image": Dense(x)}
            if named:
                places = [number.get(label, -1) for label in labels]
                columns["label"] = Dense(np.array(places, np.int64))
            whole = Split(columns, tuple(look.name for look in decoded_looks))
            parts[split] = whole if good.all() else whole.take(np.flatnonzero(good))
    notes += _said(path, seen, config, "train" in parts or any(lone.values()))
    if lone:
        few = some([f"{label} ({count})" for label, count in lone.items()], SHOWN)
        what = f"classes of fewer than {LEAST} images in train: {few}"
        if len(classes) < 2:
            raise UserError(
                f"{path}: classification needs at least two classes of {LEAST} images each, found "
                f"{some(classes) or 'none'}, and {what}. Add images"
            )
        notes += (f"left out, {what}",)
    schema = Schema(
        inputs={"image": Image(height=height, width=width, channels=channels)},
        targets={"label": Label(classes=tuple(classes))} if named else {},
    )
    return Source(
        str(path),
        schema,
        parts,
        (*notes, *converted),
        stratify="label" if named else "",
        checked=_checked(seen),
        left_out=left_out,
    )


def _learnable(labels: Sequence[str], looks: Sequence[Look]) -> tuple[list[str], dict[str, int]]:
    """The classes of the training images; and those with too few that can be read: how many."""
    counts = dict.fromkeys(sorted(set(labels)), 0)
    for label, look in zip(labels, looks, strict=True):
        counts[label] += not look.error
    lone = {label: count for label, count in counts.items() if count < LEAST}
    return [label for label in counts if label not in lone], lone


def _said(
    path: Path, looks: Sequence[Look], config: DataConfig, is_usable: bool
) -> tuple[str, ...]:
    """A note that names the images that cannot be read; UserError where they are too many, or
    nothing is left to learn from."""
    bad = [look for look in looks if look.error]
    most = {"refuse": 0.0, "skip": MOST_UNREADABLE, "any": 1.0}[config.unreadable]
    if not bad:
        return ()
    if len(bad) <= most * len(looks) and is_usable:
        named = some([f"{look.name} ({look.error})" for look in bad], SHOWN)
        return (f"left out, not readable: {named}",)
    hint = f"Remove or replace them; `gradlab data check {path}` lists all"
    if is_usable and len(bad) < len(looks):
        hint += f". They are {len(bad) / len(looks):.0%} of all: to leave them out, give "
        hint += "--data.unreadable any"
    raise UserError(f"{unreadable(str(path), looks)}\n{hint}")


def _checked(looks: Sequence[Look]) -> Checked:
    """Sizes and modes of the files as they are on the disk, and those that cannot be read."""
    good = [look for look in looks if not look.error]
    broken = {look.name: look.error for look in looks if look.error}
    issues: tuple[Issue, ...] = ()
    if broken:
        where = shown([f"{name}: {error}" for name, error in broken.items()])
        what = f"images that cannot be read: {len(broken)} of {len(looks)}. Remove or replace them"
        issues = (Issue("error", what, where),)
    facts = {
        "sizes": dict(Counter(f"{look.width}x{look.height}" for look in good).most_common()),
        "modes": dict(Counter(look.mode for look in good).most_common()),
        "unreadable": broken,
    }
    return Checked(facts, issues)


def class_folders(path: Path) -> tuple[list[str], list[ImageFile], tuple[str, ...]]:
    """Classes and images of a folder or archive, of any number of classes and all splits; notes.

    UserError where the images lie in no class folders.
    """
    with opened(path) as found:
        listing = found if path.is_dir() else _inside(found)
        items, notes = arrange(listing, classes=False)
        if not all(label for _, label, _ in items):
            raise UserError(f"{path}: the images lie in no class folder. {_EXPECTED}")
        files = [file if file.path else _held(file) for _, _, file in items]
    return [label for _, label, _ in items], files, notes


def _held(file: ImageFile) -> ImageFile:
    """A file of an archive that is closed later."""
    with file.open() as stream:
        return ImageFile(file.name, partial(io.BytesIO, stream.read()))


def arrange(
    listing: Listing, classes: bool = True
) -> tuple[list[tuple[SplitName, str, ImageFile]], tuple[str, ...]]:
    """Split and class of each image, sorted by path; and notes on what was left out.

    Where no `classes` are needed, images that lie in no class folder have the class "".
    """
    where, images = listing.where, listing.images
    if not images:
        found = in_words(listing.others) or "nothing"
        raise UserError(
            f"{where} holds no image (found: {found}). {_EXPECTED} "
            f"Kinds that are read: {' '.join(IMAGES)}"
        )
    split_of = _splits(listing, 2 if classes else 1)
    depth = 1 if split_of else 0
    if not classes and any(len(parts) <= depth + 1 for parts in images):
        return [
            (split_of[parts[0]] if split_of else "train", "", images[parts])
            for parts in sorted(images)
        ], ()
    placed = {parts: file for parts, file in images.items() if len(parts) > depth + 1}
    stray = [images[parts].name for parts in sorted(images) if parts not in placed]
    if not placed:
        raise UserError(f"{where}: the images lie in no class folder ({some(stray)}). {_EXPECTED}")
    for label in {parts[depth] for parts in placed}:
        if not paths.is_text(label):
            raise UserError(
                f"{where}: the name of the class folder {quoted(label)} is not UTF-8, "
                "and could not be recorded: rename it"
            )
    items = [
        (split_of[parts[0]] if split_of else "train", parts[depth], placed[parts])
        for parts in sorted(placed)
    ]
    notes = [f"left out, in no class folder: {some(stray)}"] if stray else []
    if listing.others:
        notes.append(f"left out, no images: {in_words(listing.others)}")
    names: dict[SplitName, set[str]] = {split: set() for split in SPLITS}
    for parts in listing.folders:
        if len(parts) == depth + 1:
            names[split_of[parts[0]] if split_of else "train"].add(parts[depth])
    used = Counter((split, label) for split, label, _ in items)
    if classes:
        notes += _check_classes(listing, names, used)
    return items, tuple(notes)


def _check_classes(
    listing: Listing, names: dict[SplitName, set[str]], used: Counter[tuple[SplitName, str]]
) -> list[str]:
    """Notes on class folders without an image, and on classes that a held-out split lacks.

    `names` are the classes that each split has a folder for, `used` the images of each. UserError
    for fewer than two classes, and for one that only val or test has.
    """
    where = listing.where
    filled = {label for label in names["train"] if used["train", label]}
    if len(filled) < 2:
        only = "".join(filled)
        found = f"one ({only}, {used['train', only]} images)" if only else "none"
        deeper = only and any(len(parts) > 2 for parts in listing.images)
        hint = f" If they are the folders inside {where / only}, give that." if deeper else ""
        raise UserError(
            f"{where}: classification needs at least two classes, found {found}. {_EXPECTED}{hint}"
        )
    notes = []
    if empty := names["train"] - filled:
        notes.append(f"left out, no image in the class folder: {some(sorted(empty), SHOWN)}")
    for split in ("val", "test"):
        labels = {label for label in names[split] if used[split, label]}
        if labels - names["train"]:
            raise UserError(
                f"{where}: {split} has classes that train has not: "
                f"{some(sorted(labels - names['train']))}. Train has "
                f"{some(sorted(names['train']), 10)}: name the folders alike"
            )
        if labels and filled - labels:
            notes.append(f"{split} has no image of {some(sorted(filled - labels))}")
    return notes


_EXPECTED = (
    "Expected a folder for each class with its images inside, or train/ (and val/, test/) of "
    "such folders."
)


def _splits(listing: Listing, least: int = 2) -> dict[str, SplitName]:
    """The top folders that are splits; empty when the top folders are classes.

    A folder called train is a split when it has folders of images itself (at least `least` folders
    lie above an image); else it is a class.
    """
    tops = {parts[0] for parts in listing.images if len(parts) > 1}
    found = {top: SPLIT_FOLDERS[top.lower()] for top in tops if top.lower() in SPLIT_FOLDERS}
    nested = {parts[0] for parts in listing.images if len(parts) > least}
    if not set(found) & nested:
        return {}
    if "train" not in found.values():
        if tops - set(found):
            return {}
        raise UserError(
            f"{listing.where} has images in {some(sorted(tops))}, but none in train. {_EXPECTED}"
        )
    if tops - set(found):
        raise UserError(
            f"{listing.where} has splits ({some(sorted(found))}) and beside them "
            f"{some(sorted(tops - set(found)))}: move those elsewhere. {_EXPECTED}"
        )
    return found


def _inside(listing: Listing) -> Listing:
    """The listing of an archive, seen from inside the one folder that all of it lies in."""
    while listing.images:
        tops = {parts[0] for parts in listing.images}
        top = min(tops)
        if len(tops) > 1 or max(map(len, listing.images)) < 3 or top.lower() in SPLIT_FOLDERS:
            break
        listing = listing.inside(top)
    return listing
