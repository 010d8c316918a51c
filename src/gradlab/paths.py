"""What a person names on a disk: whether it can be opened, and how its name is written."""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from io import BufferedReader
from pathlib import Path

from gradlab.errors import UserError

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


def printable(name: str) -> str:
    r"""A name without control characters and wrong bytes, which are written as escapes.

    >>> print(printable("caf\udce9 \x1b[31m"))
    caf\xe9 \x1b[31m
    """
    return name if name.isprintable() else "".join(map(_escaped, name))


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape").decode("ascii")
    return character


def quoted(name: str) -> str:
    """A name as it stands in a message."""
    return f"'{printable(shortened(name))}'"


def shortened(text: str, most: int = 200) -> str:
    """A text with its middle left out when it is long.

    >>> shortened("0123456789" * 3, most=12)
    '01234...56789'
    """
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}...{text[-half:]}"
