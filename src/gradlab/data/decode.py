"""Image files as arrays: each is decoded once, to uint8 H W C of the size that is trained on.

What a camera or a drawing program writes is brought to one form, and said in the notes of the
dataset: an image is turned upright by its EXIF orientation; of an animation the first frame is
taken; transparent parts are laid on white; 16 bits become 8; CMYK and palettes become colour. A
file that cannot be read, and a decompression bomb, is refused with its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gradlab import machine, paths
from gradlab.config import DataConfig
from gradlab.errors import UserError, missing_extra
from gradlab.text import one_line
from gradlab.wording import some

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may be asked to open; others run programs (EPS) or are no images (PDF)."""
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
"""Marks of HEIC, which a package of its own reads (the extra `heic`)."""
DEFAULT_SIZE = 64
"""Height and width where the images of a set differ in size and none is asked for."""
SMALL = 128 * 128
"""Images of fewer pixels decode faster on one thread: the work is mostly Python's."""

_GREY_MODES = ("1", "L", "LA", "La", "I", "F")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ImageFile:
    """An image that is not read yet: what it is called, and how to open it for reading."""

    name: str
    open: Callable[[], IO[bytes]]
    path: Path | None = None
    """Where it is, if it is a file of its own."""

    @classmethod
    def at(cls, path: Path, name: str = "") -> ImageFile:
        """The image file at a path; its name is written without control characters."""
        return cls(one_line(name or str(path)), lambda: paths.open_regular(path), path)


@dataclass(frozen=True)
class Look:
    """What an image file is, as far as it was looked at; `error` says why it cannot be read.

    `mode` is Pillow's: "L" grey, "RGB" colour, "P" palette, "I;16" grey of 16 bits, "CMYK" print.
    """

    name: str
    width: int = 0
    height: int = 0
    mode: str = ""
    animated: bool = False
    transparent: bool = False
    error: str = ""

    @property
    def grey(self) -> bool:
        """Whether it has one channel (beside transparency)."""
        return self.mode in _GREY_MODES or self.mode.startswith("I;16")


def survey(files: Sequence[ImageFile]) -> list[Look]:
    """A look at the header of each file; nothing is decoded."""
    return in_threads(_look, files)


def decode_all(
    files: Sequence[ImageFile], looks: Sequence[Look], shape: tuple[int, int], channels: int
) -> tuple[np.ndarray, list[Look]]:
    """All images as one array (uint8 N H W C), and the looks again, with what went wrong.

    `shape` is H W. A file that cannot be decoded leaves its place in the array undefined. UserError
    when memory does not suffice.
    """
    x = in_memory(len(files), shape, channels)

    def decode_one(index: int) -> Look:
        look = looks[index]
        if look.error:
            return look
        try:
            x[index] = decode(files[index], shape, channels)
        except Exception as error:  # Pillow's decoders raise whatever their formats bring up
            return replace(look, error=reason(error))
        return look

    small = all(look.width * look.height < SMALL for look in looks)
    return x, in_threads(decode_one, range(len(files)), workers=1 if small else 0)


def decode(file: ImageFile, shape: tuple[int, int], channels: int) -> np.ndarray:
    """One image as uint8 H W C. Raises what Pillow raises when the file cannot be decoded."""
    with file.open() as stream, opened(stream) as image:
        # A JPEG can be decoded at 1/2, 1/4 or 1/8: twice what is needed keeps it sharp.
        image.draft(None, (2 * shape[1], 2 * shape[0]))
        image.load()
        return to_array(image, shape, channels)


def opened(stream: IO[bytes]) -> Image.Image:
    """An image whose header is read; it is told by its content, whatever its name says.

    Raises what Pillow raises, and UserError where the package is missing that reads HEIC.
    """
    head = stream.read(32)
    stream.seek(0)
    if head[4:8] == b"ftyp" and any(mark in head[8:] for mark in _HEIF):
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            raise missing_extra("pillow-heif", "heic") from None
        register_heif_opener()
        return Image.open(stream, formats=("HEIF",))
    Image.init()
    return Image.open(stream, formats=[name for name in FORMATS if name in Image.OPEN])


