"""LeNet-5, as it is built today and as it was in 1998.

LeCun, Bottou, Bengio and Haffner (1998), "Gradient-based learning applied to document
recognition", section II.B, http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf

Departures of `lenet5`:
- ReLU, max pooling, every map of the second convolution sees every map of the first, and a
  linear output for a softmax: what the name means today.
- The first linear layer takes whatever map comes out: 5x5 for 28 and 32 pixels. Images under 32
  pixels are padded by 2 in the first convolution, those under 28 in the second one too, and those
  under 16 (the 8x8 digits) skip the first pooling; the smaller side decides.
- Initial values are torch's own, uniform in +-1 / sqrt(inputs of the unit): a network this shallow
  learns faster so than by He's.

Departures of `lenet5_1998`:
- The output is linear, for a softmax, in place of Euclidean distances to fixed 7x12 bitmaps.
- 28-pixel images are padded to 32 by repeating their edge, others are resized to 32x32.
- The subsampling starts as a mean (coefficient 1/4, bias 0); the paper does not say.
- Any number of input channels; the paper has one.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradlab.models import Shape, models
from gradlab.models.sizes import check_images


@models.register("lenet5")
def lenet5(inputs: Shape, outputs: int) -> nn.Sequential:
    """Two convolutions with ReLU and max pooling, three linear layers. N C H W -> N K."""
    channels, *sides = check_images(inputs)
    padding1 = 2 if min(sides) < 32 else 0
    padding2 = 2 if min(sides) < 28 else 0
    pool = 2 if min(sides) >= 16 else 1
    maps = [((side + 2 * padding1 - 4) // pool + 2 * padding2 - 4) // 2 for side in sides]
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 6, 5, padding=padding1),  # N 6 28 28
            # The maximum of ReLUs is the ReLU of the maximum, at a quarter of the work.
            pool1=nn.MaxPool2d(2) if pool == 2 else nn.Identity(),  # N 6 14 14
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(6, 16, 5, padding=padding2),  # N 16 10 10
            pool2=nn.MaxPool2d(2),  # N 16 5 5
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),  # N 400
            fc1=nn.Linear(16 * math.prod(maps), 120),  # N 120
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),  # N 84
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, outputs),  # N K
        )
    )


# fmt: off
C3_INPUTS = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)
# fmt: on
"""Table I of the paper: which maps of S2 each of the 16 maps of C3 sees."""


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3): about 1 at 1, and steepest curved there (the paper's appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsample(nn.Module):
    """The sum of 2x2 pixels, times a coefficient, plus a bias; both are trained, one per map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C H/2 W/2."""
        total = F.avg_pool2d(x, 2) * 4  # N C H/2 W/2
        return total * self.weight[:, None, None] + self.bias[:, None, None]


class TableConv(nn.Module):
    """A convolution in which each output map sees the input maps that a table names.

    `inputs` holds, for each output map, the numbers of its input maps. There is one kernel for
    each connection: `weight` is (connections, size, size).
    """

    index: Tensor

    def __init__(self, inputs: tuple[tuple[int, ...], ...], size: int) -> None:
        super().__init__()
        pairs = [(row, column) for row, columns in enumerate(inputs) for column in columns]
        index = torch.full((len(inputs), 1 + max(map(max, inputs))), len(pairs))
        for number, pair in enumerate(pairs):
            index[pair] = number
        self.register_buffer("index", index, persistent=False)
        self.weight = nn.Parameter(torch.empty(len(pairs), size, size))
        self.bias = nn.Parameter(torch.empty(len(inputs)))
        for number, (row, _) in enumerate(pairs):
            _uniform(self.weight.data[number], size * size * len(inputs[row]))
        for row, columns in enumerate(inputs):
            _uniform(self.bias.data[row], size * size * len(columns))

    def forward(self, x: Tensor) -> Tensor:
        """N 6 14 14 -> N 16 10 10."""
        nothing = self.weight.new_zeros(1, *self.weight.shape[1:])  # for maps not connected
        weight = torch.cat((self.weight, nothing))[self.index]  # 16 6 5 5
        return F.conv2d(x, weight, self.bias)


class To32(nn.Module):
    """Images of any size to 32x32: 28x28 by repeating the edge, others by interpolation."""

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C 32 32."""
        if x.shape[-2:] == (28, 28):
            return F.pad(x, (2, 2, 2, 2), mode="replicate")  # N C 32 32
        if x.shape[-2:] == (32, 32):
            return x
        return F.interpolate(x, size=(32, 32), mode="bilinear", antialias=True)  # N C 32 32


@models.register("lenet5_1998")
def lenet5_1998(inputs: Shape, outputs: int) -> nn.Sequential:
    """LeNet-5 with scaled tanh, trained subsampling and the C3 table. N C H W -> N K."""
    check_images(inputs)
    network = nn.Sequential(
        OrderedDict(
            input=To32(),  # N C 32 32
            c1=nn.Conv2d(inputs[0], 6, 5),  # N 6 28 28
            tanh1=ScaledTanh(),
            s2=Subsample(6),  # N 6 14 14
            tanh2=ScaledTanh(),
            c3=TableConv(C3_INPUTS, 5),  # N 16 10 10
            tanh3=ScaledTanh(),
            s4=Subsample(16),  # N 16 5 5
            tanh4=ScaledTanh(),
            c5=nn.Conv2d(16, 120, 5),  # N 120 1 1
            tanh5=ScaledTanh(),
            flatten=nn.Flatten(),  # N 120
            f6=nn.Linear(120, 84),  # N 84
            tanh6=ScaledTanh(),
            output=nn.Linear(84, outputs),  # N K
        )
    )
    for layer in network:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            for parameter in layer.parameters():
                _uniform(parameter, math.prod(layer.weight.shape[1:]))
    return network


def _uniform(weight: Tensor, inputs: int) -> None:
    """The paper's initial values (its appendix A), for units with so many inputs."""
    nn.init.uniform_(weight, -2.4 / inputs, 2.4 / inputs)
