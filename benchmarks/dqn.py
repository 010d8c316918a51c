"""Deep Q-learning on CartPole: environment steps/s of gradlab and of Stable-Baselines3.

    python benchmarks/dqn.py --rounds 3

Two settings: the defaults of Stable-Baselines3 (batch 64, an update every 4 steps, 64x64) and
those of its zoo (256 steps, then 128 updates; 256x256; 50,000 steps). Playing, remembering and
learning are timed; evaluations are not. The returns are means over 100 episodes after the training:
gradlab plays with the weights of its best val episodes, Stable-Baselines3 with its last ones.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
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


if __name__ == "__main__":
    main()
