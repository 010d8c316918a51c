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
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from gradlab import files
from gradlab.engine import pack
from gradlab.errors import UserError

FORMAT = 1
Which = Literal["last", "best"]


class RunFolder:
    """One run on disk. Every file is whole or not there; loading one executes nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @classmethod
    def create(cls, out: Path, name: str | None, stem: str, record: dict[str, Any]) -> RunFolder:
        """A new folder under `out`, called `name` or the first free `stem-N`."""
        try:
            out.mkdir(parents=True, exist_ok=True)
            if name is not None:
                path = out / name
                if path.exists():
                    raise UserError(
                        f"there is a run {path} already: resume it (gradlab resume {path}), "
                        "remove it, or choose another --name"
                    )
                path.mkdir()
            else:
                path = _first_free(out, stem)
        except OSError as error:
            raise files.write_error(out, error) from None
        run = cls(path)
        files.write_json(path / "recipe.json", {"format": FORMAT, **record})
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run at `path`; UserError when it is absent or was never begun."""
        if not path.is_dir():
            near = _runs_beside(path)
            hint = f" Runs there: {', '.join(near)}." if near else ""
            raise UserError(f"there is no run {path}: expected a folder made by 'train'.{hint}")
        if not (path / "recipe.json").is_file():
            raise UserError(
                f"{path} is no run: it has no recipe.json (the training ended before it began, "
                "or this is another folder). Start it again with 'gradlab train'"
            )
        run = cls(path)
        found = run.record.get("format") if isinstance(run.record, dict) else None
        if found != FORMAT:
            raise UserError(
                f"{path / 'recipe.json'}: expected a run of format {FORMAT}, found {found!r}; "
                "it was edited or written by another version of gradlab"
            )
        return run

    @property
    def record(self) -> dict[str, Any]:
        """What recipe.json holds: recipe, schema, dataset, versions, machine."""
        record: dict[str, Any] = files.read_json(self.path / "recipe.json", f"run {self.path}")
        return record

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for writing; UserError when another process trains it."""
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{self.path} is being trained by another process") from None
        except OSError as error:
            raise files.write_error(self.path, error) from None
        try:
            yield
        finally:
            lock.release()

    # metrics.jsonl

    def append(self, line: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl; a line that a crash cut short is closed off first."""
        path = self.path / "metrics.jsonl"
        try:
            with path.open("a+b") as file:
                if file.tell() > 0:
                    file.seek(-1, 2)
                    if file.read(1) != b"\n":
                        file.write(b"\n")
                file.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise files.write_error(path, error) from None

    def lines(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that stand.

        A resumed run repeats the steps since its checkpoint: what it wrote of them before is
        dropped, and so is a line that was cut short.
        """
        path = self.path / "metrics.jsonl"
        standing: list[dict[str, Any]] = []
        if not path.is_file():
            return standing
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                continue
            if line.get("event") == "resume":
                standing = [old for old in standing if old.get("step", 0) <= line["step"]]
            standing.append(line)
        return standing

    # checkpoints

    def save(self, which: Which, progress: dict[str, Any], state: dict[str, Any]) -> None:
        """Replace a checkpoint. `state["model"]` goes to model.safetensors, the rest beside it."""
        rest = {key: value for key, value in state.items() if key != "model"}
        tree, tensors = pack.pack(rest)
        contents = {
            "model.safetensors": pack.to_bytes(state["model"]),
            "state.safetensors": pack.to_bytes(tensors),
        }
        head = {
            "progress": progress,
            "state": tree,
            "sha256": {name: _sha256(data) for name, data in contents.items()},
            "recipe_sha256": self._recipe_hash(),
        }
        contents["state.json"] = pack.to_json(head)
        files.write_folder(self.path / "checkpoints" / which, contents)

    def has(self, which: Which) -> bool:
        """Whether there is such a checkpoint."""
        return files.existing_folder(self.path / "checkpoints" / which).is_dir()

    def load(self, which: Which) -> tuple[dict[str, Any], dict[str, Any]]:
        """(progress, state) of a checkpoint; UserError when it is absent, damaged or edited."""
        folder = files.existing_folder(self.path / "checkpoints" / which)
        what = f"checkpoint {folder}"
        if not folder.is_dir():
            raise UserError(
                f"run {self.path} has no checkpoint {which!r} yet: "
                f"continue it with 'gradlab resume {self.path}'"
            )
        head = files.read_json(folder / "state.json", what)
        contents = {}
        for name, expected in head["sha256"].items():
            try:
                contents[name] = (folder / name).read_bytes()
            except OSError as error:
                raise UserError(f"{what}: {name} cannot be read ({error.strerror})") from None
            if _sha256(contents[name]) != expected:
                raise UserError(
                    f"{what}: {name} is damaged or was edited (its SHA-256 differs from the one "
                    f"in state.json); {self._other(which)}"
                )
        if head["recipe_sha256"] != self._recipe_hash():
            raise UserError(
                f"{self.path / 'recipe.json'} was edited after this checkpoint was written: "
                "put it back as it was, or begin a new run with the changed recipe"
            )
        state = pack.unpack(head["state"], pack.from_bytes(contents["state.safetensors"]))
        state["model"] = pack.from_bytes(contents["model.safetensors"])
        return head["progress"], state

    def _other(self, which: Which) -> str:
        other: Which = "best" if which == "last" else "last"
        if self.has(other):
            return f"the checkpoint {other!r} is still there"
        return "begin the training again"

    def _recipe_hash(self) -> str:
        recipe = self.record.get("recipe")
        return _sha256(json.dumps(recipe, sort_keys=True).encode())


def _first_free(out: Path, stem: str) -> Path:
    number = 1
    while True:
        path = out / f"{stem}-{number}"
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def _runs_beside(path: Path) -> list[str]:
    if not path.parent.is_dir():
        return []
    found = sorted(path.parent.glob("*/recipe.json"), key=lambda file: file.stat().st_mtime)
    return [str(file.parent) for file in found[-5:]]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
