"""Environments of Gymnasium: made, described, stepped side by side, kept and taken up again.

Observations that are uint8 images are preprocessed as by Mnih et al. (2015), "Human-level control
through deep reinforcement learning", Methods; all others become vectors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
import torch

from gradlab.errors import UserError, missing_extra, unknown
from gradlab.rl.frames import STACK, preprocessed
from gradlab.rl.snapshot import restore, snapshot

SERVED = "CartPole-v1, Acrobot-v1, MountainCar-v0, LunarLander-v3 or any Atari game (ALE/Pong-v5)"
LONGEST = 27_000
"""Steps after which an episode is cut off if it has no shorter limit (half an hour of Atari)."""

_PACKAGES = ("gymnasium", "ale-py", "Box2D")


def library() -> Any:
    """The module gymnasium, with the games of ale-py where that is installed."""
    try:
        import gymnasium
    except ImportError:
        raise missing_extra("gymnasium", "games") from None
    with suppress(ImportError):
        import ale_py

        gymnasium.register_envs(ale_py)
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    return gymnasium


def make(name: str, render: bool = False) -> Any:
    """One environment by name, its observations as the network takes them (images: one frame).

    UserError when there is none of that name, when it needs a package that is not installed, or
    when its actions or observations are not served.
    """
    gym = library()
    options: dict[str, Any] = {"render_mode": "rgb_array"} if render else {}
    spec = gym.registry.get(name)
    if spec is not None and "ale_py" in str(spec.entry_point):
        # The paper's own skipping, on grey frames as the console makes them.
        options |= {"frameskip": 1, "obs_type": "grayscale"}
    try:
        env = gym.make(name, disable_env_checker=True, **options)
    except gym.error.DependencyNotInstalled as error:
        raise UserError(
            f"the environment {name} needs a package that is not installed ({error}): "
            "pip install 'gradlab[games]' brings those of classic control, Box2D and Atari"
        ) from None
    except gym.error.UnregisteredEnv as error:
        if name in gym.registry:
            raise UserError(f"the environment {name} cannot be made: {error}") from None
        if name.startswith("ALE/") or "NoFrameskip" in name:
            with suppress(ImportError):
                import ale_py  # noqa: F401

                raise unknown("environment", name, _names(gym, name)) from None
            raise missing_extra("ale-py", "games") from None
        raise unknown("environment", name, _names(gym, name)) from None
    except Exception as error:  # an environment is code of others
        raise UserError(f"the environment {name} cannot be made: {error}") from None
    return _served(gym, env, name)


def _names(gym: Any, name: str) -> list[str]:
    """The names a person may have meant: of a thousand, those like this one and the well-known."""
    import difflib

    near = difflib.get_close_matches(name, gym.registry, n=5, cutoff=0.5)
    return sorted({*near, "CartPole-v1", "Acrobot-v1", "MountainCar-v0", "LunarLander-v3"})


def _served(gym: Any, env: Any, name: str) -> Any:
    if not isinstance(env.action_space, gym.spaces.Discrete):
        raise UserError(
            f"{name}: expected discrete actions, found {env.action_space}: a Q-network gives one "
            f"value for each action, so continuous ones are not served. Choose {SERVED}"
        )
    space = env.observation_space
    if isinstance(space, gym.spaces.Box) and space.dtype == np.uint8 and len(space.shape) > 1:
        return preprocessed(gym, env, name)
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return env
    try:
        gym.spaces.flatdim(space)
    except (ValueError, NotImplementedError):
        raise UserError(
            f"{name}: observations {space} have no fixed size; expected a box of numbers, a "
            "discrete value or a tuple of these"
        ) from None
    return gym.wrappers.FlattenObservation(env)


@dataclass(frozen=True)
class EnvironmentSpec:
    """What is known of an environment before it is played in.

    shape: of an observation, (D,) or (4, 84, 84). scale: what observations are divided by, 255 for
    bytes. actions: their names. The fingerprint covers the registered specification and the
    versions of the packages.
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    actions: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()


