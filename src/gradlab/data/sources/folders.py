"""One's own images: a folder of class folders, with or without splits, or an archive of one.

    PHOTOS/CLASS/photo.jpg              splits are cut off at random
    PHOTOS/train/CLASS/photo.jpg        PHOTOS/val and PHOTOS/test beside it are optional

For a task that asks for no classes (`target_kind` none) the class folders may be left out.

An archive (.zip, .tar, .tar.gz, .tar.xz) is read as it is; nothing is unpacked to the disk. The
images in a .tar are held in memory while they are decoded, because it can only be read in order.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.dataset import SPLITS, Parts, Schema, Source, Split, SplitName
from gradlab.data.decode import (
    SUFFIXES,
    ImageFile,
    Look,
    common_form,
    some,
    survey,
    unreadable,
)
from gradlab.data.photos import decoded
from gradlab.errors import UserError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
LARGEST_FILE = 2**29
"""A member of an archive that unpacks to more bytes than this is refused."""

PathParts = tuple[str, ...]


@dataclass(frozen=True)
class Photo:
    """An image of a set: where it belongs, and what its file is."""

    split: SplitName
    label: str
    look: Look


@dataclass
class Listing:
    """What a folder or an archive holds, by path; hidden files are left out."""

    where: Path
    images: dict[PathParts, ImageFile] = field(default_factory=dict)
    folders: set[PathParts] = field(default_factory=set)
    others: Counter[str] = field(default_factory=Counter)

    def add(self, parts: PathParts) -> bool:
        """Take note of a file; whether it is an image, by its suffix."""
        self.folders.update(parts[:depth] for depth in range(1, len(parts)))
        suffix = PurePosixPath(parts[-1]).suffix.lower()
        if suffix not in SUFFIXES:
            self.others[suffix or "without suffix"] += 1
        return suffix in SUFFIXES


def image_source(path: Path, config: DataConfig) -> Source:
    """The images in a folder or archive as a `Source`; UserError when any cannot be read."""
    source, photos = examine(path, config)
    if any(photo.look.error for photo in photos):
        raise _refusal(path, photos)
    return source


def examine(path: Path, config: DataConfig) -> tuple[Source, tuple[Photo, ...]]:
    """The images that can be read as a `Source`, and a look at every one, readable or not.

    UserError when the layout is not one of those above, or there are fewer than two classes and
    the configuration asks for classes.
    """
    photos: list[Photo] = []
    parts: Parts = {}
    with _opened(path) as listing:
        items, notes = arrange(listing, classes=config.target_kind != "none")
        unchecked = config.target_kind == "none"
        classes = sorted({label for split, label, _ in items if unchecked or split == "train"})
        looks = survey([file for _, _, file in items])
        shape, channels, converted = common_form(looks, config)
        # Each split is an array of its own, so that one can be let go without the others.
        for split in SPLITS:
            index = [i for i, item in enumerate(items) if item[0] == split]
            files = [items[i][2] for i in index]
            x, seen, said = decoded(files, [looks[i] for i in index], shape, channels)
            notes = (*notes, *said)
            labels = [items[i][1] for i in index]
            photos += [Photo(split, *pair) for pair in zip(labels, seen, strict=True)]
            good = [i for i, look in enumerate(seen) if not look.error]
            if good:
                y = np.array([classes.index(labels[i]) for i in good], np.int64)
                ids = tuple(seen[i].name for i in good)
                parts[split] = Split(x if len(good) == len(x) else x[good], y, ids)
    if "train" not in parts:
        raise _refusal(path, photos)
    named = tuple(classes) if any(classes) else ()
    target: Literal["class", "none"] = "class" if named else "none"
    schema = Schema(kind="image", shape=(channels, *shape), target=target, classes=named)
    return Source(str(path), schema, parts, (*notes, *converted)), tuple(photos)


def _refusal(path: Path, photos: Iterable[Photo]) -> UserError:
    error = unreadable(str(path), (photo.look for photo in photos))
    return UserError(f"{error}\nRemove or replace them; `gradlab data check {path}` lists all")


def arrange(
    listing: Listing, classes: bool = True
) -> tuple[list[tuple[SplitName, str, ImageFile]], tuple[str, ...]]:
    """Split and class of each image, sorted by path; and notes on what was left out.

    Where no `classes` are needed, images that lie in no class folder have the class "".
    """
    where, images = listing.where, listing.images
    if not images:
        found = _counted(listing.others) or "nothing"
        raise UserError(
            f"{where} holds no image (found: {found}). {_EXPECTED} "
            f"Kinds that are read: {' '.join(sorted(SUFFIXES))}"
        )
    split_of = _splits(listing, 2 if classes else 1)
    depth = 1 if split_of else 0
    if not classes and any(len(parts) <= depth + 1 for parts in images):
        return [
            (split_of[parts[0]] if split_of else "train", "", images[parts])
            for parts in sorted(images)
        ], ()
    placed = {parts: file for parts, file in images.items() if len(parts) > depth + 1}
    stray = ["/".join(parts) for parts in sorted(images) if parts not in placed]
    if not placed:
        raise UserError(f"{where}: the images lie in no class folder ({some(stray)}). {_EXPECTED}")
    items = [
        (split_of[parts[0]] if split_of else "train", parts[depth], placed[parts])
        for parts in sorted(placed)
    ]
    notes = [f"left out, in no class folder: {some(stray)}"] if stray else []
    if listing.others:
        notes.append(f"left out, no images: {_counted(listing.others)}")
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
    """Notes on classes that a held-out split lacks.

    `names` are the classes that each split has a folder for, `used` the images of each. UserError
    for fewer than two classes, one without images in train, one that only val or test has.
    """
    where = listing.where
    if len(names["train"]) < 2:
        only = "".join(names["train"])
        found = f"one ({only}, {used['train', only]} images)" if only else "none"
        deeper = only and any(len(parts) > 2 for parts in listing.images)
        hint = f" If they are the folders inside {where / only}, give that." if deeper else ""
        raise UserError(
            f"{where}: classification needs at least two classes, found {found}. {_EXPECTED}{hint}"
        )
    empty = sorted(label for label in names["train"] if not used["train", label])
    if empty:
        raise UserError(
            f"{where}: no image in the class folder {some(empty)}: add images or remove the folder"
        )
    notes = []
    for split in ("val", "test"):
        labels = {label for label in names[split] if used[split, label]}
        if labels - names["train"]:
            raise UserError(
                f"{where}: {split} has classes that train has not: "
                f"{some(sorted(labels - names['train']))}. Train has "
                f"{some(sorted(names['train']), 10)}: name the folders alike"
            )
        if labels and names["train"] - labels:
            notes.append(f"{split} has no image of {some(sorted(names['train'] - labels))}")
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


def _counted(others: Counter[str]) -> str:
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))


@contextmanager
def _opened(path: Path) -> Iterator[Listing]:
    """The listing of a folder or archive, whose images can be read until the end."""
    try:
        if path.is_dir():
            yield _list_folder(path)
        elif path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                yield _inside(_list_zip(path, archive))
        else:
            yield _inside(_list_tar(path))
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged or cut short, or is no archive: {error}") from None
    except OSError as error:
        raise UserError(
            f"{error.filename or path} cannot be read: {error.strerror or error}"
        ) from None


def _list_folder(path: Path) -> Listing:
    listing = Listing(path)

    def refuse(error: OSError) -> None:
        raise error

    for root, folders, files in os.walk(path, onerror=refuse, followlinks=True):
        here = Path(root)
        folders[:] = [name for name in folders if not _hidden(name) and not _loops(here / name)]
        above = here.relative_to(path).parts
        listing.folders.update((*above, name) for name in folders)
        for name in files:
            parts = (*above, name)
            if not _hidden(name) and listing.add(parts):
                listing.images[parts] = ImageFile.at(here / name, "/".join(parts))
    return listing


def _loops(path: Path) -> bool:
    """Whether a folder is a link to one that it lies in."""
    return path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve())


def _list_zip(path: Path, archive: zipfile.ZipFile) -> Listing:
    listing = Listing(path)
    for member in archive.infolist():
        parts = _safe_parts(path, member.filename.replace("\\", "/"))
        if not parts or any(map(_hidden, parts)):
            continue
        if member.is_dir():
            listing.folders.add(parts)
            continue
        _check_size(path, member.filename, member.file_size)
        if listing.add(parts):
            listing.images[parts] = ImageFile("/".join(parts), partial(archive.open, member))
    return listing


def _list_tar(path: Path) -> Listing:
    listing = Listing(path)
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            parts = _safe_parts(path, member.name)
            if not parts or any(map(_hidden, parts)):
                continue
            if member.isdir():
                listing.folders.add(parts)
                continue
            _check_size(path, member.name, member.size)
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                listing.others["links"] += 1
            elif listing.add(parts):
                opener = partial(io.BytesIO, content.read())
                listing.images[parts] = ImageFile("/".join(parts), opener)
    return listing


def _inside(listing: Listing) -> Listing:
    """The listing of an archive, seen from inside the one folder that all of it lies in."""
    while listing.images:
        tops = {parts[0] for parts in listing.images}
        top = min(tops)
        if len(tops) > 1 or max(map(len, listing.images)) < 3 or top.lower() in SPLIT_FOLDERS:
            break
        listing.images = {parts[1:]: file for parts, file in listing.images.items()}
        listing.folders = {parts[1:] for parts in listing.folders if parts[0] == top} - {()}
    return listing


def _safe_parts(path: Path, name: str) -> PathParts:
    """The parts of a member's name; UserError when it points outside the archive."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or PureWindowsPath(name).drive:
        raise UserError(f"{path}: the member {name!r} points outside the archive; it is not read")
    return pure.parts


def _check_size(path: Path, name: str, size: int) -> None:
    if size > LARGEST_FILE:
        raise UserError(f"{path}: the member {name!r} would unpack to {size:,} bytes; remove it")


def _hidden(name: str) -> bool:
    """Whether a file or folder is one of those that systems leave behind."""
    return name.startswith(".") or name.lower() in ("__macosx", "thumbs.db", "desktop.ini")


def image_paths(folder: Path) -> list[Path]:
    """The image files anywhere in a folder, sorted."""
    with _opened(folder) as listing:
        return [folder.joinpath(*parts) for parts in sorted(listing.images)]
