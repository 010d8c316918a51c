"""The runs in a folder: what each was, what it reached, in which state it is; and their removal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from gradlab import files, paths
from gradlab.engine import RunFolder
from gradlab.errors import UserError
from gradlab.measures import measure
from gradlab.runs.ensemble import is_ensemble
from gradlab.runs.opening import load

State = Literal["finished", "stopped", "training", "unreadable"]
HEADER = ("run", "recipe", "data", "state", "reached", "seconds")
_CHECKPOINT = ("model.safetensors", "state.safetensors", "state.json")
_WRITTEN = {
    **{f"checkpoints/{name}": _CHECKPOINT for name in ("last", "best", "last.old", "best.old")},
    "checkpoints": (),
    "samples": ("*.png",),
    "tensorboard": ("events.out.tfevents.*",),
    "": ("recipe.json", "metrics.jsonl", "ensemble.json", "report.html", "data.npz", ".lock"),
}
"""What gradlab writes into the folder of a run, by inner folder; those of an inner one first."""


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
        reached = ", ".join(f"{name} {measure(name).text(value)}" for name, value in figures[:1])
        recipe = f"{self.recipe} x{self.members}" if self.members else self.recipe
        return (
            self.run,
            recipe,
            Path(self.data).name if Path(self.data).is_absolute() else self.data,
            self.state,
            f"{self.split} {reached}".strip(),
            "" if self.seconds is None else f"{self.seconds:,.1f}",
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

    def rank(entry: Entry) -> tuple[bool, float, str]:
        value = entry.metrics.get(sort)  # None also where it was not finite
        return value is None, 0.0 if value is None else sign * value, entry.run

    return sorted(chosen, key=rank)


def _folders(out: Path) -> Iterator[Path]:
    for folder in sorted(out.iterdir()):
        if folder.is_dir() and ((folder / "recipe.json").is_file() or is_ensemble(folder)):
            yield folder


def _entry(folder: Path) -> Entry:
    """What can be said of a run; one that was edited or damaged is listed as unreadable."""
    try:
        run = load(folder)
        state: State = "finished" if run.finished else "stopped"
        if state == "stopped" and run.folder.in_training:
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


def remove(*runs: Path) -> list[dict[str, Any]]:
    """Remove runs: the files that gradlab wrote, and each folder when nothing else is in it.

    UserError, and nothing is removed, when one of them is no run, or another process trains it.
    Links are never followed.
    """
    for path in runs:
        _check_removable(path)
    return [{"run": str(path), **_removed(path.resolve())} for path in runs]


def _check_removable(path: Path) -> None:
    ensemble = is_ensemble(paths.given(path, "run"))
    if path.is_symlink() or not (ensemble or (path / "recipe.json").is_file()):
        raise UserError(f"{path} is no run: nothing is removed")
    if not ensemble:
        RunFolder.open(path)
    for folder in (path, *_members(path)):
        if RunFolder(folder).in_training:
            raise UserError(f"{folder} is being trained by another process: nothing is removed")


def _members(path: Path) -> list[Path]:
    """The members of an ensemble that lie in its folder."""
    if not is_ensemble(path):
        return []
    found = sorted(path.glob("member-*"))
    return [p for p in found if _is_inside(p) and (p / "recipe.json").is_file()]


def _is_inside(path: Path) -> bool:
    """Whether a path is a folder that lies in its parent, and no link to one elsewhere."""
    return path.is_dir() and path.resolve() == path.parent.resolve() / path.name


def _removed(path: Path) -> dict[str, Any]:
    count = sum(_removed(member)["bytes"] for member in _members(path))
    files.clear_leftovers(path)
    for name, patterns in _WRITTEN.items():
        folder = path / name
        # A link may stand for any folder on the way: what is behind it is not this run's.
        if name and not (_is_inside(folder.parent) and _is_inside(folder)):
            continue
        for file in [file for pattern in patterns for file in folder.glob(pattern)]:
            if file.is_file() or file.is_symlink():
                count += file.lstat().st_size
                file.unlink()
        with contextlib.suppress(OSError):  # something else is in it
            folder.rmdir()
    left = sorted(entry.name for entry in path.iterdir()) if path.exists() else []
    return {"bytes": count, "left": left}
