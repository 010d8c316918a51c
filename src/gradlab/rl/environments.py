"""Environments of Gymnasium: made, looked over, played side by side, kept and taken up again.

An environment takes the place of a dataset. Observations that are uint8 images are preprocessed as
by Mnih et al. (2015), "Human-level control through deep reinforcement learning", Methods; all
others become vectors of float32.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
import torch

from gradlab.data.dataset import Dataset, Schema
from gradlab.data.pixels import STACK, frames_of
from gradlab.errors import UserError, missing_extra, unknown

SERVED = "CartPole-v1, Acrobot-v1, MountainCar-v0, LunarLander-v3 or any Atari game (ALE/Pong-v5)"
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
    except Exception as error:  # an environment is a stranger's code
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
        return frames_of(gym, env, name)
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


def describe(name: str) -> Dataset:
    """An environment as what is learnt from: a schema and a fingerprint, no splits.

    The fingerprint covers the environment's registered specification and the packages' versions.
    """
    env = make(name)
    try:
        space, base = env.observation_space, env.unwrapped
        image = len(space.shape) > 1
        count = int(env.action_space.n)
        meanings = getattr(base, "get_action_meanings", None)
        schema = Schema(
            kind="environment",
            shape=(STACK, *space.shape) if image else space.shape,
            target="action",
            classes=tuple(meanings()) if meanings else tuple(str(i) for i in range(count)),
        )
        facts = {
            "id": env.spec.id if env.spec else name,
            "options": repr(sorted((env.spec.kwargs if env.spec else {}).items())),
            "steps": env.spec.max_episode_steps if env.spec else None,
            "versions": {package: _version(package) for package in _PACKAGES},
        }
        env.reset(seed=0)
        notes = () if _snapshot(env) is not None else (
            f"{name} cannot be put back into a state in the middle of an episode: a resumed "
            "training goes on at the start of a new one, and is not bit for bit the unbroken one",
        )  # fmt: skip
    finally:
        env.close()
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    return Dataset(name, schema, {}, digest.hexdigest(), notes)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


class Step(NamedTuple):
    """What a step of N environments gave; the rows of idle ones mean nothing."""

    frames: np.ndarray
    """N ...: what is seen next, before an ended episode gives way to a new one."""
    reward: np.ndarray
    """N, float32."""
    terminal: np.ndarray
    """N: nothing comes after this (or a life was lost), so its value is 0."""
    ended: np.ndarray
    """N: the episode is over, terminated or cut off by a time limit."""


class Environments:
    """N environments of one kind, side by side; whoever has ended is begun anew.

    `seeds` are taken one for each episode. When they have run out, the environments draw from
    their own generators (`endless`) or stand idle.
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
        self.finished: list[tuple[float, int]] = []
        """Return and length of the episodes that ended; whoever reads them empties the list."""
        self.played = 0
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
        terminal, ended = np.zeros(count, bool), np.zeros(count, bool)
        for index, action in enumerate(actions.tolist()):
            if not self.active[index]:
                continue
            try:
                found = self.envs[index].step(action + self._start)
            except Exception as error:  # an environment is a stranger's code
                raise self._broken("a step", error) from error
            seen[index], gain, terminated, truncated, info = found
            reward[index] = gain
            self.returns[index] += gain
            self.lengths[index] += 1
            terminal[index] = terminated or info.get("life_lost", False)
            ended[index] = terminated or truncated or self.lengths[index] >= LONGEST
        self.played += int(self.active.sum())
        self.frames = seen
        if self._stacked is not None:
            self._stacked[:, :-1] = self._stacked[:, 1:]
            self._stacked[:, -1] = seen
        if ended.any():
            self.frames = seen.copy()
            for index in np.flatnonzero(ended).tolist():
                self.finished.append((float(self.returns[index]), int(self.lengths[index])))
                self._begin(index)
        return Step(seen, reward, terminal, ended)

    def _begin(self, index: int) -> None:
        """A new episode, unless the seeds have run out."""
        seed = next(self._seeds, None)
        if seed is None and not self.endless:
            self.active[index] = False
            return
        try:
            frame, _ = self.envs[index].reset(seed=seed)
        except Exception as error:  # an environment is a stranger's code
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
            "inner": [_snapshot(env) for env in self.envs],
            "frames": torch.from_numpy(self.frames.copy()),
            "returns": torch.from_numpy(self.returns.copy()),
            "lengths": torch.from_numpy(self.lengths.copy()),
            "played": self.played,
        }
        if self._stacked is not None:
            state["stacked"] = torch.from_numpy(self._stacked.copy())
        return state

    def load_state(self, state: dict[str, Any]) -> bool:
        """Continue from what `state` returned.

        False when the environments could not be put back: they are at the start of new episodes
        then, by seeds that follow from the steps played.
        """
        self.played = state["played"]
        self._seeds = iter(())
        if any(inner is None for inner in state["inner"]):
            draws = np.random.default_rng([self.base, self.played])
            self._seeds = iter(draws.integers(2**31, size=len(self.envs)).tolist())
            for index in range(len(self.envs)):
                self._begin(index)
            return False
        for env, inner in zip(self.envs, state["inner"], strict=True):
            _restore(env, inner)
        self.frames = state["frames"].numpy().copy()
        self.returns = state["returns"].numpy().copy()
        self.lengths = state["lengths"].numpy().copy()
        if self._stacked is not None:
            self._stacked = state["stacked"].numpy().copy()
        return True


