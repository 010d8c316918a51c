"""What every registered network must satisfy: classifiers, autoencoders, GANs and Q-networks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, get_args

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gradlab.models
from gradlab.errors import UnknownName, UserError
from gradlab.models import Shape, create, models
from gradlab.models.residual import Block

IMAGENET = ((3, 224, 224), 1000)
CIFAR = ((3, 32, 32), 10)
MNIST = ((1, 28, 28), 10)
COUNTS = {
    # name: (inputs, outputs), parameters
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
    "efficientnet_lite0": (IMAGENET, 4_652_008),
    "efficientnet_lite1": (IMAGENET, 5_416_680),
    "efficientnet_lite2": (IMAGENET, 6_092_072),
    "efficientnet_lite3": (IMAGENET, 8_197_096),
    "efficientnet_lite4": (IMAGENET, 13_006_568),
    "cifar_fast": (CIFAR, 1_971_352),
    "dense_autoencoder": (MNIST, 2_838_316),
    "conv_autoencoder": (MNIST, 319_041),
    "dcgan": (MNIST, 759_681 + 138_689),
    "recurrent_lm": (((0, 67), 67), 1_087_043),
    "bag_of_ngrams": (((0, 67), 3), 5_243_593),
    "nbsvm": (((0, 67), 3), 12_583_119),
    "text_cnn": (((0, 67), 3), 381_303),
    "bilstm": (((0, 67), 3), 108_291),
    "word2vec": (((1, 67), 67), 13_400),
    "forecaster": (((1, 28, 6), 3), 5_726),
    "q_mlp": (((8,), 4), 69_124),
    "q_nature": (((4, 84, 84), 6), 1_687_206),
    "tabular": (((13,), 3), 49_664),
}
VALUES = ("linear", "mlp", "dense_autoencoder", "q_mlp", "tabular")
"""Networks that take examples of the shape (D,); all but q_mlp take images too."""
TOKENS = ("recurrent_lm", "bag_of_ngrams", "nbsvm", "text_cnn", "bilstm", "word2vec")
"""Networks that take tokens of the shape (T, V)."""
SERIES = ("forecaster",)
"""Networks that take any image, its rows as steps."""
LONG = 9
"""Tokens of an example."""
SQUARE = ("dcgan",)
"""Networks whose images must be square."""

DEEPER = (
    "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "resnet34", "resnet101",
    "resnet152", "resnet44", "resnet56", "resnet110", "plain44", "plain56", "plain110",
    "densenet161", "densenet169", "densenet201", "densenet_bc_100_12",
)  # fmt: skip
"""More rows of a table whose first rows are swept: their shapes and counts are tested alone."""

FEWER: dict[str, dict[str, Any]] = {
    "bag_of_ngrams": {"buckets": 500},
    "nbsvm": {"buckets": 500},
}
"""Options that make a network small."""

SWEPT: list[tuple[str, dict[str, Any]]] = [
    *((name, FEWER.get(name, {})) for name in models if name not in DEEPER),
    *(("resnet20", {"block": block}) for block in get_args(Block)[1:]),
    ("dcgan", {"spectral_norm": True}),
    ("q_mlp", {"dueling": True}),
    ("q_nature", {"dueling": True}),
]
IDS = ["-".join((name, *map(str, options.values()))) for name, options in SWEPT]
swept = pytest.mark.parametrize(("name", "options"), SWEPT, ids=IDS)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def taken(name: str, channels: int, height: int, width: int) -> Shape:
    """An image's shape, or what the network takes in its place."""
    if name == "q_mlp":
        return (12,)
    if name in TOKENS:
        return (0, 40)
    if name == "q_nature":
        return (channels, height + 8, width + 8)
    return (channels, height, height if name in SQUARE else width)


def input_shape(model: nn.Module, inputs: Shape) -> Shape:
    """The shape of what a network is called with for one example: of a GAN, a latent vector."""
    return (model.latent,) if hasattr(model, "generator") else inputs


