"""The folder of decoded images: what of it is gradlab's, and how that is kept in bounds.

    CACHE/KEY/CACHEDIR.TAG   written first: this folder is gradlab's
    CACHE/KEY/pixels.bin     uint8 N H W C, as it is trained on
    CACHE/KEY/journal.jsonl  while it is built: the blocks that are done
    CACHE/KEY/entry.json     written last: what is there is whole
    CACHE/KEY.lock           held while the entry is built, opened or removed

GRADLAB_CACHE may name a folder that holds other things too. A folder counts as an entry only when
its name is a key, it bears the mark, and all in it are plain files of the names above; nothing else
is ever listed, written to or removed, and no link is followed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from gradlab import files, paths
from gradlab.errors import UserError
from gradlab.text import quoted

FORMAT = 2
"""Raised whenever the same bytes would be decoded to other pixels, or kept otherwise."""
LIMIT = 20
"""GB that the folder may hold, where GRADLAB_CACHE_GB does not say otherwise."""

Form = tuple[int, int, int]
"""H W C."""

MARK, PIXELS, JOURNAL, RECORD = "CACHEDIR.TAG", "pixels.bin", "journal.jsonl", "entry.json"
TAG = """Signature: 8a477f597d28d172789f06886806bc55
# Images that gradlab has decoded: `gradlab data clear` removes them, nothing is lost with them.
# The first line tells backup programs to pass this folder over: https://bford.info/cachedir/
"""
_KEY = re.compile("[0-9a-f]{32}")
_PARTIAL = r"\.{}\.[0-9a-f]{{8}}\.part"  # what a killed `files.write_text` leaves behind
_MARK_ALONE = re.compile(f"{re.escape(MARK)}|{_PARTIAL.format(re.escape(MARK))}")
_OWN = re.compile(
    "|".join(
        [_MARK_ALONE.pattern, _PARTIAL.format(re.escape(RECORD))]
        + [re.escape(name) for name in (PIXELS, JOURNAL, RECORD)]
    )
)


def cache_folder() -> Path:
    """Where decoded images are kept: GRADLAB_CACHE, else the platform's cache folder."""
    told = os.environ.get("GRADLAB_CACHE")
    if told:
        return paths.given(told, "GRADLAB_CACHE")
    import pooch

    return Path(pooch.os_cache("gradlab")) / "images"


def limit() -> float:
    """Bytes that the folder may hold; UserError when GRADLAB_CACHE_GB is no such number."""
    told = os.environ.get("GRADLAB_CACHE_GB") or str(LIMIT)
    with contextlib.suppress(ValueError):
        if float(told) >= 0:  # NaN is not
            return float(told) * 1e9
    raise UserError(f"GRADLAB_CACHE_GB: expected a number of GB, 0 or more, found {quoted(told)}")


@dataclass(frozen=True)
class Entry:
    """The place of one set of images in the cache."""

    folder: Path
    count: int
    form: Form

    @property
    def pixels(self) -> Path:
        """The file of the pixels."""
        return self.folder / PIXELS

    @property
    def journal(self) -> Path:
        """The file that says which blocks are done."""
        return self.folder / JOURNAL

    @property
    def stride(self) -> int:
        """Bytes of one image."""
        return int(np.prod(self.form))

    @property
    def size(self) -> int:
        """Bytes of all images."""
        return self.count * self.stride

    def errors(self) -> dict[str, str] | None:
        """What could not be decoded, by index; None when the entry is not whole."""
        held = contents(self.folder)
        if held is None or held.get(PIXELS) != self.size or RECORD not in held:
            return None
        try:
            record = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
            found = {str(index): str(why) for index, why in record["errors"].items()}
            return found if record["format"] == FORMAT else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def claim(self) -> None:
        """Make the folder and mark it as gradlab's; OSError when it is somebody else's."""
        self.folder.mkdir(exist_ok=True)
        if contents(self.folder) is not None:
            return
        if not _is_folder(self.folder) or not all(map(_MARK_ALONE.fullmatch, _names(self.folder))):
            raise FileExistsError(
                errno.EEXIST, "a folder of that name is there and not gradlab's", str(self.folder)
            )
        try:
            files.write_text(self.folder / MARK, TAG)
        except UserError:
            with contextlib.suppress(OSError):
                self.folder.rmdir()
            raise

    def finish(self, errors: dict[str, str]) -> None:
        """Write down that the entry is whole."""
        files.write_json(self.folder / RECORD, {"format": FORMAT, "errors": errors})
        self.journal.unlink(missing_ok=True)

    def used(self) -> None:
        """Note the time: the least recently used entry is removed first."""
        with contextlib.suppress(OSError):  # a cache that can only be read is of use too
            os.utime(self.folder / RECORD)

    def open(self) -> np.memmap:
        """The pixels, N H W C. Writing to them changes a copy of the page and never the file."""
        shape = (self.count, *self.form)
        if not sys.platform.startswith("linux"):
            return np.memmap(self.pixels, np.uint8, "c", shape=shape)
        # Linux would want memory for every page that might be written to, and refuse a set that is
        # larger than that; numpy has no way to ask it not to.
        flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0x4000)
        with self.pixels.open("rb") as file:
            pages = mmap.mmap(file.fileno(), self.size, flags, mmap.PROT_READ | mmap.PROT_WRITE)
        return np.frombuffer(pages, np.uint8).reshape(shape).view(np.memmap)