LONGEST = 27_000
"""Steps after which an episode is cut off if it has no shorter limit (half an hour of Atari)."""


def _layers(env: Any) -> Iterator[Any]:
    """An environment's wrappers from the outside in, itself at last."""
    while True:
        yield env
        if env is env.unwrapped:
            return
        env = env.env


class _Unkept(Exception):
    """A value that cannot be kept: a physics engine's world, an open file."""


def _snapshot(env: Any) -> list[dict[str, Any]] | None:
    """The attributes of an environment and its wrappers; None if one of them cannot be kept."""
    try:
        return [_attributes(layer) for layer in _layers(env)]
    except _Unkept:
        return None


def _attributes(layer: Any) -> dict[str, Any]:
    ale = getattr(layer, "ale", None) if layer is layer.unwrapped else None
    if ale is not None:  # the console's own state, its generator included
        saved = np.frombuffer(ale.cloneState(include_rng=True).serialize(), np.uint8)
        return {
            "ale": torch.from_numpy(saved.copy()),
            "_np_random": _kept(layer.__dict__.get("_np_random")),
        }
    return {
        key: _kept(value)
        for key, value in vars(layer).items()
        if key not in _FIXED and not callable(value)
    }


_FIXED = {"env", "spec", "_cached_spec", "observation_space", "action_space", "_saved_kwargs"}
_FIXED |= {"_observation_space", "_action_space", "_metadata", "metadata", "render_mode"}


def _kept(value: Any) -> Any:
    """A value as a tree of JSON values and tensors, tagged by its kind; or raises `_Unkept`."""
    if isinstance(value, np.random.Generator):
        return {"generator": value.bit_generator.state}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        tensor = torch.from_numpy(np.array(value))
        return {"array": tensor, "scalar": isinstance(value, np.generic)}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_kept(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_kept(key), _kept(item)] for key, item in value.items()]}
    raise _Unkept(type(value).__name__)


def _given(tree: Any) -> Any:
    """The value that `_kept` took apart."""
    if not isinstance(tree, dict):
        return tree
    if "generator" in tree:
        state = tree["generator"]
        generator = np.random.Generator(getattr(np.random, state["bit_generator"])())
        generator.bit_generator.state = state
        return generator
    if "array" in tree:
        array = tree["array"].numpy().copy()
        return array[()] if tree["scalar"] else array
    if "float" in tree:
        return float(tree["float"])
    if "dict" in tree:
        return {_given(key): _given(item) for key, item in tree["dict"]}
    if "tuple" in tree:
        return tuple(_given(item) for item in tree["tuple"])
    return [_given(item) for item in tree["list"]]


def _restore(env: Any, layers: list[dict[str, Any]]) -> None:
    for layer, saved in zip(_layers(env), layers, strict=True):
        attributes = dict(saved)
        if "ale" in attributes:
            blank = layer.ale.cloneState()
            kind: Any = type(blank)
            state = kind.__new__(kind)
            state.__setstate__(attributes.pop("ale").numpy().tobytes())
            layer.ale.restoreState(state)
        for key, value in attributes.items():
            setattr(layer, key, _given(value))
