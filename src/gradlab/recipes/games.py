"""Recipes for games and control: deep Q-learning in environments of Gymnasium."""

from __future__ import annotations

from typing import Any

from gradlab.config import Choice, DataConfig, OptimizerConfig, Plan, Recipe, Target
from gradlab.recipes import register

MNIH = (
    "Mnih et al. (2015), Human-level control through deep reinforcement learning, "
    "https://doi.org/10.1038/nature14236"
)
_ZOO = "Stable-Baselines3's zoo (https://github.com/DLR-RM/rl-baselines3-zoo)"
_TIME_LIMIT = "a time limit does not count as an end: what would have come after it is valued"
_CONTROL = (
    "an MLP on the state instead of a convolutional network on the screen",
    "Adam instead of RMSprop; hyper-parameters tuned by " + _ZOO,
    "several environments side by side",
    "the weights of the best val episodes are kept",
    _TIME_LIMIT,
)
_ATARI = (
    "Adam instead of RMSprop; a smaller memory, and " + _ZOO + "'s learning rate",
    "ten million frames' worth of steps are not waited for: --epochs says how many",
    _TIME_LIMIT,
)


def _recipe(
    name: str,
    summary: str,
    environment: str,
    departures: tuple[str, ...],
    *,
    lr: float,
    plan: dict[str, Any],
    target: Target | None = None,
    widths: tuple[int, ...] = (),
    **task: Any,
) -> Recipe:
    """What all have in common: the paper, the task, the optimizer."""
    return Recipe(
        name=name,
        summary=summary,
        kind="games and control",
        paper=MNIH,
        departures=departures,
        model=Choice(name="auto", **({"widths": widths} if widths else {})),
        task=Choice(name="dqn", **task),
        data=DataConfig(name=environment),
        # decay_all: one group of parameters, so one call of the fused optimizer; nothing decays.
        optimizer=OptimizerConfig(name="adam", lr=lr, decay_all=True),
        # The loss of a value that grows from 0 to hundreds grows with it: that is no divergence.
        plan=Plan(**plan, divergence=1e9),
        targets=() if target is None else (target,),
    )


def _return(environment: str, value: float, source: str) -> Target:
    return Target(dataset=environment, metric="return", value=value, source=source)


# What the zoo has in common for the two that learn step by step.
_STEPWISE: dict[str, Any] = {
    "lr": 6.3e-4, "widths": (256, 256), "envs": 4, "memory": 50_000, "learning_starts": 0,
    "train_every": 4, "gradient_steps": 4, "target_every": 250, "epsilon": 0.1,
    "epsilon_steps": 12_000, "val_episodes": 10,
}  # fmt: skip

register(
    _recipe(
        "dqn", "deep Q-learning: any environment with discrete actions (CartPole)", "CartPole-v1",
        _CONTROL, lr=2.3e-3, widths=(256, 256),
        plan={"epochs": 20, "batch_size": 64, "log_steps": 2},
        target=_return("CartPole-v1", 490, "SB3's zoo: 500 +- 0; CleanRL: 488.7 +- 16.1"),
    )
)  # fmt: skip
register(
    _recipe(
        "dqn_acrobot", "deep Q-learning of a swing with two links", "Acrobot-v1", _CONTROL,
        **_STEPWISE, epoch_steps=5000, plan={"epochs": 20, "batch_size": 128, "log_steps": 100},
        target=_return("Acrobot-v1", -85, "set for gradlab; " + _ZOO),
    )
)  # fmt: skip
register(
    _recipe(
        "dqn_lunarlander", "deep Q-learning of a landing on the moon", "LunarLander-v3", _CONTROL,
        **_STEPWISE, epoch_steps=10_000, plan={"epochs": 10, "batch_size": 128, "log_steps": 100},
        target=_return("LunarLander-v3", 200, "set for gradlab"),
    )
)  # fmt: skip
register(
    _recipe(
        "dqn_atari", "deep Q-learning of an Atari game from its pictures (Pong)", "ALE/Pong-v5",
        _ATARI, lr=1e-4, envs=4, epoch_steps=50_000, memory=100_000, learning_starts=20_000,
        train_every=4, gradient_steps=1, target_every=4000, epsilon=0.05, epsilon_steps=200_000,
        val_episodes=2, test_episodes=10, test_epsilon=0.05,
        plan={"epochs": 40, "batch_size": 32, "log_steps": 200, "checkpoint_seconds": 600},
    )
)  # fmt: skip
