"""Architectures: plain `nn.Module`s, one file for each family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from gradlab.registry import Registry

models: Registry[Callable[..., nn.Module]] = Registry(
    "model",
    (
        "gradlab.models.dense",
        "gradlab.models.lenet",
        "gradlab.models.alexnet",
        "gradlab.models.vgg",
        "gradlab.models.googlenet",
        "gradlab.models.resnet",
        "gradlab.models.densenet",
        "gradlab.models.fast",
    ),
)
"""The named networks; each entry is a builder, see `create`."""

autoencoders: Registry[Callable[..., nn.Module]] = Registry(
    "autoencoder", ("gradlab.models.autoencoder",)
)
"""Networks that restore their input: builders of modules with `.encoder`, `.decoder`, `.code`.

An entry takes (in_channels, image_size) and its own options; `image_size` is 0 where an input is
`in_channels` values.
"""

gans: Registry[Callable[..., nn.Module]] = Registry("generator", ("gradlab.models.dcgan",))
"""Generators with their discriminators: builders of modules with both, see `gradlab.models.dcgan`.

An entry takes (in_channels, image_size) and its own options, and gives a module with `.generator`
(N L to images in -1..1), `.discriminator` (images to N logits) and `.latent`, the number L.
"""

q_networks: Registry[Callable[..., nn.Module]] = Registry("Q-network", ("gradlab.models.dqn",))
"""Values of actions; each entry is a builder of (actions, shape of an observation)."""


def create(
    name: str, *, classes: int, in_channels: int, image_size: int, **options: Any
) -> nn.Module:
    """A network by name.

    `classes` outputs (1 for regression and for binary classification), `in_channels` channels of
    `image_size` x `image_size` pixels. An input that is no image has `in_channels` values and
    `image_size` 0. `options` are the network's own (`gradlab.models.models.options(name)`).

    >>> create("mlp", classes=10, in_channels=1, image_size=28, widths=(128,))[0]
    Flatten(start_dim=1, end_dim=-1)
    """
    checked = models.check(name, options)
    return models[name](classes, in_channels, image_size, **checked)


def list() -> tuple[str, ...]:
    """The names of all networks.

    >>> "lenet5" in list()
    True
    """
    return tuple(models)
