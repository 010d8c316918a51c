"""Files that are whole or not there: written to a temporary name, synced, renamed.

A killed writer leaves its temporary `.NAME.N.part` behind. The next writer of the same file takes
it away as soon as nobody can be writing it any more.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from gradlab.errors import UserError
from gradlab.text import brief

_STALE = 3600.0
"""Seconds without a change after which the writer of a temporary file must be dead."""

_PARTIAL = re.compile(r"\..+\.\d+\.part", re.DOTALL)

_NESTED = 100
"""Levels of JSON: no file of gradlab's is nested so deeply."""

_LONGEST_NAME = 200
"""Bytes of a name; systems allow 255, and temporary names are somewhat longer."""

_REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names of devices on Windows."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write `path` as a whole; on any error the old file stays as it was. UserError says why."""
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _begin(path, functools.partial(Path.touch, exist_ok=False))
        _write_synced(partial, data)
        os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        if partial is not None:
            remove(partial)
        raise write_error(path, error) from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content becomes `path` at its end, for what is too large for one `bytes`.

    On any error the old file stays as it was. UserError says why it cannot be written.
    """
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _begin(path, functools.partial(Path.touch, exist_ok=False))
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if partial is not None:
            remove(partial)


def write_text(path: Path, text: str) -> None:
    """Write `path` as a whole in UTF-8.

    Bytes of a file name that are not UTF-8 are written as escapes, which JSON reads back.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write `path` as a whole, as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace `folder` by one that holds exactly `files`.

    At every moment either the old or the new folder can be read through `existing_folder`: the
    old one is moved to `NAME.old` for as long as the exchange takes.
    """
    partial, old = None, old_name(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = _begin(folder, Path.mkdir)
        for name, data in files.items():
            _write_synced(partial / name, data)
        _sync_folder(partial)
        if folder.exists():
            remove(old)
            os.replace(folder, old)
        os.replace(partial, folder)
        _sync_folder(folder.parent)
        remove(old)
    except OSError as error:
        if partial is not None:
            remove(partial)
        raise write_error(folder, error) from error


def existing_folder(folder: Path) -> Path:
    """`folder`, or the one that an interrupted `write_folder` left beside it."""
    old = old_name(folder)
    return old if old.is_dir() and not folder.is_dir() else folder


def old_name(folder: Path) -> Path:
    """Where `write_folder` keeps the old folder while it puts the new one in place."""
    return folder.with_name(f"{folder.name}.old")


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; it may be absent."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def is_partial(name: str) -> bool:
    """Whether a file of this name is a temporary one of ours."""
    return bool(_PARTIAL.fullmatch(name))


def clear_leftovers(folder: Path) -> None:
    """Remove the temporary files anywhere under `folder`, however new.

    For the one process that may write there: it holds the folder's lock.
    """
    for parent, folders, names in os.walk(folder):
        for name in filter(is_partial, (*folders, *names)):
            remove(Path(parent, name))


def check_name(name: str, what: str) -> None:
    """UserError unless `name` can be the name of a folder, on every system, and nothing more.

    >>> check_name("../a", "--name")
    Traceback (most recent call last):
    gradlab.errors.UserError: --name: expected the plain name of a folder, found '../a': ...
    """
    if not name or name.startswith(".") or name[-1] in ". ":
        reason = "it may not be empty, begin with a dot, or end with a dot or a space"
    elif _REFUSED.search(name):
        reason = 'it may hold none of / \\ : * ? " < > | and no control characters'
    elif _RESERVED.fullmatch(name):
        reason = "Windows keeps this name for a device"
    elif len(os.fsencode(name)) > _LONGEST_NAME:
        reason = f"it may have at most {_LONGEST_NAME} bytes"
    else:
        return
    raise UserError(f"{what}: expected the plain name of a folder, found {brief(name)}: {reason}")


def plain_name(text: str, longest: int = 80) -> str:
    """`text` as the name of a folder: what `check_name` refuses replaced or left out.

    >>> plain_name("mlp-ALE/Pong:v5")
    'mlp-ALE-Pong-v5'
    """
    whole = text.encode("utf-8", "replace")[:longest].decode("utf-8", "ignore")
    return _REFUSED.sub("-", whole).strip(". ") or "run"


def finite(value: Any) -> Any:
    """A tree with None for each number that is not finite: JSON has no other word for it.

    >>> finite({"r2": float("nan"), "loss": [1.0, float("inf")]})
    {'r2': None, 'loss': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse_json(text: str) -> Any:
    """The JSON value in a text; ValueError says why it is none, or none that gradlab wrote."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("a number has too many digits") from None
    depth, level = 0, [value]
    while level:
        depth, level = depth + 1, [child for node in level for child in _children(node)]
        if depth > _NESTED:
            raise ValueError("it is nested too deeply")
    return value


def read_json(path: Path, what: str) -> Any:
    """The JSON value in `path`; UserError when the file is absent, unreadable or no JSON."""
    try:
        if not path.is_file():
            raise UserError(f"{what}: there is no file {path}")
        return parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{what}: {path} cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8"
    except ValueError as error:
        reason = str(error)
    raise UserError(f"{what}: {path} is not valid JSON ({reason}); it was edited or cut short")


def write_error(path: Path, error: OSError) -> UserError:
    """What to tell a person whose disk does not take a file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "the disk (or your quota) is full: free some space or choose another --out"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "no permission to write there: choose another --out"
    elif error.errno == errno.ENAMETOOLONG:
        advice = "choose a shorter name"
    else:
        advice = "choose another --out or fix the path"
    return UserError(f"cannot write {path}: {error.strerror or error}. {advice}")


def _begin(path: Path, make: Callable[[Path], object]) -> Path:
    """A temporary file or folder for `path`, made by `make`, which raises where there is one."""
    number = 0
    while os.path.lexists(partial := _partial(path, number)):
        with contextlib.suppress(OSError):
            if time.time() - partial.lstat().st_mtime > _STALE:
                remove(partial)
        number += 1
    number = 0
    while True:
        try:
            make(partial := _partial(path, number))
        except FileExistsError:  # of another writer: take the next
            number += 1
        else:
            return partial


def _partial(path: Path, number: int) -> Path:
    return path.with_name(f".{path.name[:40]}.{number}.part")


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system lets a folder be synced (Windows does not)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
