"""Recipes for games and control: deep Q-learning in environments of Gymnasium."""

from __future__ import annotations

from gradlab.config import Choice, DataConfig, OptimizerConfig, Plan, Recipe, Target
from gradlab.recipes import recipes

MNIH = (
    "Mnih et al. (2015), Human-level control through deep reinforcement learning, "
    "https://doi.org/10.1038/nature14236"
)
_ZOO = "Stable-Baselines3's zoo (https://github.com/DLR-RM/rl-baselines3-zoo)"
_VECTORS = (
    "an MLP on the state instead of a convolutional network on the screen",
    "Adam instead of RMSprop; hyper-parameters tuned by " + _ZOO,
    "several environments side by side",
    "the weights of the best val episodes are kept",
    "a time limit does not count as an end: what would have come after it is valued",
)
_PIXELS = (
    "Adam instead of RMSprop; a smaller memory, and " + _ZOO + "'s learning rate",
    "ten million frames' worth of steps are not waited for: --epochs says how many",
    "a time limit does not count as an end: what would have come after it is valued",
)
_NEVER = 1e9  # the loss of a value that grows from 0 to hundreds grows with it

recipes.add(
    "dqn",
    Recipe(
        name="dqn",
        summary="deep Q-learning: any environment with discrete actions (CartPole)",
        paper=MNIH,
        departures=_VECTORS,
        model=Choice(name="auto", widths=(256, 256)),
        task=Choice(name="dqn"),
        data=DataConfig(name="CartPole-v1"),
        # decay_all: one group of parameters, so one call of the fused optimizer; nothing decays.
        optimizer=OptimizerConfig(name="adam", lr=2.3e-3, decay_all=True),
        plan=Plan(epochs=20, batch_size=64, log_steps=2, divergence=_NEVER),
        targets=(
            Target(
                dataset="CartPole-v1",
                metric="return",
                value=490,
                source="SB3's zoo: 500 +- 0; CleanRL: 488.7 +- 16.1",
            ),
        ),
    ),
)

recipes.add(
    "dqn_acrobot",
    Recipe(
        name="dqn_acrobot",
        summary="deep Q-learning of a swing with two links",
        paper=MNIH,
        departures=_VECTORS,
        model=Choice(name="auto", widths=(256, 256)),
        task=Choice(
            name="dqn", envs=4, epoch_steps=5000, memory=50_000, learning_starts=0, train_every=4,
            gradient_steps=4, target_every=250, epsilon=0.1, epsilon_steps=12_000, val_episodes=10,
        ),
        data=DataConfig(name="Acrobot-v1"),
        optimizer=OptimizerConfig(name="adam", lr=6.3e-4, decay_all=True),
        plan=Plan(epochs=20, batch_size=128, log_steps=100, divergence=_NEVER),
        targets=(
            Target(
                dataset="Acrobot-v1",
                metric="return",
                value=-85,
                source="set for gradlab; " + _ZOO,
            ),
        ),
    ),
)  # fmt: skip

recipes.add(
    "dqn_lunarlander",
    Recipe(
        name="dqn_lunarlander",
        summary="deep Q-learning of a landing on the moon",
        paper=MNIH,
        departures=_VECTORS,
        model=Choice(name="auto", widths=(256, 256)),
        task=Choice(
            name="dqn", envs=4, epoch_steps=10_000, memory=50_000, learning_starts=0,
            train_every=4, gradient_steps=4, target_every=250, epsilon=0.1, epsilon_steps=12_000,
            val_episodes=10,
        ),
        data=DataConfig(name="LunarLander-v3"),
        optimizer=OptimizerConfig(name="adam", lr=6.3e-4, decay_all=True),
        plan=Plan(epochs=10, batch_size=128, log_steps=100, divergence=_NEVER),
        targets=(
            Target(dataset="LunarLander-v3", metric="return", value=200, source="set for gradlab"),
        ),
    ),
)  # fmt: skip

recipes.add(
    "dqn_atari",
    Recipe(
        name="dqn_atari",
        summary="deep Q-learning of an Atari game from its pictures (Pong)",
        paper=MNIH,
        departures=_PIXELS,
        model=Choice(name="auto"),
        task=Choice(
            name="dqn", envs=4, epoch_steps=50_000, memory=100_000, learning_starts=20_000,
            train_every=4, gradient_steps=1, target_every=4000, epsilon=0.05,
            epsilon_steps=200_000, val_episodes=2, test_episodes=10, test_epsilon=0.05,
        ),
        data=DataConfig(name="ALE/Pong-v5"),
        optimizer=OptimizerConfig(name="adam", lr=1e-4, decay_all=True),
        plan=Plan(
            epochs=40, batch_size=32, log_steps=200, checkpoint_seconds=600, divergence=_NEVER
        ),
    ),
)  # fmt: skip
