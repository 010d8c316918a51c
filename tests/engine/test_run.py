import json

import pytest
import torch

from gradlab import files
from gradlab.engine import RunFolder
from gradlab.errors import UserError

STATE = {"model": {"w": torch.arange(4.0)}, "updater": {"step": 3, "slots": {"0": torch.ones(2)}}}


@pytest.fixture
def run(tmp_path):
    run = RunFolder.create(tmp_path, None, "mlp-digits", {"recipe": {"name": "mlp"}})
    run.save("last", {"step": 3}, STATE)
    return run


def test_fresh_names_count_up_and_a_taken_name_is_refused(run, tmp_path):
    assert run.name == "mlp-digits-1"
    assert RunFolder.create(tmp_path, None, "mlp-digits", {}).name == "mlp-digits-2"
    with pytest.raises(UserError, match="resume it"):
        RunFolder.create(tmp_path, "mlp-digits-1", "x", {})


def test_a_checkpoint_comes_back_whole(run):
    progress, state = RunFolder.open(run.path).load("last")
    assert progress == {"step": 3}
    assert torch.equal(state["model"]["w"], STATE["model"]["w"])
    assert torch.equal(state["updater"]["slots"]["0"], torch.ones(2))
    assert not list(run.path.rglob("*.pkl")) and not list(run.path.rglob("*.pt"))


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors"])
def test_a_damaged_checkpoint_is_named(run, name):
    path = run.path / "checkpoints" / "last" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=f"{name} is damaged or was edited"):
        run.load("last")


def test_an_absent_file_a_cut_json_and_an_edited_recipe_are_named(run):
    folder = run.path / "checkpoints" / "last"
    whole = (folder / "state.json").read_text()
    (folder / "state.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not valid JSON"):
        run.load("last")
    (folder / "state.json").write_text(whole)
    record = json.loads((run.path / "recipe.json").read_text())
    record["recipe"]["name"] = "other"
    (run.path / "recipe.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="was edited after this checkpoint"):
        run.load("last")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model.safetensors cannot be read"):
        run.load("last")


def test_a_folder_that_is_no_run_is_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"there is no run .*Runs there: .*mlp-digits-1"):
        RunFolder.open(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no recipe\.json"):
        RunFolder.open(tmp_path / "empty")
    files.write_json(tmp_path / "empty" / "recipe.json", {"format": 99})
    with pytest.raises(UserError, match="format 1, found 99"):
        RunFolder.open(tmp_path / "empty")


def test_a_kill_between_the_two_renames_leaves_the_old_checkpoint_readable(run):
    folder = run.path / "checkpoints" / "last"
    folder.rename(files.old_name(folder))
    assert run.has("last")
    assert run.load("last")[0] == {"step": 3}
    run.save("last", {"step": 4}, STATE)
    assert run.load("last")[0] == {"step": 4}
    assert not files.old_name(folder).exists()


def test_a_resumed_log_drops_what_is_repeated_and_a_line_cut_short(run):
    for step in (10, 20, 30):
        run.append({"step": step})
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 4')
    run.append({"event": "resume", "step": 20})
    run.append({"step": 30, "again": True})
    assert run.lines() == [
        {"step": 10},
        {"step": 20},
        {"event": "resume", "step": 20},
        {"step": 30, "again": True},
    ]


def test_a_run_is_trained_by_one_process_at_a_time(run):
    with run.locked(), pytest.raises(UserError, match="another process"), run.locked():
        raise AssertionError("locked twice")
