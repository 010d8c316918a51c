"""From a finished run to its page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradlab import files
from gradlab.data import Split
from gradlab.engine import Observer, Progress
from gradlab.recipes.report import Mistake, Page, write_report
from gradlab.recipes.run import Run
from gradlab.tasks.base import Details, Task


def write(run: Run, task: Task, details: Mapping[str, Details]) -> None:
    """Write `report.html` into the run: curves, confusion matrix, the worst mistakes."""
    split = next((name for name in ("test", "val", "train") if name in details), "")
    shown = details.get(split, Details({}))
    summary = run.summary
    write_report(
        run.path / "report.html",
        Page(
            title=f"{run.recipe.name} on {summary['data']}",
            run=run.folder.name,
            recipe_name=run.recipe.name,
            dataset=summary["data"],
            metrics=summary["metrics"],
            seconds=summary["seconds"],
            examples_per_second=summary["examples_per_second"],
            best_epoch=summary["best_epoch"],
            lines=run.history,
            split=split,
            classes=shown.classes,
            confusion=shown.confusion,
            per_class=shown.per_class,
            mistakes=mistakes(task, split, shown),
            recipe=run.record["recipe"],
            machine=run.record["machine"],
            notes=run.record["notes"],
            pictures=task.pictures(),
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


def mistakes(task: Task, split: str, details: Details) -> tuple[Mistake, ...]:
    """The worst mistakes with their pictures."""
    if task.dataset is None or split not in task.dataset.splits:
        return ()
    examples = task.dataset.splits[split]
    image = task.schema.kind == "image"
    sure = bool(details.classes)
    return tuple(
        Mistake(
            id=name_of(examples, index),
            truth=truth,
            prediction=answer,
            probability=value if sure else None,
            picture=np.asarray(examples.x[index]) if image else None,
        )
        for index, truth, answer, value in details.worst
    )


def name_of(examples: Split, index: int) -> str:
    """What an example is called: its file or row, or its number in the split."""
    return examples.ids[index] if examples.ids else str(index)
