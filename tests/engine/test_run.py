import json
import math
import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradlab import files
from gradlab.cli import main
from gradlab.engine import Progress, RunFolder
from gradlab.engine.record import FORMAT, read_line
from gradlab.errors import UserError

STATE = {"model": {"w": torch.arange(4.0)}, "updater": {"step": 3, "slots": {"0": torch.ones(2)}}}
RECORD = {
    "created": "2026-01-01T00:00:00+00:00",
    "gradlab": "0.1.0",
    "seed": 0,
    "recipe": {"name": "mlp"},
    "schema": {"classes": ["a", "b"]},
    "dataset": {"name": "digits", "fingerprint": "0123456789abcdef", "counts": {"train": 3}},
    "notes": [],
    "machine": {},
    "runtime": {"device": "cpu", "precision": "float32", "threads": 1},
}


@pytest.fixture
def run(tmp_path):
    run = RunFolder.create(tmp_path, None, "mlp-digits", RECORD)
    run.save("last", Progress(step=3), STATE)
    return run


def edit(run, change):
    """Change recipe.json as `change` does with what it holds."""
    path = run.path / "recipe.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


# names and places


def test_fresh_names_count_up_and_a_taken_name_is_refused(run, tmp_path):
    assert run.name == "mlp-digits-1"
    assert RunFolder.create(tmp_path, None, "mlp-digits", {}).name == "mlp-digits-2"
    with pytest.raises(UserError, match="resume it"):
        RunFolder.create(tmp_path, "mlp-digits-1", "x", {})


NAMES = [
    "", ".", "..", "../a", "a/b", "/a", "a\\b", "..\\a", "C:a", "C:\\a", "a\0b", "a\nb", "con",
    "NUL.txt", "com1", ".a", "a.", "a ", "a*", "x" * 201, "é" * 150, "x" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_elsewhere_or_is_none_on_every_system_is_refused(tmp_path, name):
    out = tmp_path / "runs"
    with pytest.raises(UserError, match="--name: expected the plain name of a folder") as refused:
        RunFolder.create(out, name, "x", RECORD)
    assert len(str(refused.value)) < 300
    assert not list(tmp_path.iterdir())


def test_a_name_made_of_the_data_is_made_plain(tmp_path):
    run = RunFolder.create(tmp_path / "runs", None, "mlp-../a:b" + "x" * 400 + "\udcff", RECORD)
    assert run.path.parent == tmp_path / "runs" and run.name.startswith("mlp-..-a-bxxx")
    assert len(run.name) < 100
    assert RunFolder.open(run.path).record["recipe"] == {"name": "mlp"}


def test_a_path_that_is_too_long_is_no_run(tmp_path):
    for place in (tmp_path / ("x" * 5000), tmp_path / ("x" * 5000) / "y"):
        with pytest.raises(UserError, match="there is no run"):
            RunFolder.open(place)
    with pytest.raises(UserError, match="cannot write "):
        RunFolder.create(tmp_path / ("x" * 300), "a", "a", RECORD)


def test_a_folder_that_is_no_run_is_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"there is no run .*Runs there: .*mlp-digits-1"):
        RunFolder.open(tmp_path / "absent")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match=r"no recipe\.json. Name a folder made by"):
        RunFolder.open(tmp_path / "other")
    with pytest.raises(UserError, match="there is something else at"):
        RunFolder.create(tmp_path, "other", "x", RECORD)
    assert (tmp_path / "other" / "letter.txt").read_text() == "mine"
    files.write_json(tmp_path / "other" / "recipe.json", {"format": 99})
    with pytest.raises(UserError, match=f"format {FORMAT}, found 99"):
        RunFolder.open(tmp_path / "other")


