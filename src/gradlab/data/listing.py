"""What a folder or an archive of images holds, by path; nothing is unpacked to the disk.

An archive (.zip, .tar, .tar.gz, .tar.xz, .tar.bz2) is read as what its content says it is. A .zip
is read image by image. A .tar can only be read in order, so its images are held in memory until
they are decoded: at most `HELD` bytes of them.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NoReturn, Self

from gradlab import paths
from gradlab.data.decode import ImageFile
from gradlab.data.kinds import archive_format, kind_of
from gradlab.errors import UserError
from gradlab.text import one_line, quoted

LARGEST_FILE = 2**29
"""A member of an archive that unpacks to more bytes than this is refused."""
HELD = 2**31
"""Bytes of a .tar's images that are held in memory; one that unpacks to more is refused."""
LARGEST_HEADER = 2**20
"""Bytes that a .tar may spend on the name of a member and what else is said of it."""

PathParts = tuple[str, ...]
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


@dataclass
class Listing:
    """What a folder or an archive holds, by path; hidden files are left out."""

    where: Path
    images: dict[PathParts, ImageFile] = field(default_factory=dict)
    folders: set[PathParts] = field(default_factory=set)
    others: Counter[str] = field(default_factory=Counter)

    def add(self, parts: PathParts) -> bool:
        """Take note of a file; whether it is an image, by its name."""
        self.folders.update(parts[:depth] for depth in range(1, len(parts)))
        image = kind_of(parts[-1]) == "image"
        if not image:
            suffix = PurePosixPath(parts[-1]).suffix.lower()
            self.others[one_line(suffix) or "without suffix"] += 1
        return image

    def inside(self, top: str) -> Listing:
        """The same, seen from inside the one folder that all images lie in."""
        images = {parts[1:]: file for parts, file in self.images.items()}
        folders = {parts[1:] for parts in self.folders if parts[0] == top} - {()}
        return Listing(self.where, images, folders, self.others)


@contextmanager
def opened(path: Path) -> Iterator[Listing]:
    """The listing of a folder or archive, whose images can be read until the end.

    UserError when it cannot be read, or is an archive that would unpack to too much.
    """
    if path.is_dir():
        yield _list_folder(path)
        return
    paths.regular(path)
    with _refused(path):
        form = archive_format(path) or ("zip" if path.name.lower().endswith(".zip") else "tar")
    if form == "tar":
        with _refused(path):
            listing = _list_tar(path)
        yield listing
        return
    with _refused(path):
        archive = zipfile.ZipFile(path)
    with archive:
        with _refused(path):
            listing = _list_zip(path, archive)
        yield listing


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Whatever goes wrong with an archive as a UserError."""
    try:
        yield
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"{path} holds more than fits into memory: unpack it") from None
    except OSError as error:
        raise UserError(
            f"{error.filename or path} cannot be read: {error.strerror or error}"
        ) from None
    except Exception as error:  # the archives' readers raise whatever their formats bring up
        said = one_line(str(error)) or type(error).__name__
        raise UserError(
            f"{path} is damaged or cut short, is no archive, or of a kind that is not read: {said}"
        ) from None


def _list_folder(path: Path) -> Listing:
    listing = Listing(path)

    def refuse(error: OSError) -> NoReturn:
        where = one_line(str(error.filename or path))
        raise UserError(f"{where} cannot be read: {error.strerror or error}") from None

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
            if member.flag_bits & 1:
                raise UserError(
                    f"{path}: {quoted(member.filename)} is encrypted with a password: "
                    "unpack it, and give the folder"
                )
            listing.images[parts] = _image(parts, partial(archive.open, member))
    return listing


def _list_tar(path: Path) -> Listing:
    listing, held = Listing(path), 0
    with tarfile.open(path, "r|*", tarinfo=_Member) as archive:
        for member in archive:
            archive.members.clear()  # type: ignore[attr-defined] # it would keep them all
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
                held += member.size
                if held > HELD:
                    raise UserError(
                        f"{path} unpacks to more than {HELD / 1e9:.1f} GB of images, which would "
                        "be held in memory: unpack it and give the folder, or pack it as .zip"
                    )
                listing.images[parts] = _image(parts, partial(io.BytesIO, content.read()))
    return listing


class _Member(tarfile.TarInfo):
    """A member of a .tar, whose headers tarfile reads into memory whatever they say they take."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _HEADERS and found.size > LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {found.size:,} bytes")
        return found


def _image(parts: PathParts, opener: Any) -> ImageFile:
    return ImageFile(one_line("/".join(parts)), opener)


def _safe_parts(path: Path, name: str) -> PathParts:
    """The parts of a member's name; UserError when it points outside the archive."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or PureWindowsPath(name).drive:
        said = quoted(name)
        raise UserError(f"{path}: the member {said} points outside the archive; it is not read")
    return pure.parts


def _check_size(path: Path, name: str, size: int) -> None:
    if size > LARGEST_FILE:
        said = quoted(name)
        raise UserError(f"{path}: the member {said} would unpack to {size:,} bytes; remove it")


def _hidden(name: str) -> bool:
    """Whether a file or folder is one of those that systems leave behind."""
    return name.startswith(".") or name.lower() in ("__macosx", "thumbs.db", "desktop.ini")


def in_words(others: Counter[str]) -> str:
    """Kinds of files and how many there are of each.

    >>> in_words(Counter({".txt": 2, ".mp4": 1}))
    '1 .mp4, 2 .txt'
    """
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))


def image_paths(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The image files anywhere in a folder, sorted; and how many others there are of each kind."""
    with opened(folder) as listing:
        return [folder.joinpath(*parts) for parts in sorted(listing.images)], listing.others
