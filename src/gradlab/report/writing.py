"""From a finished run to its page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradlab import files
from gradlab.engine import Observer, Progress
from gradlab.report.page import Page, write_page
from gradlab.runs.run import Run
from gradlab.tasks.base import Task
from gradlab.tasks.evaluation import Evaluation


def write(run: Run, task: Task, details: Mapping[str, Evaluation]) -> None:
    """Write `report.html` into a finished run; UserError when it cannot be, which loses nothing.

    `details` are evaluations by split: the findings about test are shown, else those about val,
    else those about train.
    """
    summary, record = run.summary, run.record
    split = next((name for name in ("test", "val", "train") if name in details), "")
    write_page(
        run.path / "report.html",
        Page(
            title=f"{summary['recipe']} on {summary['data']}",
            about=(run.recipe.summary, run.folder.name),
            metrics=summary["metrics"],
            baselines=summary["baselines"],
            monitor=run.recipe.plan.monitor or task.monitor,
            seconds=summary["seconds"],
            examples_per_second=summary["examples_per_second"],
            best_epoch=summary["best_epoch"],
            verdict=summary["verdict"],
            notes=[*record["notes"], *summary["notes"]],
            lines=run.history,
            split=split,
            parts=details[split].parts if split else (),
            pictures=task.pictures(),
            records={
                "Recipe": record["recipe"],
                "Dataset": record["dataset"],
                "Runtime": record["runtime"],
                "Machine": record["machine"],
            },
            footer=f"gradlab {record['gradlab']}, {record['created']}",
        ),
    )


class Gallery(Observer):
    """Keeps what a task's model makes after each epoch: `samples/epoch-001-TITLE.png`."""

    def __init__(self, task: Task, folder: Path) -> None:
        self.task, self.folder = task, folder

    @staticmethod
    def wanted(task: Task) -> bool:
        """Whether a task of this kind makes pictures at all."""
        return type(task).pictures is not Task.pictures

    def evaluated(self, progress: Progress, line: dict[str, Any]) -> None:
        """Draw the epoch's pictures."""
        self.folder.mkdir(exist_ok=True)
        for title, picture in self.task.pictures().items():
            name = f"epoch-{line['epoch']:03}-{title.replace(' ', '-')}.png"
            files.write_bytes(self.folder / name, png(picture))


def png(picture: np.ndarray) -> bytes:
    """An image (uint8 H W C, C 1 or 3) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(buffer, "PNG")
    return buffer.getvalue()
