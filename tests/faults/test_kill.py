"""SIGKILL at any moment: the resumed weights are those of the unbroken run, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

import gradlab
from gradlab import files
from gradlab.engine import RunFolder
from gradlab.engine.fit import Observer

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="the killed process is forked, to spare it the imports"
)

FIELDS = {
    "epochs": 5,
    "threads": 1,
    "batch_size": 64,
    "model.widths": "64,32",
    "model.dropout": 0.2,
    "data.augment.shift": 1,
    "plan.log_steps": 5,
    "plan.checkpoint_seconds": 0.02,
}


class Die(Observer):
    """Kills its own process when the training has come to a step or an epoch."""

    def __init__(self, step=None, epoch=None, end=False):
        self.step, self.epoch, self.end = step, epoch, end

    def stepped(self, progress, line):
        if self.step is not None and progress.step >= self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    def evaluated(self, progress, line):
        if self.epoch is not None and progress.epoch >= self.epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    def ended(self, progress):
        if self.end:
            os.kill(os.getpid(), signal.SIGKILL)


class Wait(Observer):
    """Holds a training before its end until it is killed, however late the kill may come."""

    def evaluated(self, progress, line):
        if progress.epoch + 1 == FIELDS["epochs"]:
            while True:
                signal.pause()


class Clock:
    """A clock that goes on by 4 ms whenever it is read: a checkpoint comes every few steps."""

    now = 0.0

    def monotonic(self):
        self.now += 0.004
        return self.now


def die_while_writing(moment):
    """Kills the process inside the N-th write of a checkpoint: in a file, or between renames."""

    def arrange():
        real_write, real_replace, real_rmtree = files._write_synced, os.replace, files.shutil.rmtree
        counts = {"write": 0, "replace": 0, "rmtree": 0}

        def kill_at(kind, count):
            counts[kind] += 1
            if moment == (kind, counts[kind]):
                os.kill(os.getpid(), signal.SIGKILL)

        def write(path, data):
            if moment == ("write", counts["write"] + 1):
                path.write_bytes(data[: len(data) // 2])
            kill_at("write", None)
            real_write(path, data)

        def replace(a, b):
            kill_at("replace", None)
            real_replace(a, b)

        def rmtree(*args, **kwargs):
            kill_at("rmtree", None)
            real_rmtree(*args, **kwargs)

        files._write_synced, os.replace, files.shutil.rmtree = write, replace, rmtree

    return arrange


def attempt(path, observers=(), arrange=None, kill_after=None):
    """Resume the run in a forked process; return whether it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            sys.modules["gradlab.engine.fit"].time = Clock()
            if arrange:
                arrange()
            gradlab.resume(path, progress=False, test=False, observers=list(observers))
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "the resume itself failed"
    return os.WIFEXITED(status)


def begin(tmp_path, name):
    """A run that was killed at its first step."""
    torch.set_num_threads(1)
    child = os.fork()
    if child == 0:
        sys.modules["gradlab.engine.fit"].time = Clock()
        gradlab.train(
            "mlp",
            out=tmp_path,
            name=name,
            progress=False,
            test=False,
            observers=[Die(step=1)],
            **FIELDS,
        )
        os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    return tmp_path / name


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Weights of the run that nobody stopped."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("unbroken")
    run = gradlab.train("mlp", out=out, name="u", progress=False, test=False, **FIELDS)
    return run.folder.load("last")[1]


def same(expected, path):
    assert not list(path.rglob("*.part")) and not list(path.rglob("*.old"))
    state = RunFolder.open(path).load("last")[1]
    for name, value in expected["model"].items():
        assert torch.equal(value, state["model"][name]), name
    slots = expected["updater"]["slots"]
    for index, values in slots.items():
        for name, value in values.items():
            assert torch.equal(value, state["updater"]["slots"][index][name]), (index, name)


WRITES = [("write", n) for n in (1, 2, 3, 5)]
RENAMES = [("replace", n) for n in (1, 2, 3, 4)] + [("rmtree", n) for n in (2, 4)]


def test_more_than_twenty_kills_at_chosen_moments(tmp_path, expected):
    path = begin(tmp_path, "chosen")
    kills = 1
    plans = [{"observers": [Die(step=step)]} for step in (7, 13, 21, 22, 23, 30, 40, 45)]
    plans += [{"observers": [Die(epoch=epoch)]} for epoch in (1, 2)]
    plans += [{"arrange": die_while_writing(moment)} for moment in WRITES + RENAMES]
    plans += [{"observers": [Die(step=step)]} for step in (60, 70, 80, 90, 100, 109)]
    plans += [{"observers": [Die(end=True)]}, {"observers": [Die(end=True)]}]
    for plan in plans:
        kills += not attempt(path, **plan)
    assert kills >= 20
    assert attempt(path)
    same(expected, path)
    assert gradlab.load(path).summary["best_epoch"] >= 1


def test_kills_at_random_moments(tmp_path, expected):
    path = begin(tmp_path, "random")
    moments = random.Random(5)
    for _ in range(10):
        assert not attempt(path, [Wait()], kill_after=moments.uniform(0.02, 0.2))
    assert attempt(path)
    same(expected, path)


SIGNALLED = """
import os, sys
from gradlab.cli import main
import gradlab.workflows.train as training

class Signal(training.Console):
    sent = False

    def stepped(self, progress, line):
        super().stepped(progress, line)
        if progress.step >= 10 and not Signal.sent:
            Signal.sent = True
            os.kill(os.getpid(), int(sys.argv[1]))

training.Console = Signal
main(sys.argv[2:])
"""
"""A command that gets a signal in its tenth step, or soon after."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_saves_says_how_to_continue_and_continues(tmp_path, expected, number):
    options = [f"--{key}={value}" for key, value in FIELDS.items()]
    where = ["--out", str(tmp_path), "--name", "a", "--no-test"]
    stopped = subprocess.run(
        [sys.executable, "-c", SIGNALLED, str(int(number)), "train", "mlp", *where, *options],
        capture_output=True,
        text=True,
    )
    said = stopped.stderr
    assert stopped.returncode == 128 + number, said
    assert f"gradlab resume {tmp_path / 'a'}" in said and "Traceback" not in said
    assert RunFolder.open(tmp_path / "a").load("last")[0].step >= 10
    again = subprocess.run(
        [sys.executable, "-m", "gradlab.cli", "resume", str(tmp_path / "a"), "--no-test", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"best_epoch"' in again.stdout
    same(expected, tmp_path / "a")
