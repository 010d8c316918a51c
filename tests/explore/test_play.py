"""Playing: episodes of its own, what is recorded, what is written."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gymnasium")

from gradlab.config import Runtime
from gradlab.errors import UserError
from gradlab.explore.play import play
from gradlab.runs.run import open_run
from gradlab.workflows.train import train

QUICK = {
    "epochs": 1, "batch_size": 32, "model.widths": "32", "task.epoch_steps": 512, "task.envs": 4,
    "task.train_every": 32, "task.gradient_steps": 8, "task.learning_starts": 128,
    "task.val_episodes": 3, "task.test_episodes": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(
        "dqn", out=tmp_path_factory.mktemp("runs"), progress=False,
        runtime=Runtime(device="cpu", threads=1), **QUICK,
    )  # fmt: skip


def test_to_play_is_free(run):
    before = run.history
    played = play(run.path, 6)
    gained = [e.total_reward for e in run.task.play(run.task.seeds("play", 6), 0.0)]
    found = played.to_dict()
    assert (found["env"], found["split"], found["episodes"]) == ("CartPole-v1", "play", 6)
    assert found["return"]["mean"] == pytest.approx(np.mean(gained))
    assert found["return"]["std"] == pytest.approx(np.std(gained, ddof=1))
    assert sorted(gained) == sorted(e.total_reward for e in played.episodes)
    assert open_run(run.path).history == before


def test_to_play_the_test_episodes_is_recorded(run):
    def readings():
        return [line for line in run.history if line.get("event") == "test read"]

    before = len(readings())
    played = play(run, 4, split="test")
    assert played.to_dict()["return"]["mean"] == pytest.approx(run.metrics["test"]["return"])
    (reading,) = readings()[before:]
    assert reading["by"] == "play"
    assert reading["metrics"]["return"] == pytest.approx(run.metrics["test"]["return"])
    assert play(run, 3, split="val").to_dict()["return"]["mean"] == pytest.approx(
        run.metrics["val"]["return"]
    )
    assert len(readings()) == before + 1


def test_the_first_episode_is_filmed_and_drawn(run, tmp_path):
    played = play(run, 1, film=True)
    (first,) = played.episodes
    assert played.trace.values.shape == (first.length, 2)
    assert np.array_equal(played.trace.values.argmax(1), played.trace.actions)
    assert len(played.trace.frames) == first.length
    played.save(tmp_path / "game.gif")
    played.save(tmp_path / "q.png")
    with Image.open(tmp_path / "game.gif") as moving:
        assert moving.n_frames > 3
    with Image.open(tmp_path / "q.png") as picture:
        assert picture.width > 600
    table = played.tables()[0]
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["return"] == f"{first.total_reward:.1f}" and row["seeds of"] == "play"


def test_what_is_not_written_is_said(run, tmp_path):
    played = play(run, 1)
    with pytest.raises(UserError, match=r"\.gif \(a film\) or \.png"):
        played.save(tmp_path / "game.mp4")
    with pytest.raises(UserError, match="film=True"):
        played.save(tmp_path / "game.gif")
    assert not [*tmp_path.iterdir()]


def test_what_does_not_play_is_refused(run, tmp_path):
    with pytest.raises(UserError, match="--episodes: expected at least 1"):
        play(run, 0)
    with pytest.raises(UserError, match="--split: expected play, val, test, found 'train'"):
        play(run, split="train")
    digits = train("lenet5", out=tmp_path, progress=False, data="digits", epochs=1)
    with pytest.raises(UserError, match="does not play"):
        play(digits)
