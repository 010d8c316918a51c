"""The list of runs, and their removal."""

import json
import shutil

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
    [found] = remove(run.path)
    assert found["left"] == ["checkpoints", "notes.txt"] and found["bytes"] > 0
    left = sorted(path.name for path in run.path.rglob("*"))
    assert left == ["checkpoints", "mine.txt", "notes.txt"]
    with pytest.raises(gradlab.UserError, match="is no run"):
        remove(run.path)


def test_a_whole_run_is_removed_with_its_folder(tmp_path):
    run = gradlab.train("softmax_regression", out=tmp_path, name="a", epochs=1, progress=False)
    assert remove(run.path)[0]["left"] == [] and not run.path.exists()


def test_an_ensemble_is_removed_with_its_members(tmp_path):
    options = {"out": tmp_path, "name": "e", "epochs": 1, "progress": False}
    ensemble = gradlab.train_ensemble("softmax_regression", 2, **options)
    with (
        gradlab.load(ensemble.paths[1]).folder.locked(),
        pytest.raises(gradlab.UserError, match="member-1 is being trained"),
    ):
        remove(ensemble.path)
    assert (ensemble.paths[0] / "recipe.json").is_file()
    assert remove(ensemble.path)[0]["left"] == [] and not ensemble.path.exists()


def test_nothing_is_removed_when_one_of_several_is_no_run(tmp_path):
    run = gradlab.train("softmax_regression", out=tmp_path, name="a", epochs=1, progress=False)
    with pytest.raises(gradlab.UserError, match="notes is no run"):
        remove(run.path, tmp_path / "notes")
    assert gradlab.load(run.path).model


def test_what_lies_behind_a_link_in_a_run_is_left(tmp_path):
    options = {"epochs": 1, "out": tmp_path, "progress": False}
    mine, other = (gradlab.train("softmax_regression", name=n, **options) for n in ("a", "b"))
    for inner in ("checkpoints", "checkpoints/last", "samples"):
        place = mine.path / inner
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(exist_ok=True)
        behind = other.path / inner
        behind.mkdir(exist_ok=True)
        (behind / "drawn.png").write_bytes(b"mine")
        before = sorted(other.path.rglob("*"))
        try:
            place.symlink_to(behind, target_is_directory=True)
        except OSError:
            pytest.skip("this system makes no links")
        [found] = remove(mine.path)
        assert found["left"] == [inner.split("/")[0]]
        assert sorted(other.path.rglob("*")) == before
        if place.is_symlink():
            place.unlink()
        shutil.rmtree(mine.path, ignore_errors=True)
        mine = gradlab.train("softmax_regression", name="a", **options)
    assert other.evaluate("val")


def test_a_look_at_a_stopped_run_changes_nothing_in_it(tmp_path):
    run = gradlab.train("softmax_regression", out=tmp_path, name="a", epochs=1, progress=False)
    (run.path / "metrics.jsonl").unlink()
    for name in (".lock", ".left.0.part"):
        (run.path / name).touch()
    assert [entry.state for entry in listed(tmp_path)] == ["stopped"]
    assert (run.path / ".left.0.part").is_file()
    with run.folder.locked():
        assert [entry.state for entry in listed(tmp_path)] == ["training"]


def test_a_run_whose_metric_was_not_finite_comes_last(out, tmp_path):
    shutil.copytree(out, tmp_path / "runs")
    path = tmp_path / "runs" / "long" / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line.get("metrics", {}).update(accuracy=None, loss=None)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    for metric in ("accuracy", "loss"):
        entries = listed(tmp_path / "runs", data="digits", sort=metric)
        assert names(entries) == ["short", "long"] and "nan" in entries[1].cells()[4]


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
    assert (run.path / "recipe.json").is_file()
