"""Ensembles: the mean of the members' answers, used, saved and resumed like one run."""

import json
import shutil
import signal

import numpy as np
import pytest
import torch

import gradlab
from gradlab.engine import Interrupted, Observer
from gradlab.errors import UserError
from gradlab.recipes.ensemble import (
    Ensemble,
    Gain,
    is_ensemble,
    load_ensemble,
    resume_ensemble,
    train_ensemble,
)
from gradlab.recipes.features import features

QUICK = {"epochs": 2, "threads": 1, "progress": False}
RECIPES = {
    "classification": "softmax_regression",
    "binary": "logistic_regression",
    "regression": "linear_regression",
}


@pytest.fixture(scope="module", params=RECIPES)
def ensemble(request, tmp_path_factory):
    """Two members of each kind of task."""
    out = tmp_path_factory.mktemp("runs")
    return train_ensemble(RECIPES[request.param], 2, out=out, name=request.param, **QUICK)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Three members on the digits."""
    out = tmp_path_factory.mktemp("runs")
    return train_ensemble("softmax_regression", 3, out=out, name="three", **QUICK)


def weights(run):
    return run.folder.load("best")[1]["model"]


def test_its_answers_are_the_mean_of_the_members(ensemble):
    split = ensemble.dataset.splits["test"]
    x = torch.from_numpy(split.x)
    if split.x.dtype == np.uint8:
        x = ((x.permute(0, 3, 1, 2) / 255) - ensemble.schema.mean[0]) / ensemble.schema.std[0]
    with torch.inference_mode():
        outputs = [member.model.eval()(x).double() for member in ensemble.members]
        together = ensemble.model(x)
    kind = ensemble.recipe.task.name
    if kind == "regression":
        scale, shift = ensemble.schema.target_std, ensemble.schema.target_mean
        mean = sum(o[:, 0] * scale + shift for o in outputs) / 2
    elif kind == "binary":
        positive = sum(o[:, 0].sigmoid() for o in outputs) / 2
        mean = torch.stack([1 - positive, positive], 1)
    else:
        mean = sum(o.softmax(1) for o in outputs) / 2
    np.testing.assert_allclose(ensemble.task.answers(together), mean, rtol=1e-4, atol=1e-6)
    metrics = ensemble.evaluate("test")
    y = torch.from_numpy(split.y)
    if kind == "regression":
        assert metrics["mse"] == pytest.approx(float((mean - y).square().mean()), rel=1e-4)
    else:
        assert metrics["accuracy"] == pytest.approx(float((mean.argmax(1) == y).double().mean()))
        loss = -mean.gather(1, y[:, None]).log().mean()
        assert metrics["loss"] == pytest.approx(float(loss), rel=1e-4)


def test_no_logit_is_too_large_to_average(ensemble):
    """Where probabilities would round to 0 or 1, outputs stay finite."""
    width = ensemble.task.outputs
    sure = torch.full((1, width), -300.0)
    sure[0, 0] = 300.0
    assert torch.isfinite(ensemble.task.pooled([sure, sure])).all()
    torch.testing.assert_close(ensemble.task.pooled([-sure, -sure]).argmax(1), (-sure).argmax(1))


def test_gain_is_counted_from_what_the_members_recorded(digits):
    gains = {gain.metric: gain for gain in digits.gain("test")}
    accuracy = gains["accuracy"]
    own = [member.metrics["test"]["accuracy"] for member in digits.members]
    assert list(accuracy.members) == own
    assert accuracy.ensemble == digits.metrics["test"]["accuracy"] == digits.evaluate()["accuracy"]
    assert accuracy.over_mean == pytest.approx(accuracy.ensemble - np.mean(own))
    assert accuracy.over_best == pytest.approx(accuracy.ensemble - max(own))
    assert accuracy.over_mean > 0 and gains["loss"].over_mean > 0  # cross-entropy is convex


def test_less_loss_is_a_gain():
    gain = Gain("loss", 0.5, (0.75, 1.0))
    assert (gain.best, gain.over_mean, gain.over_best) == (0.75, 0.375, 0.25)
    assert gain.cells() == ("loss", "0.8750", "0.7500", "0.5000", "+0.3750", "+0.2500")


def test_members_are_ordinary_runs_of_seeds_that_follow(digits, tmp_path):
    assert [member.recipe.seed for member in digits.members] == [0, 1, 2]
    alone = gradlab.train("softmax_regression", seed=1, out=tmp_path, **QUICK)
    member = gradlab.load(digits.path / "member-1")
    for name, value in weights(alone).items():
        assert torch.equal(value, weights(member)[name])
    assert alone.metrics == member.metrics


def test_saved_moved_loaded_and_predicted_with_like_one_run(digits, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(digits.path, moved)
    assert is_ensemble(moved) and not is_ensemble(moved / "member-0")
    loaded = load_ensemble(moved)
    x = digits.dataset.splits["val"].x[:4]
    assert loaded.predict([x]) == digits.predict([x])
    assert [answer.name for answer in loaded.predict([x])] == ["1", "2", "3", "4"]
    details = loaded.details("val")
    assert details.metrics == digits.metrics["val"]
    assert details.confusion.sum() == 153 and set(details.per_class) == set("0123456789")
    summary = json.loads(json.dumps(loaded.summary))
    assert summary["metrics"] == digits.metrics and summary["recipe"] == "softmax_regression"
    assert [row["metric"] for row in summary["gain"]["test"]] == ["loss", "accuracy"]


def test_runs_that_are_there_make_an_ensemble(digits, tmp_path):
    paths = [digits.path / f"member-{i}" for i in range(3)]
    made = Ensemble.of([paths[0], gradlab.load(paths[1]), str(paths[2])])
    assert made.evaluate("val") == digits.metrics["val"]
    assert made.metrics == {} and made.history == []
    made.save(tmp_path / "kept")
    kept = load_ensemble(tmp_path / "kept")
    assert kept.evaluate("val") == digits.metrics["val"]
    assert kept.history[-1]["event"] == "end"
    with pytest.raises(UserError, match="there is a folder"):
        made.save(tmp_path / "kept")


def test_reading_test_is_recorded_once_in_each_member(digits):
    def reads():
        return [sum(line.get("event") == "test read" for line in m.history) for m in digits.members]

    fresh, before = load_ensemble(digits.path), reads()
    fresh.evaluate("val")
    assert reads() == before
    fresh.evaluate("test")
    fresh.gain("test")
    assert reads() == [count + 1 for count in before]


class Stop(Observer):
    """Presses Ctrl-C in the first epoch of a seed."""

    def __init__(self, seed):
        self.seed = seed

    def stepped(self, progress, line):
        if torch.initial_seed() == self.seed:
            signal.raise_signal(signal.SIGINT)


def test_a_stopped_ensemble_continues_and_finished_members_stay(digits, tmp_path):
    folder = tmp_path / "e"
    with pytest.raises(Interrupted) as stop:
        train_ensemble(
            "softmax_regression", 3, out=tmp_path, name="e", observers=[Stop(1)], **QUICK
        )
    assert stop.value.run.path == folder  # what to resume is the whole
    stopped = load_ensemble(folder)
    assert stopped.history == []
    for use in (lambda: stopped.predict([np.zeros((8, 8), np.uint8)]), stopped.evaluate):
        with pytest.raises(UserError, match=r"member-1 is not trained.*gradlab resume .*e'"):
            use()
    (folder / "member-2").mkdir()  # and one that was stopped before its recipe was written
    first = {
        path: path.stat().st_mtime_ns for path in (folder / "member-0").rglob("*") if path.is_file()
    }
    done = resume_ensemble(folder, progress=False)
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert done.metrics == digits.metrics
    for mine, theirs in zip(done.members, digits.members, strict=True):
        assert all(torch.equal(v, weights(theirs)[k]) for k, v in weights(mine).items())
    written = (folder / "metrics.jsonl").read_bytes()
    assert resume_ensemble(folder, progress=False).metrics == done.metrics
    assert (folder / "metrics.jsonl").read_bytes() == written


def test_without_test_nobody_reads_it(tmp_path):
    made = train_ensemble("softmax_regression", 2, out=tmp_path, test=False, **QUICK)
    assert made.path.name == "softmax_regression-digits-ensemble-1"
    assert set(made.metrics) == {"val"}
    assert all("test" not in member.metrics for member in made.members)
    gain = made.gain("test")  # asked for afterwards: the members are read too
    assert {g.metric for g in gain} == {"loss", "accuracy"}


def test_runs_that_do_not_go_together_are_refused(digits, tmp_path):
    def other(name, **options):
        return gradlab.train("mlp", out=tmp_path, name=name, test=False, **{**QUICK, **options})

    member = digits.path / "member-0"
    with pytest.raises(UserError, match=r"classes differs: .* has 0, 1, 2.*has setosa, versicolor"):
        Ensemble.of([member, other("iris", data="iris").path])
    with pytest.raises(UserError, match=r"dataset differs: .*digits \(fingerprint"):
        Ensemble.of([member, other("less", **{"data.limit": 500})])
    with pytest.raises(UserError, match="their classes differs"):
        Ensemble.of([member, other("number", data="diabetes")])
    logistic = gradlab.train("logistic_regression", out=tmp_path, name="l", **QUICK)
    with pytest.raises(UserError, match=r"task differs: .* has binary, .* has classification"):
        Ensemble.of([logistic, other("b", data="breast_cancer", **{"data.test": 0.2})])
    with pytest.raises(UserError, match="at least 2 members, found 1"):
        Ensemble.of([member])
    with pytest.raises(UserError, match="three is an ensemble itself: give the runs in it"):
        Ensemble.of([digits.path, member])
    with pytest.raises(UserError, match="there is no run"):
        Ensemble.of([member, tmp_path / "nowhere"])


def test_networks_of_different_kinds_go_together(digits, tmp_path):
    mlp = gradlab.train("mlp", out=tmp_path, **QUICK)
    mixed = Ensemble.of([digits.path / "member-0", mlp])
    assert 0.5 < mixed.evaluate("val")["accuracy"] <= 1


def test_a_mistake_leaves_no_folder_behind(tmp_path):
    for options, message in (
        ({"count": 1}, "at least 2 members, found 1"),
        ({"data": "nosuch"}, "neither a named dataset"),
        ({"lrr": 1}, "unknown field 'lrr'"),
        ({"task": "regression"}, "regression needs a number"),
    ):
        with pytest.raises(UserError, match=message):
            train_ensemble("softmax_regression", out=tmp_path / "runs", **QUICK, **options)
    assert not list(tmp_path.glob("runs/*"))


def test_an_edited_or_taken_folder_is_refused(digits, tmp_path):
    for text in ('{"format": 9, "members": ["a", "b"]}', "[]", '{"format": 1, "members": []}'):
        (tmp_path / "ensemble.json").write_text(text)
        with pytest.raises(UserError, match=r"expected an ensemble of format 1.*edited"):
            load_ensemble(tmp_path)
    (tmp_path / "ensemble.json").write_text('{"format": 1,')
    with pytest.raises(UserError, match="not valid JSON"):
        load_ensemble(tmp_path)
    with pytest.raises(UserError, match="there is a folder"):
        train_ensemble("softmax_regression", out=digits.path.parent, name="three", **QUICK)


def test_what_only_one_network_has_is_refused(digits):
    with pytest.raises(UserError, match=r"give one of them, such as .*member-0"):
        features(digits)
