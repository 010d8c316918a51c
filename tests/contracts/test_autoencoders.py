"""What every registered autoencoder must satisfy."""

import pytest
import safetensors.torch
import torch

from gradlab.errors import UserError
from gradlab.models import autoencoders

COUNTS = {  # for 28-pixel grey images and a code of 32
    "dense_autoencoder": 2_838_316,
    "conv_autoencoder": 319_041,
}


def build(name, channels=1, size=28, **options):
    torch.manual_seed(0)
    return autoencoders[name](channels, size, **options)


def images(count, channels=1, size=28, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, size, size, generator=generator)


@pytest.mark.parametrize("name", autoencoders)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (3, 33), (1, 64), (3, 8)])
def test_the_output_has_the_inputs_form_and_every_parameter_learns(name, channels, size):
    model = build(name, channels, size, code=5)
    x = images(4, channels, size)
    out = model(x)
    assert out.shape == x.shape and out.isfinite().all()
    assert model.encoder(x).shape == (4, 5) and model.code == 5
    (out - x).pow(2).mean().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", autoencoders)
def test_evaluation_is_deterministic_and_by_example(name):
    model = build(name).eval()
    x = images(3)
    with torch.no_grad():
        out = model(x)
        assert torch.equal(model(x), out)
        other = torch.cat((x[:1], images(2, seed=1)))
        assert torch.allclose(model(other)[:1], out[:1], atol=1e-5)


@pytest.mark.parametrize("name", autoencoders)
def test_save_and_load_are_equal_and_the_count_is_known(name):
    model, other = build(name).eval(), build(name).eval()
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    saved = safetensors.torch.save(model.state_dict())
    other.load_state_dict(safetensors.torch.load(saved))
    with torch.no_grad():
        assert torch.equal(model(images(2)), other(images(2)))
    assert sum(p.numel() for p in model.parameters()) == COUNTS[name]


def test_images_that_are_too_small_are_refused():
    with pytest.raises(UserError, match="at least 8"):
        build("conv_autoencoder", size=4)
    with pytest.raises(UserError, match="widths"):
        build("conv_autoencoder", size=8, widths=(4, 4, 4, 4, 4))
