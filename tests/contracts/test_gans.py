"""What every generator with its discriminator must satisfy beside the contract of all networks."""

import pytest
import torch

from gradlab.errors import UserError
from gradlab.models import create

SIZES = (28, 32, 64)
COUNTS = {  # name: inputs, parameters of the generator and of the discriminator
    "dcgan": ((1, 28, 28), (759_681, 138_689)),
}
SWEPT = [("dcgan", {}), ("dcgan", {"spectral_norm": True})]
swept = pytest.mark.parametrize(("name", "options"), SWEPT, ids=lambda v: str(v))


def build(name, channels=1, size=28, **options):
    torch.manual_seed(0)
    options = {"latent": 7, "width": 4, **options}
    return create(name, inputs=(channels, size, size), outputs=0, **options)


def noise(count, latent=7, seed=0):
    return torch.randn(count, latent, generator=torch.Generator().manual_seed(seed))


@swept
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_the_form_that_is_asked_for_and_every_parameter_learns(
    name, options, size, channels
):
    pair = build(name, channels, size, **options)
    images = pair.generator(noise(4))
    assert images.shape == (4, channels, size, size) and pair.latent == 7
    assert images.abs().max() <= 1
    logits = pair.discriminator(images)
    assert logits.shape == (4,) and logits.std() > 0
    assert torch.isfinite(logits).all()
    logits.pow(2).sum().backward()
    for path, parameter in pair.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), path
        assert parameter.ndim < 2 or parameter.grad.any(), path


@swept
def test_a_generator_in_evaluation_makes_each_image_alone(name, options):
    pair = build(name, **options)
    pair(noise(8))  # moves the statistics of batch norm
    pair.eval()
    other = torch.cat((noise(2)[:1], noise(1, seed=1)))
    with torch.no_grad():
        torch.testing.assert_close(pair.generator(other)[:1], pair.generator(noise(2))[:1])


@pytest.mark.parametrize("name", COUNTS)
def test_the_number_of_parameters_is_stated(name):
    inputs, expected = COUNTS[name]
    with torch.device("meta"):
        pair = create(name, inputs=inputs, outputs=0)
    found = [
        sum(p.numel() for p in net.parameters()) for net in (pair.generator, pair.discriminator)
    ]
    assert tuple(found) == expected


def test_the_paper_at_64_pixels():
    """1024, 512, 256, 128 maps and colour: figure 1 of Radford et al."""
    with torch.device("meta"):
        pair = create("dcgan", inputs=(3, 64, 64), outputs=0, width=128)
    maps = [module.out_channels for module in pair.generator.modules()
            if isinstance(module, torch.nn.ConvTranspose2d)]  # fmt: skip
    assert maps == [1024, 512, 256, 128, 3]


def test_initial_values_are_the_papers():
    pair = build("dcgan", width=32, latent=100)
    weights = [p for n, p in pair.named_parameters() if p.ndim > 1]
    values = torch.cat([w.flatten() for w in weights])
    assert abs(values.std() - 0.02) < 0.0005 and abs(values.mean()) < 0.0005


def norms(pair):
    """The largest singular value of each of the discriminator's filters."""
    found = [m for m in pair.discriminator.modules() if isinstance(m, torch.nn.Conv2d)]
    return [torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2).item() for m in found]


def test_spectral_norm_bounds_the_slope_and_takes_the_place_of_batch_norm():
    pair = build("dcgan", spectral_norm=True, width=8)
    assert not [m for m in pair.discriminator.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for _ in range(20):
        pair(noise(4))
    assert norms(pair) == pytest.approx([1, 1, 1], abs=0.02)
    assert max(norms(build("dcgan", width=8))) < 0.8


@pytest.mark.parametrize(("height", "width"), [(8, 8), (27, 27), (224, 224), (28, 32), (64, 32)])
def test_other_sizes_are_refused_with_the_way_out(height, width):
    with pytest.raises(
        UserError,
        match=rf"square images of 28, 32, 64 .*found {width}x{height} .*--data.image_size 32",
    ):
        create("dcgan", inputs=(3, height, width), outputs=0)
