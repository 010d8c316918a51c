"""The replay memory against a list of whole steps."""

from __future__ import annotations

import numpy as np
import pytest

from gradlab.errors import UserError
from gradlab.rl.replay import ReplayMemory


@pytest.mark.parametrize("stack", [1, 4])
def test_the_memory_gives_back_what_happened(stack):
    """Stacks begin anew with each episode, old steps are gone."""
    rng = np.random.default_rng(0)
    capacity, envs, shape = 40, 2, (3, 2) if stack > 1 else (3,)
    memory = ReplayMemory(capacity, envs, shape, np.uint8, stack)

    def frame():
        return rng.integers(1, 256, (envs, *shape), dtype=np.uint8)

    now = frame()
    memory.begin(now)
    stacks = [[now[e]] * stack for e in range(envs)]
    steps = {}
    for number in range(60):
        after, first = frame(), frame()
        done = rng.random(envs) < 0.2
        action = rng.integers(3, size=envs)
        memory.add(action, np.full(envs, number, np.float32), done, after, done, first)
        for e in range(envs):
            next_stack = [*stacks[e][1:], after[e]]
            steps[number, e] = (
                np.array(stacks[e]), np.array(next_stack), int(action[e]), bool(done[e])
            )  # fmt: skip
            stacks[e] = [first[e]] * stack if done[e] else next_stack
    sample = memory.take(memory.draw(500, rng))
    found = set()
    for row in range(500):
        number = int(sample.reward[row])
        fits = []
        for e in range(envs):
            before, after, action, done = steps[number, e]
            if stack == 1:
                before, after = before[0], after[0]
            if np.array_equal(sample.observation[row], before):
                fits.append(e)
                assert np.array_equal(sample.next_observation[row], after)
                assert (int(sample.action[row]), bool(sample.terminated[row])) == (action, done)
        assert len(fits) == 1
        found.add((number, fits[0]))
    assert len(found) == len(memory)
    assert min(number for number, _ in found) > 60 - capacity


@pytest.mark.parametrize("stack", [1, 4])
def test_a_memory_continues_from_its_state(stack):
    def filled(steps):
        rng = np.random.default_rng(1)
        memory = ReplayMemory(12, 2, (3, 2), np.uint8, stack)
        memory.begin(np.zeros((2, 3, 2), np.uint8))
        for _ in range(steps):
            frames = rng.integers(256, size=(2, 2, 3, 2), dtype=np.uint8)
            done = rng.random(2) < 0.3
            memory.add(rng.integers(3, size=2), rng.random(2), done, frames[0], done, frames[1])
        return memory

    for steps in (2, 30):  # before and after the ring is full
        memory, other = filled(steps), filled(5)
        other.load_state(memory.state())
        assert np.array_equal(other.row, memory.row) and other.filled == memory.filled
        count = memory.filled * 2
        for name in ("frames", "action", "reward", "terminated", "depth", "whole"):
            ours, theirs = getattr(other, name), getattr(memory, name)
            assert np.array_equal(ours[:count], theirs[:count])
        assert not other.whole[count:].any()


def test_a_million_frames_take_at_most_7_and_a_half_gigabytes():
    small = ReplayMemory(10_000, 4, (84, 84), np.uint8, 4)
    assert small.nbytes * 100 <= 7.5e9


def test_there_is_always_a_step_to_sample():
    """The end of an episode takes two slots: in a memory for one step they would be all."""
    for stack in (1, 4):
        memory = ReplayMemory(1, 1, (2, 2), np.uint8, stack)
        memory.begin(np.zeros((1, 2, 2), np.uint8))
        for _ in range(10):
            ended = np.array([True])
            seen = np.ones((1, 2, 2), np.uint8)
            memory.add(np.array([0]), np.ones(1), ended, seen, ended, seen)
            assert len(memory) >= 1


def test_a_memory_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"--task\.memory"):
        ReplayMemory(10**15, 1, (84, 84), np.uint8, 4)


@pytest.mark.parametrize("change", [{"row": [0]}, {"row": [-3, 0]}, {"filled": 10**6}])
def test_the_state_of_another_memory_is_refused(change):
    memory = ReplayMemory(12, 2, (3,), np.float32)
    memory.begin(np.zeros((2, 3), np.float32))
    with pytest.raises(UserError, match="another size"):
        memory.load_state({**memory.state(), **change})
