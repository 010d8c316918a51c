"""Playing with a trained Q-network: returns, a film of an episode, its Q-values."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from gradlab import files
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.rl.environments import Environments, Episode
from gradlab.rl.frames import SKIP
from gradlab.runs.run import Run, open_run
from gradlab.tasks.dqn import DQN, summary
from gradlab.tasks.evaluation import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPLITS = ("play", "val", "test")
"""Whose episodes can be played: those that are for looking at, or a split's own."""

_WIDEST = 320  # pixels of a film
_LONGEST = 600  # pictures of a film
_COLOURS = 64
_FASTEST = 25  # pictures a second: viewers slow down what is faster


@dataclass(frozen=True)
class Trace:
    """One episode step by step. values: T A; actions: T; frames: uint8 H W 3 each, if filmed."""

    values: np.ndarray
    actions: np.ndarray
    names: tuple[str, ...]
    fps: float = 30.0
    frames: list[np.ndarray] = field(default_factory=list)

    def film(self) -> bytes:
        """The frames as an animated GIF, at the speed of the game."""
        if not self.frames:
            raise UserError("no film was taken of this episode: play(run, film=True) takes one")
        every = max(round(self.fps / _FASTEST), -(-len(self.frames) // _LONGEST), 1)
        pictures = []
        for frame in self.frames[::every]:
            picture = Image.fromarray(frame)
            if picture.width > _WIDEST:
                size = (_WIDEST, round(picture.height * _WIDEST / picture.width))
                picture = picture.resize(size, Image.Resampling.BOX)
            pictures.append(picture.quantize(_COLOURS, dither=Image.Dither.NONE))
        buffer = io.BytesIO()
        pictures[0].save(
            buffer, "GIF", save_all=True, append_images=pictures[1:], loop=0,
            duration=max(round(1000 * every / self.fps), 20),
        )  # fmt: skip
        return buffer.getvalue()


@dataclass(frozen=True)
class Played:
    """The episodes that a network played, and the first of them step by step.

    `split` says whose seeds they were begun with: `play` (of neither val nor test), val or test.
    """

    environment: str
    split: str
    episodes: tuple[Episode, ...]
    trace: Trace = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: mean and standard deviation of the return, and the mean length."""
        found = summary(self.episodes)
        return {
            "env": self.environment,
            "split": self.split,
            "episodes": len(self.episodes),
            "return": {"mean": found["return"], "std": found["return_std"]},
            "length": {"mean": found["length"]},
        }

    def tables(self) -> list[Table]:
        """What was gained, in a row."""
        found = summary(self.episodes)
        header = ("environment", "episodes", "seeds of", "return", "standard deviation", "length")
        row = (
            self.environment, str(len(self.episodes)), self.split, f"{found['return']:.1f}",
            f"{found['return_std']:.1f}", f"{found['length']:.1f}",
        )  # fmt: skip
        return [Table(header, (row,))]

    def figure(self) -> Figure:
        """The values of all actions along the first episode."""
        from gradlab.drawing import action_values

        return action_values(self.trace.values, self.trace.actions, self.trace.names)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the first episode: .gif a film of it, .png the values of its actions."""
        if file_kind(path) == ".gif":
            files.write_bytes(Path(path), self.trace.film())
            return
        buffer = io.BytesIO()
        self.figure().savefig(buffer, format="png", dpi=120)
        files.write_bytes(Path(path), buffer.getvalue())


def play(
    run: Run | str | os.PathLike[str],
    episodes: int = 10,
    *,
    split: str = "play",
    film: bool = False,
) -> Played:
    """Play with the best weights of a run.

    Episodes begin by seeds that are kept for this alone, so that to look is free; those of a
    `split` are the episodes it is evaluated on, and playing those of test is recorded in the run.
    `film` keeps the pictures of the first episode. UserError for a run that does not play.
    """
    run = run if isinstance(run, Run) else open_run(run)
    if episodes < 1:
        raise UserError(f"--episodes: expected at least 1, found {episodes}")
    if split not in SPLITS:
        raise UserError(f"--split: expected {', '.join(SPLITS)}, found {split!r}")
    if not isinstance(task := run.task, DQN):
        raise UserError(
            f"{run.path} is a run of the task {task.recipe.task.name!r}, which does not play: "
            "expected one of the task 'dqn' (gradlab train dqn)"
        )
    with task.setup.applied():
        seeds = task.seeds(split, episodes)
        first, trace = traced(task, seeds[0], film)
        others = task.play(seeds[1:], task.test_epsilon) if episodes > 1 else []
    played = Played(task.recipe.data.name, split, (first, *others), trace)
    if split == "test":
        run.note_reading("play", summary(played.episodes))
    return played


def file_kind(path: str | os.PathLike[str]) -> str:
    """The suffix that says what is written; UserError for one that is not."""
    kind = Path(path).suffix.lower()
    if kind not in (".gif", ".png"):
        raise UserError(
            f"expected a file ending in .gif (a film) or .png (the values), found {str(path)!r}"
        )
    return kind


def traced(task: DQN, seed: int, film: bool) -> tuple[Episode, Trace]:
    """One episode with the values of all actions at each step."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame asks for a screen otherwise
    generator = np.random.default_rng([seed])
    environments = Environments(task.recipe.data.name, 1, [seed], endless=False, render=film)
    env = environments.envs[0]
    values: list[np.ndarray] = []
    actions: list[int] = []
    frames: list[np.ndarray] = []
    try:
        with evaluating(task.model):
            while environments.active.any():
                if film and len(values) < _LONGEST * 4:
                    frames.append(np.asarray(env.render()))
                seen = environments.observations
                action = task.act(seen, task.test_epsilon, generator)
                values.append(task.values(seen)[0])
                actions.append(int(action[0]))
                environments.step(action)
    finally:
        environments.close()
    fps = float(env.metadata.get("render_fps") or 30) / (SKIP if task.image else 1)
    trace = Trace(np.array(values), np.array(actions), task.actions, fps, frames)
    return environments.finished[0], trace
