"""Playing with a trained Q-network: returns, a film of an episode, its Q-values."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradlab import files
from gradlab.data.environments import Environments
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.recipes import figures
from gradlab.recipes.run import load
from gradlab.tasks.dqn import DQN, summary

_WIDEST = 320  # pixels of a film
_LONGEST = 600  # pictures of a film
_COLOURS = 64
_FASTEST = 25  # pictures a second: viewers slow down what is faster


@dataclass(frozen=True)
class Trace:
    """One episode step by step. values: T A; actions: T; frames: uint8 H W 3 each, if drawn."""

    values: np.ndarray
    actions: np.ndarray
    total: float
    names: tuple[str, ...]
    fps: float = 30.0
    frames: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True)
class Played:
    """Return and length of each episode, and the first one step by step if asked for."""

    environment: str
    episodes: list[tuple[float, int]]
    trace: Trace | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: mean and deviation of the return."""
        found = summary(self.episodes)
        return {
            "env": self.environment,
            "episodes": len(self.episodes),
            "return": {"mean": found["return"], "std": found["return_std"]},
            "length": {"mean": found["length"]},
        }


def play(
    path: Path, episodes: int = 10, *, gif: Path | None = None, figure: Path | None = None
) -> Played:
    """Play with the best weights of a run, in episodes whose seeds no training has seen.

    The first episode is filmed into `gif` and its Q-values are drawn into `figure` (PNG).
    """
    if episodes < 1:
        raise UserError(f"--episodes: expected at least 1, found {episodes}")
    for target, suffix in ((gif, ".gif"), (figure, ".png")):
        if target is not None and target.suffix.lower() != suffix:
            raise UserError(f"expected a file ending in {suffix}, found {target}")
    run = load(path)
    task = run.task
    if not isinstance(task, DQN):
        raise UserError(
            f"{path} is a run of the task {task.recipe.task.name!r}, which does not play: expected "
            "one of the task 'dqn' (gradlab train dqn)"
        )
    found = task.test(episodes, "test")
    if gif is None and figure is None:
        return Played(task.recipe.data.name, found)
    trace = traced(task, render=gif is not None)
    if gif is not None:
        files.write_bytes(gif, film(trace))
    if figure is not None:
        files.write_bytes(figure, drawn(trace))
    return Played(task.recipe.data.name, found, trace)


def traced(task: DQN, render: bool) -> Trace:
    """The first test episode alone, with the values of all actions at each step."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame asks for a screen otherwise
    seeds = task.seeds(1, "test")
    generator = np.random.default_rng(seeds)
    environments = Environments(task.recipe.data.name, 1, seeds, endless=False, render=render)
    env = environments.envs[0]
    values: list[np.ndarray] = []
    actions: list[int] = []
    frames: list[np.ndarray] = []
    try:
        with evaluating(task.model):
            while environments.active.any():
                if render and len(values) < _LONGEST * 4:
                    frames.append(np.asarray(env.render()))
                seen = environments.observations
                action = task.act(seen, task.test_epsilon, generator)
                values.append(task.values(seen)[0])
                actions.append(int(action[0]))
                environments.step(action)
    finally:
        environments.close()
    return Trace(
        np.array(values), np.array(actions), environments.finished[0][0], task.schema.classes,
        float(env.metadata.get("render_fps") or 30) / (4 if task.image else 1), frames,
    )  # fmt: skip


def film(trace: Trace) -> bytes:
    """The frames of an episode as an animated GIF, at the speed of the game."""
    every = max(round(trace.fps / _FASTEST), -(-len(trace.frames) // _LONGEST), 1)
    pictures = []
    for frame in trace.frames[::every]:
        picture = Image.fromarray(frame)
        if picture.width > _WIDEST:
            size = (_WIDEST, round(picture.height * _WIDEST / picture.width))
            picture = picture.resize(size, Image.Resampling.BOX)
        pictures.append(picture.quantize(_COLOURS, dither=Image.Dither.NONE))
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], loop=0,
        duration=max(round(1000 * every / trace.fps), 20),
    )  # fmt: skip
    return buffer.getvalue()


def drawn(trace: Trace) -> bytes:
    """The Q-values along an episode as a PNG."""
    buffer = io.BytesIO()
    figures.action_values(trace.values, trace.actions, trace.names).savefig(
        buffer, format="png", dpi=120
    )
    return buffer.getvalue()
