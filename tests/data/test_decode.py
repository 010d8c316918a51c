from __future__ import annotations

import io
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
from PIL import Image
from PIL.ImageFile import ImageFile as PillowFile

from gradlab import machine
from gradlab.config import DataConfig
from gradlab.data.decode import (
    ImageFile,
    Look,
    common_form,
    conversions,
    decode,
    decode_all,
    pixels,
    refit,
    survey,
    unreadable,
)
from gradlab.errors import UserError

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
COLOUR = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


def save(image: Image.Image, path: Path, **options: object) -> ImageFile:
    image.save(path, **options)
    return ImageFile.at(path)


def one(file: ImageFile, side: int = 8, channels: int = 3) -> np.ndarray:
    return decode(file, (side, side), channels)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
def test_colour_is_kept_exactly(tmp_path: Path, suffix: str) -> None:
    file = save(Image.fromarray(COLOUR), tmp_path / f"a{suffix}")
    assert np.array_equal(one(file), COLOUR)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".gif"])
def test_lossy_kinds_are_close(tmp_path: Path, suffix: str) -> None:
    plain = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    file = save(Image.fromarray(plain), tmp_path / f"a{suffix}")
    assert np.abs(one(file).astype(int) - plain).max() <= 6


def test_grey_and_colour_become_each_other(tmp_path: Path) -> None:
    grey = save(Image.fromarray(GREY), tmp_path / "grey.png")
    assert np.array_equal(one(grey, channels=1)[..., 0], GREY)
    assert np.array_equal(one(grey, channels=3), np.stack([GREY] * 3, axis=-1))
    colour = save(Image.new("RGB", (8, 8), (100, 200, 50)), tmp_path / "colour.png")
    luma = round(0.299 * 100 + 0.587 * 200 + 0.114 * 50)
    assert one(colour, channels=1).shape == (8, 8, 1)
    assert set(one(colour, channels=1).ravel().tolist()) == {luma}


def test_other_shapes_are_resized_and_cropped_at_the_centre(tmp_path: Path) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255  # what the crop keeps
    file = save(Image.fromarray(wide), tmp_path / "wide.png")
    assert np.array_equal(one(file, 10), np.full((10, 10, 3), 255))
    assert one(file, 5)[:, 1:-1].min() == 255


def test_jpeg_in_draft_mode_is_close_to_the_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    picture = Image.fromarray(np.stack([np.tile(ramp, (640, 1))] * 3, axis=-1))
    file = save(picture, tmp_path / "a.jpg", quality=95)
    whole = np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR))
    assert np.abs(one(file, 32).astype(int) - whole).max() <= 4
    sizes: list[tuple[int, int]] = []
    load = PillowFile.load

    def spy(image: PillowFile) -> object:
        sizes.append(image.size)
        return load(image)

    monkeypatch.setattr(PillowFile, "load", spy)
    one(file, 32)
    assert sizes[0] == (80, 80)  # an eighth of it, still more than twice what is needed


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    file = save(Image.fromarray(deep), tmp_path / "deep.png")
    assert np.abs(one(file, channels=1)[..., 0] - deep / 257).max() <= 0.51
    assert survey([file])[0].mode.startswith("I;16")


def test_floats_from_0_to_1(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    file = save(Image.fromarray(values), tmp_path / "a.tif")
    assert np.array_equal(one(file, channels=1)[..., 0], np.rint(values * 255))
    wrong = save(Image.fromarray(values * 9), tmp_path / "b.tif")
    _, (look,) = decode_all([wrong], survey([wrong]), (8, 8), 1)
    assert "from 0.0 to 9.0" in look.error


def test_cmyk_palette_and_bilevel(tmp_path: Path) -> None:
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    cmyk = save(red.convert("CMYK"), tmp_path / "cmyk.jpg", quality=95)
    palette = save(red.convert("P"), tmp_path / "palette.png")
    for file in (cmyk, palette):
        assert np.abs(one(file).astype(int) - (255, 0, 0)).max() <= 6
    bilevel = save(Image.fromarray(GREY > 100), tmp_path / "1.png")
    assert np.array_equal(one(bilevel, channels=1)[..., 0], (GREY > 100) * 255)
    assert [look.mode for look in survey([cmyk, palette, bilevel])] == ["CMYK", "P", "1"]


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)  # black, and transparent but for a half
    rgba[:, 4:, 3] = 255
    file = save(Image.fromarray(rgba), tmp_path / "a.png")
    assert one(file)[:, :4].min() == 255 and one(file)[:, 4:].max() == 0
    assert one(file, channels=1)[:, :4].min() == 255
    assert survey([file])[0].transparent


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for name in ("a.gif", "a.png", "a.webp"):
        file = save(frames[0], tmp_path / name, save_all=True, append_images=frames[1:])
        assert np.abs(one(file).astype(int) - (255, 0, 0)).max() <= 6
        assert survey([file])[0].animated


