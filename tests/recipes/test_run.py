import json

import pytest

import gradlab


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return gradlab.train("softmax_regression", out=out, epochs=3, progress=False)


def test_a_run_comes_back_from_its_folder(run):
    again = gradlab.load(run.path)
    assert again.summary == run.summary
    assert again.recipe == run.recipe and again.schema == run.schema
    assert again.evaluate("val") == run.metrics["val"]
    digit = run.dataset.splits["test"].x[:4]
    assert again.predict([digit]) == run.predict([digit])


def test_recipe_json_is_enough_to_run_it_again(run, tmp_path):
    record = json.loads((run.path / "recipe.json").read_text(encoding="utf-8"))
    assert {"recipe", "seed", "schema", "dataset", "machine", "gradlab"} <= set(record)
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
    gradlab.train("softmax_regression", out=tmp_path, epochs=2, name="[bold]")
    said = capsys.readouterr()
    assert said.out == ""
    assert "epoch   2/2  val loss" in said.err and "device cpu, float32, 1 threads" in said.err
