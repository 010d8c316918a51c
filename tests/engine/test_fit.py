import ast
import inspect
import math
import os
import signal
import time
import traceback
from itertools import islice
from pathlib import Path

import pytest
import torch

from gradlab.config import OptimizerConfig, Plan, ScheduleConfig
from gradlab.data.loader import Batch
from gradlab.engine import (
    Diverged,
    Interrupted,
    Observer,
    Progress,
    RunFolder,
    Setup,
    Updater,
    fit,
)
from gradlab.engine import fit as fit_function
from gradlab.errors import UserError


class Descent:
    """The smallest task there is: no network, no dataset, one parameter that rolls to 3."""

    def __init__(self, lr=0.1, steps=10, poison=None):
        self.w = torch.zeros(1)
        self.lr, self.steps, self.poison = lr, steps, poison
        self.place = (-1, 0)
        self.count = 0

    def batches(self, epoch):
        start = self.place[1] if self.place[0] == epoch else 0
        for index in range(start, self.steps):
            self.place = (epoch, index + 1)
            yield index

    def step(self, batch):
        noise = torch.rand(1)
        loss = ((self.w - 3) ** 2).sum()
        self.w = self.w - self.lr * (2 * (self.w - 3) + 0.01 * (noise - 0.5))
        self.count += 1
        if self.count == self.poison:
            loss = loss * float("nan")
        return {"loss": loss, "lr": self.lr, "examples": 2}

    def evaluate(self, split):
        return {"loss": float((self.w - 3).abs())}

    def state(self):
        return {
            "model": {"w": self.w},
            "place": list(self.place),
            "count": self.count,
            "generator": torch.get_rng_state(),
        }

    def load_state(self, state):
        self.w, self.place, self.count = state["model"]["w"], tuple(state["place"]), state["count"]
        torch.set_rng_state(state["generator"])


class Scripted(Descent):
    """Its evaluations are written down beforehand."""

    def __init__(self, *values, name="loss"):
        super().__init__()
        self.values, self.name = list(values), name

    def evaluate(self, split):
        assert split == "val"
        return {self.name: self.values[self.place[0]]}


def folder(tmp_path, name="a"):
    return RunFolder.create(tmp_path, name, name, {"recipe": {}})


def unbroken(tmp_path, **plan):
    torch.manual_seed(7)
    task = Descent()
    fit(task, Plan(epochs=4, log_steps=3, **plan), folder(tmp_path, "unbroken"))
    return task.w


class Killer(Observer):
    """Stops the training from outside at a step or an epoch, as a signal would."""

    def __init__(self, step=None, epoch=None, number=signal.SIGINT):
        self.step, self.epoch, self.number = step, epoch, number

    def stepped(self, progress, line):
        if self.step is not None and progress.step >= self.step:
            os.kill(os.getpid(), self.number)

    def evaluated(self, progress, line):
        if self.epoch == progress.epoch:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", [{"step": 3}, {"step": 15}, {"epoch": 1}])
def test_a_signal_saves_and_the_resumed_training_ends_bit_for_bit_the_same(tmp_path, number, where):
    expected = unbroken(tmp_path)
    torch.manual_seed(7)
    run, plan = folder(tmp_path, "stopped"), Plan(epochs=4, log_steps=3)
    with pytest.raises(Interrupted) as stopped:
        fit(Descent(), plan, run, [Killer(**where, number=number)])
    assert stopped.value.signal == number
    torch.manual_seed(99)
    task = Descent()
    progress = fit(task, plan, run)
    assert torch.equal(task.w, expected)
    assert progress.finished and progress.step == 40 and progress.examples == 80
    steps = [line["steps"] for line in run.lines() if line.get("split") == "train"]
    assert sum(steps) == 40


def test_a_finished_run_takes_no_further_step(tmp_path):
    run, plan = folder(tmp_path), Plan(epochs=2)
    fit(Descent(), plan, run)
    task = Descent()
    assert fit(task, plan, run).finished
    assert task.count == 20


def test_best_is_the_epoch_with_the_best_val_and_patience_ends_the_training(tmp_path):
    run = folder(tmp_path)
    task = Scripted(3.0, 1.0, 2.0, 2.0, 2.0, 2.0)
    progress = fit(task, Plan(epochs=6, patience=2), run)
    assert (progress.best, progress.best_epoch, progress.epoch) == (1.0, 1, 4)
    assert progress.reason == "no better loss for 2 epochs"
    saved, _ = run.load("best")
    assert saved.best_epoch == 1 and saved.step == 20


def test_a_plan_that_keeps_the_last_epoch_is_not_chosen_for_by_val(tmp_path):
    run, plan = folder(tmp_path), Plan(epochs=4, keep="last")
    progress = fit(Scripted(3.0, 1.0, 2.0, 2.0), plan, run)
    assert (progress.best, progress.best_epoch) == (1.0, 3)
    assert run.load("best")[0].step == 40