def test_photo_is_turned_upright(tmp_path: Path) -> None:
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, :16] = 255  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: the left comes to the top
    file = save(Image.fromarray(picture), tmp_path / "a.jpg", exif=exif, quality=95)
    assert (survey([file])[0].width, survey([file])[0].height) == (16, 32)
    upright = decode(file, (32, 16), 3)
    assert upright[:12].min() > 200 and upright[20:].max() < 50
    broken = save(Image.fromarray(picture), tmp_path / "b.jpg", exif=b"Exif\x00\x00nonsense")
    assert decode(broken, (16, 32), 3)[:, :12].min() > 200


def test_one_pixel(tmp_path: Path) -> None:
    file = save(Image.new("RGB", (1, 1), (9, 8, 7)), tmp_path / "a.png")
    assert np.array_equal(one(file, 28), np.full((28, 28, 3), (9, 8, 7)))


def test_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(Image.new("L", (50, 50)), tmp_path / "a.png")
    fine = save(Image.new("L", (8, 8)), tmp_path / "b.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    looks = survey([file, fine])
    assert "more than 2,000 pixels" in looks[0].error and not looks[1].error
    x, again = decode_all([file, fine], looks, (8, 8), 1)
    assert again == looks and x[1].max() == 0


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    files = [save(Image.fromarray(COLOUR), tmp_path / "good.png")]
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for name in ("cut.jpg", "cut.png", "cut.gif", "cut.webp", "cut.bmp"):
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, {"jpg": "JPEG"}.get(name[4:], name[4:].upper()))
        (tmp_path / name).write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        files.append(ImageFile.at(tmp_path / name))
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "EPS")  # a program, which is not run
    for name, content in (
        ("text.jpg", b"hello"),
        ("empty.png", b""),
        ("p.png", buffer.getvalue()),
    ):
        (tmp_path / name).write_bytes(content)
        files.append(ImageFile.at(tmp_path / name))
    files.append(ImageFile.at(tmp_path / "absent.png"))
    x, looks = decode_all(files, survey(files), (8, 8), 3)
    assert [bool(look.error) for look in looks] == [False, *[True] * 9]
    assert np.array_equal(x[0], COLOUR)
    assert "truncated" in looks[1].error
    assert all("no image" in looks[n].error for n in (6, 7, 8))
    assert "No such file" in looks[9].error
    message = str(unreadable("SET", looks))
    assert "9 images" in message and "cut.jpg" in message and "good.png" not in message


def test_error_names_ten_files_and_counts_the_rest() -> None:
    message = str(unreadable("SET", [Look(f"{n}.png", error="why") for n in range(25)]))
    assert "25 images" in message and "9.png: why" in message
    assert "10.png" not in message and "and 15 more" in message


def test_order_is_kept_over_many_files(tmp_path: Path) -> None:
    files = [save(Image.new("L", (150, 150), n), tmp_path / f"{n}.png") for n in range(100)]
    x, _ = decode_all(files, survey(files), (2, 2), 1)
    assert x[:, 0, 0, 0].tolist() == list(range(100))


def test_form_that_images_have_in_common() -> None:
    square = [Look("a", 28, 28, "L"), Look("b", 28, 28, "L")]
    assert common_form(square, DataConfig()) == ((28, 28), 1, ())
    mixed = [Look("a", 28, 28, "L"), Look("b", 30, 20, "RGB")]
    shape, channels, notes = common_form(mixed, DataConfig())
    assert (shape, channels) == ((64, 64), 3)
    assert "from 28x28 to 30x20" in notes[0] and "--data.image_size" in notes[0]
    assert notes[1] == "1 of 2 images is grey, converted to colour (a)"
    shape, channels, notes = common_form(mixed, DataConfig(image_size=16, channels=1))
    assert (shape, channels) == ((16, 16), 1) and "b" in notes[1] and "to grey" in notes[1]
    oblong = [Look("a", 40, 30, "RGB")] * 2
    shape, _, notes = common_form(oblong, DataConfig())
    assert (shape, notes) == ((30, 40), ())  # H W, as they are
    shape, _, notes = common_form(oblong, DataConfig(image_size="20x10"))
    assert shape == (10, 20) and "all 40x30 (width x height), brought to 20x10" in notes[0]
    assert common_form([Look("a", error="bad")], DataConfig())[0] == (64, 64)


