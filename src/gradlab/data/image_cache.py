"""Images are decoded once, into a memory-mapped file; the next training only opens it.

The key of an entry is a hash of the bytes of every image, in order, and of the form they are
brought to: a changed image is never served as it was, and two copies of a folder share an entry. A
build that was killed continues after its last block; a second process that wants the same waits
for the first.
What an entry consists of: `gradlab.data.image_store`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from gradlab import machine
from gradlab.data.decode import ImageFile, Look, decode, decode_all, in_threads, reason
from gradlab.data.image_store import (
    FORMAT,
    Entry,
    Form,
    cache_folder,
    limit,
    locked,
    remove,
    reserve,
    trim,
)
from gradlab.errors import UserError

BLOCK = 64
"""Images that are decoded and noted in the journal together."""
LARGE = 400_000_000
"""Pixels of a set from which on processes pay for their start; threads decode a smaller one."""
MUCH = 1_000_000_000
"""Bytes from which on it is said beforehand how many are taken."""

Errors = dict[str, str]
"""What could not be decoded and why, by the number of the image."""
_Task = TypeVar("_Task")
_Done = TypeVar("_Done")


def decoded(
    images: Sequence[ImageFile], looks: Sequence[Look], shape: tuple[int, int], channels: int
) -> tuple[np.ndarray, list[Look], tuple[str, ...]]:
    """All images as one memory-mapped array (uint8 N H W C), the looks with what went wrong, notes.

    The array may be written to; that changes a copy of the page and never the file. An image that
    cannot be decoded leaves its place in the array undefined. Where the cache cannot be written
    they are decoded into memory, and the notes say so. UserError when they fit into neither.
    """
    form = (*shape, channels)
    if not images:
        return np.empty((0, *form), np.uint8), [], ()
    most, place = limit(), cache_folder()
    entry = Entry(place / _key(images, form), len(images), form)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with locked(entry.folder):
            errors = entry.errors()
            if errors is None:
                errors = _build(entry, images, looks)
                trim(most, keep=entry.folder)
            entry.used()
            x: np.ndarray = entry.open()
    except (OSError, UserError) as error:
        # What `gradlab.files` refuses to write is an OSError in other words.
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        why = f"{place} cannot be used: {cause.strerror or cause}"
        try:
            x, seen = decode_all(images, looks, shape, channels)
        except UserError as short:
            raise UserError(f"{short}. On the disk (GRADLAB_CACHE) {why}") from None
        return x, seen, (f"images: decoded into memory, {why}",)
    seen = [
        look if look.error or str(i) not in errors else replace(look, error=errors[str(i)])
        for i, look in enumerate(looks)
    ]
    return x, seen, ()


def fill(
    entry: Entry, start: int, images: Sequence[ImageFile], looks: Sequence[Look] | None = None
) -> Errors:
    """Decode a block into its place in the file; what could not be decoded.

    It is written as to any file, not through a memory map: that a disk is full is an error so, and
    no signal that ends the process.
    """
    errors = {}
    with entry.pixels.open("r+b") as file:
        for index, image in enumerate(images, start):
            if looks is not None and looks[index - start].error:
                continue
            try:
                pixels = decode(image, entry.form[:2], entry.form[2])
            except Exception as error:  # Pillow's decoders raise whatever their formats bring up
                errors[str(index)] = reason(error)
                continue
            file.seek(index * entry.stride)
            file.write(np.ascontiguousarray(pixels).data)
        file.flush()
        os.fsync(file.fileno())
    return errors


# building


def _build(entry: Entry, images: Sequence[ImageFile], looks: Sequence[Look]) -> Errors:
    """Decode what is not decoded yet; what could not be. If writing fails, all of it goes."""
    entry.claim()
    try:
        done = _done(entry) if _prepare(entry) else {}
        starts = [start for start in range(0, entry.count, BLOCK) if start not in done]
        pixels = sum(look.width * look.height for look in looks)
        by_processes = pixels >= LARGE and all(i.path for i in images) and _workers() > 1
        decoder = _processes if by_processes else _threads
        with _shown(entry, len(done) * BLOCK) as advance, entry.journal.open("ab") as journal:
            for start, errors in decoder(entry, images, looks, starts):
                # The newline before it ends a line that was cut short.
                line = json.dumps({"start": start, "errors": errors})
                journal.write(f"\n{line}\n".encode())
                journal.flush()
                done[start] = errors
                advance(min(BLOCK, entry.count - start))
        found = {index: why for errors in done.values() for index, why in errors.items()}
        entry.finish(found)
    except (OSError, UserError):
        with contextlib.suppress(OSError):
            remove(entry.folder)
        raise
    return found


def _prepare(entry: Entry) -> bool:
    """Make room for the pixels; whether an earlier build has begun to fill it."""
    (entry.folder / "entry.json").unlink(missing_ok=True)
    if entry.pixels.is_file() and entry.pixels.stat().st_size == entry.size:
        return True
    entry.journal.unlink(missing_ok=True)
    entry.pixels.unlink(missing_ok=True)  # not emptied: it may be in use
    free = shutil.disk_usage(entry.folder).free
    needed = f"{entry.count:,} images take {entry.size / 1e9:.1f} GB"
    if free < entry.size:
        raise OSError(errno.ENOSPC, f"{needed}, {free / 1e9:.1f} GB are free")
    if entry.size >= MUCH:
        print(f"{needed} in {entry.folder.parent} ({free / 1e9:.1f} GB are free)", file=sys.stderr)
    reserve(entry.pixels, entry.size)
    return False


def _done(entry: Entry) -> dict[int, Errors]:
    """The blocks that are done, by their first index; a line that was cut short is none."""
    found = {}
    if entry.journal.is_file():
        for text in entry.journal.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                line = json.loads(text)
                if line["start"] in range(0, entry.count, BLOCK):
                    found[line["start"]] = dict(line["errors"])
    return found


def _threads(
    entry: Entry, images: Sequence[ImageFile], looks: Sequence[Look], starts: Sequence[int]
) -> Iterator[tuple[int, Errors]]:
    """Decode blocks in threads; Pillow lets other threads run while it decodes."""

    def work(start: int) -> tuple[int, Errors]:
        part = slice(start, start + BLOCK)
        return start, fill(entry, start, images[part], looks[part])

    yield from _in_parallel(work, starts)


def _processes(
    entry: Entry, images: Sequence[ImageFile], looks: Sequence[Look], starts: Sequence[int]
) -> Iterator[tuple[int, Errors]]:
    """Decode blocks in processes of their own.

    Plain child processes of this Python: `multiprocessing` would run a person's script again,
    where that has no guard around its main part.
    """

    def work(portion: Sequence[int]) -> list[tuple[int, Errors]]:
        blocks = [
            (start, [str(i.path) for i in images[start : start + BLOCK]]) for start in portion
        ]
        task: dict[str, Any] = {"folder": str(entry.folder), "count": entry.count}
        search = os.pathsep.join(sys.path)
        found = subprocess.run(
            [sys.executable, "-m", "gradlab.data.image_worker"],
            input=json.dumps({**task, "form": entry.form, "blocks": blocks}),
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": search},
        )
        lines = [json.loads(line) for line in found.stdout.splitlines() if line.endswith("}")]
        return [(line["start"], line["errors"]) for line in lines]

    # Portions, so that the journal and the bar move: a child's answers come at its end.
    portions = [starts[i : i + 8] for i in range(0, len(starts), 8)]
    left = set(starts)
    for results in _in_parallel(work, portions):
        for start, errors in results:
            left.discard(start)
            yield start, errors
    if left:  # a child died: what it left undone is decoded here
        yield from _threads(entry, images, looks, sorted(left))


def _in_parallel(work: Callable[[_Task], _Done], tasks: Sequence[_Task]) -> Iterator[_Done]:
    """`work` of each task, in order; when it is stopped, what has not begun is left undone."""
    pool = ThreadPoolExecutor(_workers())
    try:
        yield from pool.map(work, tasks)
    finally:
        pool.shutdown(cancel_futures=True)


def _workers() -> int:
    return min(machine.threads(), 16)


def _key(images: Sequence[ImageFile], form: Form) -> str:
    """A hash of the images' bytes in order, and of the form."""
    digest = hashlib.blake2b(repr((FORMAT, form)).encode(), digest_size=16)
    for part in in_threads(_hash, images):
        digest.update(part)
    return digest.hexdigest()


def _hash(image: ImageFile) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with image.open() as stream:
            for chunk in iter(partial(stream.read, 1 << 20), b""):
                digest.update(chunk)
    except Exception as error:  # not readable, for whatever reason: its look says so
        digest.update(repr((image.name, str(error))).encode())
    return digest.digest()


@contextlib.contextmanager
def _shown(entry: Entry, done: int) -> Iterator[Callable[[int], None]]:
    """Progress on the terminal's error stream, once the work has lasted a second."""
    from rich.console import Console
    from rich.progress import Progress

    began, bars = time.monotonic(), Progress(console=Console(stderr=True), transient=True)
    bar = bars.add_task("decoding images, once", total=entry.count, completed=done)
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
            f"decoded {entry.count:,} images in {seconds:.1f} s, kept in {entry.folder.parent}",
            file=sys.stderr,
        )
