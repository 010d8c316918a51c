"""Deep Q-learning: act, remember, learn from what is remembered.

Mnih et al. (2015), "Human-level control through deep reinforcement learning",
https://doi.org/10.1038/nature14236. Options: double Q-learning (van Hasselt, Guez and Silver, 2016,
https://arxiv.org/abs/1509.06461); dueling is the network's.

    collect  `train_every` steps of `envs` environments side by side, epsilon-greedy
    learn    `gradient_steps` updates towards  r + discount * max_a' Q_target(s', a')

A batch of the engine is a round of both. Departures are in the recipes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from gradlab.config import Choice, Recipe, Runtime
from gradlab.data import Schema
from gradlab.data.fields.label import Label
from gradlab.data.fields.values import Values
from gradlab.data.loader import Batch
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.rl.environments import Environments, Episode, spec_of
from gradlab.rl.replay import ReplayMemory
from gradlab.tasks import tasks
from gradlab.tasks.answers import ActionAnswer, Answer
from gradlab.tasks.base import Own, Task, TrainingPart
from gradlab.tasks.baselines import Baselines
from gradlab.tasks.evaluation import Collector, Evaluation
from gradlab.tasks.parts import Counter, RandomGenerator, Weights

SIDE_BY_SIDE = 10
"""Episodes of an evaluation that are played at the same time."""
RANDOM_EPISODES = 20
"""Episodes of a split in which random actions are measured, at most."""

_OWNERS = {"val": 2, "test": 3, "play": 4}
"""Whose the seeds of episodes are; 0 and 1 are the training's own."""


@dataclass(frozen=True)
class Environment:
    """What a DQN learns from: it stands where a dataset does, and has episodes for splits."""

    name: str
    schema: Schema
    fingerprint: str
    notes: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """What a run records of it."""
        return {"name": self.name, "fingerprint": self.fingerprint, "counts": {}}


@dataclass(frozen=True)
class Transitions:
    """A batch: what was observed (N ...) and done (N 1), and the value it is to have (N 1)."""

    observation: Tensor
    action: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.action)

    def parts(self, count: int) -> Sequence[Transitions]:
        """The batch in `count` parts of nearly equal size."""
        cut = (t.tensor_split(count) for t in (self.observation, self.action, self.target))
        return [Transitions(*part) for part in zip(*cut, strict=True) if len(part[0])]


