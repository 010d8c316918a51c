"""Each change against a loop over examples with the same random numbers; the spread of draws."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from gradlab.config import Augment
from gradlab.data import augment as aug

SHAPES = [(5, 12, 12, 3), (4, 9, 14, 1)]
EVERY = {
    "shift": 2,
    "crop": 2,
    "flip": True,
    "rotate": 20.0,
    "scale": 0.2,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.2,
    "resized_crop": 0.3,
    "cutout": 4,
}
FLOATS = set(EVERY) - {"shift", "crop", "flip", "cutout"}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(seed))


def smooth(count, size, seed=0):
    """Colour images without sharp edges, so that rules of interpolation at a pixel agree."""
    noise = torch.rand(count, 3, 5, 5, generator=generator(seed)) * 255
    large = torch.nn.functional.interpolate(noise, size=(size, size), mode="bicubic")
    return large.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def bilinear(image, y, x, inside):
    """The value of an H W C image at a place in pixels; `inside` says how to read a pixel."""
    top, left = math.floor(y), math.floor(x)
    value = 0.0
    for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, right in ((left, 1 - (x - left)), (left + 1, x - left)):
            value = value + down * right * inside(image, row, column)
    return value


def or_black(image, row, column):
    height, width = image.shape[:2]
    return image[row, column] * 1.0 if 0 <= row < height and 0 <= column < width else 0.0


def or_nearest(image, row, column):
    height, width = image.shape[:2]
    return image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)] * 1.0


# geometry


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("limit", [0, 1, 3, 20])
@pytest.mark.parametrize("mirrored", [False, True])
def test_move_is_mirroring_padding_and_cutting_out(shape, limit, mirrored):
    x = images(shape)
    offsets = aug.draw_offsets(len(x), limit, generator(1))
    offsets[:, 0], offsets[:, 1] = limit, -limit  # the corners of what is allowed
    flips = aug.draw_flips(len(x), generator(2)) if mirrored else None
    expected = []
    for n, image in enumerate(x.numpy()):
        if mirrored and flips[n]:
            image = image[:, ::-1]
        padded = np.pad(image, ((limit, limit), (limit, limit), (0, 0)))
        top, left = (limit - offsets[:, n]).tolist()
        expected.append(padded[top : top + shape[1], left : left + shape[2]])
    moved = aug.move(x, offsets, limit, flips)
    assert moved.dtype == torch.uint8 and moved.is_contiguous()
    np.testing.assert_array_equal(moved.numpy(), np.stack(expected))


def test_move_keeps_floats():
    x = torch.rand(4, 6, 6, 3, generator=generator())
    moved = aug.move(x, torch.tensor([[0, 1, 0, 0], [0, 0, -1, 0]]), 1)
    torch.testing.assert_close(moved[0], x[0], rtol=0, atol=0)
    torch.testing.assert_close(moved[1, 1:], x[1, :-1], rtol=0, atol=0)
    torch.testing.assert_close(moved[2, :, :-1], x[2, :, 1:], rtol=0, atol=0)
    assert not moved[1, 0].any() and not moved[2, :, -1].any()


@pytest.mark.parametrize("shape", SHAPES)
def test_turn_against_a_loop(shape):
    x = images(shape)
    degrees = aug.draw_uniform(len(x), -90, 90, generator(1))
    factor = aug.draw_uniform(len(x), 0.7, 1.3, generator(2))
    count, height, width, _ = shape
    expected = np.zeros(shape)
    for n in range(count):
        sin = math.sin(math.radians(degrees[n])) / factor[n].item()
        cos = math.cos(math.radians(degrees[n])) / factor[n].item()
        for i in range(height):
            for j in range(width):
                down, right = i - (height - 1) / 2, j - (width - 1) / 2
                y = sin * right + cos * down + (height - 1) / 2
                z = cos * right - sin * down + (width - 1) / 2
                expected[n, i, j] = bilinear(x[n].numpy(), y, z, or_black)
    np.testing.assert_allclose(aug.turn(x, degrees, factor).numpy(), expected, atol=0.05)


def test_turn_goes_the_way_of_pillow():
    x = smooth(3, 24)
    degrees = torch.tensor([-30.0, 10.0, 25.0])
    turned = aug.turn(x, degrees, torch.ones(3))
    for n in range(3):
        pillow = Image.fromarray(x[n].numpy()).rotate(degrees[n].item(), Image.Resampling.BILINEAR)
        inner = np.s_[7:-7, 7:-7]  # Pillow blends the edge otherwise
        np.testing.assert_allclose(turned[n].numpy()[inner], np.asarray(pillow)[inner], atol=1.01)


def test_quarter_turns_and_no_turn_are_exact():
    x = images((3, 10, 10, 3))
    turned = aug.turn(x, torch.tensor([0.0, 90.0, 180.0]), torch.ones(3))
    for n in range(3):
        expected = torch.rot90(x[n], n, (0, 1)).float()
        torch.testing.assert_close(turned[n], expected, rtol=0, atol=0.01)


def test_a_factor_enlarges():
    x = torch.zeros(2, 20, 20, 1, dtype=torch.uint8)
    x[:, 6:14, 6:14] = 200
    areas = aug.turn(x, torch.zeros(2), torch.tensor([0.5, 2.0])).sum((1, 2, 3)) / 200
    assert areas.tolist() == pytest.approx([16, 256], rel=0.03)


@pytest.mark.parametrize("shape", SHAPES)
def test_resized_crop_against_a_loop(shape):
    x = images(shape)
    count, height, width, _ = shape
    boxes = aug.draw_boxes(count, height, width, 0.1, generator(1))
    expected = np.zeros(shape)
    for n in range(count):
        top, left, tall, wide = boxes[n].tolist()
        for i in range(height):
            for j in range(width):
                y = (top + tall * (i + 0.5) / height) * height - 0.5
                z = (left + wide * (j + 0.5) / width) * width - 0.5
                expected[n, i, j] = bilinear(x[n].numpy(), y, z, or_nearest)
    np.testing.assert_allclose(aug.resized_crop(x, boxes).numpy(), expected, atol=0.05)


def test_resized_crop_is_that_of_pillow():
    x = images((6, 16, 16, 3))
    boxes = aug.draw_boxes(6, 16, 16, 0.2, generator(3))
    cut = aug.resized_crop(x, boxes)
    for n in range(6):
        top, left, tall, wide = (16 * boxes[n]).tolist()
        pillow = Image.fromarray(x[n].numpy()).resize(
            (16, 16), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + tall)
        )
        np.testing.assert_allclose(cut[n].numpy(), np.asarray(pillow), atol=1.01)


def test_cropping_the_whole_image_changes_nothing():
    x = images((4, 11, 7, 3))
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(4, 4)
    torch.testing.assert_close(aug.resized_crop(x, boxes), x.float(), rtol=0, atol=1e-2)


# colour


@pytest.mark.parametrize("shape", SHAPES)
def test_adjust_against_a_loop(shape):
    x = images(shape)
    brightness = aug.draw_uniform(len(x), 0, 2, generator(1))
    contrast = aug.draw_uniform(len(x), 0, 2, generator(2))
    expected = np.zeros(shape)
    for n, image in enumerate(x.numpy().astype(float)):
        image = image * brightness[n].item()
        grey = image @ [0.299, 0.587, 0.114] if shape[3] == 3 else image[..., 0]
        image = grey.mean() + contrast[n].item() * (image - grey.mean())
        expected[n] = image.clip(0, 255)
    np.testing.assert_allclose(aug.adjust(x, brightness, contrast), expected, atol=0.01)


def test_adjust_leaves_its_argument_alone():
    x = images((2, 4, 4, 3)).float()
    before = x.clone()
    aug.adjust(x, torch.full((2,), 0.5), torch.full((2,), 0.5))
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("enhance", "change"),
    [
        (ImageEnhance.Brightness, lambda x, f, one: aug.adjust(x, f, one)),
        (ImageEnhance.Contrast, lambda x, f, one: aug.adjust(x, one, f)),
        (ImageEnhance.Color, lambda x, f, one: aug.recolour(x, f, one - 1)),
    ],
)
def test_brightness_contrast_and_saturation_are_those_of_pillow(enhance, change):
    x = images((4, 8, 8, 3))
    factors = torch.tensor([0.0, 0.5, 1.0, 1.7])
    changed = change(x, factors, torch.ones(4))
    for n in range(4):
        pillow = enhance(Image.fromarray(x[n].numpy())).enhance(factors[n].item())
        # Pillow rounds grey, its mean and the result.
        np.testing.assert_allclose(changed[n].numpy(), np.asarray(pillow), atol=2.5)


def test_recolour_against_a_loop():
    x = images((4, 6, 7, 3))
    saturation = aug.draw_uniform(4, 0, 2, generator(1))
    hue = aug.draw_uniform(4, -0.5, 0.5, generator(2))
    axis = np.ones(3) / math.sqrt(3)
    expected = np.zeros(x.shape)
    for n, image in enumerate(x.numpy().astype(float)):
        angle = 2 * math.pi * hue[n].item()
        for i in range(6):
            for j in range(7):
                colour = image[i, j]
                grey = colour @ [0.299, 0.587, 0.114]
                colour = grey + saturation[n].item() * (colour - grey)
                # Rodrigues' formula: a rotation about an axis
                colour = (
                    colour * math.cos(angle)
                    + np.cross(axis, colour) * math.sin(angle)
                    + axis * (axis @ colour) * (1 - math.cos(angle))
                )
                expected[n, i, j] = colour.clip(0, 255)
    np.testing.assert_allclose(aug.recolour(x, saturation, hue), expected, atol=0.01)


def test_a_third_of_a_turn_makes_green_of_red():
    x = images((2, 5, 5, 3))
    turned = aug.recolour(x, torch.ones(2), torch.tensor([1 / 3, -1 / 3]))
    torch.testing.assert_close(turned[0], x[0].roll(1, -1).float(), rtol=0, atol=1e-3)
    torch.testing.assert_close(turned[1], x[1].roll(-1, -1).float(), rtol=0, atol=1e-3)


def test_grey_has_no_colour():
    factor, turns = torch.full((3,), 1.5), torch.full((3,), 0.2)
    grey = images((3, 6, 6, 1))
    assert torch.equal(aug.recolour(grey, factor, turns), grey.float())
    three = grey.repeat(1, 1, 1, 3)
    torch.testing.assert_close(aug.recolour(three, factor, turns), three.float(), atol=0.01, rtol=0)


# parts and pairs


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [1, 4, 5, 40])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_cutout_against_a_loop(shape, side, dtype):
    x = images(shape).clamp(min=1).to(dtype)
    centres = aug.draw_centres(*shape[:3], generator(1))
    centres[:, 0], centres[:, 1] = torch.tensor(shape[1:3]) - 1, 0  # opposite corners
    expected = x.clone()
    for n, (row, column) in enumerate(centres.T.tolist()):
        top, left = row - side // 2, column - side // 2
        expected[n, max(top, 0) : top + side, max(left, 0) : left + side] = 0
    cut = aug.cutout(x, centres, side)
    assert cut.dtype == dtype
    assert torch.equal(cut, expected)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_weights_of_mixup_follow_beta(alpha):
    source = generator()
    weights = np.array([aug.draw_mix(2, alpha, source)[0] for _ in range(2000)])
    assert weights.min() >= 0 and weights.max() <= 1
    assert weights.mean() == pytest.approx(0.5, abs=0.03)
    assert weights.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


# draws


def test_offsets_reach_every_place_equally():
    offsets = aug.draw_offsets(20000, 2, generator())
    assert offsets.shape == (2, 20000)
    for row in offsets:
        values, counts = row.unique(return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert (counts / 20000).numpy() == pytest.approx(0.2, abs=0.015)
    assert abs(np.corrcoef(offsets.numpy())[0, 1]) < 0.03


def test_half_of_the_images_are_flipped():
    assert aug.draw_flips(20000, generator()).float().mean() == pytest.approx(0.5, abs=0.015)


def test_uniform_reaches_its_bounds():
    values = aug.draw_uniform(20000, -30.0, 10.0, generator())
    assert values.min() >= -30 and values.max() <= 10
    assert values.min() == pytest.approx(-30, abs=0.05)
    assert values.max() == pytest.approx(10, abs=0.05)
    assert values.mean() == pytest.approx(-10, abs=0.4)


def test_centres_are_every_pixel():
    rows, columns = aug.draw_centres(20000, 5, 9, generator())
    assert rows.unique().tolist() == list(range(5)) and columns.unique().tolist() == list(range(9))
    assert rows.float().mean() == pytest.approx(2, abs=0.05)
    assert columns.float().mean() == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 36), (20, 100)])
@pytest.mark.parametrize("smallest", [0.08, 0.5, 1.0])
def test_boxes_lie_within_and_have_the_area_and_ratio_asked_for(height, width, smallest):
    top, left, tall, wide = aug.draw_boxes(20000, height, width, smallest, generator()).unbind(1)
    slack = 1e-5
    assert top.min() >= 0 and left.min() >= 0
    assert (top + tall).max() <= 1 + slack and (left + wide).max() <= 1 + slack
    area, ratio = tall * wide, (wide * width) / (tall * height)
    assert area.min() >= smallest - slack and area.max() <= 1 + slack
    assert area.mean() == pytest.approx((1 + smallest) / 2, abs=0.01)
    # A box as large as the image has the image's ratio, whatever was asked for.
    fits = area * max(width / height, height / width) <= 3 / 4
    ratio = ratio[fits]
    if len(ratio):
        assert ratio.min() >= 3 / 4 - slack and ratio.max() <= 4 / 3 + slack
        assert ratio.min() < 0.76 and ratio.max() > 1.32
        assert ratio.log().mean() == pytest.approx(0, abs=0.02)


def test_the_small_boxes_of_a_square_lie_anywhere():
    top, left, tall, wide = aug.draw_boxes(20000, 32, 32, 0.08, generator()).unbind(1)
    for free, place in ((1 - tall, top), (1 - wide, left)):
        share = (place / free)[free > 0.1]
        assert share.mean() == pytest.approx(0.5, abs=0.02)
        assert share.min() < 0.01 and share.max() > 0.99


# all together


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("names", [*[(name,) for name in EVERY], tuple(EVERY)])
def test_augment_keeps_shape_and_range_and_repeats_itself(shape, names):
    x = images((64, *shape[1:]))
    before = x.clone()
    config = Augment(**{name: EVERY[name] for name in names})
    once = aug.augment(x, config, generator(3))
    assert once.shape == x.shape and once.is_contiguous()
    assert once.dtype == (torch.float32 if FLOATS & set(names) else torch.uint8)
    assert once.min() >= 0 and once.max() <= 255
    assert torch.equal(x, before)
    assert torch.equal(once, aug.augment(x, config, generator(3)))
    if shape[3] == 3 or names[0] not in ("saturation", "hue"):
        assert not torch.equal(once.float(), x.float())
        assert not torch.equal(once, aug.augment(x, config, generator(4)))


def test_nothing_asked_gives_back_the_same_batch():
    x, source = images(SHAPES[0]), generator()
    state = source.get_state()
    assert aug.augment(x, Augment(), source) is x
    assert aug.augment(x, Augment(mixup=0.2), source) is x
    assert torch.equal(source.get_state(), state)


def test_augment_draws_within_what_is_configured():
    """A bright dot tells how far an image was moved, a grey image how bright it became."""
    x = torch.zeros(4000, 11, 11, 1, dtype=torch.uint8)
    x[:, 5, 5] = 255
    config = Augment(shift=1, crop=2, flip=True)
    moved = aug.augment(x, config, generator()).flatten(1).int().argmax(1)
    rows, columns = moved // 11 - 5, moved % 11 - 5
    assert rows.unique().tolist() == columns.unique().tolist() == [-3, -2, -1, 0, 1, 2, 3]
    # The sum of two draws, from -1..1 and from -2..2: both at their ends, once in fifteen.
    assert (rows == 3).float().mean() == pytest.approx(1 / 15, abs=0.015)

    grey = torch.full((4000, 1, 1, 1), 100, dtype=torch.uint8)
    levels = aug.augment(grey, Augment(brightness=0.3), generator())
    assert levels.min() == pytest.approx(70, abs=0.5) and levels.max() == pytest.approx(
        130, abs=0.5
    )
    # A factor is never negative: with a spread of 3 it goes from 0 to 4.
    levels = aug.augment(grey // 4, Augment(brightness=3.0), generator())
    assert levels.mean() == pytest.approx(50, rel=0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_tensor_is_made_where_the_images_are(shape):
    # Tensors of "meta" hold no values, but refuse to meet those of a CPU.
    x = torch.empty(shape, dtype=torch.uint8, device="meta")
    changed = aug.augment(x, Augment(**EVERY), generator())
    assert changed.is_meta and changed.shape == x.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_images():
    for x in (images(shape) for shape in SHAPES):
        for name, value in EVERY.items():
            config = Augment(**{name: value})
            here = aug.augment(x, config, generator(5))
            there = aug.augment(x.cuda(), config, generator(5))
            assert there.is_cuda and there.dtype == here.dtype
            torch.testing.assert_close(there.cpu(), here, rtol=0, atol=0.05)
            own = torch.Generator("cuda").manual_seed(5)
            assert aug.augment(x.cuda(), config, own).shape == x.shape