def test_a_training_that_was_killed_before_recipe_json_is_begun_again(tmp_path, capsys):
    """The advice of `open` is followed to the letter."""
    path = tmp_path / "a"
    path.mkdir()
    (path / ".lock").touch()
    (path / ".recipe.json.0.part").write_text('{"form')
    with pytest.raises(UserError, match=r"begin it again with '(.*)'") as refused:
        RunFolder.open(path)
    advice = str(refused.value).split("'")[1].replace("RECIPE", "mlp").split()
    main([*advice[1:], "--epochs", "1", "--no-test"])
    assert RunFolder.open(path).record["recipe"]["name"] == "mlp"
    assert not list(path.glob("*.part"))
    with pytest.raises(UserError, match="resume it"):
        RunFolder.create(tmp_path, "a", "x", RECORD)


def test_a_folder_that_another_process_is_making_is_not_taken_over(tmp_path):
    (tmp_path / "a").mkdir()
    with RunFolder(tmp_path / "a").locked(), pytest.raises(UserError, match="another process"):
        RunFolder.create(tmp_path, "a", "x", RECORD)


def test_a_run_is_trained_by_one_process_at_a_time(run):
    with run.locked(), pytest.raises(UserError, match="another process"), run.locked():
        raise AssertionError("locked twice")


def test_what_killed_writers_left_is_cleared_by_who_holds_the_run(run):
    checkpoints = run.path / "checkpoints"
    (checkpoints / ".last.0.part").mkdir()
    (checkpoints / ".last.0.part" / "model.safetensors").write_bytes(b"half")
    (checkpoints / "last.old").mkdir()
    (checkpoints / "best.old").mkdir()  # there is no best: this one is it
    (run.path / ".report.html.3.part").write_text("<p")
    (run.path / ".own.part").write_text("a person's")
    with run.locked():
        pass
    assert sorted(path.name for path in checkpoints.iterdir()) == ["best.old", "last"]
    found = {path.name for path in run.path.iterdir()}
    assert ".own.part" in found and ".report.html.3.part" not in found


# recipe.json


def test_the_record_comes_back_as_it_was_written(run):
    assert RunFolder.open(run.path).record == {"format": FORMAT, **RECORD}


@pytest.mark.parametrize("field", ["dataset", "schema", "recipe", "seed", "runtime", "notes"])
def test_a_record_without_a_field_is_refused(run, field):
    edit(run, lambda record: record.pop(field))
    with pytest.raises(UserError, match=rf"recipe.json: {field}: field required; it was edited"):
        RunFolder.open(run.path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dataset", []),
        ("dataset", {"name": "a"}),
        ("dataset", {"name": "a", "fingerprint": 5, "counts": {}}),
        ("dataset", {"name": "a", "fingerprint": "f", "counts": {"train": "many"}}),
        ("schema", None),
        ("recipe", "mlp"),
        ("seed", -1),
        ("seed", True),
        ("notes", "a"),
        ("notes", [5]),
        ("machine", []),
        ("runtime", {"device": "cpu", "precision": "float32", "threads": "1"}),
        ("created", 5),
        ("metrics", []),
    ],
)
def test_a_record_of_other_types_is_refused(run, field, value):
    edit(run, lambda record: record.update({field: value}))
    with pytest.raises(UserError, match=rf"recipe.json: {field}.*it was edited, cut short"):
        RunFolder.open(run.path)


