"""A recipe against its published figures: mean and standard deviation over several seeds."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gradlab import files
from gradlab.config import Recipe, Target
from gradlab.errors import UserError
from gradlab.measures import measure
from gradlab.recipes import recipes
from gradlab.runs import Run
from gradlab.workflows.train import divide, resume_run, train

HEADER = ("dataset", "test metric", "target", "mean", "standard deviation", "seeds", "reached")
"""Of `Row.cells`."""
COLUMNS = (
    "recipe", *HEADER[:6], "seconds a run", "reached", "machine", "date", "source of the target",
)  # fmt: skip
PAGE = f"""# Results

Written by `gradlab reproduce RECIPE`: each row is the pinned recipe over several seeds, evaluated
once on the test split with the weights of the best val epoch. Do not edit by hand.

| {" | ".join(COLUMNS)} |
|{" --- |" * len(COLUMNS)}
"""


@dataclass(frozen=True)
class Row:
    """One target and what the recipe reached."""

    recipe: str
    target: Target
    values: tuple[float, ...]
    seconds: float
    machine: str

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float:
        """Sample standard deviation over the seeds; 0 for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def reached(self) -> bool:
        """Whether the mean is at least as good as the target."""
        goal = self.target.goal or measure(self.target.metric).goal
        value = self.target.value
        return self.mean <= value if goal == "min" else self.mean >= value

    def to_dict(self) -> dict[str, Any]:
        """The row for JSON."""
        return {
            **asdict(self),
            "target": self.target.model_dump(),
            "mean": self.mean,
            "std": self.std,
            "reached": self.reached,
        }

    def cells(self) -> tuple[str, ...]:
        """The row for a screen, under `HEADER`."""
        return (
            self.target.dataset,
            self.target.metric,
            f"{self.target.value:g}",
            f"{self.mean:.4f}",
            f"{self.std:.4f}",
            str(len(self.values)),
            "yes" if self.reached else "no",
        )

    def markdown(self, date: str) -> str:
        """The row for docs/results.md."""
        *figures, reached = self.cells()
        seconds = f"{self.seconds:.0f}"
        cells = (
            self.recipe, *figures, seconds, reached, self.machine, date, self.target.source,
        )  # fmt: skip
        return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def reproduce(
    name: str, *, data: str | None = None, seeds: int = 3, out: Path, results: Path, **options: Any
) -> list[Row]:
    """Train a recipe over `seeds` seeds for each of its targets, and write the rows.

    A run that is there already (stopped, or finished) is resumed, so that the command can be
    repeated after an interruption. Options are those of `gradlab.train`: the runtime, or what a
    recipe cannot hold, such as the run in whose features a generator is measured.
    """
    recipe = recipes[name]
    targets = [t for t in recipe.targets if data in (None, t.dataset)]
    if not targets:
        known = ", ".join(sorted({t.dataset for t in recipe.targets})) or "none"
        raise UserError(f"recipe {name!r} has no target on {data!r}; datasets with one: {known}")
    if seeds < 1:
        raise UserError(f"--seeds: expected at least 1, found {seeds}")
    rows = []
    for dataset in dict.fromkeys(target.dataset for target in targets):
        runs = [_run(recipe, dataset, seed, out, options) for seed in range(seeds)]
        metrics = [run.metrics.get("test") or run.evaluate("test") for run in runs]
        seconds = statistics.fmean(run.end.get("seconds") or 0.0 for run in runs)
        for target in targets:
            if target.dataset == dataset:
                values = tuple(found[target.metric] for found in metrics)
                rows.append(Row(name, target, values, seconds, machine_of(runs[0])))
    write_rows(results, rows)
    return rows


def _run(recipe: Recipe, dataset: str, seed: int, out: Path, options: dict[str, Any]) -> Run:
    name = f"reproduce-{recipe.name}-{dataset}-{seed}".replace("/", "-")  # ALE/Pong-v5
    if (out / name / "recipe.json").is_file():
        return resume_run(out / name, divide(options)[0])
    return train(
        recipe,
        **{**options, "data": dataset, "seed": seed, "out": out, "name": name, "results": False},
    )


def machine_of(run: Run) -> str:
    """What a run was trained on."""
    machine, runtime = run.record["machine"], run.trained_with
    kind, _, number = runtime.device.partition(":")
    place = machine["gpus"][int(number or 0)] if kind == "cuda" else machine["processor"]
    return f"{place}, {runtime.threads} cores, {runtime.precision}"


def write_rows(path: Path, rows: list[Row]) -> None:
    """Put the rows into the table, each in place of an older one of the same target."""
    date = datetime.now(UTC).date().isoformat()
    kept: dict[tuple[str, ...], str] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("| ") and cells[0] not in ("recipe", "---"):
                kept[tuple(cells[:3])] = line
    for row in rows:
        kept[(row.recipe, row.target.dataset, row.target.metric)] = row.markdown(date)
    files.write_text(path, PAGE + "".join(f"{kept[key]}\n" for key in sorted(kept)))
