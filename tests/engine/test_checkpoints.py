"""Checkpoints that decayed, were edited or exchanged: refused in words, or read as they were."""

import json
import shutil
import struct

import pytest
import torch

from gradlab import files
from gradlab.config import OptimizerConfig, Plan, ScheduleConfig
from gradlab.data.loader import Batch
from gradlab.engine import Progress, RunFolder, Setup, Updater, pack
from gradlab.engine import run as run_module
from gradlab.errors import UserError

RECORD = {"recipe": {"name": "mlp"}, "schema": {"classes": ["a", "b"]}}
STATE = {
    "model": {"w": torch.arange(6.0).view(2, 3), "b": torch.tensor([1.5, -2.0])},
    "updater": {"step": 3, "slots": {"0": torch.ones(2), "1": torch.tensor(7)}},
    "place": [2, 5],
}
PROGRESS = Progress(epoch=1, step=3, best=0.5, best_epoch=0, first_loss=1.25, reason="")
FILES = ("model.safetensors", "state.safetensors", "state.json")


@pytest.fixture
def run(tmp_path):
    run = RunFolder.create(tmp_path, "a", "a", RECORD)
    run.save("last", PROGRESS, STATE)
    run.save("best", PROGRESS, {"model": STATE["model"]})
    return run


def place(run, name, which="last"):
    return run.path / "checkpoints" / which / name


def is_same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return set(a) == set(b) and all(is_same(a[key], b[key]) for key in a)
    return a == b


def refused_or_same(run):
    """Whether `last` is refused; what is read of it otherwise must be what was written."""
    try:
        progress, state = RunFolder(run.path).load("last")
    except UserError:
        return True
    assert progress == PROGRESS and is_same(state, STATE)
    return False


def seal(run, change, which="last"):
    """Edit state.json as `change` does, and hash it as `save` would: a deliberate forgery."""
    path = place(run, "state.json", which)
    head = json.loads(path.read_text())
    change(head)
    for name in FILES[:2]:
        if name in head["sha256"]:
            data = place(run, name, which).read_bytes()
            head["sha256"][name] = run_module._sha256(data)
    head["sha256"]["state.json"] = run_module._hash_of_head(head)
    path.write_text(json.dumps(head))


def test_a_checkpoint_comes_back_whole(run):
    progress, state = RunFolder(run.path).load("last")
    assert progress == PROGRESS and is_same(state, STATE)
    assert sorted(p.name for p in place(run, "").iterdir()) == sorted(FILES)
    assert not list(run.path.rglob("*.pkl")) and not list(run.path.rglob("*.pt"))
    seal(run, lambda head: None)
    assert not refused_or_same(run)  # the forger of these tests writes what `save` writes