def examples(model: nn.Module, inputs: Shape, count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if len(inputs) == 2:
        return torch.randint(inputs[1], (count, LONG), generator=generator)
    return torch.randn(count, *input_shape(model, inputs), generator=generator)


def first(out: Any) -> Tensor:
    """Of a layer that gives its state too, or a packed sequence, what it gives on."""
    while isinstance(out, tuple):
        out = out[0]
    return out


def made(name: str, inputs: Shape, outputs: int, options: dict[str, Any]) -> nn.Module:
    """A network; of one that counts the training split first, as if it had."""
    model = create(name, inputs=inputs, outputs=outputs, **options)
    if name == "nbsvm":
        for values in (model.weight, model.ratio):
            nn.init.normal_(values)
        model.ratio[:, 0] = 0
    if name == "word2vec":  # whose outputs begin as zeros
        nn.init.normal_(model.outputs.weight)
    return model


def extreme(model: nn.Module, inputs: Shape) -> Tensor:
    """Another example, far from the others where it is of numbers."""
    found = examples(model, inputs, 1, seed=1)
    return 10 * found if found.is_floating_point() else found


def output_shape(model: nn.Module, inputs: Shape, outputs: int) -> Shape:
    """The shape of what a network of each kind gives for one example."""
    if hasattr(model, "generator"):
        return ()
    if hasattr(model, "recurrent") or hasattr(model, "vectors"):
        return (LONG, outputs)
    return inputs if hasattr(model, "decoder") else (outputs,)


def called(model: nn.Module, x: Tensor) -> Any:
    """What a network gives; of a language model the scores alone, not its state."""
    out = model(x)
    return out[0] if hasattr(model, "recurrent") else out


def assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    scale = max(1.0, expected.abs().max().item())
    assert (found - expected).abs().max().item() <= tolerance * scale


@dataclass
class Built:
    """A network in evaluation, two of its inputs (wide colour images), and its outputs."""

    model: nn.Module
    inputs: Shape
    x: Tensor
    out: Tensor


@pytest.fixture(scope="module", params=SWEPT, ids=IDS)
def built(request: pytest.FixtureRequest) -> Built:
    name, options = request.param
    inputs = taken(name, 3, 32, 44)
    torch.manual_seed(0)
    model = made(name, inputs, 7, options).eval()
    x = examples(model, inputs, 2)
    with torch.no_grad():
        return Built(model, inputs, x, called(model, x))


def test_there_is_a_finite_output_for_each_example(built):
    assert built.out.shape == (2, *output_shape(built.model, built.inputs, 7))
    assert built.out.isfinite().all()
    assert not torch.equal(built.out[0], built.out[1])


def test_evaluation_is_deterministic(built):
    with torch.no_grad():
        assert torch.equal(called(built.model, built.x), built.out)


def test_examples_do_not_influence_each_other_in_evaluation(built):
    other = torch.cat((built.x[:1], extreme(built.model, built.inputs)))
    with torch.no_grad():
        assert_close(called(built.model, other)[:1], built.out[:1], 1e-5)


def test_channels_last_gives_the_same(built):
    if built.x.ndim != 4:
        pytest.skip("this network takes no images")
    with torch.no_grad():
        found = called(built.model, built.x.to(memory_format=torch.channels_last))
    assert_close(found, built.out, 1e-4)


def test_no_layer_changes_the_output_of_another_in_place(built):
    seen: list[tuple[str, Tensor, int]] = []
    handles = [
        module.register_forward_hook(
            lambda _, __, out, name=name: seen.append((name, first(out), first(out)._version))
        )
        for name, module in built.model.named_modules()
        if not any(module.children())
    ]
    with torch.no_grad():
        called(built.model, built.x)
    for handle in handles:
        handle.remove()
    assert seen
    assert [name for name, out, version in seen if out._version != version] == []


def test_saved_and_loaded_it_is_the_same(built):
    saved = safetensors.torch.save(built.model.state_dict())
    with torch.no_grad():
        for parameter in built.model.parameters():
            parameter.add_(1)
        assert not torch.equal(called(built.model, built.x), built.out)
        built.model.load_state_dict(safetensors.torch.load(saved))
        assert torch.equal(called(built.model, built.x), built.out)


@swept
def test_every_parameter_gets_a_gradient_from_28_grey_pixels(name, options):
    torch.manual_seed(0)
    inputs = taken(name, 1, 28, 28)
    model = made(name, inputs, 5, options).train()
    x = examples(model, inputs, 4)
    out = called(model, x.to(memory_format=torch.channels_last) if x.ndim == 4 else x)
    heads = out if isinstance(out, tuple) else (out,)
    expected = output_shape(model, inputs, 5)
    assert [tuple(head.shape) for head in heads] == [(4, *expected)] * len(heads)
    loss = F.cross_entropy if expected == (5,) else lambda head, _: head.pow(2).mean()
    sum(loss(head, torch.arange(4)) for head in heads).backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.isfinite().all(), path
        assert parameter.ndim < 2 or parameter.grad.any(), path


@pytest.mark.parametrize("name", models)
def test_the_number_of_parameters_is_the_published_one(name):
    assert name in COUNTS, f"state the number of parameters of {name!r} in COUNTS"
    (inputs, outputs), count = COUNTS[name]
    with torch.device("meta"):
        model = create(name, inputs=inputs, outputs=outputs)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


# shapes


@pytest.mark.parametrize("name", [n for n in models if n not in ("q_mlp", *SQUARE, *TOKENS)])
def test_photos_need_not_be_square(name):
    inputs = (3, 300, 224)
    with torch.device("meta"):  # shapes without arithmetic
        model = create(name, inputs=inputs, outputs=9).eval()
        out = model(torch.empty(2, *inputs))
    assert out.shape == (2, *output_shape(model, inputs, 9))


@pytest.mark.parametrize("name", models)
def test_values_that_are_no_images_are_taken_or_refused(name):
    if name in VALUES:
        model = create(name, inputs=(13,), outputs=3)
        assert model(examples(model, (13,), 2)).shape == (2, *output_shape(model, (13,), 3))
    else:
        taken = "texts" if name in TOKENS else "images"
        with pytest.raises(UserError, match=rf"{taken}.*13 values"):
            create(name, inputs=(13,), outputs=3)


@pytest.mark.parametrize("name", [n for n in models if n not in (*VALUES, *TOKENS, *SERIES)])
def test_images_that_are_too_small_are_refused_with_their_size(name):
    with pytest.raises(UserError, match=r"at least \d+x\d+ pixels, found .*40x5 pixels: "):
        create(name, inputs=(3, 5, 40), outputs=3)


SMALLEST = ("lenet5", "lenet5_1998", "alexnet", "googlenet", "resnet18", "resnet20", "densenet121")


@pytest.mark.parametrize("name", SMALLEST)
def test_one_photo_of_224_pixels(name):
    torch.manual_seed(0)
    model = create(name, inputs=(3, 224, 224), outputs=9).eval()
    with torch.inference_mode():
        out = model(examples(model, (3, 224, 224), 1))
    assert out.shape == (1, 9)
    assert out.isfinite().all()


# options


def as_typed(value: Any) -> str:
    """A value as it is typed on a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@swept
def test_options_typed_as_text_or_read_from_json_are_values(name, options):
    fields = models.options(name).model_fields
    given = {key: field.default for key, field in fields.items()} | options
    assert set(options) <= set(fields)
    for raw in (
        given,
        {key: as_typed(value) for key, value in given.items()},
        json.loads(json.dumps(given)),
    ):
        checked = models.check(name, raw)
        assert checked == given
        assert {k: type(v) for k, v in checked.items()} == {k: type(v) for k, v in given.items()}
    assert all(field.description for field in fields.values())


def test_what_a_run_records_of_options_is_numbers_and_not_text():
    checked = models.check("mlp", {"widths": "32,16", "batch_norm": "true", "dropout": "0.5"})
    assert json.dumps(checked) == '{"widths": [32, 16], "batch_norm": true, "dropout": 0.5}'
    assert json.dumps(models.check("mlp", {"widths": "32"})) == '{"widths": [32]}'
    assert json.dumps(models.check("mlp", {"widths": ""})) == '{"widths": []}'
    assert json.dumps(models.check("dcgan", {"latent": "64"})) == '{"latent": 64}'


SIZED = [
    (name, key, isinstance(field.default, tuple))
    for name in models
    for key, field in models.options(name).model_fields.items()
    if isinstance(field.default, tuple) or type(field.default) is int
]


@pytest.mark.parametrize("value", ["100000000", "0", "-1", "many"])
@pytest.mark.parametrize(("name", "key", "many"), SIZED)
def test_a_size_that_no_layer_has_is_refused(name, key, many, value):
    for given in (value, f"8,{value}") if many else (value,):
        with pytest.raises(UserError, match=rf"{name}.*{key}.*found '{value}'"):
            create(name, inputs=(1, 28, 28), outputs=3, **{key: given})


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, key, many in SIZED if many])
def test_more_layers_than_any_network_has_are_refused(name, key):
    with pytest.raises(UserError, match=rf"{name}.*{key}.*at most 100"):
        create(name, inputs=(1, 28, 28), outputs=3, **{key: "1," * 101})


@pytest.mark.parametrize(
    ("name", "inputs", "options"),
    [
        ("mlp", (3, 224, 224), {"widths": "65536"}),
        ("mlp", (13,), {"widths": (65536, 65536)}),
        ("linear", (3, 65536, 65536), {}),
        ("lenet5", (3, 4000, 4000), {}),
        ("conv_autoencoder", (3, 4000, 4000), {}),
        ("dcgan", (3, 64, 64), {"width": 65536}),
        ("q_nature", (4, 4000, 4000), {}),
    ],
)
def test_a_network_that_fits_no_memory_is_refused(name, inputs, options):
    given = "".join(f".*{key}=" for key in options)
    with (
        pytest.raises(UserError, match=rf"{name}.*{given}.*1,000,000,000.*--data.image_size"),
        torch.device("meta"),  # were it not refused, this machine should live
    ):
        create(name, inputs=inputs, outputs=10, **options)


def test_the_limit_counts_every_parameter(monkeypatch):
    monkeypatch.setattr(gradlab.models, "MOST", 61_706)
    create("lenet5", inputs=(1, 28, 28), outputs=10)
    monkeypatch.setattr(gradlab.models, "MOST", 61_705)
    with pytest.raises(UserError, match="more than 61,705 parameters"):
        create("lenet5", inputs=(1, 28, 28), outputs=10)


def test_unknown_names_and_options_are_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="unknown model 'dcgann': did you mean 'dcgan'"):
        create("dcgann", inputs=(1, 28, 28), outputs=0)
    with pytest.raises(UnknownName, match="option of model 'mlp': 'width': did you mean 'widths'"):
        create("mlp", inputs=(1, 28, 28), outputs=3, width=8)
