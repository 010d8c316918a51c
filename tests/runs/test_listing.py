"""The list of runs, and their removal."""

import json

import pytest

import gradlab
from gradlab.runs.listing import listed, remove


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Three runs: two good, one whose record was damaged."""
    folder = tmp_path_factory.mktemp("runs")
    options = {"out": folder, "progress": False}
    gradlab.train("softmax_regression", name="short", epochs=1, **options)
    gradlab.train("softmax_regression", name="long", epochs=8, **options)
    gradlab.train("linear_regression", name="line", epochs=1, test=False, **options)
    gradlab.train("linear_regression", name="bad", epochs=1, **options)
    (folder / "bad" / "recipe.json").write_text("[5]", encoding="utf-8")
    (folder / "notes").mkdir()
    return folder


def names(entries):
    return [entry.run.replace("\\", "/").rsplit("/", 1)[1] for entry in entries]


def test_runs_are_listed_with_what_they_reached(out):
    found = {entry.run[-4:]: entry for entry in listed(out)}
    assert len(found) == 4
    line = found["line"]
    assert (line.recipe, line.data, line.state) == ("linear_regression", "diabetes", "finished")
    assert line.split == "val" and line.metrics["mse"] > 0 and line.seconds > 0
    assert listed(out, state="unreadable") == [listed(out, sort="state")[-1]]


def test_runs_are_filtered_and_sorted_the_best_first(out):
    assert names(listed(out, recipe="softmax_regression", sort="accuracy")) == ["long", "short"]
    assert names(listed(out, data="digits", sort="loss")) == ["long", "short"]
    assert names(listed(out, state="finished", sort="name")) == ["line", "long", "short"]
    with pytest.raises(gradlab.UserError, match="no run here has the metric 'f1'"):
        listed(out, sort="f1")
    with pytest.raises(gradlab.UserError, match="no folder of runs"):
        listed(out / "none")


def test_only_what_gradlab_wrote_is_removed(tmp_path):
    run = gradlab.train("softmax_regression", out=tmp_path, name="a", epochs=1, progress=False)
    (run.path / "notes.txt").write_text("mine", encoding="utf-8")
    (run.path / "checkpoints" / "mine.txt").write_text("mine", encoding="utf-8")
    found = remove(run.path)
    assert found["left"] == ["checkpoints", "notes.txt"] and found["bytes"] > 0
    left = sorted(path.name for path in run.path.rglob("*"))
    assert left == ["checkpoints", "mine.txt", "notes.txt"]
    with pytest.raises(gradlab.UserError, match="is no run"):
        remove(run.path)


def test_a_whole_run_is_removed_with_its_folder(tmp_path):
    run = gradlab.train("softmax_regression", out=tmp_path, name="a", epochs=1, progress=False)
    assert remove(run.path)["left"] == [] and not run.path.exists()


def test_links_other_folders_and_runs_in_training_are_left(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "recipe.json").write_text(json.dumps({"cake": 1}), encoding="utf-8")
    with pytest.raises(gradlab.UserError):
        remove(tmp_path / "other")
    assert (tmp_path / "other" / "recipe.json").is_file()
    run = gradlab.train("softmax_regression", out=tmp_path, name="a", epochs=1, progress=False)
    with run.folder.locked(), pytest.raises(gradlab.UserError, match="being trained"):
        remove(run.path)
    try:
        (tmp_path / "link").symlink_to(run.path, target_is_directory=True)
    except OSError:
        return  # Windows may not make links
    with pytest.raises(gradlab.UserError, match="is no run"):
        remove(tmp_path / "link")
    assert (run.path / "report.html").is_file()
