"""What every autoencoder must satisfy beside the contract of all networks."""

import pytest
import torch

from gradlab.errors import UserError
from gradlab.models import create

AUTOENCODERS = ("dense_autoencoder", "conv_autoencoder")


def build(name, *inputs, **options):
    torch.manual_seed(0)
    return create(name, inputs=inputs, outputs=0, **options)


@pytest.mark.parametrize("name", AUTOENCODERS)
@pytest.mark.parametrize(
    "inputs", [(1, 28, 28), (3, 33, 33), (1, 64, 64), (3, 8, 8), (3, 20, 33), (1, 48, 9)]
)
def test_the_output_has_the_inputs_form_and_every_parameter_learns(name, inputs):
    model = build(name, *inputs, code=5)
    x = torch.randn(4, *inputs, generator=torch.Generator().manual_seed(0))
    out = model(x)
    assert out.shape == x.shape and out.isfinite().all()
    assert model.encoder(x).shape == (4, 5) and model.code == 5
    assert model.decoder(torch.randn(2, 5)).shape == (2, *inputs)
    (out - x).pow(2).mean().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_without_hidden_layers_it_is_linear():
    model = build("dense_autoencoder", 13, widths="").eval()
    x, y = torch.randn(1, 13), torch.randn(1, 13)
    with torch.no_grad():
        torch.testing.assert_close(model(x) + model(y), model(x + y) + model(0 * x))


def test_more_halvings_than_the_smaller_side_allows_are_refused():
    build("conv_autoencoder", 1, 8, 64, widths=(4, 4, 4))
    with pytest.raises(UserError, match=r"5 halvings leave nothing of 64x8 pixels: .*widths"):
        build("conv_autoencoder", 1, 8, 64, widths=(4, 4, 4, 4, 4))
    with pytest.raises(UserError, match="'dense_autoencoder'"):
        build("conv_autoencoder", 13)
