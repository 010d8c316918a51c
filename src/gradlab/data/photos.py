"""Photos are decoded once, into a memory-mapped file; the next training only opens it.

    CACHE/KEY/pixels.bin     uint8 N H W C, as it is trained on
    CACHE/KEY/entry.json     written last: what is there is whole
    CACHE/KEY/journal.jsonl  while it is built: the blocks that are done

The key is a hash of the bytes of every photo, in order, and of the form they are brought to: a
changed photo is never served as it was, and two copies of a folder share an entry. A build that was
killed continues after its last block; a second process that wants the same waits for the first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from gradlab import files
from gradlab.data.decode import ImageFile, Look, decode, decode_all, in_threads, reason
from gradlab.errors import UserError

FORMAT = 1
"""Raised whenever the same bytes would be decoded to other pixels."""
BLOCK = 64
"""Photos that are decoded and noted in the journal together."""
LARGE = 400_000_000
"""Pixels of a set from which on processes pay for their start; threads decode a smaller one."""
LIMIT = 20
"""GB that the cache may hold, where GRADLAB_CACHE_GB does not say otherwise."""

Form = tuple[int, int, int]
"""H W C."""


def cache_folder() -> Path:
    """Where decoded photos are kept: GRADLAB_CACHE, else the platform's cache folder."""
    given = os.environ.get("GRADLAB_CACHE")
    if given:
        return Path(given).expanduser()
    import pooch

    return Path(pooch.os_cache("gradlab")) / "photos"


def decoded(
    photos: Sequence[ImageFile], looks: Sequence[Look], shape: tuple[int, int], channels: int
) -> tuple[np.ndarray, list[Look], tuple[str, ...]]:
    """All photos as one memory-mapped array (uint8 N H W C), the looks with what went wrong, notes.

    The array may be written to; that changes a copy of the page and never the file. A photo that
    cannot be decoded leaves its place in the array undefined. Where the cache cannot be written
    they are decoded into memory, and the notes say so.
    """
    form = (*shape, channels)
    if not photos:
        return np.empty((0, *form), np.uint8), [], ()
    entry = Entry(cache_folder() / _key(photos, form), len(photos), form)
    try:
        entry.folder.parent.mkdir(parents=True, exist_ok=True)
        with _held(entry.lock):
            errors = entry.errors()
            if errors is None:
                errors = _build(entry, photos, looks)
                trim(limit(), keep=entry.folder)
            os.utime(entry.folder / "entry.json")  # the least recently used is removed first
            x: np.ndarray = entry.open("c")
    except OSError as error:
        x, seen = decode_all(photos, looks, shape, channels)
        why = error.strerror or error
        return (
            x,
            seen,
            (f"photos: decoded into memory, {entry.folder.parent} cannot be used: {why}",),
        )
    seen = [
        look if look.error or str(i) not in errors else replace(look, error=errors[str(i)])
        for i, look in enumerate(looks)
    ]
    return x, seen, ()


@dataclass(frozen=True)
class Entry:
    """The place of one set of photos in the cache."""

    folder: Path
    count: int
    form: Form

    @property
    def lock(self) -> Path:
        """The file that is locked while the entry is built or opened."""
        return self.folder.with_suffix(".lock")

    @property
    def size(self) -> int:
        """Bytes of the pixels."""
        return self.count * int(np.prod(self.form))

    def errors(self) -> dict[str, str] | None:
        """What could not be decoded, by index; None when the entry is not whole."""
        try:
            record = json.loads((self.folder / "entry.json").read_text(encoding="utf-8"))
            whole = (self.folder / "pixels.bin").stat().st_size == self.size
        except (OSError, ValueError):
            return None
        return dict(record["errors"]) if whole and record.get("format") == FORMAT else None

    def open(self, mode: str) -> np.memmap:
        """The pixels; `mode` is numpy's: "r+" to write them, "c" to use them."""
        shape = (self.count, *self.form)
        return np.memmap(self.folder / "pixels.bin", np.uint8, mode, shape=shape)  # type: ignore[call-overload,no-any-return]


# building


def _build(entry: Entry, photos: Sequence[ImageFile], looks: Sequence[Look]) -> dict[str, str]:
    """Decode what is not decoded yet; what could not be, by index."""
    entry.folder.mkdir(exist_ok=True)
    journal = entry.folder / "journal.jsonl"
    done = _done(journal) if _prepare(entry) else {}
    starts = [start for start in range(0, entry.count, BLOCK) if start not in done]
    pixels = sum(look.width * look.height for look in looks)
    by_processes = pixels >= LARGE and all(photo.path for photo in photos) and _cores() > 1
    decoder = _processes if by_processes else _threads
    with _shown(entry, len(done) * BLOCK) as advance, journal.open("a", encoding="utf-8") as file:
        for start, errors in decoder(entry, photos, looks, starts):
            file.write(json.dumps({"start": start, "errors": errors}) + "\n")
            file.flush()
            done[start] = errors
            advance(min(BLOCK, entry.count - start))
    found = {index: why for errors in done.values() for index, why in errors.items()}
    files.write_json(entry.folder / "entry.json", {"format": FORMAT, "errors": found})
    journal.unlink()
    return found