def contents(folder: Path) -> dict[str, int] | None:
    """The files of an entry and their bytes; None when the folder is not gradlab's."""
    try:
        if not _KEY.fullmatch(folder.name) or not _is_folder(folder):
            return None
        with os.scandir(folder) as found:
            held = {each.name: each.stat(follow_symlinks=False) for each in found}
        plain = all(stat.S_ISREG(info.st_mode) for info in held.values())
        if not plain or not all(map(_OWN.fullmatch, held)) or MARK not in held:
            return None
        if (folder / MARK).read_text(encoding="utf-8") != TAG:
            return None
    except (OSError, ValueError):
        return None
    return {name: info.st_size for name, info in held.items()}


def entries() -> list[tuple[Path, int]]:
    """The entries and their bytes, the least recently used first; half-built ones come first."""
    found = []
    with contextlib.suppress(OSError):
        for folder in sorted(cache_folder().iterdir()):
            held = contents(folder)
            if held is not None:
                used = (folder / RECORD).stat().st_mtime if RECORD in held else 0.0
                found.append((used, folder, sum(held.values())))
    return [(folder, size) for _, folder, size in sorted(found)]


def trim(most: float, keep: Path | None = None) -> tuple[int, int]:
    """Remove entries until at most `most` bytes are left: bytes removed, entries left in use.

    An entry that another process builds is left. One that is trained on may go: its pages stay as
    long as they are mapped; where the system forbids it (Windows), it is left.
    """
    found = entries()
    total, removed, used = sum(size for _, size in found), 0, 0
    for folder, size in found:
        if total - removed <= most or folder == keep:
            continue
        try:
            with locked(folder, wait=False):
                remove(folder)
            removed += size
        except (Timeout, OSError):
            used += 1
    return removed, used


def remove(folder: Path) -> None:
    """Remove an entry whose lock is held; a folder that is no entry is left alone."""
    held = contents(folder)
    if held is None:
        return
    # First what may be in use (then all is left as it was), last the mark.
    for name in sorted(held, key=lambda name: (name != PIXELS, name == MARK)):
        (folder / name).unlink()
    folder.rmdir()


@contextlib.contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock of an entry; `Timeout` when another has it and it is not to be waited for.

    The lock's file goes when there is no entry at the end. One who waited for it may then hold a
    lock that is none; two who build the same write the same bytes to the same places, so nothing
    is lost.
    """
    path = folder.with_suffix(".lock")
    if path.is_symlink():
        raise OSError(errno.ELOOP, "its lock is a link", str(path))
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise
        print("another process decodes these images: waiting for it", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        gone = not os.path.lexists(folder)
        if gone and os.name != "nt":
            path.unlink(missing_ok=True)
        lock.release()
        if gone and os.name == "nt":  # Windows removes no file that is open
            with contextlib.suppress(OSError):
                path.unlink()


def reserve(path: Path, size: int) -> None:
    """Make a file of `size` bytes whose room on the disk is taken; OSError when it is not there.

    A file with holes would be filled until the disk is full, which is found out too late.
    """
    with path.open("xb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except AttributeError:  # a system that has no such call
            pass
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
        zeros = bytes(1 << 20)
        for start in range(0, size, len(zeros)):
            file.write(zeros[: size - start])
        file.flush()
        os.fsync(file.fileno())


def _is_folder(path: Path) -> bool:
    """Whether it is a folder itself, and no link to one (nor, on Windows, a junction)."""
    info = path.lstat()
    return stat.S_ISDIR(info.st_mode) and not getattr(info, "st_reparse_tag", 0)


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as found:
        return [each.name for each in found]
