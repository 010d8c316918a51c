"""Rare classes: weights in the loss, the metric that decides, a threshold and a temperature chosen
on val and kept with the run."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import f1_score, log_loss
from support import same_weights, task_of
from torch.nn import functional

import gradlab
from gradlab.engine import Observer
from gradlab.errors import UserError
from gradlab.runs import Ensemble, load
from gradlab.sklearn import NetworkClassifier
from gradlab.tasks.decision import best_threshold, figure_at, fit_temperature

SMALL = {"progress": False, "threads": 1, "epochs": 3, "plan.log_steps": 10}
BOTH = {"task.class_weight": "balanced", "task.threshold": "f1"}


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    """A table of 2,500 rows of which 8 % are "yes", that six columns say something about."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2500, 6))
    z = x @ [1.0, -0.8, 0.6, 0.4, 0.0, 0.0] + 2 * rng.normal(size=2500)
    y = np.where(z > np.quantile(z, 0.92), "yes", "no")
    path = tmp_path_factory.mktemp("data") / "rare.csv"
    pl.DataFrame({**{f"x{k}": x[:, k] for k in range(6)}, "y": y}).write_csv(path)
    return {"data": str(path), "target": "y", "data.val": 0.2}


@pytest.fixture(scope="module")
def plain(rare, tmp_path_factory):
    return gradlab.train(
        "logistic_regression", out=tmp_path_factory.mktemp("plain"), **rare, **SMALL
    )


@pytest.fixture(scope="module")
def decided(rare, tmp_path_factory):
    """One that chooses temperature and threshold."""
    out = tmp_path_factory.mktemp("decided")
    fields = {"task.threshold": "f1", "task.calibrate": True}
    return gradlab.train("logistic_regression", out=out, report=True, **rare, **SMALL, **fields)


def recall(run):
    return run.details("test").to_dict()["per_class"]["yes"]["recall"]


def test_rare_examples_are_found_where_that_is_asked_for(plain, decided, rare, tmp_path):
    before = plain.metrics["test"]
    assert before["accuracy"] > 0.9 and recall(plain) < 0.15  # what accuracy hides
    weighed = gradlab.train("logistic_regression", out=tmp_path, **rare, **SMALL, **BOTH)
    for run in (decided, weighed):
        after = run.metrics["test"]
        assert recall(run) > recall(plain) + 0.25
        assert after["f1"] > before["f1"] + 0.15
        assert after["balanced_accuracy"] > before["balanced_accuracy"] + 0.1


def test_the_metric_that_decides_suits_the_data(plain, rare):
    assert plain.recipe.plan.monitor == "average_precision" and plain.recipe.plan.goal == "max"
    said = " ".join(plain.record["notes"])
    assert "best average_precision on val (92.0% of the training examples are 'no')" in said
    assert "--task.threshold f1" in said
    named = task_of("mlp", **rare, **{"plan.monitor": "loss", "model.widths": (4,)})
    assert named.plan.monitor == "loss" and "on val" not in " ".join(named.notes)
    assert task_of("logistic_regression").plan.monitor == "loss"  # 63 % are benign
    assert task_of("mlp", data="iris").plan.monitor == "accuracy"
    weighed = task_of("mlp", data="iris", **{"task.class_weight": "balanced"})
    assert weighed.plan.monitor == "balanced_accuracy"


def test_few_rare_examples_on_val_choose_no_epoch(rare, tmp_path):
    """6 of them on val: average precision would be noise."""
    fields = {**rare, "data.val": 0.03}
    assert task_of("mlp", **fields, **{"model.widths": (4,)}).plan.monitor == "loss"


def test_the_rarer_class_is_positive_unless_another_is_named(plain, rare):
    assert plain.recipe.task.options["positive"] == "yes"
    assert task_of("logistic_regression").recipe.task.options["positive"] == "malignant"
    named = task_of("logistic_regression", **rare, **{"task.positive": "no"})
    assert named.positive == 0
    with pytest.raises(UserError, match=r"task\.positive.*did you mean 'yes'"):
        task_of("logistic_regression", **rare, **{"task.positive": "yess"})


@pytest.mark.parametrize("recipe", ["logistic_regression", "softmax_regression"])
def test_weights_are_those_of_balanced_classes_and_the_reported_loss_has_none(rare, recipe):
    task = task_of(recipe, **rare, **{"task.class_weight": "balanced"})
    y = task.targets("train")
    share = float((y == 1).double().mean())
    assert task.weights.tolist() == pytest.approx([0.5 / (1 - share), 0.5 / share])
    batch = next(task.batches(0))
    output = task.forward(batch).detach()
    logits, truth = task.logits(output), batch["label"]
    each = functional.cross_entropy(logits, truth, reduction="none")
    expected = float((each * task.weights[truth]).mean())
    assert float(task.loss(batch).detach()) == pytest.approx(expected, rel=1e-5)
    assert float(task.measured_loss(output, batch)) == pytest.approx(float(each.mean()), rel=1e-5)
    assert any("the loss that is reported of a split is without them" in n for n in task.notes)


