"""Runs that decayed or were edited, as a person meets them: refused in words, never a traceback."""

import json
import random
import shutil

import pytest

import gradlab
from gradlab.cli import main


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run of two epochs whose end is not recorded: it can be evaluated and resumed."""
    out = tmp_path_factory.mktemp("runs")
    run = gradlab.train("mlp", out=out, name="a", epochs=2, progress=False, test=False)
    log = run.path / "metrics.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"end"' not in line))
    return run.path


@pytest.fixture
def copied(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "copy")


def outcome(capsys, *arguments):
    """("refused" and the message) or ("done" and what was printed); anything else is a failure."""
    try:
        main([str(a) for a in arguments])
    except SystemExit as leave:
        said = capsys.readouterr()
        assert leave.code in (None, 0, 2) and "Traceback" not in said.err
        return ("refused", said.err) if leave.code == 2 else ("done", said.out)
    return "done", capsys.readouterr().out


def replaced(value, rng):
    """One leaf or branch of a JSON value exchanged for something else, or left out."""
    node = value
    while True:
        if not isinstance(node, dict | list) or not node:
            return value
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = rng.choice(keys)
        if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.7:
            node = node[key]
            continue
        if rng.random() < 0.3:
            del node[key]
        else:
            node[key] = rng.choice(
                [None, True, -1, 0, 10**30, 1.5, "", "x" * 5000, "\x1b[2J", [], {}, [[]], {"a": 1}]
            )
        return value


@pytest.mark.parametrize("name", ["last", "best"])
@pytest.mark.parametrize("file", ["model.safetensors", "state.safetensors", "state.json"])
def test_flipped_bits_of_a_checkpoint_are_refused(capsys, copied, name, file):
    command = "resume" if name == "last" else "eval"
    path, rng = copied / "checkpoints" / name / file, random.Random(0)
    whole = path.read_bytes()
    for _ in range(5):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data))
        kind, said = outcome(capsys, command, copied)
        assert kind == "refused" and file in said


def test_a_log_of_any_lines_is_read_as_far_as_it_makes_sense(capsys, copied):
    log, rng = copied / "metrics.jsonl", random.Random(1)
    lines = log.read_text().splitlines()
    for _ in range(30):
        changed = [json.dumps(replaced(json.loads(line), rng)) for line in lines]
        changed += ["5", "null", "[]", '"a"', lines[0][:20], "[" * 50_000]
        rng.shuffle(changed)
        log.write_text("\n".join(changed) + "\n")
        kind, _ = outcome(capsys, "eval", copied, "--split", "val", "--json")
        assert kind == "done"


def test_last_and_best_exchanged_are_refused(capsys, copied):
    checkpoints = copied / "checkpoints"
    (checkpoints / "last").rename(checkpoints / "other")
    (checkpoints / "best").rename(checkpoints / "last")
    (checkpoints / "other").rename(checkpoints / "best")
    for command in ("eval", "resume"):
        kind, said = outcome(capsys, command, copied)
        assert kind == "refused" and "put in the place of" in " ".join(said.split())


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"format": ' + "9" * 5000 + "}", '{"format": 2}', "5", "null", "", "\0" * 9],
    ids=["nested", "digits", "empty record", "a number", "null", "nothing", "NUL"],
)
def test_a_recipe_json_that_is_none_is_refused(capsys, copied, text):
    (copied / "recipe.json").write_text(text)
    for command in ("eval", "resume"):
        kind, said = outcome(capsys, command, copied)
        assert kind == "refused" and "recipe.json" in said and len(said) < 1000


@pytest.mark.parametrize("whole", [True, False], ids=["with checkpoints", "recipe.json alone"])
def test_an_edited_recipe_json_gives_no_traceback(capsys, copied, whole):
    path, rng = copied / "recipe.json", random.Random(2)
    text = path.read_text()
    if not whole:
        shutil.rmtree(copied / "checkpoints")
    refused = 0
    for _ in range(20):
        path.write_text(json.dumps(replaced(json.loads(text), rng)))
        kind, _ = outcome(capsys, "eval", copied, "--split", "val", "--json")
        refused += kind == "refused"
        kind, said = outcome(capsys, "runs", "--out", copied.parent, "--json")
        assert kind == "done" and len(json.loads(said)["runs"]) == 1
    assert refused >= 10


def test_a_record_without_inputs_is_refused(capsys, copied):
    path = copied / "recipe.json"
    record = json.loads(path.read_text())
    record["schema"]["inputs"] = {}
    path.write_text(json.dumps(record))
    for command in ("eval", "resume"):
        kind, said = outcome(capsys, command, copied)
        assert kind == "refused" and "inputs" in said


def test_a_name_that_leads_out_of_the_folder_of_runs_is_refused(capsys, tmp_path):
    for name in ("../escaped", "a/b", "", "..", "x" * 5000):
        kind, said = outcome(
            capsys, "train", "mlp", "--epochs", 1, "--out", tmp_path / "runs", f"--name={name}"
        )
        assert kind == "refused" and "--name: expected the plain name" in " ".join(said.split())
    assert not list(tmp_path.iterdir())