def _prepare(entry: Entry) -> bool:
    """Make room for the pixels; whether an earlier build has begun to fill it."""
    path = entry.folder / "pixels.bin"
    with contextlib.suppress(FileNotFoundError):
        (entry.folder / "entry.json").unlink()
    if path.is_file() and path.stat().st_size == entry.size:
        return True
    (entry.folder / "journal.jsonl").unlink(missing_ok=True)
    free = shutil.disk_usage(entry.folder).free
    if free < entry.size:  # a hole in a file is only found out when it is filled: a crash
        raise OSError(28, f"{entry.size / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    with path.open("wb") as file:
        file.truncate(entry.size)
    return False


def _done(journal: Path) -> dict[int, dict[str, str]]:
    """The blocks that are done, by their first index; a line that was cut short is none."""
    found = {}
    if journal.is_file():
        for text in journal.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                line = json.loads(text)
                found[int(line["start"])] = dict(line["errors"])
    return found


def fill(
    x: np.memmap, start: int, photos: Sequence[ImageFile], looks: Sequence[Look] | None = None
) -> dict[str, str]:
    """Decode a block into its place; what could not be decoded, by index."""
    errors = {}
    for index, photo in enumerate(photos, start):
        if looks is not None and looks[index - start].error:
            continue
        try:
            x[index] = decode(photo, x.shape[1:3], x.shape[3])
        except Exception as error:  # Pillow's decoders raise whatever their formats bring up
            errors[str(index)] = reason(error)
    return errors


def _threads(
    entry: Entry, photos: Sequence[ImageFile], looks: Sequence[Look], starts: Sequence[int]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Decode blocks in threads; Pillow lets other threads run while it decodes."""
    x = entry.open("r+")

    def one(start: int) -> tuple[int, dict[str, str]]:
        part = slice(start, start + BLOCK)
        return start, fill(x, start, photos[part], looks[part])

    with ThreadPoolExecutor(_cores()) as pool:
        for start, errors in pool.map(one, starts):
            x.flush()
            yield start, errors


def _processes(
    entry: Entry, photos: Sequence[ImageFile], looks: Sequence[Look], starts: Sequence[int]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Decode blocks in processes of their own.

    Plain child processes of this Python: `multiprocessing` would run a person's script again,
    where that has no guard around its main part.
    """
    shares = [list(starts[k :: _cores()]) for k in range(_cores())]

    def work(share: list[int]) -> list[tuple[int, dict[str, str]]]:
        blocks = [
            (start, [str(photo.path) for photo in photos[start : start + BLOCK]]) for start in share
        ]
        task = {"folder": str(entry.folder), "count": entry.count, "form": entry.form}
        command = [sys.executable, "-m", "gradlab.data.photo_worker"]
        found = subprocess.run(
            command,
            input=json.dumps({**task, "blocks": blocks}),
            capture_output=True,
            encoding="utf-8",
            env={
                **os.environ,
                "PYTHONIOENCODING": "utf-8",
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
        )
        lines = [json.loads(line) for line in found.stdout.splitlines() if line.endswith("}")]
        return [(line["start"], line["errors"]) for line in lines]

    # Portions, so that the journal and the bar move: a child's answers come at its end.
    portions = [share[i : i + 8] for share in shares for i in range(0, len(share), 8)]
    left = set(starts)
    with ThreadPoolExecutor(_cores()) as pool:
        for results in pool.map(work, [portion for portion in portions if portion]):
            for start, errors in results:
                left.discard(start)
                yield start, errors
    if left:  # a child died: what it left undone is decoded here
        yield from _threads(entry, photos, looks, sorted(left))


# keeping it in bounds


def limit() -> float:
    """Bytes that the cache may hold."""
    given = os.environ.get("GRADLAB_CACHE_GB", str(LIMIT))
    try:
        return float(given) * 1e9
    except ValueError:
        raise UserError(f"GRADLAB_CACHE_GB: expected a number of GB, found {given!r}") from None


def entries() -> list[tuple[Path, int]]:
    """The entries and their bytes, the least recently used first; half-built ones come first."""
    found = []
    for folder in cache_folder().glob("*"):
        if folder.is_dir():
            size = sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
            mark = folder / "entry.json"
            used = mark.stat().st_mtime if mark.is_file() else 0.0
            found.append((used, folder, size))
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
        lock = FileLock(folder.with_suffix(".lock"))
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(folder)
            removed += size
        except (Timeout, OSError):
            used += 1
    return removed, used


# helpers


def _key(photos: Sequence[ImageFile], form: Form) -> str:
    """A hash of the photos' bytes in order, and of the form."""
    digest = hashlib.blake2b(repr((FORMAT, form)).encode(), digest_size=16)
    for part in in_threads(_hash, photos):
        digest.update(part)
    return digest.hexdigest()


def _hash(photo: ImageFile) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with photo.open() as stream:
            for chunk in iter(partial(stream.read, 1 << 20), b""):
                digest.update(chunk)
    except Exception as error:  # not readable, for whatever reason: its look says so
        digest.update(repr((photo.name, str(error))).encode())
    return digest.digest()


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a lock; say so when another process has to be waited for."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another process decodes these photos: waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _shown(entry: Entry, done: int) -> Iterator[Callable[[int], None]]:
    """Progress on the terminal's error stream, once the work has lasted a second."""
    from rich.console import Console
    from rich.progress import Progress

    began, bars = time.monotonic(), Progress(console=Console(stderr=True), transient=True)
    bar = bars.add_task("decoding photos, once", total=entry.count, completed=done)
    started = False

    def advance(count: int) -> None:
        nonlocal started
        bars.advance(bar, count)
        if not started and time.monotonic() - began > 1 and bars.console.is_terminal:
            bars.start()
            started = True

    try:
        yield advance
    finally:
        if started:
            bars.stop()
    seconds = time.monotonic() - began
    if seconds > 1:
        print(
            f"decoded {entry.count:,} photos in {seconds:.1f} s, kept in {entry.folder.parent}",
            file=sys.stderr,
        )


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return min(len(affinity(0)) if affinity else os.cpu_count() or 1, 16)