BROKEN = {
    "nested": b'{"format": 2, "recipe": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested a little less": b'{"format": 2, "recipe": ' + b"[" * 900 + b"]" * 900 + b"}",
    "digits": b'{"format": 2, "seed": ' + b"1" * 5000 + b"}",
    "not UTF-8": b'{"format": 2, "name": "\xff"}',
    "empty": b"",
    "cut": b'{"format": 2,',
    "NUL": b"\0" * 100,
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_no_json_of_ours_is_refused_with_one_message(run, broken):
    (run.path / "recipe.json").write_bytes(broken)
    with pytest.raises(UserError, match=r"is not valid JSON .*; it was edited or cut short") as bad:
        RunFolder.open(run.path)
    assert len(str(bad.value)) < 400
    with pytest.raises(UserError, match="is not valid JSON"):
        run.load("last")
    (run.path / "checkpoints" / "last" / "state.json").write_bytes(broken)
    with pytest.raises(UserError, match=r"state\.json is not valid JSON"):
        run.load("last")


@pytest.mark.parametrize("value", [5, None, [], "a", True])
def test_a_record_that_is_no_object_is_refused(run, value):
    (run.path / "recipe.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match=f"format {FORMAT}, found None"):
        RunFolder.open(run.path)


def test_a_long_name_makes_no_long_message(run):
    edit(run, lambda record: record.update(seed="x" * 5000))
    with pytest.raises(UserError, match="seed") as refused:
        RunFolder.open(run.path)
    assert len(str(refused.value)) < 400


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(run):
    state = run.path / "checkpoints" / "last" / "state.json"
    state.unlink()
    os.mkfifo(state)
    with pytest.raises(UserError, match="there is no file"):
        run.load("last")


# metrics.jsonl


def test_a_resumed_log_drops_what_is_repeated_and_a_line_cut_short(run):
    for step in (10, 20, 30):
        run.append({"step": step, "split": "train"})
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 4')
    run.append({"event": "resume", "step": 20})
    run.append({"step": 30, "split": "train", "again": 1})
    assert run.lines() == [
        {"step": 10, "split": "train"},
        {"step": 20, "split": "train"},
        {"event": "resume", "step": 20},
        {"step": 30, "split": "train", "again": 1},
    ]


GOOD = [
    {"step": 5, "epoch": 1, "split": "train", "steps": 5, "loss": 0.5, "lr": None, "seconds": 1},
    {"step": 5, "split": "val", "final": True, "metrics": {"loss": 0.5, "accuracy": None}},
    {"event": "test read", "by": "eval", "metrics": {"loss": 0.5}},
    {"event": "end", "step": 5, "seconds": 1.5, "examples_per_second": None, "best_epoch": 1},
]
WRONG = [
    "5", "null", "[]", '"a"', "true", "{}", '{"step": 4', "[" * 100_000, "1" * 5000,
    '{"step": "5", "split": "val"}', '{"step": -1, "split": "val"}', '{"step": 5, "split": 5}',
    '{"step": 5, "split": "val", "loss": "low"}', '{"step": 5, "split": "val", "loss": [1]}',
    '{"step": 5, "split": "val", "loss": NaN}', '{"step": 5, "split": "val", "epoch": 1.5}',
    '{"step": 5, "split": "val", "loss": 1' + "0" * 400 + "}", '{"step": 5, "loss": 0.5}',
    '{"split": "val", "final": true}', '{"final": true, "metrics": {}}',
    '{"split": "val", "final": true, "metrics": 5}', '{"split": "val", "final": 1, "metrics": {}}',
    '{"split": "val", "final": true, "metrics": {"loss": "low"}}', '{"event": "resume"}',
    '{"event": "resume", "step": null}', '{"event": 5}', '{"event": "end", "seconds": "long"}',
    '{"event": "end", "best_epoch": "first"}',
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_a_line_of_the_log_that_is_none_of_ours_is_left_out(run, wrong):
    for line in GOOD[:2]:
        run.append(line)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(wrong + "\n")
    for line in GOOD[2:]:
        run.append(line)
    assert run.lines() == GOOD


@given(st.binary(max_size=60))
def test_any_bytes_are_a_line_or_none(data):
    line = read_line(data.decode(errors="replace"))
    assert line is None or isinstance(line, dict)


def test_numbers_that_are_not_finite_are_written_as_null(run):
    run.append({"event": "end", "seconds": math.inf, "metrics": {"loss": math.nan}, "n": [1, -0.5]})
    assert run.lines() == [
        {"event": "end", "seconds": None, "metrics": {"loss": None}, "n": [1, -0.5]}
    ]


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def test_a_training_killed_inside_create_leaves_a_folder_that_create_takes_over(
    tmp_path, monkeypatch
):
    def killed(a, b):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(files.os, "replace", killed)
        RunFolder.create(tmp_path, "a", "a", RECORD)
    assert list((tmp_path / "a").glob(".recipe.json.*.part"))
    run = RunFolder.create(tmp_path, "a", "a", RECORD)
    assert RunFolder.open(run.path).name == "a"
    assert not list(run.path.glob(".*.part"))
