"""What every registered network must satisfy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradlab.models import create, models
from gradlab.models.residual import Block

IMAGENET = (1000, 3, 224)
CIFAR = (10, 3, 32)
MNIST = (10, 1, 28)
COUNTS = {
    # name: (classes, channels, pixels), parameters
    "linear": (MNIST, 7_850),
    "mlp": (MNIST, 101_770),
    "lenet5": (MNIST, 61_706),
    "lenet5_1998": (MNIST, 60_850),
    "alexnet": (IMAGENET, 61_100_840),
    "alexnet_2012": (IMAGENET, 60_965_224),
    "vgg11": (IMAGENET, 132_863_336),
    "vgg11_bn": (IMAGENET, 132_868_840),
    "vgg13": (IMAGENET, 133_047_848),
    "vgg13_bn": (IMAGENET, 133_053_736),
    "vgg16": (IMAGENET, 138_357_544),
    "vgg16_bn": (IMAGENET, 138_365_992),
    "vgg19": (IMAGENET, 143_667_240),
    "vgg19_bn": (IMAGENET, 143_678_248),
    "googlenet": (IMAGENET, 13_004_888),
    "resnet18": (IMAGENET, 11_689_512),
    "resnet34": (IMAGENET, 21_797_672),
    "resnet50": (IMAGENET, 25_557_032),
    "resnet101": (IMAGENET, 44_549_160),
    "resnet152": (IMAGENET, 60_192_808),
    "resnet20": (CIFAR, 269_722),
    "resnet32": (CIFAR, 464_154),
    "resnet44": (CIFAR, 658_586),
    "resnet56": (CIFAR, 853_018),
    "resnet110": (CIFAR, 1_727_962),
    "plain20": (CIFAR, 269_722),
    "plain32": (CIFAR, 464_154),
    "plain44": (CIFAR, 658_586),
    "plain56": (CIFAR, 853_018),
    "plain110": (CIFAR, 1_727_962),
    "densenet121": (IMAGENET, 7_978_856),
    "densenet161": (IMAGENET, 28_681_000),
    "densenet169": (IMAGENET, 14_149_480),
    "densenet201": (IMAGENET, 20_013_928),
    "densenet_bc_40_12": (CIFAR, 176_122),
    "densenet_bc_100_12": (CIFAR, 769_162),
    "cifar_fast": (CIFAR, 1_971_352),
}
BLOCKS = get_args(Block)
SWEPT = [(name, {}) for name in models] + [("resnet20", {"block": b}) for b in BLOCKS[1:]]
IDS = ["-".join((name, *options.values())) for name, options in SWEPT]
swept = pytest.mark.parametrize(("name", "options"), SWEPT, ids=IDS)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images(count: int, channels: int, size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, size, size, generator=generator)


def assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    scale = max(1.0, expected.abs().max().item())
    assert (found - expected).abs().max().item() <= tolerance * scale


@dataclass
class Built:
    """A network for 32-pixel colour images in evaluation, and its answer to two of them."""

    model: nn.Module
    x: Tensor
    out: Tensor


@pytest.fixture(scope="module", params=SWEPT, ids=IDS)
def built(request: pytest.FixtureRequest) -> Built:
    name, options = request.param
    torch.manual_seed(0)
    model = create(name, classes=7, in_channels=3, image_size=32, **options).eval()
    x = images(2, 3, 32)
    with torch.no_grad():
        return Built(model, x, model(x))


def test_the_output_has_a_row_for_each_image_and_is_finite(built):
    assert built.out.shape == (2, 7)
    assert built.out.isfinite().all()
    assert not torch.equal(built.out[0], built.out[1])


def test_evaluation_is_deterministic(built):
    with torch.no_grad():
        assert torch.equal(built.model(built.x), built.out)


def test_examples_do_not_influence_each_other_in_evaluation(built):
    other = torch.cat((built.x[:1], 10 * images(1, 3, 32, seed=1)))
    with torch.no_grad():
        assert_close(built.model(other)[:1], built.out[:1], 1e-5)


def test_channels_last_gives_the_same(built):
    with torch.no_grad():
        found = built.model(built.x.to(memory_format=torch.channels_last))
    assert_close(found, built.out, 1e-4)


def test_no_layer_changes_the_output_of_another_in_place(built):
    seen: list[tuple[str, Tensor, int]] = []
    handles = [
        module.register_forward_hook(
            lambda _, __, out, name=name: seen.append((name, out, out._version))
        )
        for name, module in built.model.named_modules()
        if not any(module.children())
    ]
    with torch.no_grad():
        built.model(built.x)
    for handle in handles:
        handle.remove()
    assert len(seen) > 1
    assert [name for name, out, version in seen if out._version != version] == []


def test_saved_and_loaded_it_is_the_same(built):
    saved = safetensors.torch.save(built.model.state_dict())
    with torch.no_grad():
        for parameter in built.model.parameters():
            parameter.add_(1)
        assert not torch.equal(built.model(built.x), built.out)
        built.model.load_state_dict(safetensors.torch.load(saved))
        assert torch.equal(built.model(built.x), built.out)


@swept
def test_every_parameter_gets_a_gradient_from_28_grey_pixels(name, options):
    torch.manual_seed(0)
    model = create(name, classes=5, in_channels=1, image_size=28, **options).train()
    out = model(images(4, 1, 28).to(memory_format=torch.channels_last))
    heads = out if isinstance(out, tuple) else (out,)
    sum(F.cross_entropy(head, torch.arange(4)) for head in heads).backward()
    assert [tuple(head.shape) for head in heads] == [(4, 5)] * len(heads)
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.isfinite().all(), path
        assert parameter.ndim < 2 or parameter.grad.any(), path


@pytest.mark.parametrize("name", models)
def test_the_number_of_parameters_is_the_published_one(name):
    assert name in COUNTS, f"state the number of parameters of {name!r} in COUNTS"
    (classes, in_channels, image_size), count = COUNTS[name]
    with torch.device("meta"):
        model = create(name, classes=classes, in_channels=in_channels, image_size=image_size)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@swept
def test_shapes_at_224_pixels(name, options):
    with torch.device("meta"):  # shapes without arithmetic
        model = create(name, classes=9, in_channels=3, image_size=224, **options).eval()
        assert model(torch.empty(2, 3, 224, 224)).shape == (2, 9)


SMALLEST = ("lenet5", "lenet5_1998", "alexnet", "googlenet", "resnet18", "resnet20", "densenet121")


@pytest.mark.parametrize("name", SMALLEST)
def test_one_photo_of_224_pixels(name):
    torch.manual_seed(0)
    model = create(name, classes=9, in_channels=3, image_size=224).eval()
    with torch.inference_mode():
        out = model(images(1, 3, 224))
    assert out.shape == (1, 9)
    assert out.isfinite().all()
