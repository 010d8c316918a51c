"""Recipes for networks that make images."""

from __future__ import annotations

from gradlab.config import Choice, DataConfig, OptimizerConfig, Plan, Recipe, Target
from gradlab.recipes import register

register(
    Recipe(
        name="dcgan",
        kind="compression and generation",
        summary="makes images like those it is shown, of 28, 32 or 64 pixels",
        paper=(
            "Radford, Metz and Chintala (2015), Unsupervised representation learning with deep "
            "convolutional generative adversarial networks, https://arxiv.org/abs/1511.06434"
        ),
        departures=(
            "filters of 4x4 instead of 5x5",
            "64 maps in the layer next to the image instead of 128",
            "two doublings for 28 pixels and three for 32; the paper has four for 64",
            "a new latent vector for the generator's step, as in Goodfellow et al. (2014)",
        ),
        model=Choice(name="dcgan"),
        task=Choice(name="gan"),
        data=DataConfig(name="mnist", target_kind="none"),
        optimizer=OptimizerConfig(name="adam", lr=2e-4, betas=(0.5, 0.999)),
        plan=Plan(epochs=20, updates=3000, batch_size=128),
        targets=(
            Target(
                dataset="mnist",
                metric="classes_covered",
                value=10,
                source="set for gradlab: all ten digits, in at most 20 minutes on two cores",
            ),
        ),
    )
)