def spec_of(name: str) -> EnvironmentSpec:
    """The environment of a name, looked over; UserError as `make`."""
    env = make(name)
    try:
        space, base = env.observation_space, env.unwrapped
        meanings = getattr(base, "get_action_meanings", None)
        count = int(env.action_space.n)
        facts = {
            "id": env.spec.id if env.spec else name,
            "options": repr(sorted((env.spec.kwargs if env.spec else {}).items())),
            "steps": env.spec.max_episode_steps if env.spec else None,
            "versions": {package: _version(package) for package in _PACKAGES},
        }
        env.reset(seed=0)
        notes = () if snapshot(env) is not None else (
            f"{name} cannot be put back into a state in the middle of an episode: a resumed "
            "training goes on at the start of a new one, and is not bit for bit the unbroken one",
        )  # fmt: skip
    finally:
        env.close()
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    return EnvironmentSpec(
        name,
        (STACK, *space.shape) if len(space.shape) > 1 else tuple(space.shape),
        255.0 if space.dtype == np.uint8 else 1.0,
        tuple(meanings()) if meanings else tuple(str(i) for i in range(count)),
        digest.hexdigest(),
        notes,
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


class Episode(NamedTuple):
    """An episode that ended: the sum of its rewards, and its steps."""

    total_reward: float
    length: int


class Step(NamedTuple):
    """What a step of N environments gave; the rows of inactive ones mean nothing."""

    frames: np.ndarray
    """N ...: what is seen next, before an ended episode gives way to a new one."""
    reward: np.ndarray
    """N, float32."""
    terminated: np.ndarray
    """N: nothing comes after this (or a life was lost), so its value is 0."""
    done: np.ndarray
    """N: the episode is over, terminated or truncated by a time limit."""


class Environments:
    """N environments of one kind, side by side; one whose episode has ended begins a new one.

    `seeds` are taken one for each episode. When they have run out, the environments draw from
    their own generators (`endless`) or stand still.
    """

    def __init__(
        self, name: str, count: int, seeds: Sequence[int], *, endless: bool, render: bool = False
    ) -> None:
        self.name, self.endless = name, endless
        self.envs = [make(name, render) for _ in range(count)]
        first = self.envs[0]
        self.base = seeds[0]
        self._seeds = iter(seeds)
        self._start = int(first.action_space.start)
        space = first.observation_space
        image = len(space.shape) > 1
        self.stack = STACK if image else 1
        dtype = np.uint8 if space.dtype == np.uint8 else np.float32
        self.frames = np.zeros((count, *space.shape), dtype)
        """N ...: the newest frame or vector of each environment."""
        self._stacked = np.zeros((count, STACK, *space.shape), dtype) if image else None
        self.active = np.ones(count, bool)
        self.returns, self.lengths = np.zeros(count), np.zeros(count, np.int64)
        self.finished: list[Episode] = []
        """The episodes that ended; whoever reads them empties the list."""
        self.played = 0
        """Steps of all environments together."""
        self.on_restart: Callable[[np.ndarray], object] = lambda frames: None
        """Called with the frames that new episodes begin with, where a resume has to begin them."""
        for index in range(count):
            self._begin(index)

    @property
    def observations(self) -> np.ndarray:
        """What the network sees now. N 4 H W for images, N D otherwise."""
        return self.frames if self._stacked is None else self._stacked

    def step(self, actions: np.ndarray) -> Step:
        """One step of every active environment. actions: N, int64."""
        count = len(self.envs)
        seen = self.frames.copy()
        reward = np.zeros(count, np.float32)
        terminated, done = np.zeros(count, bool), np.zeros(count, bool)
        for index, action in enumerate(actions.tolist()):
            if not self.active[index]:
                continue
            try:
                found = self.envs[index].step(action + self._start)
            except Exception as error:  # an environment is code of others
                raise self._broken("a step", error) from error
            seen[index], gain, ended, truncated, info = found
            reward[index] = gain
            self.returns[index] += gain
            self.lengths[index] += 1
            terminated[index] = ended or info.get("life_lost", False)
            done[index] = ended or truncated or self.lengths[index] >= LONGEST
        self.played += int(self.active.sum())
        self.frames = seen
        if self._stacked is not None:
            self._stacked[:, :-1] = self._stacked[:, 1:]
            self._stacked[:, -1] = seen
        if done.any():
            self.frames = seen.copy()
            for index in np.flatnonzero(done).tolist():
                self.finished.append(Episode(float(self.returns[index]), int(self.lengths[index])))
                self._begin(index)
        return Step(seen, reward, terminated, done)

    def _begin(self, index: int) -> None:
        """A new episode, unless the seeds have run out."""
        seed = next(self._seeds, None)
        if seed is None and not self.endless:
            self.active[index] = False
            return
        try:
            frame, _ = self.envs[index].reset(seed=seed)
        except Exception as error:  # an environment is code of others
            raise self._broken("the start of an episode", error) from error
        self.frames[index] = frame
        if self._stacked is not None:
            self._stacked[index] = frame
        self.returns[index] = self.lengths[index] = 0

    def _broken(self, where: str, error: Exception) -> UserError:
        return UserError(
            f"the environment {self.name} raised {type(error).__name__} at {where}, after "
            f"{self.played:,} steps: {error}. The run is kept with its last checkpoint: put the "
            "environment right, then continue with 'gradlab resume RUN'"
        )

    def close(self) -> None:
        """Give back what the environments hold."""
        for env in self.envs:
            env.close()

    # exact resume

    def state(self) -> dict[str, Any]:
        """All that the next step depends on; `inner` is None where it cannot be had."""
        state = {
            "inner": [snapshot(env) for env in self.envs],
            "frames": torch.from_numpy(self.frames.copy()),
            "returns": torch.from_numpy(self.returns.copy()),
            "lengths": torch.from_numpy(self.lengths.copy()),
            "played": self.played,
        }
        if self._stacked is not None:
            state["stacked"] = torch.from_numpy(self._stacked.copy())
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned.

        Environments that could not be kept begin new episodes, by seeds that follow from the steps
        played, and say so to `on_restart`.
        """
        if len(state["inner"]) != len(self.envs):
            raise UserError(
                f"the checkpoint holds {len(state['inner'])} environments, expected "
                f"{len(self.envs)}: it was edited, or is of another training"
            )
        self.played = state["played"]
        self._seeds = iter(())
        if any(inner is None for inner in state["inner"]):
            draws = np.random.default_rng([self.base, self.played])
            self._seeds = iter(draws.integers(2**31, size=len(self.envs)).tolist())
            for index in range(len(self.envs)):
                self._begin(index)
            self.on_restart(self.frames)
            return
        for env, inner in zip(self.envs, state["inner"], strict=True):
            restore(env, inner)
        self.frames = state["frames"].numpy().copy()
        self.returns = state["returns"].numpy().copy()
        self.lengths = state["lengths"].numpy().copy()
        if self._stacked is not None:
            self._stacked = state["stacked"].numpy().copy()
