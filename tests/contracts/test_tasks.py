"""What every task must satisfy: exact resume after a kill, sections served or refused, answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import same_weights, task_of

import gradlab
from gradlab.config import Runtime
from gradlab.errors import UserError
from gradlab.measures import known
from gradlab.recipes import find
from gradlab.runs.make import learnt_from, make
from gradlab.tasks import tasks
from gradlab.tasks.answers import Answer
from gradlab.tasks.base import SECTIONS

SMALL = {"data.limit": 120, "plan.log_steps": 1, "plan.checkpoint_seconds": 0}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "classification": ("lenet5", {**SMALL, "epochs": 3, "batch_size": 32}),
    "binary": ("logistic_regression", {**SMALL, "epochs": 3, "schedule": "plateau"}),
    "regression": ("linear_regression", {**SMALL, "epochs": 3}),
    "autoencoder": (
        "autoencoder",
        {**SMALL, "epochs": 3, "data": "digits", "batch_size": 32, "model.widths": (32,)},
    ),
    "gan": (
        "dcgan",
        {
            **SMALL, "epochs": 3, "data": "digits", "data.image_size": 28, "batch_size": 32,
            "model.width": 4, "model.latent": 8,
        },
    ),
    "dqn": (
        "dqn",
        {
            "epochs": 2, "plan.log_steps": 1, "plan.checkpoint_seconds": 0, "task.envs": 2,
            "task.epoch_steps": 80, "task.train_every": 8, "task.gradient_steps": 2,
            "task.learning_starts": 20, "task.val_episodes": 2, "task.test_episodes": 2,
            "task.target_every": 8, "model.widths": (16,), "batch_size": 8,
        },
    ),
}  # fmt: skip
"""A recipe of each task, and what makes it small; checkpoints after every step."""

KILLED = """
import json, os, sys
import gradlab
from gradlab.engine import Observer

name, fields, out, step = json.loads(sys.argv[1])

class Kill(Observer):
    def stepped(self, progress, line):
        if progress.step == step:
            os._exit(9)  # like SIGKILL, nothing is tidied up; it is there on every system

gradlab.train(name, out=out, name="killed", progress=False, observers=[Kill()], threads=1, **fields)
"""


@pytest.fixture(params=list(CASES))
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "dqn":
        pytest.importorskip("gymnasium")
    return str(request.param)


def test_every_registered_task_is_swept():
    assert set(tasks) == set(CASES)


@pytest.mark.parametrize("step", [5])
def test_a_training_that_is_killed_goes_on_bit_for_bit(kind, tmp_path, step):
    name, fields = CASES[kind]
    given = json.dumps([name, fields, str(tmp_path), step])
    dead = subprocess.run([sys.executable, "-c", KILLED, given], capture_output=True, text=True)
    assert dead.returncode == 9, dead.stderr
    whole = gradlab.train(name, out=tmp_path, name="whole", progress=False, threads=1, **fields)
    again = gradlab.resume(tmp_path / "killed", progress=False)
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


def test_one_that_has_no_checkpoint_yet_goes_on_bit_for_bit(kind, tmp_path):
    """A run killed after recipe.json and before its first checkpoint."""
    name, fields = CASES[kind]
    whole = gradlab.train(name, out=tmp_path, name="whole", progress=False, threads=1, **fields)
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
        "transfer.init": "zeros", "transfer.weights": "x", "transfer.freeze": "features",
        "transfer.unfreeze_after": 2, "transfer.backbone_lr": 0.5, "data.augment.cutout": 2,
        "plan.updates": 50, "plan.accumulate": 2, "data.target": "x", "data.target_kind": "class",
        "data.limit": 9, "data.image_size": 32, "data.channels": 1, "data.group": "x",
        "data.time": "x", "data.unreadable": "skip",
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
    if not hasattr(task.dataset, "splits") or kind == "gan":
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


def test_a_report_is_written(kind, tmp_path: Path):
    name, fields = CASES[kind]
    run = gradlab.train(name, out=tmp_path, progress=False, threads=1, **fields)
    page = (run.path / "report.html").read_text("utf-8")
    assert run.recipe.name in page and "<script" not in page
    assert run.summary["best_epoch"] >= 1
