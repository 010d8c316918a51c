"""A recipe against its published figures: several seeds, mean and deviation, one row each."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gradlab import files
from gradlab.config import Recipe, Target
from gradlab.errors import UserError
from gradlab.recipes import recipes

COLUMNS = (
    "recipe", "dataset", "test metric", "target", "mean", "deviation", "seeds", "seconds a run",
    "reached", "machine", "date", "source of the target",
)  # fmt: skip
HEADER = f"""# Results

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
    def deviation(self) -> float:
        """Sample standard deviation over the seeds; 0 for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def reached(self) -> bool:
        """Whether the mean is at least as good as the target."""
        if self.target.goal == "max":
            return self.mean >= self.target.value
        return self.mean <= self.target.value

    def to_dict(self) -> dict[str, Any]:
        """The row for JSON."""
        return {
            **asdict(self),
            "target": self.target.model_dump(),
            "mean": self.mean,
            "deviation": self.deviation,
            "reached": self.reached,
        }

    def cells(self) -> tuple[str, ...]:
        """The row for a screen."""
        return (
            self.target.dataset,
            self.target.metric,
            f"{self.target.value:g}",
            f"{self.mean:.4f}",
            f"{self.deviation:.4f}",
            str(len(self.values)),
            "yes" if self.reached else "no",
        )

    def markdown(self, date: str) -> str:
        """The row for docs/results.md."""
        dataset, metric, target, mean, deviation, seeds, reached = self.cells()
        cells = (
            self.recipe,
            dataset,
            metric,
            target,
            mean,
            deviation,
            seeds,
            f"{self.seconds:.0f}",
            reached,
            self.machine,
            date,
            self.target.source,
        )
        return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def reproduce(
    name: str, *, data: str | None = None, seeds: int = 3, out: Path, results: Path, **fields: Any
) -> list[Row]:
    """Train a recipe over `seeds` seeds for each of its targets, and write the rows.

    A run that is there already (stopped, or finished) is resumed, so that the command can be
    repeated after an interruption. `fields` are for what a recipe cannot hold, such as the run that
    judges a generator.
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
        runs = [_run(recipe, dataset, seed, out, fields) for seed in range(seeds)]
        machine = runs[0].record["machine"]
        place = machine["gpus"][0] if "cuda" in runs[0].recipe.device else machine["processor"]
        where = f"{place}, {runs[0].recipe.threads} cores, {runs[0].recipe.precision}"
        for target in targets:
            if target.dataset == dataset:
                values = tuple(run.metrics["test"][target.metric] for run in runs)
                seconds = statistics.fmean(run.summary["seconds"] for run in runs)
                rows.append(Row(name, target, values, seconds, where))
    write_rows(results, rows)
    return rows


def _run(recipe: Recipe, dataset: str, seed: int, out: Path, fields: dict[str, Any]) -> Any:
    from gradlab.recipes.training import resume, train

    name = f"reproduce-{recipe.name}-{dataset}-{seed}"
    if (out / name / "recipe.json").is_file():
        return resume(out / name)
    return train(recipe, data=dataset, seed=seed, out=out, name=name, **fields)


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
    files.write_text(path, HEADER + "".join(f"{kept[key]}\n" for key in sorted(kept)))