def test_what_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 8 * 8 * 3 * 2)
    x = np.stack([COLOUR, COLOUR[::-1]])
    assert refit(x, (8, 4), 3).shape == (2, 8, 4, 3)
    with pytest.raises(UserError, match=r"2 images of 9x8 .* take 0\.0 GB .* are free: choose"):
        refit(x, (8, 9), 3)
    files = [ImageFile("absent.png", lambda: open("absent.png", "rb"))] * 3  # noqa: PTH123, SIM115
    with pytest.raises(UserError, match="3 images of 8x8"):
        decode_all(files, [Look("a", 8, 8, "RGB")] * 3, (8, 8), 3)
    monkeypatch.setattr(machine, "memory", lambda: None)
    monkeypatch.setattr(np, "empty", MagicMock(side_effect=MemoryError))
    with pytest.raises(UserError, match=r"choose a smaller --data\.image_size"):
        decode_all(files, [Look("a", 8, 8, "RGB")] * 3, (8, 8), 3)


def test_conversions_are_said() -> None:
    looks = [
        Look("a.gif", 8, 8, "P", animated=True),
        Look("b.png", 8, 8, "I;16"),
        Look("c.jpg", 8, 8, "CMYK"),
        Look("d.png", 8, 8, "RGBA", transparent=True),
    ]
    assert conversions(looks, 3) == (
        "1 of 4 images is grey, converted to colour (b.png)",
        "1 of 4 images is animated: the first frame is taken (a.gif)",
        "1 of 4 images is of 16 bits or more: read as 8 bits (b.png)",
        "1 of 4 images is CMYK, converted (c.jpg)",
        "1 of 4 images is transparent: laid on white (d.png)",
    )


def test_pixels() -> None:
    assert pixels(np.array([True, False])).tolist() == [255, 0]
    assert pixels(np.array([0, 255], np.int64)).tolist() == [0, 255]
    assert pixels(np.array([0.0, 1.0], np.float16)).tolist() == [0, 255]
    for bad in ([-1, 3], [0, 256], [0.0, 1.5], [np.nan, 0.0], ["a"], [1j]):
        with pytest.raises(ValueError):
            pixels(np.array(bad))


def test_refit() -> None:
    x = np.stack([COLOUR, COLOUR[::-1]])
    assert refit(x, (8, 8), 3) is x
    small = refit(x, (4, 4), 1)
    assert small.shape == (2, 4, 4, 1)
    back = np.asarray(Image.fromarray(COLOUR).convert("L").resize((4, 4), 2))
    assert np.array_equal(small[0, ..., 0], back)


def test_heic_and_avif_are_told_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heif = pytest.importorskip("pillow_heif")
    plain = np.full((16, 8, 3), (200, 100, 50), np.uint8)
    image = Image.fromarray(plain)
    save(image, tmp_path / "a.avif")
    heif.from_pillow(image).save(tmp_path / "a.heic", quality=90)
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.heic").read_bytes())
    files = [ImageFile.at(tmp_path / name) for name in ("a.avif", "a.heic", "b.jpg")]
    x, looks = decode_all(files, survey(files), (16, 8), 3)
    assert [(look.width, look.height, look.error) for look in looks] == [(8, 16, "")] * 3
    assert np.abs(x.astype(int) - plain).max() <= 6
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    looks = survey(files)
    assert not looks[0].error
    assert all("pip install 'gradlab[heic]'" in look.error for look in looks[1:])


def test_a_sideways_photo_is_turned_in_webp_avif_and_heic_too(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, :16] = 255  # white on the left; turned by 6 (a quarter clockwise) it is on top
    image, exif = Image.fromarray(picture), Image.Exif()
    exif[0x0112] = 6
    heif.register_heif_opener()
    turned = exif.tobytes()
    for name in ("a.webp", "a.avif", "a.heic"):
        image.save(tmp_path / name, exif=turned, quality=95)
    for name in ("a.webp", "a.avif", "a.heic"):
        file = ImageFile.at(tmp_path / name)
        (look,) = survey([file])
        assert (look.width, look.height) == (16, 32), name
        upright = decode(file, (32, 16), 3)
        assert upright[:14].min() > 200 and upright[18:].max() < 50, name
