"""The recipe for one's own photos: a pretrained network, its last layer first, then all of it.

What it leaves open (`auto`: the network, its weights, the size of the images) is chosen by the
photos and by what is installed; see `gradlab.workflows.photos`.
"""

from __future__ import annotations

from gradlab.config import (
    Augment,
    Choice,
    DataConfig,
    OptimizerConfig,
    Plan,
    Recipe,
    ScheduleConfig,
    Transfer,
)
from gradlab.recipes import register

FROZEN, THAWED = 30, 8
"""Epochs that train the last layer, and epochs that train everything."""

register(
    Recipe(
        name="photos",
        kind="images",
        summary="your own photos: a pretrained network, its last layer first, then all of it",
        paper="Tan and Le (2019), https://arxiv.org/abs/1905.11946; Kumar et al. (2022), "
        "Fine-tuning can distort pretrained features and underperform out-of-distribution, "
        "https://arxiv.org/abs/2202.10054",
        departures=(
            "EfficientNet-Lite in place of the networks of Kumar et al.",
            "AdamW and a cosine in each of the two phases; batch norm keeps ImageNet's figures",
        ),
        model=Choice(name="auto"),
        task=Choice(name="classification"),
        data=DataConfig(name="cifar10", augment=Augment(flip=True, resized_crop=0.5)),
        transfer=Transfer(
            weights="auto",
            freeze="features",
            unfreeze_after=FROZEN,
            unfrozen_lr=0.05,
            keep_batch_norm=True,
        ),
        optimizer=OptimizerConfig(name="adamw", lr=3e-3, weight_decay=0.05),
        schedule=ScheduleConfig(name="cosine", warmup=1),
        plan=Plan(
            epochs=FROZEN + THAWED, batch_size=32, patience=5, min_epochs=FROZEN + 5, clip_norm=5.0
        ),
    )
)