def test_epochs_that_follow_each_other_fast_share_a_checkpoint(tmp_path, monkeypatch):
    saved = []
    save = RunFolder.save
    monkeypatch.setattr(
        RunFolder, "save", lambda run, which, *rest: (saved.append(which), save(run, which, *rest))
    )
    plan = Plan(epochs=5, keep="last")
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: 0.0)
        fit(Scripted(5.0, 4.0, 3.0, 2.0, 1.0), plan, folder(tmp_path))
    assert saved == ["last", "best", "last"]  # at the beginning, and both at the end


def test_a_plan_that_keeps_the_last_epoch_still_stops_by_patience(tmp_path):
    plan = Plan(epochs=6, keep="last", patience=2)
    progress = fit(Scripted(3.0, 1.0, 2.0, 1.5, 1.2, 1.1), plan, folder(tmp_path))
    assert (progress.best_epoch, progress.epoch) == (3, 4)


def test_patience_waits_for_the_least_number_of_epochs(tmp_path):
    task = Scripted(3.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0)
    progress = fit(task, Plan(epochs=7, patience=2, min_epochs=5), folder(tmp_path))
    assert (progress.best_epoch, progress.epoch) == (1, 5)


def test_a_goal_of_max_prefers_larger_values(tmp_path):
    plan = Plan(epochs=3, monitor="accuracy", goal="max")
    task = Scripted(0.1, 0.9, 0.5, name="accuracy")
    assert fit(task, plan, folder(tmp_path)).best_epoch == 1


def test_nan_stops_at_its_step_and_keeps_the_good_checkpoint(tmp_path):
    run = folder(tmp_path)
    with pytest.raises(
        Diverged, match=r"step 24 \(epoch 3\) at learning rate 0.1: the loss is nan"
    ):
        fit(Descent(poison=25), Plan(epochs=4, checkpoint_seconds=0), run)
    progress, state = run.load("last")
    assert progress.step == 24 and torch.isfinite(state["model"]["w"]).all()


def test_a_loss_that_grows_beyond_measure_stops_the_training(tmp_path):
    with pytest.raises(Diverged, match="the loss has grown to"):
        fit(Descent(lr=1.2), Plan(epochs=4, log_steps=2), folder(tmp_path))


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    class Broken(Descent):
        def evaluate(self, split):
            self.w = self.w * float("inf")
            return {}

    run = folder(tmp_path)
    with pytest.raises(Diverged, match="weights are not finite"):
        fit(Broken(), Plan(epochs=4), run)
    assert torch.isfinite(run.load("last")[1]["model"]["w"]).all()


def test_an_unknown_metric_to_monitor_is_refused(tmp_path):
    with pytest.raises(UserError, match="no metric 'accuracy'; found loss"):
        fit(Descent(), Plan(epochs=1, monitor="accuracy"), folder(tmp_path))


def test_a_checkpoint_is_written_in_mid_epoch_when_it_is_due(tmp_path):
    seen = []

    class Watch(Observer):
        def stepped(self, progress, line):
            seen.append((progress.step, run.load("last")[0].step))

    run = folder(tmp_path)
    fit(Descent(), Plan(epochs=1, checkpoint_seconds=0), run, [Watch()])
    assert seen == [(i + 1, i) for i in range(10)]


def test_the_task_is_asked_for_five_things_and_nothing_else(tmp_path):
    asked = set()

    class Counted:
        def __init__(self):
            self.inner = Descent()

        def __getattr__(self, name):
            asked.add(name)
            return getattr(self.inner, name)

    fit(Counted(), Plan(epochs=1), folder(tmp_path))
    run = folder(tmp_path, "b")
    with pytest.raises(Interrupted):
        fit(Counted(), Plan(epochs=2, log_steps=2), run, [Killer(step=2)])
    fit(Counted(), Plan(epochs=2), run)
    assert asked == {"batches", "step", "evaluate", "state", "load_state"}


def test_the_engine_stays_as_small_as_the_design_says(tmp_path):
    source = Path(inspect.getsourcefile(fit_function))
    text = source.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert len(Plan.model_fields) <= 25
    methods = [name for name in vars(Observer) if not name.startswith("_")]
    assert len(methods) <= 8
    assert not [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name) and "gan" in n.id]


CALLS = []


class Seen(torch.autograd.Function):
    """The identity; its backward keeps the functions that called it, the innermost last."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        CALLS.append([(f.name, f.filename) for f in traceback.extract_stack()])
        return gradient


class Learner:
    """A task on a network of its own; `learn` is one call more, as DQN has it."""

    def __init__(self, accumulate, deep):
        self.model = torch.nn.Linear(2, 1)
        self.deep = deep
        self.updater = Updater(
            [(1.0, list(self.model.named_parameters()))],
            OptimizerConfig(),
            ScheduleConfig(),
            Plan(accumulate=accumulate),
            Setup(torch.device("cpu"), "float32", 1),
            steps_per_epoch=1,
        )

    def batches(self, epoch):
        yield Batch({"x": torch.ones(4, 2)}, 4)

    def step(self, batch):
        return self.learn(batch) if self.deep else self.updater.update(self.loss, batch)

    def learn(self, batch):
        return self.updater.update(self.loss, batch)

    def loss(self, batch):
        return (Seen.apply(self.model(batch["x"])) - 1).square().mean()

    def evaluate(self, split):
        return {}

    def state(self):
        return {"model": self.model.state_dict(), "updater": self.updater.state()}


def between(calls):
    """The functions between `fit` and torch's own, torch left out."""
    start = max(i for i, (name, file) in enumerate(calls) if name == "fit")
    torch_at = Path(torch.__file__).parent
    return [name for name, file in calls[start + 1 : -1] if torch_at not in Path(file).parents]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("deep", "expected"), [(False, ["step"]), (True, ["step", "learn"])])
