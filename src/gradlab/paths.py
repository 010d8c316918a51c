"""What a person names on a disk: whether it can be opened, and how its name is written."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from gradlab.errors import UserError
from gradlab.text import quoted

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def given(text: str | os.PathLike[str], what: str) -> Path:
    """A path that a person gave, ~ expanded; UserError when there can be no such path.

    `what` says in the error what the path is of.
    """
    name = os.fspath(text)
    if not is_text(name):
        raise UserError(
            f"{what}: the name {quoted(name)} is not UTF-8, and could not be recorded: rename it"
        )
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{what}: {quoted(name)} is no path: {why}") from None
    return path


def regular(path: Path) -> None:
    """UserError unless `path` leads to a file: reading a pipe or a device would never end."""
    try:
        _check(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def open_regular(path: Path) -> BufferedReader:
    """The file at `path`, for reading; OSError also for what is no file (see `regular`)."""
    _check(path)
    return path.open("rb")


def _check(path: Path) -> None:
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, expected a file", str(path))


def is_text(name: str) -> bool:
    r"""Whether a name can be written as UTF-8.

    A name that the system did not give in UTF-8 is held with a stand-in for each wrong byte.

    >>> is_text("caf\u00e9"), is_text("caf\udce9")
    (True, False)
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
