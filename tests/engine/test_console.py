import pytest

from gradlab.engine import Progress, console
from gradlab.engine.console import Console

RECORD = {
    "seed": 7,
    "recipe": {"name": "mlp"},
    "dataset": {"name": "digits", "fingerprint": "f", "counts": {"train": 1200, "val": 30}},
    "notes": ["one column was left out"],
    "runtime": {"device": "cpu", "precision": "float32", "threads": 1},
}


@pytest.fixture
def said(capsys):
    """What a console writes of a few calls."""

    def run(epochs=300, steps=24, progress=None, calls=(), **record):
        progress = progress or Progress()
        console = Console({**RECORD, **record}, epochs, steps)
        console.started(progress)
        for name, line in calls:
            getattr(console, name)(progress, line)
        console.ended(progress)
        return capsys.readouterr().err

    return run


def test_it_says_what_is_trained_where_and_how_long(said):
    text = said()
    assert "mlp on digits (train 1,200, val 30), seed 7" in text
    assert "device cpu, float32, 1 thread\n" in text
    assert "\n300 epochs of 24 steps\n" in text
    patient = said(recipe={"name": "mlp", "plan": {"patience": 5}})
    assert "\nup to 300 epochs of 24 steps\n" in patient
    assert f"note: {'long ' * 60}" in said(notes=["long " * 60])  # one line, also in a pipe
    assert "note: one column was left out" in text
    two = {"device": "cuda:0", "precision": "bfloat16", "threads": 2}
    assert "device cuda:0, bfloat16, 2 threads\n" in said(runtime=two)
    assert "continued at step 48 (epoch 3)" in said(progress=Progress(epoch=2, step=48))


def test_epochs_count_from_1_and_metrics_are_written_as_people_do(said):
    line = {"step": 24, "epoch": 1, "split": "val", "loss": 0.04321, "accuracy": 0.9876}
    text = said(calls=[("evaluated", {**line, "seconds": 1.25})])
    assert "epoch   1/300  val loss 0.04321  accuracy 98.76 %  1.2 s" in text
    text = said(calls=[("evaluated", {**line, "loss": float("nan"), "seconds": 1.25})])
    assert "loss nan" in text


def test_the_line_of_an_epoch_has_the_mean_of_its_training_losses(said):
    val = {"step": 24, "epoch": 1, "split": "val", "loss": 0.5, "seconds": 1.25}
    calls = [("stepped", {"loss": 1.0, "steps": 3}), ("stepped", {"loss": 2.0, "steps": 1})]
    text = said(calls=[*calls, ("evaluated", val)])
    assert "epoch   1/300  train loss 1.25  val loss 0.5  1.2 s" in text
    twice = said(epochs=2, calls=[*calls, ("evaluated", val), calls[1], ("evaluated", val)])
    assert "train loss 1.25" in twice and "train loss 2 " in twice


def test_a_long_training_is_told_beforehand_once(monkeypatch):
    seen = []
    shown = console.Console(RECORD, 300, 24)
    monkeypatch.setattr(shown, "say", seen.append)
    monkeypatch.setattr(console.time, "monotonic", iter([100.0, 102.0, 106.0, 107.0]).__next__)
    shown.started(Progress())
    for step in (12, 24, 36):
        shown.stepped(Progress(step=step), {})
    shown.ended(Progress())
    # 24 steps took 6 s, 7,176 are left.
    assert [text for text in seen if "about" in text] == [
        "about 30 minutes more for all 300 epochs"
    ]


def test_names_cannot_command_the_terminal(said):
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202edigits[bold]"
    text = said(recipe={"name": evil}, dataset={**RECORD["dataset"], "name": evil}, notes=[evil])
    assert not set(text) & set("\x1b\x07\x9b\u202e")
    assert text.count("\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\u202edigits[bold]") == 3
