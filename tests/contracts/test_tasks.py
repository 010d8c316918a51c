"""What every task must satisfy: exact resume after a kill, sections served or refused, answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import CASES, same_weights, task_of

import gradlab
from gradlab.config import Runtime
from gradlab.engine import Observer, Progress
from gradlab.errors import UserError
from gradlab.measures import known
from gradlab.recipes import find
from gradlab.runs import Run
from gradlab.runs.make import learnt_from, make
from gradlab.tasks import tasks
from gradlab.tasks.answers import Answer
from gradlab.tasks.sections import SECTIONS

KILLED_AT = 5
"""The step after which a copy of the run is what a killed process would have left."""


class Copied(Observer):
    """Copies the run's folder as it lies at a step: nothing has been tidied up by then."""

    def __init__(self, path: Path, copy: Path) -> None:
        self.path, self.copy = path, copy

    def stepped(self, progress: Progress, line: dict[str, Any]) -> None:
        if progress.step == KILLED_AT:
            shutil.copytree(self.path, self.copy)


@pytest.fixture(scope="module", params=list(CASES))
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "dqn":
        pytest.importorskip("gymnasium")
    return str(request.param)


@pytest.fixture(scope="module")
def whole(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training that nobody stopped; `killed` beside it is what a kill in it would have left."""
    name, fields = CASES[kind]
    out = tmp_path_factory.mktemp(kind)
    copied = Copied(out / "whole", out / "killed")
    return gradlab.train(
        name,
        out=out,
        name="whole",
        progress=False,
        threads=1,
        report=True,
        observers=[copied],
        **fields,
    )


def test_every_registered_task_is_swept():
    assert set(tasks) == {*CASES, "own"}  # that of gradlab.fit: tests/own


def test_a_training_that_is_killed_goes_on_bit_for_bit(whole):
    again = gradlab.resume(whole.path.with_name("killed"), progress=False)
    [resumed] = [line["step"] for line in again.history if line.get("event") == "resume"]
    assert 0 < resumed <= KILLED_AT
    assert same_weights(whole.model, again.model)
    assert whole.metrics == again.metrics
    last = [run.folder.load("last")[1] for run in (whole, again)]
    assert equal(*last), "the states differ"


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def test_one_that_has_no_checkpoint_yet_goes_on_bit_for_bit(whole, tmp_path):
    """A run killed after recipe.json and before its first checkpoint."""
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "recipe.json").write_bytes((whole.path / "recipe.json").read_bytes())
    torch.manual_seed(12345)
    again = gradlab.resume(bare, progress=False)
    assert same_weights(whole.model, again.model)
    assert whole.metrics == again.metrics


def test_a_section_that_is_not_served_is_refused(kind):
    name, fields = CASES[kind]
    odd = {
        "transfer.init": "zeros", "transfer.weights": "x", "transfer.embedding": "x",
        "transfer.freeze": "features", "transfer.unfreeze_after": 2, "transfer.backbone_lr": 0.5,
        "transfer.unfrozen_lr": 0.5, "transfer.keep_batch_norm": True, "transfer.views": 2,
        "data.augment.cutout": 2,
        "plan.updates": 50, "plan.accumulate": 2, "data.target": "x", "data.target_kind": "class",
        "data.limit": 9, "data.image_size": 32, "data.channels": 1, "data.group": "x",
        "data.time": "x", "data.unreadable": "any",
    }  # fmt: skip
    recipe = find(name, fields)
    dataset = learnt_from(recipe)
    for section, names in SECTIONS.items():
        if section in tasks[kind].serves:
            continue
        for dotted in names:
            field = "data.augment.cutout" if dotted == "data.augment" else dotted
            wrong = find(recipe, {field: odd[field]})
            with pytest.raises(UserError, match=dotted):
                make(wrong, dataset.schema, Runtime())


def test_its_metrics_are_known(kind):
    names = {metric.name for metric in tasks[kind].metrics} | {tasks[kind].monitor}
    assert names <= set(known())


def test_it_answers_and_the_answers_can_be_shown(kind):
    name, fields = CASES[kind]
    task = task_of(name, **fields)
    if not hasattr(task.dataset, "splits") or kind in ("gan", "language_model"):
        pytest.skip("its answers are tested with it")
    examples = task.dataset.split("val").only(task.schema.inputs)
    answers = task.predict(examples)
    assert len(answers) == len(examples)
    for answer in answers[:3]:
        assert isinstance(answer, Answer)
        json.dumps(answer.to_dict())
        assert all(isinstance(cell, str | float | int) for cell in answer.cells().values())
        assert str(answer) and isinstance(answer.more(), str)
        picture = answer.draw()
        assert picture is None or (isinstance(picture, np.ndarray) and picture.dtype == np.uint8)


def test_its_parts_have_names_and_states(kind, tmp_path):
    name, fields = CASES[kind]
    task = task_of(name, **fields)
    state = task.state()
    assert set(state) == {"model", "random", *task.parts}
    with pytest.raises(UserError, match="lacks the state of random"):
        task.load_state({key: value for key, value in state.items() if key != "random"})


def test_a_report_is_written(whole):
    page = (whole.path / "report.html").read_text("utf-8")
    assert whole.recipe.name in page and "<script" not in page
    assert whole.summary["best_epoch"] >= 1
