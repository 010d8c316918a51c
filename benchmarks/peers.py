"""What the usual loops are made of: a dataset of pictures, and the same networks in Keras."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images one by one, as torchvision's MNIST gives them with ToTensor and Normalize.

    x: uint8 N H W C; y: N class numbers; mean, std: per channel. The operations on an image are
    those of torchvision, what is done anew for each image included.
    """

    def __init__(
        self, x: np.ndarray, y: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        self.x = torch.from_numpy(x[..., 0] if x.shape[-1] == 1 else x)
        self.y = torch.from_numpy(y)
        self.mean, self.std = mean, std

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        values, label = self.x[index], int(self.y[index])
        return self.normalise(to_tensor(Image.fromarray(values.numpy()))), label

    def normalise(self, image: Tensor) -> Tensor:
        """C H W, of mean 0 and standard deviation 1."""
        image = image.clone()
        mean, std = (torch.as_tensor(values) for values in (self.mean, self.std))
        if (std == 0).any():
            raise ValueError("a standard deviation is 0")
        return image.sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


def to_tensor(picture: Image.Image) -> Tensor:
    """A picture as float C H W, 0..1."""
    values = torch.from_numpy(np.array(picture, np.uint8, copy=True))
    values = values.view(picture.height, picture.width, len(picture.getbands()))
    return values.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def loader(pictures: Pictures, workers: int, **options: Any) -> DataLoader[tuple[Tensor, int]]:
    """Shuffled batches of 64; worker processes are kept from epoch to epoch."""
    given = {"batch_size": 64, "shuffle": True, **options}
    return DataLoader(pictures, num_workers=workers, persistent_workers=workers > 0, **given)


def import_keras() -> Any:
    """Keras 3 on torch."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    return keras


def keras_lenet5(shape: tuple[int, int, int]) -> Any:
    """LeNet-5 as `gradlab.models` has it for 28 pixels; shape: H W C."""
    keras = import_keras()
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(6, 5, padding="same"),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Conv2D(16, 5),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(120, activation="relu"),
            layers.Dense(84, activation="relu"),
            layers.Dense(10),
        ]
    )


def keras_resnet18(shape: tuple[int, int, int]) -> Any:
    """ResNet-18 with the small-image stem as `gradlab.models` has it; shape: H W C."""
    keras = import_keras()
    layers = keras.layers

    def convolution(x: Any, maps: int, size: int, stride: int = 1) -> Any:
        if size == 3 and stride == 2:
            x = layers.ZeroPadding2D(1)(x)  # "same" would pad one side only
        padding = "same" if stride == 1 else "valid"
        x = layers.Conv2D(maps, size, stride, padding=padding, use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    def block(x: Any, maps: int, stride: int) -> Any:
        changes = stride != 1 or x.shape[-1] != maps
        shortcut = convolution(x, maps, 1, stride) if changes else x
        f = layers.ReLU()(convolution(x, maps, 3, stride))
        f = convolution(f, maps, 3)
        return layers.ReLU()(layers.Add()([shortcut, f]))

    inputs = keras.Input(shape)
    x = layers.ReLU()(convolution(inputs, 64, 3))
    for stage in range(4):
        x = block(x, 64 << stage, stride=2 if stage else 1)
        x = block(x, 64 << stage, stride=1)
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs)
