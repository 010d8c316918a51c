"""Deep Q-learning: act, remember, learn from what is remembered.

Mnih et al. (2015), "Human-level control through deep reinforcement learning",
https://doi.org/10.1038/nature14236. Options: double Q-learning (van Hasselt, Guez and Silver, 2016,
https://arxiv.org/abs/1509.06461); dueling is the network's.

    play    `train_every` steps of `envs` environments side by side, epsilon-greedy
    learn   `gradient_steps` steps towards  r + discount * max_a' Q_target(s', a')

A batch of the engine is a round of both. Departures are in the recipes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from gradlab.config import Recipe
from gradlab.data import Dataset, Schema
from gradlab.data.environments import Environments, describe
from gradlab.data.replay import Replay
from gradlab.engine import Updater, resolve
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.models import q_networks
from gradlab.tasks import tasks
from gradlab.tasks.base import Details, Own, Task
from gradlab.tasks.supervised import check_weights


@dataclass(frozen=True)
class Transitions:
    """A batch: what was seen (N ...) and done (N 1), and the value it is to have (N 1)."""

    observation: Tensor
    action: Tensor
    value: Tensor

    def __len__(self) -> int:
        return len(self.action)

    def parts(self, count: int) -> Sequence[Transitions]:
        """The batch in `count` parts of nearly equal size."""
        cut = (t.tensor_split(count) for t in (self.observation, self.action, self.value))
        return [Transitions(*part) for part in zip(*cut, strict=True) if len(part[0])]


@tasks.register("dqn")
class DQN(Task):
    """Deep Q-learning in an environment of Gymnasium with discrete actions."""

    monitor = ("return", "max")

    def __init__(
        self,
        recipe: Recipe,
        source: Dataset | Schema,
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
        self.dataset = source if isinstance(source, Dataset) else None
        self.schema = source.schema if isinstance(source, Dataset) else source
        if train_every % envs:
            raise UserError(
                f"task.train_every: expected a multiple of task.envs ({envs}), found {train_every}"
            )
        self.envs, self.train_every, self.gradient_steps = envs, train_every, gradient_steps
        self.learning_starts, self.target_every = learning_starts, target_every
        self.discount, self.double = discount, double
        self.epsilon_last, self.epsilon_steps = epsilon, epsilon_steps
        self.test_epsilon = test_epsilon
        self.image = len(self.schema.shape) == 3
        self.clip_rewards = self.image if clip_rewards is None else clip_rewards
        self.episodes = {"val": val_episodes, "test": test_episodes}
        self._steps = -(-epoch_steps // train_every)
        # One seed owns the initial values, the actions, the environments and the samples.
        torch.manual_seed(recipe.seed)
        self.model = self.build(recipe) if own is None else own.model
        setup = resolve(recipe, self.model, torch.zeros(1, *self.schema.shape))
        setup.apply()
        self.setup = setup
        self.model.to(setup.device)
        name, goal = recipe.plan.monitor or self.monitor[0], recipe.plan.goal or self.monitor[1]
        plan = recipe.plan.model_copy(update={"monitor": name, "goal": goal, "updates": 0})
        self.recipe = recipe.model_copy(
            update={
                "device": str(setup.device),
                "precision": setup.precision,
                "threads": setup.threads,
                "plan": plan,
            }
        )
        self.rounds = 0
        if self.dataset is None:
            return
        self.generator = np.random.default_rng([recipe.seed, 0])
        seeds = np.random.default_rng([recipe.seed, 1]).integers(2**31, size=envs)
        self.environments = Environments(recipe.data.name, envs, seeds.tolist(), endless=True)
        frames = self.environments.frames
        self.memory = Replay(memory, envs, frames.shape[1:], frames.dtype, self.environments.stack)
        self.memory.begin(frames)
        if self.image:
            self.notes += (f"the replay memory takes {self.memory.nbytes / 1e9:.2f} GB when full",)
        self.target = deepcopy(self.model).requires_grad_(False)
        self.updater = Updater(
            [(1.0, list(self.model.named_parameters()))],
            recipe.optimizer,
            recipe.schedule,
            plan,
            setup,
            self._steps * gradient_steps,
        )

    @classmethod
    def source(cls, recipe: Recipe) -> Dataset:
        """The environment, looked over."""
        return describe(recipe.data.name)

    def build(self, recipe: Recipe) -> torch.nn.Module:
        """The recipe's Q-network; `auto` is the MLP for vectors, the paper's for images."""
        name = recipe.model.name
        if name == "auto":
            name = "q_nature" if self.image else "q_mlp"
        options = q_networks.check(name, recipe.model.options)
        return q_networks[name](len(self.schema.classes), self.schema.shape, **options)

    @property
    def steps(self) -> int:
        """Rounds in an epoch."""
        return self._steps

    def has(self, split: str) -> bool:
        """An environment has no training split: val and test are episodes of their own seeds."""
        return split in self.episodes

    # acting

    def tensor(self, observations: np.ndarray) -> Tensor:
        """Observations as the network takes them: bytes become 0..1. N ..."""
        x = torch.from_numpy(observations).to(self.setup.device)
        return x.float().div_(255) if x.dtype == torch.uint8 else x

    def values(self, observations: np.ndarray) -> np.ndarray:
        """What the network thinks each action is worth. N ... -> N A."""
        with torch.inference_mode(), self.setup.autocast():
            found: np.ndarray = self.model(self.tensor(observations)).float().cpu().numpy()
        return found

    def act(
        self, observations: np.ndarray, epsilon: float, generator: np.random.Generator
    ) -> np.ndarray:
        """Epsilon-greedy actions, int64 N."""
        count = len(observations)
        random = generator.random(count) < epsilon
        drawn = generator.integers(len(self.schema.classes), size=count)
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
        return 1.0 + done * (self.epsilon_last - 1.0)

    def play(self) -> dict[str, Any]:
        """`train_every` steps of the environments, into the memory."""
        environments = self.environments
        epsilon, before = self.epsilon, environments.played
        for _ in range(self.train_every // self.envs):
            action = self.act(environments.observations, self.epsilon, self.generator)
            step = environments.step(action)
            reward = np.sign(step.reward) if self.clip_rewards else step.reward
            self.memory.add(
                action, reward, step.terminal, step.frames, step.ended, environments.frames
            )
        if environments.played // self.target_every > before // self.target_every:
            self.synchronise()
        scalars: dict[str, Any] = {"examples": environments.played - before, "epsilon": epsilon}
        if environments.finished:
            scalars["return"] = float(np.mean([gained for gained, _ in environments.finished]))
            environments.finished = []
        return scalars

    def synchronise(self) -> None:
        """The target network becomes the network as it is now."""
        with torch.no_grad():
            for target, value in zip(
                self.target.state_dict().values(), self.model.state_dict().values(), strict=True
            ):
                target.copy_(value)

    # learning

    def learn(self) -> dict[str, Any]:
        """`gradient_steps` updates, each on a batch of its own from the memory."""
        size = self.recipe.plan.batch_size
        sample = self.memory.take(self.memory.draw(self.gradient_steps * size, self.generator))
        observation, following = self.tensor(sample.observation), self.tensor(sample.following)
        action = torch.from_numpy(sample.action).to(self.setup.device)[:, None]
        reward = torch.from_numpy(sample.reward).to(self.setup.device)[:, None]
        kept = self.discount * ~torch.from_numpy(sample.terminal).to(self.setup.device)[:, None]
        with torch.no_grad(), self.setup.autocast():
            # The target network stands still meanwhile: one pass for all updates.
            after = self.target(following).float()
        scalars: dict[str, Any] = {}
        losses = []
        for start in range(0, len(action), size):
            part = slice(start, start + size)
            worth = self._worth(after[part], following[part])
            batch = Transitions(observation[part], action[part], reward[part] + kept[part] * worth)
            scalars = self.updater.update(self.loss, batch)
            losses.append(scalars["loss"])
        loss = torch.stack(losses).mean() if len(losses) > 1 else losses[0]
        return {"loss": loss, "q": self._q.mean(), "lr": scalars["lr"]}

    def _worth(self, after: Tensor, following: Tensor) -> Tensor:
        """The value of what comes next, N A -> N 1: the largest, or the one the network chooses."""
        if not self.double:
            return after.amax(1, keepdim=True)
        with torch.no_grad(), self.setup.autocast():
            return after.gather(1, self.model(following).argmax(1, keepdim=True))

    def loss(self, batch: Transitions) -> Tensor:
        """Huber's loss: the paper's error, clipped to -1..1 in the gradient."""
        values = self.model(batch.observation).gather(1, batch.action).float()  # N 1
        self._q = values.detach()
        return F.smooth_l1_loss(values, batch.value)

    # what the engine asks for

    def batches(self, epoch: int) -> Iterator[int]:
        """The numbers of the rounds that are still to come."""
        self.model.train()
        yield from range(self.rounds, (epoch + 1) * self._steps)

    def step(self, batch: int) -> dict[str, Any]:
        """A round: play, then learn as soon as there is enough to learn from."""
        scalars = self.play()
        if self.environments.played >= self.learning_starts:
            scalars |= self.learn()
        self.rounds += 1
        return scalars

    def evaluate(self, split: str) -> dict[str, float]:
        """Mean and deviation of the return, and the mean length, over the split's episodes."""
        if not self.has(split):
            raise UserError(
                f"{self.recipe.data.name} is an environment: expected the split val or test, "
                f"found {split!r}"
            )
        return summary(self.test(self.episodes[split], split))

    def details(self, split: str) -> Details:
        """The evaluation of a split."""
        return Details(self.evaluate(split))

    def seeds(self, count: int, split: str) -> list[int]:
        """The seeds of a split's episodes: the same for every run, as a test split is."""
        owner = [self.recipe.data.split_seed, 2 + list(self.episodes).index(split)]
        return [int(seed) for seed in np.random.default_rng(owner).integers(2**31, size=count)]

    def test(self, count: int, split: str) -> list[tuple[float, int]]:
        """Return and length of `count` episodes, begun by the split's seeds, side by side."""
        seeds = self.seeds(count, split)
        generator = np.random.default_rng(seeds)
        environments = Environments(
            self.recipe.data.name, min(count, _AT_ONCE), seeds, endless=False
        )
        try:
            with evaluating(self.model):
                while environments.active.any():
                    seen = environments.observations
                    environments.step(self.act(seen, self.test_epsilon, generator))
        finally:
            environments.close()
        return environments.finished

    def state(self) -> dict[str, Any]:
        """Networks, optimizer, memory, environments, generators and the place in the epoch."""
        state = {
            "model": self.model.state_dict(),
            "target": self.target.state_dict(),
            "updater": self.updater.state(),
            "memory": self.memory.state(),
            "environments": self.environments.state(),
            "numpy": self.generator.bit_generator.state,
            "generator": torch.get_rng_state(),
            "rounds": self.rounds,
        }
        if self.setup.device.type == "cuda":
            state["cuda_generator"] = torch.cuda.get_rng_state(self.setup.device)
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.load_weights(state)
        self.target.load_state_dict(state["target"])
        self.updater.load_state(state["updater"])
        self.memory.load_state(state["memory"])
        self.generator.bit_generator.state = state["numpy"]
        torch.set_rng_state(state["generator"])
        self.rounds = state["rounds"]
        if not self.environments.load_state(state["environments"]):
            self.memory.begin(self.environments.frames)
        if "cuda_generator" in state and self.setup.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_generator"], self.setup.device)

    def load_weights(self, state: dict[str, Any]) -> None:
        """Take only the model's weights; UserError names what does not fit."""
        check_weights(self.model, state["model"])
        self.model.load_state_dict(state["model"])


_AT_ONCE = 10  # episodes of an evaluation side by side


def summary(episodes: Sequence[tuple[float, int]]) -> dict[str, float]:
    """Mean and sample deviation of the return, and the mean length.

    >>> summary([(1.0, 10), (3.0, 20)])
    {'return': 2.0, 'return_std': 1.4142135623730951, 'length': 15.0}
    """
    returns, lengths = np.array(episodes).T
    spread = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return {"return": float(returns.mean()), "return_std": spread, "length": float(lengths.mean())}
