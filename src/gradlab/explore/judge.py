"""How good a generator's images are, in the features of a classifier."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradlab import files
from gradlab.config import Runtime
from gradlab.errors import UserError
from gradlab.insight.generated import ImageQuality
from gradlab.measures import measure
from gradlab.runs import Run, load
from gradlab.tasks.evaluation import Table
from gradlab.tasks.extractor import MOST, FeatureExtractor
from gradlab.tasks.gan import ClassShares, Gan


@dataclass(frozen=True)
class Judged:
    """The figures of a generator's images against a split; `by` is the classifier's run."""

    run: str
    by: str
    split: str
    quality: ImageQuality

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"run": self.run, "by": self.by, "split": self.split, **self.quality.to_dict()}

    def tables(self) -> list[Table]:
        """The figures, then the share of each class."""
        metrics = self.quality.metrics
        figures = tuple((name, measure(name).text(value)) for name, value in metrics.items())
        return [Table(("metric", self.split), figures), *ClassShares(self.quality).tables()]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the figures as JSON."""
        check_out(path)
        files.write_json(Path(path), files.finite(self.to_dict()))


def check_out(path: str | os.PathLike[str]) -> None:
    """UserError for a file in which the figures cannot be written."""
    if Path(path).suffix.lower() != ".json":
        raise UserError(f"the figures are written as .json, found {str(path)!r}")


def judge(
    run: str | os.PathLike[str] | Run,
    by: str | os.PathLike[str],
    *,
    split: str = "test",
    count: int = MOST,
    runtime: Runtime | None = None,
) -> Judged:
    """The figures of a generator's images, in the features of a classifier's run `by`.

    `count` images are made, at most as many as `split` has. Reading test is recorded in the run.
    `runtime` is that of a run given by its folder.
    """
    if count < 1:
        raise UserError(f"--count: expected at least 1, found {count}")
    run = load(run, runtime=runtime)
    task = run.task
    if not isinstance(task, Gan):
        raise UserError(f"{run.path} makes no images to judge: expected the run of a gan")
    extractor = FeatureExtractor.open(str(by), task.setup)
    if task.dataset is None:
        task.dataset = run.dataset
    with task.setup.applied():
        quality = task.quality(extractor, split, count)
    if split == "test":
        run.note_reading("judge", quality.metrics)
    return Judged(str(run.path), str(by), split, quality)
