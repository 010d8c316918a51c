"""The run folder: what one training leaves behind, and all that later commands start from.

recipe.json        everything needed to run it again
metrics.jsonl      one line an evaluation or log step, append-only
checkpoints/last/  model.safetensors, state.safetensors, state.json
checkpoints/best/  the same, of the best epoch
report.html
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gradlab import files
from gradlab.engine import pack
from gradlab.engine.record import (
    FORMAT,
    File,
    Progress,
    Record,
    Which,
    read_head,
    read_line,
    read_record,
)
from gradlab.errors import UserError

_BINDING = ("seed", "recipe", "schema", "dataset")
"""What recipe.json says of the weights: a checkpoint is of no use with another."""

_FIRST = "first_epochs"
"""In recipe.json: the epochs of the plan that a run began with, where it was trained longer."""

_LOCK = ".lock"


class RunFolder:
    """One run on disk. Every file is whole or not there; loading one executes nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @classmethod
    def create(cls, out: Path, name: str | None, stem: str, record: Mapping[str, Any]) -> RunFolder:
        """A new folder under `out`, called `name` or the first free `stem-N`.

        A folder of that name is taken over when its training was killed before recipe.json.
        """
        if name is not None:
            files.check_name(name, "--name")
        try:
            out.mkdir(parents=True, exist_ok=True)
            if name is None:
                run = cls(_first_free(out, files.plain_name(stem)))
            else:
                run = cls(out / name)
                run._make()
        except OSError as error:
            raise files.write_error(out if name is None else out / name, error) from None
        with run.locked():
            if (run.path / "recipe.json").exists():  # another process was faster
                raise run._taken()
            files.write_json(run.path / "recipe.json", {"format": FORMAT, **record})
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run at `path`; UserError when it is absent, was never begun, or was edited."""
        run = cls(path)
        if not _is_folder(path):
            near = _runs_beside(path)
            hint = f" Runs there: {', '.join(near)}." if near else ""
            raise UserError(f"there is no run {path}: expected a folder made by 'train'.{hint}")
        if not (path / "recipe.json").is_file():
            whole = path.absolute()
            raise UserError(
                f"{path} is no run: it has no recipe.json. "
                + (
                    "Its training was stopped before it began: begin it again with 'gradlab train "
                    f"RECIPE --out {whole.parent} --name {whole.name}'"
                    if run.is_unbegun()
                    else "Name a folder made by 'gradlab train'"
                )
            )
        read_record(path / "recipe.json")
        return run

    @property
    def record(self) -> Record:
        """What recipe.json holds: recipe, schema, dataset, runtime, versions, machine."""
        return read_record(self.path / "recipe.json")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for writing; UserError when another process trains it.

        What killed writers left in it is cleared away.
        """
        lock = FileLock(self.path / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{self.path} is being trained by another process") from None
        except OSError as error:
            raise files.write_error(self.path, error) from None
        try:
            self._clear()
            yield
        finally:
            lock.release()

    @property
    def in_training(self) -> bool:
        """Whether another process trains the run; nothing is changed by looking."""
        if not (self.path / _LOCK).is_file():
            return False
        lock = FileLock(self.path / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        except OSError:  # it may not be written, and so not be trained either
            return False
        lock.release()
        return False

    # metrics.jsonl

    def append(self, line: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl; a line that a crash cut short is closed off first.

        A number that is not finite is written as null: JSON has no other word for it.
        """
        path = self.path / "metrics.jsonl"
        try:
            with path.open("a+b") as file:
                if file.tell() > 0:
                    file.seek(-1, 2)
                    if file.read(1) != b"\n":
                        file.write(b"\n")
                file.write(json.dumps(files.finite(line), allow_nan=False).encode() + b"\n")
        except OSError as error:
            raise files.write_error(path, error) from None

    def lines(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that stand, each a `record.Line`.

        A resumed run repeats the steps since its checkpoint: what it wrote of them before is
        dropped, and so is a line that was cut short or edited into something else.
        """
        path = self.path / "metrics.jsonl"
        standing: list[dict[str, Any]] = []
        if not path.is_file():
            return standing
        try:
            whole = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror or error})") from None
        for text in whole.split("\n"):
            line = read_line(text)
            if line is None:
                continue
            if line.get("event") == "resume":
                standing = [old for old in standing if old.get("step", 0) <= line["step"]]
            standing.append(line)
        return standing

    # checkpoints

    def save(self, which: Which, progress: Progress, state: dict[str, Any]) -> None:
        """Replace a checkpoint. `state["model"]` goes to model.safetensors, the rest beside it."""
        rest = {key: value for key, value in state.items() if key != "model"}
        tree, tensors = pack.pack(rest)
        contents = {
            "model.safetensors": pack.to_bytes(state["model"]),
            "state.safetensors": pack.to_bytes(tensors),
        }
        head: dict[str, Any] = {
            "checkpoint": which,
            "progress": asdict(progress),
            "state": tree,
            "sha256": {name: _sha256(data) for name, data in contents.items()},
            "record_sha256": self._belongs_to,
        }
        head["sha256"]["state.json"] = _hash_of_head(head)
        contents["state.json"] = pack.to_json(head)
        files.write_folder(self._checkpoint(which), contents)

    def lengthen(self, epochs: int, note: str) -> None:
        """Change the plan to so many epochs in all, to be trained on from the checkpoint `last`.

        Patience begins anew. Killed in between, the run is as it was or can be lengthened again;
        the checkpoints stay bound to it, by the epochs that it began with.
        """
        progress, state = self.load("last")
        record: dict[str, Any] = {**self.record}
        plan = record["recipe"]["plan"]
        before = plan["epochs"]
        record.setdefault(_FIRST, before)
        record["recipe"] = {**record["recipe"], "plan": {**plan, "epochs": epochs}}
        record["notes"] = [*record["notes"], note]
        files.write_json(self.path / "recipe.json", record)
        self.save("last", replace(progress, finished=False, reason="", stale=0), state)
        line = {"event": "longer", "step": progress.step, "epochs": epochs, "before": before}
        self.append(line)

    def has(self, which: Which) -> bool:
        """Whether there is such a checkpoint."""
        return files.existing_folder(self._checkpoint(which)).is_dir()

    def load(self, which: Which) -> tuple[Progress, dict[str, Any]]:
        """(progress, state) of a checkpoint; UserError when it is absent, damaged or edited."""
        folder = files.existing_folder(self._checkpoint(which))
        what = f"checkpoint {folder}"
        if not folder.is_dir():
            raise UserError(
                f"run {self.path} has no checkpoint {which!r} yet: "
                f"continue it with 'gradlab resume {self.path}'"
            )
        value = files.read_json(folder / "state.json", what)
        head = read_head(value, what)
        contents: dict[File, bytes] = {}
        for name, expected in head["sha256"].items():
            if name == "state.json":
                found = _hash_of_head(value)
            else:
                contents[name] = _read(folder / name, what)
                found = _sha256(contents[name])
            if found != expected:
                raise UserError(
                    f"{what}: {name} is damaged or was edited (its SHA-256 differs from the one "
                    f"in state.json); {self._other(which)}"
                )
        if head["checkpoint"] != which:
            raise UserError(
                f"{what}: this is the checkpoint {head['checkpoint']!r}, put in the place of "
                f"{which!r}: put the folders back as they were"
            )
        if head["record_sha256"] != _binding(self.path):
            raise UserError(
                f"{self.path / 'recipe.json'} was edited after this checkpoint was written: "
                "put it back as it was, or begin a new run with the changed recipe"
            )
        tensors = pack.from_bytes(contents["state.safetensors"], f"{what}: state.safetensors")
        state: dict[str, Any] = pack.unpack(head["state"], tensors, f"{what}: state.json")
        state["model"] = pack.from_bytes(
            contents["model.safetensors"], f"{what}: model.safetensors"
        )
        return head["progress"], state

    def _checkpoint(self, which: Which) -> Path:
        return self.path / "checkpoints" / which

    def _other(self, which: Which) -> str:
        other: Which = "best" if which == "last" else "last"
        if self.has(other):
            return f"the checkpoint {other!r} is still there"
        return "begin the training again"

    @cached_property
    def _belongs_to(self) -> str:
        """The recipe.json that this process began with, whatever is edited meanwhile."""
        return _binding(self.path)

    def _clear(self) -> None:
        """Remove what killed writers left: temporary files, and checkpoints that were replaced."""
        files.clear_leftovers(self.path)
        for folder in (self._checkpoint("last"), self._checkpoint("best")):
            if folder.is_dir():
                files.remove(files.old_name(folder))

    def _make(self) -> None:
        """Make the folder, or take over one whose training was killed before recipe.json."""
        try:
            self.path.mkdir()
        except FileExistsError:
            if not self.is_unbegun():
                raise self._taken() from None

    def is_unbegun(self) -> bool:
        """Whether the folder holds nothing but what a training makes before recipe.json."""
        return self.path.is_dir() and all(
            entry.name == _LOCK or files.is_partial(entry.name) for entry in self.path.iterdir()
        )

    def _taken(self) -> UserError:
        if (self.path / "recipe.json").exists():
            return UserError(
                f"there is a run {self.path} already: resume it (gradlab resume {self.path}), "
                "remove it, or choose another --name"
            )
        return UserError(f"there is something else at {self.path}: choose another --name")


def _first_free(out: Path, stem: str) -> Path:
    for number in itertools.count(1):
        path = out / f"{stem}-{number}"
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            break
    return path


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long for the system
        return False


def _runs_beside(path: Path) -> list[str]:
    try:
        found = sorted(path.parent.glob("*/recipe.json"), key=lambda file: file.stat().st_mtime)
    except OSError:
        return []
    return [str(file.parent) for file in found[-5:]]


def _read(path: Path, what: str) -> bytes:
    try:
        if not path.is_file():
            raise UserError(f"{what}: {path.name} cannot be read (there is no such file)")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{what}: {path.name} cannot be read ({error.strerror or error})") from None


def _binding(run: Path) -> str:
    """SHA-256 of what a run's recipe.json says of the weights."""
    record = files.read_json(run / "recipe.json", f"run {run}")
    part: dict[str, Any] = {}
    if isinstance(record, dict):
        part = {key: record.get(key) for key in _BINDING}
    with contextlib.suppress(KeyError, TypeError):  # a run that was trained longer is the same run
        plan = {**part["recipe"]["plan"], "epochs": record[_FIRST]}
        part["recipe"] = {**part["recipe"], "plan": plan}
    return _sha256(json.dumps(part, sort_keys=True).encode())


def _hash_of_head(head: dict[str, Any]) -> str:
    """SHA-256 of state.json without its own entry."""
    others = {name: value for name, value in head["sha256"].items() if name != "state.json"}
    return _sha256(json.dumps({**head, "sha256": others}).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