def to_array(image: Image.Image, shape: tuple[int, int], channels: int) -> np.ndarray:
    """A loaded image as uint8 H W C: upright, 8 bits, without transparency, of this form.

    Another shape is resized on the side that is relatively shorter, then cropped at the centre.
    """
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray(pixels((np.asarray(image).astype(np.int64) + 128) // 257))
    elif image.mode == "F":
        image = Image.fromarray(pixels(np.asarray(image)))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    height, width = shape
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


def in_memory(count: int, shape: tuple[int, int], channels: int) -> np.ndarray:
    """Room for decoded images (uint8 N H W C); UserError when memory does not suffice."""
    size, free = count * shape[0] * shape[1] * channels, machine.memory()
    try:
        if free is None or size <= free:
            return np.empty((count, *shape, channels), np.uint8)
    except MemoryError:
        pass
    there = "" if free is None else f", {free / 1e9:.1f} GB are free"
    raise UserError(
        f"{count:,} images of {shape[1]}x{shape[0]} (width x height) take {size / 1e9:.1f} GB of "
        f"memory{there}: choose a smaller --data.image_size"
    )


def refit(x: np.ndarray, shape: tuple[int, int], channels: int) -> np.ndarray:
    """Decoded images (uint8 N H W C) in another form; `x` itself when it has that form."""
    if x.shape[1:] == (*shape, channels):
        return x
    rows = x[..., 0] if x.shape[-1] == 1 else x
    out = in_memory(len(x), shape, channels)
    for index, row in enumerate(rows):
        out[index] = to_array(Image.fromarray(row), shape, channels)
    return out


def pixels(values: np.ndarray) -> np.ndarray:
    """Numbers as uint8: floats from 0..1, whole numbers from 0..255; ValueError for others.

    >>> pixels(np.array([0.0, 0.5, 1.0])).tolist()
    [0, 128, 255]
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "biuf":
        raise ValueError(f"its type is {values.dtype}, expected numbers")
    top = 255 if values.dtype.kind in "iu" else 1
    if values.size and not (values.min() >= 0 and values.max() <= top):
        low, high = values.min(), values.max()
        raise ValueError(f"its values ({values.dtype}) go from {low} to {high}, not 0 to {top}")
    scaled: np.ndarray = values if top == 255 else np.rint(values * np.float64(255))
    return scaled.astype(np.uint8)


def common_form(
    looks: Sequence[Look], config: DataConfig
) -> tuple[tuple[int, int], int, tuple[str, ...]]:
    """The H W and the channels that all images of a set are brought to, and what to say of it.

    Images of one size stay as they are; others go to 64x64, if no size is asked for.
    """
    good = [look for look in looks if not look.error]
    sizes = {(look.width, look.height) for look in good} or {(DEFAULT_SIZE, DEFAULT_SIZE)}
    grey = [look for look in good if look.grey]
    width, height = min(sizes) if len(sizes) == 1 else (DEFAULT_SIZE, DEFAULT_SIZE)
    height, width = config.size or (height, width)
    channels = config.channels or (1 if good and len(grey) == len(good) else 3)
    notes = []
    if sizes != {(width, height)}:
        small, large = (f"{w}x{h}" for w, h in (min(sizes), max(sizes)))
        found = f"all {small}" if len(sizes) == 1 else f"from {small} to {large}"
        chosen = "" if config.size else "; choose another size with --data.image_size"
        notes.append(
            f"images: {found} (width x height), brought to {width}x{height}: resized, and cropped "
            f"at the centre where the shape is another{chosen}"
        )
    return (height, width), channels, (*notes, *conversions(good, channels))


def conversions(looks: Sequence[Look], channels: int) -> tuple[str, ...]:
    """What is said of images that are not simply 8-bit grey or colour, of `channels` channels."""
    other = "colour, converted to grey" if channels == 1 else "grey, converted to colour"
    kinds = {
        other: [look for look in looks if look.grey != (channels == 1)],
        "animated: the first frame is taken": [look for look in looks if look.animated],
        "of 16 bits or more: read as 8 bits": [look for look in looks if look.mode[0] in "IF"],
        "CMYK, converted": [look for look in looks if look.mode == "CMYK"],
        "transparent: laid on white": [look for look in looks if look.transparent],
    }
    return tuple(
        f"{len(found)} of {len(looks)} images {'is' if len(found) == 1 else 'are'} {what} "
        f"({some(look.name for look in found)})"
        for what, found in kinds.items()
        if found
    )


def unreadable(where: str, looks: Iterable[Look]) -> UserError:
    """The error for images that cannot be read: names up to ten of them and the reasons."""
    bad = [look for look in looks if look.error]
    lines = [f"  {look.name}: {look.error}" for look in bad[:10]]
    if len(bad) > 10:
        lines.append(f"  and {len(bad) - 10} more")
    count = "1 image" if len(bad) == 1 else f"{len(bad)} images"
    return UserError("\n".join([f"{where}: {count} cannot be read:", *lines]))


def _look(file: ImageFile) -> Look:
    try:
        with file.open() as stream, opened(stream) as image:
            width, height = image.size
            if _orientation(image) >= 5:  # lies on its side
                width, height = height, width
            # A photo of two views (MPO) holds the photo first: nothing to say of it.
            moving = image.format != "MPO" and getattr(image, "is_animated", False)
            return Look(file.name, width, height, image.mode, moving, image.has_transparency_data)
    except Exception as error:  # as in `decode_all`
        return Look(file.name, error=reason(error))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8; 1 is upright. A broken EXIF block does not spoil an image."""
    if "exif" not in image.info:
        return 1
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return value if value in range(1, 9) else 1


def reason(error: Exception) -> str:
    """Why an image cannot be read, in words."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no image, or of a kind that is not read"
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"it has more than {limit:,} pixels (a decompression bomb?)"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return one_line(str(error)) or type(error).__name__


def in_threads(
    function: Callable[[_Item], _Result], items: Sequence[_Item], workers: int = 0
) -> list[_Result]:
    """`function` of each item, in order; Pillow lets other threads run while it decodes."""

    def run(part: Sequence[_Item]) -> list[_Result]:
        return [function(item) for item in part]

    workers = workers or min(8, machine.threads())
    step = max(1, min(256, len(items) // (4 * workers)))
    parts = [items[start : start + step] for start in range(0, len(items), step)]
    with ThreadPoolExecutor(workers) as pool:
        return [result for results in pool.map(run, parts) for result in results]