@pytest.mark.parametrize("name", FILES)
def test_no_single_flipped_bit_goes_unnoticed(run, name):
    path = place(run, name)
    whole = path.read_bytes()
    refused = 0
    for index in range(len(whole)):
        data = bytearray(whole)
        data[index] ^= 1 << index % 8
        path.write_bytes(bytes(data))
        refused += refused_or_same(run)
    assert refused == len(whole)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_an_absent_and_a_cut_file_are_named(run, name):
    path = place(run, name)
    whole = path.read_bytes()
    for data in (b"", whole[:-2], whole[: len(whole) // 2], whole * 2, bytes(len(whole))):
        path.write_bytes(data)
        with pytest.raises(UserError, match=name):
            run.load("last")
    path.unlink()
    with pytest.raises(UserError, match=name):
        run.load("last")
    path.mkdir()
    with pytest.raises(UserError, match=name):
        run.load("last")


def test_a_digit_of_the_progress_is_under_the_hash(run):
    path = place(run, "state.json")
    path.write_text(path.read_text().replace('"step": 3', '"step": 4'))
    with pytest.raises(UserError, match=r"state.json is damaged or was edited .*'best' is still"):
        run.load("last")


def test_last_and_best_exchanged_are_noticed(run):
    last, best = place(run, ""), place(run, "", "best")
    shutil.move(last, run.path / "other")
    shutil.move(best, last)
    shutil.move(run.path / "other", best)
    for which, found in (("last", "best"), ("best", "last")):
        with pytest.raises(UserError, match=f"checkpoint '{found}', put in the place of '{which}'"):
            run.load(which)


@pytest.mark.parametrize("field", ["seed", "recipe", "schema", "dataset"])
def test_an_edited_recipe_json_is_noticed(run, field):
    path = run.path / "recipe.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, field: {"other": 1}}))
    with pytest.raises(UserError, match="was edited after this checkpoint"):
        run.load("last")
    # Edited while the training runs, it binds no later checkpoint either.
    run.save("last", PROGRESS, STATE)
    with pytest.raises(UserError, match="was edited after this checkpoint"):
        RunFolder(run.path).load("last")
    path.write_text(json.dumps(record))
    assert not refused_or_same(run)


def test_a_kill_between_the_two_renames_leaves_the_old_checkpoint_readable(run):
    folder = place(run, "")
    folder.rename(files.old_name(folder))
    assert run.has("last")
    assert run.load("last")[0] == PROGRESS
    run.save("last", Progress(step=4), STATE)
    assert run.load("last")[0].step == 4
    assert not files.old_name(folder).exists()


FORGED = {
    "no hashes": lambda head: head.update(sha256={}),
    "a hash less": lambda head: head["sha256"].pop("model.safetensors"),
    "another file": lambda head: head["sha256"].update({"../../recipe.json": "0" * 64}),
    "no progress": lambda head: head.pop("progress"),
    "a progress of another type": lambda head: head.update(progress=[]),
    "a field less": lambda head: head["progress"].pop("epoch"),
    "a field more": lambda head: head["progress"].update(more=1),
    "a negative epoch": lambda head: head["progress"].update(epoch=-1),
    "a step in words": lambda head: head["progress"].update(step="3"),
    "half a step": lambda head: head["progress"].update(step=2.5),
    "a large step": lambda head: head["progress"].update(step=10**30),
    "no step": lambda head: head["progress"].update(step=None),
    "a list of steps": lambda head: head["progress"].update(step=[3]),
    "finished in words": lambda head: head["progress"].update(finished="no"),
    "best is NaN": lambda head: head["progress"].update(best=float("nan")),
    "best in words": lambda head: head["progress"].update(best="low"),
    "a reason of another type": lambda head: head["progress"].update(reason=None),
    "no state": lambda head: head.pop("state"),
    "a state of another type": lambda head: head.update(state=[1]),
    "a tensor that is not there": lambda head: head["state"].update(x={"$tensor": "slots/99"}),
    "a tensor's name of another type": lambda head: head["state"].update(x={"$tensor": [5]}),
    "a key more": lambda head: head.update(more=1),
    "another checkpoint": lambda head: head.update(checkpoint="first"),
    "a deep state": lambda head: head.update(state=json.loads('{"a":' * 300 + "1" + "}" * 300)),
}  # fmt: skip


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_forged_state_json_is_refused(run, change):
    seal(run, change)
    with pytest.raises(UserError, match=r"state\.json") as refused:
        run.load("last")
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("value", [{}, [], None, 5, "", dict.fromkeys(FILES, "")])
def test_empty_hashes_are_refused(run, value):
    path = place(run, "state.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "sha256": value}))
    with pytest.raises(UserError, match=r"state\.json: sha256"):
        run.load("last")


def safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape, begin, end, kind="F32"):
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


TENSORS = {
    "overlapping": safetensors({"w": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
    "the same bytes": safetensors({"w": entry([2], 0, 8), "b": entry([2], 0, 8)}, bytes(8)),
    "a hole": safetensors({"w": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)),
    "beyond the end": safetensors({"w": entry([4], 0, 16)}, bytes(8)),
    "backwards": safetensors({"w": entry([2], 8, 0)}, bytes(8)),
    "negative": safetensors({"w": entry([2], -8, 0)}, bytes(8)),
    "another size": safetensors({"w": entry([3], 0, 8)}, bytes(8)),
    "a shape that overflows": safetensors({"w": entry([2**40, 2**40], 0, 8)}, bytes(8)),
    "an unknown type": safetensors({"w": entry([2], 0, 8, "F7")}, bytes(8)),
    "a type that torch has not": safetensors({"w": entry([4], 0, 2, "F4")}, bytes(2)),
    "a header of another type": safetensors([], b""),
    "a header that is not UTF-8": safetensors(b"\xff\xfe", b""),
    "a header that is nested": safetensors(b"[" * 50_000, b""),
    "a header without end": struct.pack("<Q", 2**60) + b"{}",
    "nothing": b"",
}


@pytest.mark.parametrize("data", TENSORS.values(), ids=TENSORS)
@pytest.mark.parametrize("name", FILES[:2])
def test_forged_tensors_are_refused(run, name, data):
    place(run, name).write_bytes(data)
    seal(run, lambda head: None)
    with pytest.raises(UserError, match=f"{name}: not a whole safetensors file") as refused:
        run.load("last")
    assert len(str(refused.value)) < 500


# the optimizer's slots


RULES = ("momentum", "adagrad", "rmsprop", "adam", "adamw")


def trained(rule="adam"):
    """An updater after one step: matrices first in the optimizer, then biases."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Linear(8, 3))
    updater = Updater(
        [(1.0, list(model.named_parameters()))],
        OptimizerConfig(name=rule),
        ScheduleConfig(),
        Plan(),
        Setup(torch.device("cpu"), "float32", 1),
        steps_per_epoch=5,
    )
    batch = Batch({"x": torch.ones(4, 5)}, 4)
    updater.update(lambda b: model(b["x"]).square().mean(), batch)
    return updater


@pytest.mark.parametrize("rule", RULES)
def test_two_slots_exchanged_are_refused_before_they_are_used(rule):
    """A fused rule reads a slot as if it were its parameter's: this crashed the process."""
    state = trained(rule).state()
    slots = state["slots"]
    slots["0"], slots["1"] = slots["1"], slots["0"]
    updater = trained(rule)
    before = updater.state()
    with pytest.raises(UserError, match=r"of parameter 0: expected \(8, 5\) float32, found \(3, 8"):
        updater.load_state(state)
    assert is_same(updater.state(), before)  # nothing was taken over


@pytest.mark.parametrize(("mine", "theirs"), [(a, b) for a in RULES for b in RULES])
def test_slots_of_another_rule_are_refused(mine, theirs):
    state = trained(theirs).state()
    updater = trained(mine)
    if {mine, theirs} <= {"adam", "adamw"} or mine == theirs:
        updater.load_state(state)
    else:
        with pytest.raises(UserError, match="is of another network or optimizer"):
            updater.load_state(state)


SLOTS = {
    "another shape": lambda s: s["slots"]["0"].update(exp_avg=torch.ones(5, 8)),
    "as many values": lambda s: s["slots"]["0"].update(exp_avg=torch.ones(40)),
    "no values": lambda s: s["slots"]["0"].update(exp_avg=torch.ones(0)),
    "a number": lambda s: s["slots"]["0"].update(exp_avg=0.5),
    "another type": lambda s: s["slots"]["0"].update(exp_avg=torch.ones(8, 5, dtype=torch.int64)),
    "complex": lambda s: s["slots"]["0"].update(exp_avg=torch.ones(8, 5, dtype=torch.complex64)),
    "double": lambda s: s["slots"]["0"].update(exp_avg=torch.ones(8, 5, dtype=torch.float64)),
    "a step of many": lambda s: s["slots"]["0"].update(step=torch.ones(8, 5)),
    "a step as a number": lambda s: s["slots"]["0"].update(step=1),
    "a name less": lambda s: s["slots"]["0"].pop("exp_avg_sq"),
    "a name more": lambda s: s["slots"]["0"].update(more=torch.ones(8, 5)),
    "no slot": lambda s: s["slots"].update({"0": None}),
    "a parameter that is not there": lambda s: s["slots"].update({"4": s["slots"]["0"]}),
    "a negative parameter": lambda s: s["slots"].update({"-1": s["slots"]["0"]}),
    "a parameter in words": lambda s: s["slots"].update({"first": s["slots"]["0"]}),
    "a parameter of many digits": lambda s: s["slots"].update({"1" * 5000: s["slots"]["0"]}),
    "slots of another type": lambda s: s.update(slots=[]),
    "no slots": lambda s: s.pop("slots"),
    "a step in words": lambda s: s.update(step="3"),
    "a negative step": lambda s: s.update(step=-1),
    "no plateau": lambda s: s.pop("plateau"),
    "a factor of 0": lambda s: s["plateau"].update(factor=0),
    "a factor in words": lambda s: s["plateau"].update(factor="1"),
    "a best that is NaN": lambda s: s["plateau"].update(best=float("nan")),
    "patience in words": lambda s: s["plateau"].update(stale="none"),
}


@pytest.mark.parametrize("change", SLOTS.values(), ids=SLOTS)
def test_a_forged_state_of_the_optimizer_is_refused(change):
    state = trained().state()
    change(state)
    with pytest.raises(UserError, match="the optimizer's state") as refused:
        trained().load_state(state)
    assert len(str(refused.value)) < 500


def test_weights_of_other_bytes_are_refused_by_their_reader():
    with pytest.raises(UserError, match="mine: not a whole safetensors file"):
        pack.from_bytes(b"no tensors", "mine")
