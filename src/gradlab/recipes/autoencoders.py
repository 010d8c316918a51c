"""Recipes for autoencoders."""

from __future__ import annotations

from gradlab.config import Choice, DataConfig, OptimizerConfig, Plan, Recipe, ScheduleConfig
from gradlab.recipes import register

autoencoder = register(
    Recipe(
        name="autoencoder",
        kind="compression and generation",
        summary="compresses examples into a short latent vector and reconstructs them",
        paper="Hinton and Salakhutdinov (2006), Reducing the dimensionality of data with "
        "neural networks, https://doi.org/10.1126/science.1127647",
        departures=(
            "trained at once with AdamW, not layer by layer; the decoder has its own weights",
            "ReLU and squared error in place of logistic units and cross-entropy",
        ),
        model=Choice(name="dense_autoencoder"),
        task=Choice(name="autoencoder"),
        data=DataConfig(name="mnist", target_kind="none"),
        optimizer=OptimizerConfig(name="adamw", lr=2e-3),
        schedule=ScheduleConfig(name="one_cycle"),
        plan=Plan(epochs=10, updates=2000, batch_size=128, clip_norm=5.0),
    )
)

register(
    autoencoder.model_copy(
        update={
            "name": "conv_autoencoder",
            "summary": "the same with convolutions, for photos",
            "paper": "Masci et al. (2011), Stacked convolutional auto-encoders for hierarchical "
            "feature extraction, https://doi.org/10.1007/978-3-642-21735-7_7",
            "departures": (
                "strides and repeated pixels in place of pooling, batch norm",
                "trained at once with AdamW, not layer by layer",
            ),
            "model": Choice(name="conv_autoencoder"),
        }
    )
)
