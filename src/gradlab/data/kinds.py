"""The kinds of files that data is read from, by the ends of their names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from gradlab import paths

IMAGES = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm",
    ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
TABLES = (".csv", ".tsv", ".parquet", ".pq")
ARRAYS = (".npz",)

Kind = Literal["image", "archive", "table", "arrays"]
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "image": IMAGES,
    "archive": ARCHIVES,
    "table": TABLES,
    "arrays": ARRAYS,
}


def kind_of(path: str | os.PathLike[str]) -> Kind | None:
    """What a file is by its name; None when it is of no kind that is read.

    >>> kind_of("photos/ANT.JPG"), kind_of("photos.tar.gz"), kind_of("notes.txt")
    ('image', 'archive', None)
    """
    name = os.fspath(path).lower()
    return next((kind for kind, ends in _SUFFIXES.items() if name.endswith(ends)), None)


def table_files(path: str | os.PathLike[str]) -> dict[str, Path]:
    """The tables by split in a folder that holds `train.csv` (and `val.csv`, `test.csv`).

    None where there is no train, or no folder. Any table's file will do, and `valid` or
    `validation` for val.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        split = _SPLIT_FILES.get(file.stem.lower())
        if split is not None and kind_of(file) == "table" and file.is_file():
            found.setdefault(split, file)
    return found if "train" in found else {}


_SPLIT_FILES = {
    "train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip


def archive_format(path: Path) -> Literal["zip", "tar"] | None:
    """What archive a file is by its content: a zip, a tar (packed or not), or neither."""
    with paths.open_regular(path) as file:
        head = file.read(265)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    packed = head.startswith((b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh"))
    return "tar" if packed or head[257:262] == b"ustar" else None
