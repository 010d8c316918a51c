"""A finished run trained longer: exact, recorded, and said."""

import json

import pytest
from command import refused, run
from support import same_weights

import gradlab
from gradlab.engine import Observer

QUIET = {"progress": False, "threads": 1}
CONSTANT = {
    **QUIET, "schedule.name": "constant", "plan.batch_size": 256, "model.widths": (64,),
}  # fmt: skip


class Stopped(Exception):
    pass


class StopAfter(Observer):
    def __init__(self, epoch):
        self.epoch = epoch

    def evaluated(self, progress, line):
        if progress.epoch + 1 == self.epoch:
            raise Stopped


def trained(out, name, epochs, **options):
    fields = {**CONSTANT, **options}
    return gradlab.train("mlp", out=out, name=name, epochs=epochs, **fields)


def last(found):
    return found.folder.load("last")[1]["model"]


def equal(one, other):
    a, b = last(one), last(other)
    return a.keys() == b.keys() and all((a[key] == b[key]).all() for key in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Five epochs in one piece."""
    return trained(tmp_path_factory.mktemp("runs"), "whole", 5, test=False)


def test_two_epochs_and_three_more_are_five(whole, tmp_path):
    trained(tmp_path, "a", 2, test=False)
    longer = gradlab.resume(tmp_path / "a", epochs=5, test=False, **QUIET)
    assert equal(longer, whole) and same_weights(longer.model, whole.model)
    assert longer.metrics == whole.metrics and longer.recipe.plan.epochs == 5
    assert [line for line in longer.history if line.get("event") == "longer"] == [
        {"event": "longer", "step": longer.history[-1]["step"] // 5 * 2, "epochs": 5, "before": 2}
    ]
    assert longer.record["notes"][-1] == "trained longer: 5 epochs in all, after 2"
    again = gradlab.load(tmp_path / "a")
    assert again.finished and again.evaluate("val") == pytest.approx(whole.metrics["val"])


def test_a_longer_training_that_was_stopped_is_resumed_exactly(whole, tmp_path):
    trained(tmp_path, "a", 2, test=False)
    for epochs, stop in ((5, 3), (None, 4)):
        with pytest.raises(Stopped):
            gradlab.resume(
                tmp_path / "a", epochs=epochs, test=False, observers=[StopAfter(stop)], **QUIET
            )
        assert not gradlab.load(tmp_path / "a").finished
    assert equal(gradlab.resume(tmp_path / "a", test=False, **QUIET), whole)
    # One that was stopped before its end is made longer too.
    with pytest.raises(Stopped):
        trained(tmp_path, "b", 3, test=False, observers=[StopAfter(2)])
    assert equal(gradlab.resume(tmp_path / "b", epochs=5, test=False, **QUIET), whole)


def test_a_schedule_goes_on_as_that_of_the_longer_training(tmp_path):
    cosine = {"schedule.name": "cosine"}
    trained(tmp_path, "a", 2, test=False, **cosine)
    longer = gradlab.resume(tmp_path / "a", epochs=4, test=False, **QUIET)
    assert (
        "schedule cosine is now that of 4 epochs: the learning rate goes on at 0.001, "
        in (longer.record["notes"][-1])
    )
    rates = {line["epoch"]: line["lr"] for line in longer.history if "lr" in line}
    assert rates[3] > rates[2] and rates[3] > rates[4]
    trained(tmp_path, "b", 2, test=False, **cosine)
    with pytest.raises(Stopped):
        gradlab.resume(tmp_path / "b", epochs=4, test=False, observers=[StopAfter(3)], **QUIET)
    assert equal(gradlab.resume(tmp_path / "b", test=False, **QUIET), longer)


def test_patience_begins_anew(tmp_path):
    still = {"plan.patience": 3, "optimizer.lr": 1e-12}
    early = trained(tmp_path, "a", 40, test=False, **still)
    done = early.folder.load("last")[0].epoch
    assert done < 40 and early.end["reason"].startswith("no better")
    longer = gradlab.resume(tmp_path / "a", epochs=done + 2, test=False, **QUIET)
    assert longer.folder.load("last")[0].epoch == done + 2


def test_test_is_read_again_and_that_is_recorded_and_said(tmp_path, capsys):
    first = trained(tmp_path, "a", 1)
    figures = first.metrics["test"]
    code, out, err = run(capsys, "resume", tmp_path / "a", "--epochs", 3, "--json", "--threads", 1)
    found = gradlab.load(tmp_path / "a")
    assert code == 0 and "test was read again" in err
    assert json.loads(out)["metrics"]["test"] == found.metrics["test"] != figures
    assert [line["by"] for line in found.history if line.get("event") == "test read"] == [
        "resume --epochs"
    ]
    finals = [line for line in found.history if line.get("final") and line["split"] == "test"]
    assert [line["metrics"] for line in finals] == [figures, found.metrics["test"]]
    found = gradlab.resume(tmp_path / "a", epochs=4, test=False, **QUIET)
    assert "test" not in found.metrics  # the figures were those of other weights


def test_what_cannot_be_made_longer_is_refused(whole, tmp_path, capsys):
    assert "trained for 5 epochs already" in refused(capsys, "resume", whole.path, "--epochs", 5)
    code, _, err = run(capsys, "resume", whole.path)
    assert code == 0 and "--epochs N" in err
    two = gradlab.train_ensemble("mlp", 2, out=tmp_path, name="two", epochs=1, **CONSTANT)
    assert "is an ensemble" in refused(capsys, "resume", two.path, "--epochs", 5)
    # Epochs that were edited by hand are no longer training.
    trained(tmp_path, "a", 1, test=False)
    path = tmp_path / "a" / "recipe.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["recipe"]["plan"]["epochs"] = 3
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(gradlab.UserError, match="was edited after this checkpoint"):
        gradlab.load(tmp_path / "a").evaluate("val")


def test_epochs_that_the_updates_make_are_said(tmp_path):
    found = gradlab.train(
        "mlp", data="iris", out=tmp_path, epochs=1, test=False, **QUIET, **{"plan.updates": 9}
    )
    epochs = found.recipe.plan.epochs
    assert epochs > 1 and f"{epochs} epochs (plan.updates 9)" in found.record["notes"]
