"""Environments: what is served, what ends, what is put back."""

from __future__ import annotations

import threading

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gradlab.errors import UserError  # noqa: E402
from gradlab.rl.environments import Environments, spec_of  # noqa: E402


@pytest.fixture
def registered():
    """Registers environments for a test."""
    names = []

    def register(name, entry, **options):
        gymnasium.register(name, entry, **options)
        names.append(name)
        return name

    yield register
    for name in names:
        del gymnasium.registry[name]


class Pictures(gymnasium.Env):
    """Pictures of a given size; lives are lost in every third step."""

    action_space = gymnasium.spaces.Discrete(2, start=5)

    def __init__(self, side):
        self.observation_space = gymnasium.spaces.Box(0, 255, (side, side, 3), np.uint8)

    def picture(self):
        return np.full(self.observation_space.shape, self.count, np.uint8)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.taken = 0, []
        return self.picture(), {"lives": 9}

    def step(self, action):
        self.count += 1
        self.taken.append(action)
        return self.picture(), 1.0, False, False, {"lives": 9 - self.count // 3}


class Sealed(gymnasium.Env):
    """Holds something that cannot be kept; counts its steps."""

    observation_space = gymnasium.spaces.Box(-1, 1e6, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self):
        self.world = threading.Lock()

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.at = np.array([self.np_random.integers(1000), 0], np.float32)
        return self.at.copy(), {}

    def step(self, action):
        self.at[1] += 1
        return self.at.copy(), 1.0, bool(self.at[1] >= 7), False, {}


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ("CartPol-v1", "CartPole-v1"),
        ("Pendulum-v1", "discrete actions"),
        ("NoSuchThing-v9", "unknown environment"),
    ],
)
def test_environments_that_are_not_served(env, words):
    with pytest.raises(UserError, match=words):
        spec_of(env)


def test_images_that_are_too_small(registered):
    name = registered("Small-v0", Pictures, kwargs={"side": 20})
    with pytest.raises(UserError, match="20x20"):
        spec_of(name)


def test_what_is_known_of_an_environment(registered):
    cart = spec_of("CartPole-v1")
    assert (cart.shape, cart.scale, cart.actions, cart.notes) == ((4,), 1.0, ("0", "1"), ())
    assert cart.fingerprint == spec_of("CartPole-v1").fingerprint
    assert cart.fingerprint != spec_of("Acrobot-v1").fingerprint
    pictures = spec_of(registered("Pictures-v0", Pictures, kwargs={"side": 40}))
    assert (pictures.shape, pictures.scale) == ((4, 84, 84), 255.0)


def test_a_time_limit_is_no_end(registered):
    def walk(**options):
        return gymnasium.make("CartPole-v1", **options).unwrapped

    environments = Environments(
        registered("Walk-v0", walk, max_episode_steps=5), 1, [0], endless=True
    )
    steps = [environments.step(np.array([n % 2])) for n in range(5)]
    assert [bool(step.done[0]) for step in steps] == [False] * 4 + [True]
    assert not any(step.terminated[0] for step in steps)
    # what was seen last is kept apart from the first frame of the next episode
    assert not np.array_equal(steps[-1].frames, environments.frames)
    assert environments.finished == [(5.0, 5)]


def test_frames_are_skipped_stacked_and_lives_end_what_is_valued(registered):
    name = registered("Pictures-v0", Pictures, kwargs={"side": 40})
    environments = Environments(name, 1, [0], endless=True)
    step = environments.step(np.array([1]))
    assert environments.envs[0].unwrapped.taken == [6] * 4  # the second action, four times
    assert step.reward[0] == 4 and step.terminated[0] and not step.done[0]
    environments.step(np.array([0]))
    assert environments.observations[0, :, 0, 0].tolist() == [0, 0, 4, 8]


def test_each_seed_begins_an_episode_and_then_nothing_moves():
    environments = Environments("CartPole-v1", 2, [3, 4, 5], endless=False)
    while environments.active.any():
        environments.step(np.zeros(2, np.int64))
    assert len(environments.finished) == 3
    alone = Environments("CartPole-v1", 1, [3, 4, 5], endless=False)
    while alone.active.any():
        alone.step(np.zeros(1, np.int64))
    assert sorted(alone.finished) == sorted(environments.finished)


def test_a_game_is_resumed_at_the_very_frame():
    pytest.importorskip("ale_py")
    games = Environments("ALE/Pong-v5", 1, [3], endless=True)
    for n in range(40):
        games.step(np.array([n % 6]))
    state = games.state()
    ahead = [games.step(np.array([n % 6])).frames.copy() for n in range(20)]
    again = Environments("ALE/Pong-v5", 1, [9], endless=True)
    again.on_restart = lambda frames: pytest.fail("the game was not put back")
    again.load_state(state)
    assert all(
        np.array_equal(again.step(np.array([n % 6])).frames, frame) for n, frame in enumerate(ahead)
    )
    assert games.observations.shape == (1, 4, 84, 84)


def test_what_cannot_be_put_back_is_said_and_begins_new_episodes(registered):
    name = registered("Sealed-v0", Sealed)
    (note,) = spec_of(name).notes
    assert "start of a new one" in note
    environments = Environments(name, 2, [1, 2], endless=True)
    for _ in range(3):
        environments.step(np.zeros(2, np.int64))
    state = environments.state()
    begun = []
    for _ in range(2):
        again = Environments(name, 2, [1, 2], endless=True)
        again.on_restart = begun.append
        again.load_state(state)
        assert again.played == environments.played == 6
        assert np.array_equal(again.frames, begun[-1]) and not again.frames[:, 1].any()
    assert np.array_equal(*begun)  # the same each time


def test_the_state_of_other_environments_is_refused():
    two = Environments("CartPole-v1", 2, [1, 2], endless=True)
    with pytest.raises(UserError, match="2 environments, expected 1"):
        Environments("CartPole-v1", 1, [1], endless=True).load_state(two.state())
    with pytest.raises(UserError, match="1 layers"):
        two.load_state({**two.state(), "inner": [[{}], [{}]]})
