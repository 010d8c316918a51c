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


def archive_format(path: Path) -> Literal["zip", "tar"] | None:
    """What archive a file is by its content: a zip, a tar (packed or not), or neither."""
    with paths.open_regular(path) as file:
        head = file.read(265)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    packed = head.startswith((b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh"))
    return "tar" if packed or head[257:262] == b"ustar" else None
