"""Deep Q-learning on CartPole: environment steps/s of gradlab and of Stable-Baselines3.

    python benchmarks/dqn.py --rounds 3

Two settings: the defaults of Stable-Baselines3 (batch 64, an update every 4 steps, 64x64) and
those of its zoo (256 steps, then 128 updates; 256x256; 50,000 steps). Playing, remembering and
learning are timed; evaluations are not. The returns are means over 100 episodes after the training:
gradlab plays with the weights of its best val episodes, Stable-Baselines3 with its last ones.

With --game: Pong from its pictures, the first steps alone (an update every 4 steps, batch 32, four
frames stacked), and the peak memory of each process; no return, since nothing is learnt so soon.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from typing import Any

from common import CORES, apart, date, in_turn, machine, medians, spread, table, verdict

TARGET = 3.0
PLAIN: dict[str, Any] = {
    "steps": 20_000,
    "gradlab": {
        "model.widths": (64, 64), "optimizer.lr": 1e-4, "batch_size": 64, "task.envs": 4,
        "task.train_every": 4, "task.gradient_steps": 1, "task.memory": 1_000_000,
        "task.learning_starts": 100, "task.target_every": 10_000, "task.epsilon": 0.05,
        "task.epsilon_steps": 2000, "plan.log_steps": 500,
    },
    "sb3": {},
}  # fmt: skip
ZOO: dict[str, Any] = {
    "steps": 50_000,
    "gradlab": {},  # the recipe
    "sb3": {
        "learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000,
        "learning_starts": 1000, "gamma": 0.99, "target_update_interval": 10, "train_freq": 256,
        "gradient_steps": 128, "exploration_fraction": 0.16, "exploration_final_eps": 0.04,
        "policy_kwargs": {"net_arch": [256, 256]},
    },
}  # fmt: skip
SETTINGS = {"defaults of SB3": PLAIN, "its zoo": ZOO}


def by_gradlab(setting: str, seed: int) -> tuple[float, float]:
    """(steps/s, mean return of 100 episodes)."""
    import gradlab

    chosen = SETTINGS[setting]
    epochs = 20
    with tempfile.TemporaryDirectory() as out:
        run = gradlab.train(
            "dqn",
            seed=seed,
            epochs=epochs,
            out=out,
            progress=False,
            **{"task.epoch_steps": chosen["steps"] // epochs, **chosen["gradlab"]},
        )
        return run.summary["examples_per_second"], run.metrics["test"]["return"]


def by_sb3(setting: str, seed: int) -> tuple[float, float]:
    """(steps/s, mean return of 100 episodes)."""
    import torch
    from stable_baselines3 import DQN
    from stable_baselines3.common.evaluation import evaluate_policy

    torch.set_num_threads(1)  # faster for networks of this size
    chosen = SETTINGS[setting]
    model = DQN("MlpPolicy", "CartPole-v1", seed=seed, verbose=0, **chosen["sb3"])
    began = time.perf_counter()
    model.learn(chosen["steps"], log_interval=None)
    seconds = time.perf_counter() - began
    gained, _ = evaluate_policy(model, model.get_env(), n_eval_episodes=100, warn=False)
    return chosen["steps"] / seconds, float(gained)


GAME, GAME_STEPS, GAME_STARTS, GAME_MEMORY = "ALE/Pong-v5", 6000, 1000, 10_000


def game_by_gradlab() -> tuple[float, float]:
    """(steps/s, peak MB)."""
    from gradlab.config import Runtime
    from gradlab.recipes import find
    from gradlab.runs.make import learnt_from
    from gradlab.workflows.train import training

    given = {"memory": GAME_MEMORY, "learning_starts": GAME_STARTS, "train_every": 4}
    recipe = find("dqn_atari", {f"task.{key}": value for key, value in given.items()})
    with training(recipe, learnt_from(recipe), Runtime(), None) as task:
        began = time.perf_counter()
        while task.environments.played < GAME_STEPS:
            task.step(0)
        return task.environments.played / (time.perf_counter() - began), peak()


def game_by_sb3() -> tuple[float, float]:
    """(steps/s, peak MB)."""
    from stable_baselines3 import DQN
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    env = VecFrameStack(make_atari_env("PongNoFrameskip-v4", n_envs=1, seed=0), 4)
    model = DQN(
        "CnnPolicy", env, buffer_size=GAME_MEMORY, learning_starts=GAME_STARTS, train_freq=4,
        batch_size=32, learning_rate=1e-4, target_update_interval=1000, seed=0,
        optimize_memory_usage=False,
    )  # fmt: skip
    began = time.perf_counter()
    model.learn(GAME_STEPS, log_interval=None)
    return GAME_STEPS / (time.perf_counter() - began), peak()


def peak() -> float:
    """The peak resident memory of this process in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--game", action="store_true", help="Pong instead of CartPole")
    options = parser.parse_args()
    if options.game:
        return game(options.rounds)
    os.environ["OMP_NUM_THREADS"] = str(CORES)
    print(f"{date.today()}, {apart(machine)}\npython benchmarks/dqn.py --rounds {options.rounds}\n")
    rows, ratios = [], []
    for setting in SETTINGS:
        samples: dict[str, list[Any]] = {"gradlab": [], "Stable-Baselines3": []}
        for seed in range(options.rounds):
            found = in_turn(
                {
                    "gradlab": (by_gradlab, setting, seed),
                    "Stable-Baselines3": (by_sb3, setting, seed),
                },
                1,
            )
            for party, values in found.items():
                samples[party] += values
        rates = {party: [rate for rate, _ in values] for party, values in samples.items()}
        middle = medians(rates)
        ratio = middle["gradlab"] / middle["Stable-Baselines3"]
        ratios.append(ratio)
        for party, values in samples.items():
            rows.append(
                (
                    f"{setting}: {party}",
                    f"{middle[party]:,.0f}",
                    spread(rates[party]),
                    f"{ratio:.2f}" if party == "gradlab" else "1.00",
                    ", ".join(f"{gained:.0f}" for _, gained in values),
                )
            )
    print(table(("settings, party", "steps/s", "range", "ratio", "return of each seed"), rows))
    print(verdict(min(ratios), TARGET, "min", "times Stable-Baselines3 at the least"))


def game(rounds: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(CORES)
    print(f"{date.today()}, {apart(machine)}\npython benchmarks/dqn.py --game --rounds {rounds}\n")
    parties = {"gradlab": (game_by_gradlab,), "Stable-Baselines3": (game_by_sb3,)}
    samples = in_turn(parties, rounds)
    rates = {party: [rate for rate, _ in values] for party, values in samples.items()}
    middle = medians(rates)
    rows = [
        (
            party,
            f"{middle[party]:,.0f}",
            spread(rates[party]),
            f"{middle[party] / middle['Stable-Baselines3']:.2f}",
            f"{max(size for _, size in values):,.0f}",
        )
        for party, values in samples.items()
    ]
    print(table(("Pong, party", "steps/s", "range", "ratio", "peak MB"), rows))


if __name__ == "__main__":
    main()
