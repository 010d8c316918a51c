"""Recipes for the classic convolutional networks: one for each, with defaults for small photos.

The plan is the same for all of a family: AdamW, one cycle, flips and crops. It learns a few
thousand small photos from nothing without tuning; `--weights` begins with pretrained weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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

DEPARTURE = (
    "AdamW with one cycle of the learning rate, label smoothing 0.1 and random crops and flips, "
    "for all networks alike, instead of each paper's own schedule"
)
CLOTHES = Target(
    dataset="fashion_mnist",
    metric="accuracy",
    value=0.935,
    source="set for gradlab, in at most 15 minutes on two cores; published: ResNet-18 94.9 %",
)


@dataclass(frozen=True)
class Family:
    """Networks that share a paper and a plan."""

    names: tuple[str, ...]
    summary: str
    paper: str
    lr: float
    departures: tuple[str, ...] = ()
    targets: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)


# fmt: off
FAMILIES = (
    Family(
        ("alexnet", "alexnet_2012"), "five convolutions and three linear layers",
        "Krizhevsky, Sutskever and Hinton (2012), ImageNet classification with deep convolutional "
        "neural networks", 5e-4,
    ),
    Family(
        ("vgg11", "vgg13", "vgg16", "vgg19"), "stacks of 3x3 convolutions",
        "Simonyan and Zisserman (2014), https://arxiv.org/abs/1409.1556", 3e-4,
    ),
    Family(
        ("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
        "stacks of 3x3 convolutions with batch norm",
        "Simonyan and Zisserman (2014), https://arxiv.org/abs/1409.1556", 1e-3,
        ("batch norm (Ioffe and Szegedy 2015) after each convolution",),
    ),
    Family(
        ("googlenet",), "inception blocks with 1x1 reductions, two auxiliary heads",
        "Szegedy et al. (2014), https://arxiv.org/abs/1409.4842", 1e-3,
        ("batch norm, and 3x3 in place of 5x5 convolutions, as in the published weights",),
    ),
    Family(
        ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), "residual blocks",
        "He et al. (2015), https://arxiv.org/abs/1512.03385", 2e-3,
    ),
    Family(
        ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110"),
        "thin residual networks for 32x32 images",
        "He et al. (2015), https://arxiv.org/abs/1512.03385, section 4.2", 4e-3,
        targets={"resnet20": (CLOTHES,)},
    ),
    Family(
        ("plain20", "plain32", "plain44", "plain56", "plain110"),
        "the same without shortcuts: what the shortcut does",
        "He et al. (2015), https://arxiv.org/abs/1512.03385, section 4.2", 2e-3,
    ),
    Family(
        ("densenet121", "densenet161", "densenet169", "densenet201"),
        "every layer sees all earlier ones",
        "Huang et al. (2016), https://arxiv.org/abs/1608.06993", 2e-3,
    ),
    Family(
        ("densenet_bc_40_12", "densenet_bc_100_12"),
        "densely connected, with bottlenecks and compression, for 32x32 images",
        "Huang et al. (2016), https://arxiv.org/abs/1608.06993, section 4", 4e-3,
    ),
)
# fmt: on


def recipe(family: Family, name: str) -> Recipe:
    """The recipe of one network."""
    return Recipe(
        name=name,
        kind="images",
        summary=family.summary,
        paper=family.paper,
        departures=(*family.departures, DEPARTURE),
        model=Choice(name=name),
        task=Choice(name="classification", label_smoothing=0.1),
        data=DataConfig(name="cifar10", augment=Augment(crop=4, flip=True)),
        optimizer=OptimizerConfig(name="adamw", lr=family.lr, weight_decay=0.05),
        schedule=ScheduleConfig(name="one_cycle"),
        plan=Plan(epochs=20, updates=1500, batch_size=64, clip_norm=5.0),
        targets=family.targets.get(name, ()),
    )


for _family in FAMILIES:
    for _name in _family.names:
        register(recipe(_family, _name))

register(
    Recipe(
        name="cifar_fast",
        kind="images",
        summary="a small, wide network that learns CIFAR-10 in minutes on a processor",
        paper="Jordan (2024), https://arxiv.org/abs/2404.00498; Page (2018), How to train your "
        "ResNet",
        departures=(
            "random instead of alternating flips, no averaging of the weights (lookahead)",
            "at the test an image and its mirror image are averaged, but no shifted copies",
            "weight decay on matrices and filters alone",
        ),
        model=Choice(name="cifar_fast"),
        task=Choice(name="classification", label_smoothing=0.2),
        data=DataConfig(name="cifar10", val=0.05, augment=Augment(crop=2, flip=True)),
        optimizer=OptimizerConfig(name="nesterov", lr=0.8, momentum=0.85, weight_decay=1e-3),
        schedule=ScheduleConfig(name="one_cycle"),
        plan=Plan(epochs=12, batch_size=512),
        targets=(
            Target(
                dataset="cifar10",
                metric="accuracy",
                value=0.90,
                source="set for gradlab, in at most 10 minutes on two cores; published: 94 % in "
                "3.29 s on an A100 (Jordan 2024)",
            ),
        ),
    ),
)
