"""Recipes for images."""

from __future__ import annotations

from gradlab.config import (
    Augment,
    Choice,
    DataConfig,
    OptimizerConfig,
    Plan,
    Recipe,
    ScheduleConfig,
    Target,
)
from gradlab.recipes import register

LECUN = (
    "LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to document "
    "recognition, https://doi.org/10.1109/5.726791"
)

MNIST = Target(
    dataset="mnist",
    metric="accuracy",
    value=0.9905,
    source="LeCun et al. (1998), Fig. 9: 0.95 % error",
)

lenet5 = register(
    Recipe(
        name="lenet5",
        kind="images",
        summary="the first successful convolutional network, in today's form",
        paper=LECUN,
        departures=(
            "ReLU and max pooling instead of tanh and trainable subsampling",
            "every C3 map sees every S2 map",
            "softmax and cross-entropy instead of Euclidean radial basis units",
            "AdamW with a one-cycle schedule instead of stochastic diagonal Levenberg-Marquardt",
        ),
        model=Choice(name="lenet5"),
        task=Choice(name="classification"),
        data=DataConfig(name="digits", augment=Augment(shift=1)),
        optimizer=OptimizerConfig(name="adamw", lr=4e-3, weight_decay=1e-2),
        schedule=ScheduleConfig(name="one_cycle"),
        plan=Plan(epochs=12, updates=2000, batch_size=128),
        targets=(
            MNIST,
            Target(
                dataset="fashion_mnist",
                metric="accuracy",
                value=0.90,
                source="Fashion-MNIST benchmark: two convolutional layers with pooling, 91.6 %",
            ),
        ),
    )
)

register(
    lenet5.model_copy(
        update={
            "name": "lenet5_1998",
            "summary": "the network of 1998: tanh, trainable subsampling, the C3 connection table",
            "departures": lenet5.departures[2:],
            "model": Choice(name="lenet5_1998"),
            "optimizer": OptimizerConfig(name="adamw", lr=3e-3, weight_decay=1e-2),
            "targets": (MNIST,),
        }
    )
)