@pytest.mark.parametrize("loss", ["hinge", "bce", "mse", "cross_entropy"])
def test_every_loss_can_be_weighed(loss):
    fields = {"task.class_weight": "balanced", "task.loss": loss, "data": "iris"}
    task = task_of("mlp", **fields)
    assert task.weights.tolist() == pytest.approx([1, 1, 1], rel=0.05)
    task.weights = torch.tensor([1.0, 0.0, 0.0])
    batch = next(task.batches(0))
    first = (batch["label"] == 0).float().mean()
    output = task.forward(batch).detach()
    alone = task.cost(output[batch["label"] == 0], batch["label"][batch["label"] == 0])
    assert float(task.score(output, batch["label"])) == pytest.approx(
        float(first * alone), rel=1e-4
    )


def test_the_threshold_is_the_best_on_val_and_test_is_not_looked_at(decided):
    task = decided.task
    task.dataset = decided.dataset
    y = task.targets("val").numpy()
    chances = np.array([dict(a.top)["yes"] for a in task.predict(decided.dataset.split("val"))])
    found = {t: f1_score(y, chances >= t) for t in np.linspace(0.01, 0.99, 197)}
    decision = decided.end["decision"]
    assert decision["at_threshold"] == pytest.approx(f1_score(y, chances >= decision["threshold"]))
    assert decision["at_threshold"] >= max(found.values()) - 1e-9
    assert decision["at_threshold"] == pytest.approx(decided.metrics["val"]["f1"])
    assert decision["at_half"] == pytest.approx(found[min(found, key=lambda t: abs(t - 0.5))])
    assert "chosen on val by F1" in decided.summary["notes"][-1]


def test_answers_follow_the_threshold_and_a_run_that_is_opened_keeps_it(decided):
    again = load(decided.path)
    assert again.task.decision == decided.task.decision
    assert again.evaluate("test") == decided.metrics["test"]
    rows = decided.dataset.split("test").only(["table"])
    threshold = again.task.threshold
    for answer in again.task.predict(rows):
        chance = dict(answer.top)["yes"]
        assert answer.label == ("yes" if chance >= threshold else "no")
        assert answer.probability == pytest.approx(chance if answer.label == "yes" else 1 - chance)
    confusion = np.array(again.details("test").to_dict()["confusion"])
    assert confusion[:, 1].sum() == sum(a.label == "yes" for a in again.task.predict(rows))


def test_baselines_choose_a_threshold_of_their_own(decided, plain):
    linear = decided.baselines["test"]["linear model"]
    assert linear["f1"] > plain.baselines["test"]["linear model"]["f1"] + 0.1
    assert linear["loss"] == plain.baselines["test"]["linear model"]["loss"]


def test_a_threshold_of_ones_own(plain, rare, tmp_path):
    run = gradlab.train(
        "logistic_regression", out=tmp_path, **rare, **SMALL, **{"task.threshold": "0.1"}
    )
    assert run.recipe.task.options["threshold"] == 0.1 and run.end["decision"] == {}
    assert same_weights(run.model, plain.model)
    assert recall(run) > recall(plain) + 0.2
    for key in ("loss", "roc_auc", "average_precision", "ece"):
        assert run.metrics["test"][key] == plain.metrics["test"][key]


def test_what_cannot_be_chosen_is_refused_before_anything_is_trained(rare):
    for value in ("f2", "1.5", "0"):
        with pytest.raises(UserError, match="expected f1, youden or a probability"):
            task_of("logistic_regression", **rare, **{"task.threshold": value})
    with pytest.raises(UserError, match="it is for two classes, found 10: leave it out"):
        task_of("mlp", **{"task.threshold": "f1"})
    with pytest.raises(UserError, match=r"chosen on val, which this dataset has not.*--data\.val"):
        task_of("logistic_regression", **{**rare, "task.threshold": "youden", "data.val": 0})
    with pytest.raises(UserError, match="cross_entropy and nll, not with 'hinge'"):
        task_of("mlp", **{"task.calibrate": True, "task.loss": "hinge"})


def test_thresholds_by_their_definitions():
    rng = np.random.default_rng(3)
    chances = rng.uniform(size=200).round(2)
    positive = rng.uniform(size=200) < chances**3
    for by in ("f1", "youden"):
        threshold, figure = best_threshold(chances, positive, by)
        every = [figure_at(chances, positive, by, t) for t in np.linspace(0, 1, 401)]
        assert figure == pytest.approx(max(every)) == figure_at(chances, positive, by, threshold)
    tpr = (chances[positive] >= threshold).mean()
    fpr = (chances[~positive] >= threshold).mean()
    assert figure == pytest.approx(tpr - fpr)


