"""From a finished run to its page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradlab.data import Split
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
        ),
    )


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