def test_at_most_three_frames_lie_between_fit_and_backward(tmp_path, accumulate, deep, expected):
    CALLS.clear()
    fit(Learner(accumulate, deep), Plan(epochs=1), folder(tmp_path))
    assert [between(calls) for calls in CALLS] == [[*expected, "update"]] * accumulate
    assert len(expected) + 1 <= 3


QUICK_DQN = {
    "epochs": 1,
    "task.epoch_steps": 64,
    "task.envs": 4,
    "task.train_every": 32,
    "task.gradient_steps": 1,
    "task.learning_starts": 0,
    "task.val_episodes": 1,
}


@pytest.mark.parametrize(
    ("recipe", "fields"),
    [
        ("softmax_regression", {"epochs": 1}),
        ("softmax_regression", {"epochs": 1, "plan.accumulate": 2}),
        ("dqn", QUICK_DQN),
    ],
)
def test_at_most_three_frames_of_a_recipe_lie_between_fit_and_backward(
    tmp_path, monkeypatch, recipe, fields
):
    import gradlab

    if recipe == "dqn":
        pytest.importorskip("gymnasium")
    seen = []
    backward = torch.Tensor.backward

    def spy(self, *args, **kwargs):
        calls = [(frame.name, frame.filename) for frame in traceback.extract_stack()]
        if any(name == "fit" for name, _ in calls):
            seen.append(between(calls))
        return backward(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "backward", spy)
    gradlab.train(recipe, out=tmp_path, test=False, progress=False, **fields)
    assert seen and all(len(names) <= 3 for names in seen), seen[:1]


def test_progress_is_plain_data():
    assert list(islice(vars(Progress()), 3)) == ["epoch", "step", "best"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_is_worse_than_any_other(tmp_path, bad):
    run = folder(tmp_path)
    progress = fit(Scripted(bad, 2.0, bad, 3.0), Plan(epochs=4), run)
    assert (progress.best, progress.best_epoch, progress.stale) == (2.0, 1, 2)
    assert run.load("best")[0].best == 2.0


def test_a_metric_that_is_not_finite_is_null_in_the_log(tmp_path):
    run, seen = folder(tmp_path), []

    class Watch(Observer):
        def evaluated(self, progress, line):
            seen.append(line["loss"])

    fit(Scripted(math.nan, 2.0), Plan(epochs=2), run, [Watch()])
    assert "NaN" not in (run.path / "metrics.jsonl").read_text()
    assert [line["loss"] for line in run.lines() if line.get("split") == "val"] == [None, 2.0]
    assert math.isnan(seen[0]) and seen[1] == 2.0


@pytest.mark.parametrize("changes", [{}, {"patience": 2}, {"keep": "last"}])
def test_a_metric_that_is_never_finite_is_said_and_the_run_is_not_finished(tmp_path, changes):
    run, plan = folder(tmp_path), Plan(epochs=3, **changes)
    for _ in range(2):  # a resume comes to the same end
        with pytest.raises(Diverged, match="the val loss was never a finite number"):
            fit(Scripted(math.nan, math.nan, math.nan), plan, run)
        assert not run.load("last")[0].finished and not run.has("best")


def test_the_metric_knows_which_way_it_improves(tmp_path):
    plan = Plan(epochs=3, monitor="accuracy")
    task = Scripted(0.1, 0.9, 0.5, name="accuracy")
    assert fit(task, plan, folder(tmp_path, "a")).best_epoch == 1
    plan = Plan(epochs=3, monitor="loss", goal="max")
    assert fit(Scripted(0.1, 0.9, 0.5), plan, folder(tmp_path, "b")).best_epoch == 1
    with pytest.raises(UserError, match=r"'length' is neither better .* --plan.goal min or max"):
        fit(Scripted(1.0, name="length"), Plan(monitor="length"), folder(tmp_path, "c"))


def test_the_log_counts_epochs_from_1(tmp_path):
    run = folder(tmp_path)
    fit(Descent(), Plan(epochs=2, log_steps=10), run)
    assert [line["epoch"] for line in run.lines()] == [1, 1, 2, 2]


@pytest.mark.parametrize("change", [lambda s: s.pop("place"), lambda s: s.update(generator=[1])])
def test_a_state_that_does_not_fit_the_task_is_refused(tmp_path, change):
    run = folder(tmp_path)
    fit(Descent(), Plan(epochs=1), run)
    progress, state = run.load("last")
    change(state)
    run.save("last", progress, state)
    with pytest.raises(UserError, match=r"'last' of .* does not fit its recipe"):
        fit(Descent(), Plan(epochs=2), run)
