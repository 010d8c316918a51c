"""The learning rate over the training, as a factor of the configured one.

All but `plateau` are pure functions of the step, so that a resume needs no state for them.
"""

from __future__ import annotations

import math

from gradlab.config import ScheduleConfig


def factor(config: ScheduleConfig, step: int, total: int, steps_per_epoch: int) -> float:
    """The factor at `step` (from 0) of `total` steps.

    One-cycle: Smith and Topin (2017), "Super-convergence", with cosine legs. Cosine: Loshchilov
    and Hutter (2016), "SGDR", without restarts.

    >>> cosine = ScheduleConfig(name="cosine")
    >>> [round(factor(cosine, step, 4, 1), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    warmup = round(config.warmup * steps_per_epoch)
    if step < warmup:
        return (step + 1) / warmup
    total = max(total, warmup + 1)
    done = (step - warmup) / (total - warmup)
    if config.name == "linear":
        return 1 + (config.end - 1) * done
    if config.name == "step":
        return config.gamma ** sum(done >= milestone for milestone in config.milestones)
    if config.name == "cosine":
        return _cosine(1.0, config.end, done)
    if config.name == "one_cycle":
        if done < config.rise:
            return _cosine(config.start, 1.0, done / config.rise)
        return _cosine(1.0, config.end, (done - config.rise) / (1 - config.rise))
    return 1.0


def _cosine(first: float, last: float, done: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2
