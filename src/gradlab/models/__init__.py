"""Architectures: plain `nn.Module`s, one file for each family, and one registry of them all.

A builder is a function `name(inputs, outputs, *, options)`: `inputs` is the shape of one example,
`outputs` how many numbers the network gives for it, and the options are keyword-only, annotated and
with a default. What kind of network it is shows in the module:

- a classifier, a regression or a Q-network gives N K, with K the `outputs` (classes, numbers,
  actions)
- an autoencoder has `.encoder` (input to N Z), `.decoder` (back to the input's shape) and `.code`,
  the size Z of the latent vector; it does not use `outputs`
- a language model gives (scores N T V, state) for tokens N T and, if there is one, the state before
- word vectors give scores N T V for words N T; `.vectors` holds the vectors, V E
- a GAN has `.generator` (N L to images of the shape `inputs`, in -1..1), `.discriminator` (images
  to N logits) and `.latent`, the number L; it does not use `outputs`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from gradlab.errors import UserError
from gradlab.registry import Registry

Shape = tuple[int, ...]
"""The shape of one example: (C, H, W) of an image, (D,) of values, (T, V) of tokens (T 0: any
length), (1, T, F) of a series: steps and variables."""

MOST = 1_000_000_000
"""A network of more parameters is refused: in float32 they alone fill 4 GB."""

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
        "gradlab.models.efficientnet_lite",
        "gradlab.models.fast",
        "gradlab.models.autoencoder",
        "gradlab.models.dcgan",
        "gradlab.models.dqn",
        "gradlab.models.recurrent",
        "gradlab.models.texts",
        "gradlab.models.word2vec",
        "gradlab.models.forecast",
        "gradlab.models.tabular",
    ),
)
"""The named networks; each entry is a builder, see `create`."""


def create(name: str, *, inputs: Shape, outputs: int, **options: Any) -> nn.Module:
    """A network by name.

    `inputs` is the shape of one example, (C, H, W) or (D,), and `outputs` how many numbers the
    network gives for it: classes, or 1 for regression and for binary classification. `options` are
    the network's own (`gradlab.models.models.options(name)`), as values or as typed text.

    UserError for an unknown name or option, for a shape that the network does not take, and for
    more than `MOST` parameters, before they are allocated.

    >>> create("mlp", inputs=(1, 28, 28), outputs=10, widths=(128,))[1]
    Linear(in_features=784, out_features=128, bias=True)
    """
    checked = models.check(name, options)
    try:
        with _Limit():
            return models[name](inputs, outputs, **checked)
    except _TooLarge:
        given = "".join(f", {key}={value!r}" for key, value in checked.items())
        raise UserError(
            f"model {name!r} (inputs={inputs}, outputs={outputs}{given}) would have more than "
            f"{MOST:,} parameters: choose smaller options, or smaller images with --data.image_size"
        ) from None


def list() -> tuple[str, ...]:
    """The names of all networks.

    >>> "lenet5" in list()
    True
    """
    return tuple(models)


class _TooLarge(Exception):
    """More than `MOST` numbers were about to be allocated."""


class _Limit(TorchFunctionMode):
    """Counts the numbers that a builder allocates, and stops it before they are too many.

    A system that runs out of memory kills the process, and nobody is told why.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in (torch.empty, torch.zeros, torch.ones):
            self.count += function(*args, **{**kwargs, "device": "meta"}).numel()
            if self.count > MOST:
                raise _TooLarge
        return function(*args, **kwargs)