def test_a_temperature_undoes_what_was_done_to_the_logits():
    torch.manual_seed(0)
    honest = 2 * torch.randn(4000, 5)
    y = torch.distributions.Categorical(logits=honest).sample()
    assert fit_temperature(3 * honest, y) == pytest.approx(3, rel=0.05)
    assert fit_temperature(honest / 2, y) == pytest.approx(0.5, rel=0.05)
    # Five examples, all right, are no reason to be certain.
    assert fit_temperature(torch.eye(5) * 3, torch.arange(5)) > 0.5


def test_calibration_is_measured_and_said(decided):
    decision = decided.end["decision"]
    assert decision["ece_after"] < decision["ece_before"] or decision["temperature"] == 1
    assert decision["ece_after"] == pytest.approx(decided.metrics["val"]["ece"], abs=1e-6)
    assert "expected calibration error there is" in decided.summary["notes"][0]
    task = decided.task
    chances = [dict(a.top)["yes"] for a in task.predict(decided.dataset.split("test"))]
    y = decided.dataset.split("test")["label"][:]
    assert decided.metrics["test"]["loss"] == pytest.approx(log_loss(y, chances), rel=1e-4)
    page = (decided.path / "report.html").read_text("utf-8")
    assert "Calibration (test split)" in page and "chosen on val by F1" in page


class Stop(Observer):
    def stepped(self, progress, line):
        if progress.step == 5:
            raise RuntimeError("stopped")


def test_one_that_is_stopped_goes_on_bit_for_bit(rare, tmp_path):
    recipe = "softmax_regression"
    fields = {
        **rare, **SMALL, **BOTH, "task.calibrate": True, "plan.log_steps": 1, "data.limit": 300,
        "plan.checkpoint_seconds": 0, "epochs": 2, "batch_size": 64,
    }  # fmt: skip
    whole = gradlab.train(recipe, out=tmp_path, name="whole", **fields)
    with pytest.raises(RuntimeError):
        gradlab.train(recipe, out=tmp_path, name="stopped", observers=[Stop()], **fields)
    again = gradlab.resume(tmp_path / "stopped", progress=False)
    assert same_weights(whole.model, again.model) and whole.metrics == again.metrics
    assert whole.end["decision"] == again.end["decision"] != {}
    assert whole.folder.load("best")[1]["decision"] == again.folder.load("best")[1]["decision"]
    # Killed after the decision was kept and before the end was written:
    log = again.path / "metrics.jsonl"
    lines = log.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if '"final"' not in line and '"end"' not in line]
    log.write_text("".join(kept), "utf-8")
    third = gradlab.resume(again.path, progress=False)
    assert third.metrics == whole.metrics and third.end["decision"] == whole.end["decision"]


def test_a_decision_that_was_edited_is_refused(decided, tmp_path):
    shutil.copytree(decided.path, tmp_path / "edited")
    state = tmp_path / "edited" / "checkpoints" / "best" / "state.json"
    head = json.loads(state.read_text())
    assert head["state"]["decision"]["threshold"] == decided.task.threshold
    head["state"]["decision"]["threshold"] = 0.01
    state.write_text(json.dumps(head))
    with pytest.raises(UserError, match="damaged or was edited"):
        load(tmp_path / "edited").task  # noqa: B018
    with pytest.raises(UserError, match="what was chosen on val: temperature"):
        decided.task.load_decision({"temperature": -1})


def test_an_ensemble_decides_for_the_whole(rare, tmp_path):
    from gradlab.workflows.ensemble import train_ensemble

    fields = {**rare, **SMALL, **BOTH, "epochs": 1}
    whole = train_ensemble("softmax_regression", 2, out=tmp_path, name="two", **fields)
    again = load(whole.path)
    assert again.task.threshold == whole.end["decision"]["threshold"]
    assert again.evaluate("test") == whole.metrics["test"]
    of = Ensemble.of([whole.path / "member-0", whole.path / "member-1"])
    assert of.task.threshold == again.task.threshold
    of.save(tmp_path / "saved")
    assert load(tmp_path / "saved").task.decision == again.task.decision


def test_an_estimator_of_scikit_learn_keeps_its_threshold():
    import pickle

    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4))
    y = (x[:, 0] + rng.normal(size=600) > 1.6).astype(int)
    model = NetworkClassifier(
        widths=(8,), epochs=5, val=0.2, random_state=0, fields={"task.threshold": "f1"}
    ).fit(x, y)
    threshold = model._task.threshold
    assert threshold is not None and threshold != 0.5
    expected = model.predict_proba(x)[:, 1] >= threshold
    assert (model.predict(x) == expected).all()
    assert (pickle.loads(pickle.dumps(model)).predict(x) == expected).all()
