"""The runs in a folder: what each was, what it reached, in which state it is; and their removal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from gradlab import paths
from gradlab.engine import RunFolder
from gradlab.errors import UserError
from gradlab.measures import measure
from gradlab.runs.ensemble import is_ensemble
from gradlab.runs.opening import load

State = Literal["finished", "stopped", "training", "unreadable"]
HEADER = ("run", "recipe", "data", "state", "reached", "seconds", "created")
_OWN = ("recipe.json", "metrics.jsonl", "ensemble.json", "report.html", ".lock")
_OWN_FOLDERS = ("checkpoints", "samples", "tensorboard")
_WRITTEN = (
    "checkpoints/*/*.safetensors",
    "checkpoints/*/*.json",
    "samples/*.png",
    "tensorboard/events.out.tfevents.*",
    "*.part",
    ".*.part",
)


@dataclass(frozen=True)
class Entry:
    """One run of a folder. metrics: of the test split, or of val where test was not read."""

    run: str
    recipe: str = ""
    data: str = ""
    state: State = "unreadable"
    split: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    created: str = ""
    members: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def cells(self) -> tuple[str, ...]:
        """A row under `HEADER`."""
        figures = [(k, v) for k, v in self.metrics.items() if k != "loss"] or [
            *self.metrics.items()
        ]
        reached = ", ".join(f"{name} {measure(name).text(value)}" for name, value in figures[:2])
        recipe = f"{self.recipe} x{self.members}" if self.members else self.recipe
        return (
            self.run,
            recipe,
            self.data,
            self.state,
            f"{self.split} {reached}".strip(),
            "" if self.seconds is None else f"{self.seconds:,.1f}",
            self.created.replace("T", " ")[:16],
        )


def listed(
    out: Path,
    *,
    recipe: str | None = None,
    data: str | None = None,
    state: State | None = None,
    sort: str = "created",
) -> list[Entry]:
    """The runs in `out` that fit, sorted by a column or by a metric, the best first.

    UserError when there is no such folder, or no run has such a metric.
    """
    if not paths.given(out, "--out").is_dir():
        raise UserError(f"there is no folder of runs {out}: name it with --out")
    found = [_entry(folder) for folder in _folders(out)]
    chosen = [
        entry
        for entry in found
        if recipe in (None, entry.recipe)
        and (data is None or data in (entry.data, Path(entry.data).name))
        and state in (None, entry.state)
    ]
    if sort in ("created", "run", "name", "recipe", "data", "state"):
        key = "run" if sort == "name" else sort
        return sorted(chosen, key=lambda entry: (str(getattr(entry, key)), entry.run))
    if sort == "seconds":
        return sorted(chosen, key=lambda entry: (entry.seconds is None, entry.seconds or 0.0))
    if chosen and not any(sort in entry.metrics for entry in chosen):
        known = sorted({name for entry in chosen for name in entry.metrics})
        raise UserError(
            f"--sort: no run here has the metric {sort!r}; found {', '.join(known)}, and the "
            "columns created, name, recipe, data, state, seconds"
        )
    sign = -1 if measure(sort).goal == "max" else 1
    return sorted(
        chosen, key=lambda e: (sort not in e.metrics, sign * e.metrics.get(sort, 0.0), e.run)
    )


def _folders(out: Path) -> Iterator[Path]:
    for folder in sorted(out.iterdir()):
        if folder.is_dir() and ((folder / "recipe.json").is_file() or is_ensemble(folder)):
            yield folder


def _entry(folder: Path) -> Entry:
    """What can be said of a run; one that was edited or damaged is listed as unreadable."""
    try:
        run = load(folder)
        state: State = "finished" if run.finished else "stopped"
        with contextlib.suppress(UserError):
            if state == "stopped" and _is_held(run.folder):
                state = "training"
        metrics = run.metrics
        split = next((name for name in ("test", "val", "train") if name in metrics), "")
        return Entry(
            str(folder),
            run.recipe.name,
            str(run.record["dataset"].get("name", "")),
            state,
            split,
            metrics.get(split, {}),
            run.end.get("seconds"),
            str(run.record.get("created", "")),
            len(getattr(run, "paths", ())),
        )
    except UserError:
        return Entry(str(folder))


def _is_held(folder: RunFolder) -> bool:
    """Whether another process trains the run."""
    if not (folder.path / ".lock").is_file():
        return False
    try:
        with folder.locked():
            return False
    except UserError:
        return True


def remove(path: Path) -> dict[str, Any]:
    """Remove a run: the files that gradlab wrote, and each folder when nothing else is in it.

    UserError when there is no run, or another process trains it. Links are never followed.
    """
    ensemble = is_ensemble(paths.given(path, "run"))
    if path.is_symlink() or not (ensemble or (path / "recipe.json").is_file()):
        raise UserError(f"{path} is no run: nothing is removed")
    if not ensemble:
        RunFolder.open(path)
    if _is_held(RunFolder(path)):
        raise UserError(f"{path} is being trained by another process: nothing is removed")
    count = 0
    if ensemble:
        members = [p for p in path.glob("member-*") if p.is_dir() and not p.is_symlink()]
        count += sum(remove(p)["bytes"] for p in members if (p / "recipe.json").is_file())
    found = [path / name for name in _OWN]
    for pattern in _WRITTEN:
        found += path.glob(pattern)
    for file in found:
        if file.is_file() or file.is_symlink():
            count += file.lstat().st_size
            file.unlink()
    for folder in (*path.glob("checkpoints/*"), *(path / name for name in _OWN_FOLDERS)):
        with contextlib.suppress(OSError):  # something else is in it, or it is not there
            folder.rmdir()
    left = sorted(entry.name for entry in path.iterdir())
    if not left:
        path.rmdir()
    return {"run": str(path), "bytes": count, "left": left}
