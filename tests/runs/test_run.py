"""A run from its folder: opened, run again, resumed, evaluated where nothing may be written."""

import json
import shutil

import pytest
import torch
from support import same_weights

import gradlab
from gradlab import files
from gradlab.cli import main
from gradlab.engine import RunFolder
from gradlab.tasks.base import Task


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return gradlab.train("softmax_regression", out=out, epochs=3, progress=False, report=True)


def test_a_run_comes_back_from_its_folder(run):
    again = gradlab.load(run.path)
    assert again.summary == run.summary
    assert again.recipe == run.recipe and again.schema == run.schema
    assert again.evaluate("val") == run.metrics["val"]
    digit = run.dataset.splits["test"]["image"][:4]
    assert again.predict([digit]) == run.predict([digit])


def test_recipe_json_is_enough_to_run_it_again(run, tmp_path):
    record = json.loads((run.path / "recipe.json").read_text(encoding="utf-8"))
    assert {"recipe", "runtime", "seed", "schema", "dataset", "machine", "gradlab"} <= set(record)
    assert record["dataset"]["fingerprint"] == run.dataset.fingerprint
    recipe = type(run.recipe).model_validate(record["recipe"])
    again = gradlab.train(recipe, out=tmp_path, progress=False)
    assert again.metrics == run.metrics


def test_a_notebook_shows_the_report(run):
    html = run._repr_html_()
    assert html.startswith("<iframe") and "Learning curves" in html


def test_tensorboard_files_hold_the_curves(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = gradlab.train(
        "softmax_regression", out=tmp_path, epochs=3, progress=False, log=("tensorboard",)
    )
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    logged = [e.value for e in events.Scalars("val/accuracy")]
    curve = [x["accuracy"] for x in run.history if x.get("split") == "val" and "accuracy" in x]
    assert logged == pytest.approx(curve)


def test_progress_is_written_to_stderr_and_names_are_no_markup(tmp_path, capsys):
    gradlab.train("softmax_regression", out=tmp_path, epochs=2, name="[bold]", results=False)
    said = capsys.readouterr()
    assert said.out == ""
    assert "epoch   2/2  train loss" in said.err and "device cpu, float32, 1 thread\n" in said.err


DRAWS = {
    "epochs": 3,
    "data.limit": 200,
    "batch_size": 16,
    "model.dropout": 0.3,
    "model.widths": (16,),
    "data.augment.shift": 1,
    "threads": 1,
    "progress": False,
}
"""A training whose weights depend on every number drawn."""


def test_recipe_json_alone_is_resumed_bit_for_bit(tmp_path):
    """What a process leaves that was killed before its first checkpoint."""
    whole = gradlab.train("mlp", out=tmp_path, name="whole", **DRAWS)
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(whole.path / "recipe.json", bare)
    torch.rand(7)  # whatever the process has drawn before
    again = gradlab.resume(bare, progress=False)
    assert same_weights(whole.model, again.model) and again.metrics == whole.metrics
    steps = [run.folder.load("last")[0].step for run in (whole, again)]
    assert steps[0] == steps[1] >= 12


def test_a_finished_run_is_given_the_report_that_it_lacks(run, tmp_path, capsys):
    copy = shutil.copytree(run.path, tmp_path / "copy")
    before = (copy / "metrics.jsonl").read_bytes()
    (copy / "report.html").unlink(missing_ok=True)
    (copy / ".report.html.0.part").write_text("<html>")  # the writer was killed
    main(["resume", str(copy), "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out)["metrics"] == run.metrics
    assert "Learning curves" in (copy / "report.html").read_text(encoding="utf-8")
    assert not list(copy.glob(".*.part"))
    assert (copy / "metrics.jsonl").read_bytes() == before  # nothing trained, test not read again


def test_a_report_is_written_with_the_threads_of_the_run(run, tmp_path, monkeypatch):
    copy = shutil.copytree(run.path, tmp_path / "copy")
    (copy / "report.html").unlink(missing_ok=True)
    used = []
    details = Task.details

    def spy(task, split):
        used.append(torch.get_num_threads())
        return details(task, split)

    monkeypatch.setattr(Task, "details", spy)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        gradlab.resume(copy, progress=False, report=True)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert set(used) == {run.trained_with.threads}


def deny(monkeypatch):
    """Appending fails as in a folder that is closed; root, who runs tests, may write anywhere."""

    def append(folder, line):
        path = folder.path / "metrics.jsonl"
        raise files.write_error(path, PermissionError(13, "Permission denied", str(path)))

    monkeypatch.setattr(RunFolder, "append", append)


def test_a_run_that_may_not_be_written_is_evaluated_and_that_is_said(run, monkeypatch, capsys):
    before = (run.path / "metrics.jsonl").read_bytes()
    deny(monkeypatch)
    main(["eval", str(run.path), "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out)["metrics"] == run.metrics["test"]
    note = f"note: {run.path} cannot be written: it does not record that test was read"
    assert said.err == f"{note}\n"
    assert (run.path / "metrics.jsonl").read_bytes() == before
    main(["eval", str(run.path), "--split", "val", "--json"])
    assert capsys.readouterr().err == ""


def test_a_reading_of_test_is_recorded(run, tmp_path):
    copy = gradlab.load(shutil.copytree(run.path, tmp_path / "copy"))
    metrics = copy.evaluate("test")
    last = copy.history[-1]
    assert (last["event"], last["by"], last["metrics"]) == ("test read", "eval", metrics)
    assert metrics == run.metrics["test"]