@tasks.register("dqn")
class DQN(Task):
    """Deep Q-learning in an environment of Gymnasium with discrete actions."""

    serves = frozenset({"init", "weights", "accumulate"})
    monitor = "return"

    def __init__(
        self,
        recipe: Recipe,
        schema: Schema,
        runtime: Runtime,
        own: Own | None = None,
        *,
        envs: Annotated[int, Field(ge=1, description="environments side by side")] = 8,
        epoch_steps: Annotated[
            int, Field(ge=1, description="environment steps of an epoch")
        ] = 2560,
        memory: Annotated[int, Field(ge=1, description="steps that are remembered")] = 100_000,
        learning_starts: Annotated[int, Field(ge=0, description="random steps before")] = 1000,
        train_every: Annotated[int, Field(ge=1, description="environment steps of a round")] = 256,
        gradient_steps: Annotated[int, Field(ge=1, description="updates of a round")] = 128,
        target_every: Annotated[
            int, Field(ge=1, description="environment steps between copies to the target network")
        ] = 10,
        discount: Annotated[float, Field(ge=0, le=1, description="of what comes later")] = 0.99,
        epsilon: Annotated[float, Field(ge=0, le=1, description="random actions, at last")] = 0.04,
        epsilon_steps: Annotated[int, Field(ge=0, description="steps from 1 to there")] = 8000,
        double: Annotated[
            bool, Field(description="the network chooses, its target values")
        ] = False,
        clip_rewards: Annotated[
            bool | None, Field(description="to their sign (None: for images, as in the paper)")
        ] = None,
        val_episodes: Annotated[int, Field(ge=1, description="after each epoch")] = 20,
        test_episodes: Annotated[int, Field(ge=1, description="at the end")] = 100,
        test_epsilon: Annotated[
            float, Field(ge=0, le=1, description="random actions in val and test")
        ] = 0.0,
    ) -> None:
        _, observation = schema.input(Values, "deep Q-learning")
        _, action = schema.target(Label, "deep Q-learning")
        if train_every % envs:
            raise UserError(
                f"task.train_every: expected a multiple of task.envs ({envs}), found {train_every}"
            )
        self.actions = action.classes
        self.image = len(observation.size) == 3
        self.envs, self.train_every, self.gradient_steps = envs, train_every, gradient_steps
        self.memory_size, self.learning_starts = memory, learning_starts
        self.target_every, self.discount, self.double = target_every, discount, double
        self.last_epsilon, self.epsilon_steps = epsilon, epsilon_steps
        self.test_epsilon = test_epsilon
        self.clip_rewards = self.image if clip_rewards is None else clip_rewards
        self.episodes = {"val": val_episodes, "test": test_episodes}
        self._steps = -(-epoch_steps // train_every)
        if recipe.model.name == "auto":
            name = "q_nature" if self.image else "q_mlp"
            chosen = Choice(name=name, **recipe.model.options)
            recipe = recipe.model_copy(update={"model": chosen})
        super().__init__(recipe, schema, runtime, own)

    @classmethod
    def source(cls, recipe: Recipe) -> Environment:
        """The environment, looked over: an observation goes in, an action is asked for."""
        spec = spec_of(recipe.data.name)
        # Bytes are read as 0..1; numbers are left as they are.
        scaling = {"mean": (0.0,), "std": (spec.scale,)} if spec.scale != 1 else {}
        schema = Schema(
            inputs={"observation": Values(size=spec.shape, **scaling)},
            targets={"action": Label(classes=spec.actions)},
        )
        return Environment(spec.name, schema, spec.fingerprint, spec.notes)

    @property
    def outputs(self) -> int:
        """A value for each action."""
        return len(self.actions)

    @property
    def steps(self) -> int:
        """Rounds in an epoch."""
        return self._steps

    def metric_names(self) -> list[str]:
        """Those of `summary`."""
        return ["return", "return_std", "length"]

    def has(self, split: str) -> bool:
        """There is no training split: val and test are episodes begun by seeds of their own."""
        return split in self.episodes

    def training_parts(self, fresh: bool) -> dict[str, TrainingPart]:
        """Environments, memory, the target network, the optimizer, the place in the epoch."""
        seed, count = self.recipe.seed, self.envs
        self.generator = RandomGenerator([seed, 0])
        seeds = RandomGenerator([seed, 1]).integers(2**31, size=count)
        self.environments = Environments(self.recipe.data.name, count, seeds.tolist(), endless=True)
        frames, stack = self.environments.frames, self.environments.stack
        self.memory = ReplayMemory(self.memory_size, count, frames.shape[1:], frames.dtype, stack)
        self.memory.begin(frames)
        self.environments.on_restart = self.memory.begin
        if self.image:
            self.notes += (f"the replay memory takes {self.memory.nbytes / 1e9:.2f} GB when full",)
        self.target_network = deepcopy(self.model).requires_grad_(False)
        self.rounds = Counter()
        self.settle(self.steps)
        groups = [(1.0, list(self.model.named_parameters()))]
        self.updates = self.updater(groups, self.steps * self.gradient_steps)
        return {
            "generator": self.generator,
            "environments": self.environments,
            "memory": self.memory,  # put back before the environments, which may begin anew in it
            "target": Weights(self.target_network),
            "updater": self.updates,
            "rounds": self.rounds,
        }

    # acting

    def tensor(self, observations: np.ndarray) -> Tensor:
        """Observations as the network takes them: bytes become 0..1. N ..."""
        x = torch.from_numpy(observations).to(self.setup.device)
        return x.float().div_(255) if x.dtype == torch.uint8 else x

    def values(self, observations: np.ndarray) -> np.ndarray:
        """The value of each action. N ... -> N A."""
        with torch.inference_mode(), self.setup.autocast():
            found: np.ndarray = self.model(self.tensor(observations)).float().cpu().numpy()
        return found

    def act(
        self, observations: np.ndarray, epsilon: float, generator: np.random.Generator
    ) -> np.ndarray:
        """Epsilon-greedy actions, int64 N."""
        count = len(observations)
        random = generator.random(count) < epsilon
        drawn = generator.integers(len(self.actions), size=count)
        if random.all():
            return drawn
        return np.where(random, drawn, self.values(observations).argmax(1))

    @property
    def epsilon(self) -> float:
        """The share of random actions now: 1 until learning starts, then falling in a line."""
        played = self.environments.played
        if played < self.learning_starts:
            return 1.0
        done = min(played / self.epsilon_steps, 1.0) if self.epsilon_steps else 1.0
        return 1.0 + done * (self.last_epsilon - 1.0)

    def collect(self) -> dict[str, Any]:
        """`train_every` steps of the environments, into the memory."""
        environments = self.environments
        epsilon, before = self.epsilon, environments.played
        for _ in range(self.train_every // self.envs):
            action = self.act(environments.observations, self.epsilon, self.generator)
            step = environments.step(action)
            reward = np.sign(step.reward) if self.clip_rewards else step.reward
            self.memory.add(
                action, reward, step.terminated, step.frames, step.done, environments.frames
            )
        if environments.played // self.target_every > before // self.target_every:
            self.update_target()
        scalars: dict[str, Any] = {"examples": environments.played - before, "epsilon": epsilon}
        if environments.finished:
            scalars["return"] = float(np.mean([e.total_reward for e in environments.finished]))
            environments.finished = []
        return scalars

    def update_target(self) -> None:
        """The target network becomes the network as it is now."""
        with torch.no_grad():
            for target, value in zip(
                self.target_network.state_dict().values(),
                self.model.state_dict().values(),
                strict=True,
            ):
                target.copy_(value)

    # learning

    def batches(self, epoch: int) -> Iterator[int]:
        """The numbers of the rounds that are still to come."""
        self.model.train()
        yield from range(self.rounds.value, (epoch + 1) * self._steps)

    def step(self, batch: int) -> dict[str, Any]:
        """A round: collect, then learn as soon as there is enough to learn from."""
        scalars = self.collect()
        if self.environments.played >= self.learning_starts:
            scalars |= self.learn()
        self.rounds.value += 1
        return scalars

    def learn(self) -> dict[str, Any]:
        """`gradient_steps` updates, each on a batch of its own from the memory."""
        size, device = self.recipe.plan.batch_size, self.setup.device
        sample = self.memory.take(self.memory.draw(self.gradient_steps * size, self.generator))
        observation = self.tensor(sample.observation)
        next_observation = self.tensor(sample.next_observation)
        action = torch.from_numpy(sample.action).to(device)[:, None]
        reward = torch.from_numpy(sample.reward).to(device)[:, None]
        discount = self.discount * ~torch.from_numpy(sample.terminated).to(device)[:, None]
        with torch.no_grad(), self.setup.autocast():
            # The target network stands still meanwhile: one pass for all updates.
            next_values = self.target_network(next_observation).float()
        scalars: dict[str, Any] = {}
        losses = []
        for start in range(0, len(action), size):
            part = slice(start, start + size)
            next_value = self.next_value(next_values[part], next_observation[part])
            target = reward[part] + discount[part] * next_value
            batch = Transitions(observation[part], action[part], target)
            scalars = self.updates.update(self.loss, batch)
            losses.append(scalars["loss"])
        loss = torch.stack(losses).mean() if len(losses) > 1 else losses[0]
        return {"loss": loss, "q": self._q.mean(), "lr": scalars["lr"]}

    def next_value(self, next_values: Tensor, next_observation: Tensor) -> Tensor:
        """The largest of the next values, or that of the network's choice. N A -> N 1."""
        if not self.double:
            return next_values.amax(1, keepdim=True)
        with torch.no_grad(), self.setup.autocast():
            return next_values.gather(1, self.model(next_observation).argmax(1, keepdim=True))

    def loss(self, batch: Transitions) -> Tensor:
        """Huber's loss: the paper's error, clipped to -1..1 in the gradient."""
        values = self.model(batch.observation).gather(1, batch.action).float()  # N 1
        self._q = values.detach()
        return F.smooth_l1_loss(values, batch.target)

    # evaluation

    def measure(self, split: str, watching: Sequence[Collector] = ()) -> dict[str, float]:
        """Return and length over the split's episodes."""
        return summary(self.play(self.seeds(split, self.episodes[split]), self.test_epsilon))

    def details(self, split: str) -> Evaluation:
        """The metrics of a split; UserError when an environment has none of that name."""
        if not self.has(split):
            raise UserError(
                f"{self.recipe.data.name} is an environment: expected the split val or test, "
                f"found {split!r}"
            )
        return Evaluation(self.evaluate(split))

    def baselines(self, splits: Iterable[str]) -> Baselines:
        """What random actions gain in (the first of) the same episodes."""
        return {
            split: {"random actions": summary(self.play(self.seeds(split, count), epsilon=1.0))}
            for split in splits
            if (count := min(self.episodes.get(split, 0), RANDOM_EPISODES))
        }

    def seeds(self, split: str, count: int) -> list[int]:
        """The first seeds of a split's episodes: the same for every run, as a test split is.

        Those of `play` are of episodes for people to look at, neither val nor test.
        """
        owner = RandomGenerator([self.recipe.data.split_seed, _OWNERS[split]])
        return [int(seed) for seed in owner.integers(2**31, size=count)]

    def play(self, seeds: Sequence[int], epsilon: float) -> list[Episode]:
        """An episode for each seed, side by side; `epsilon` of the actions are random."""
        generator = np.random.default_rng(seeds)
        count = min(len(seeds), SIDE_BY_SIDE)
        environments = Environments(self.recipe.data.name, count, seeds, endless=False)
        try:
            with evaluating(self.model):
                while environments.active.any():
                    seen = environments.observations
                    environments.step(self.act(seen, epsilon, generator))
        finally:
            environments.close()
        return environments.finished

    def answer(self, output: Tensor, batch: Batch) -> Sequence[Answer]:
        """The action of the largest value, and the values of all. N A."""
        return [
            ActionAnswer(self.actions[chosen], tuple(zip(self.actions, values, strict=True)))
            for chosen, values in zip(output.argmax(1).tolist(), output.tolist(), strict=True)
        ]


def summary(episodes: Sequence[Episode]) -> dict[str, float]:
    """Mean and standard deviation (of a sample) of the return, and the mean length.

    >>> summary([Episode(1.0, 10), Episode(3.0, 20)])
    {'return': 2.0, 'return_std': 1.4142135623730951, 'length': 15.0}
    """
    returns, lengths = np.array(episodes).T
    std = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return {"return": float(returns.mean()), "return_std": std, "length": float(lengths.mean())}
