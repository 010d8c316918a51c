"""Files that are whole or not there: written to a temporary name, synced, renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradlab.errors import UserError


def write_bytes(path: Path, data: bytes) -> None:
    """Write `path` as a whole; on any error the old file stays as it was. UserError says why."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(partial, data)
        os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise write_error(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write `path` as a whole in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `path` as a whole, as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace `folder` by one that holds exactly `files`.

    At every moment either the old or the new folder can be read through `existing_folder`: the
    old one is moved to `NAME.old` for as long as the exchange takes.
    """
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    old = old_name(folder)
    try:
        partial.mkdir(parents=True)
        for name, data in files.items():
            _write_synced(partial / name, data)
        _sync_folder(partial)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(partial, folder)
        _sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise write_error(folder, error) from error


def existing_folder(folder: Path) -> Path:
    """`folder`, or the one that an interrupted `write_folder` left beside it."""
    old = old_name(folder)
    return old if old.is_dir() and not folder.is_dir() else folder


def old_name(folder: Path) -> Path:
    """Where `write_folder` keeps the old folder while it puts the new one in place."""
    return folder.with_name(f"{folder.name}.old")


def read_json(path: Path, what: str) -> Any:
    """The JSON value in `path`; UserError when the file is absent, unreadable or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{what}: there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{what}: {path} cannot be read ({error})") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{what}: {path} is not valid JSON (line {error.lineno}: {error.msg}); "
            "it was edited or cut short"
        ) from None


def write_error(path: Path, error: OSError) -> UserError:
    """What to tell a person whose disk does not take a file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "the disk (or your quota) is full: free some space or choose another --out"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "no permission to write there: choose another --out"
    else:
        advice = "choose another --out or mend the path"
    return UserError(f"cannot write {path}: {error.strerror or error}. {advice}")


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
