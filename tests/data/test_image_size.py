from __future__ import annotations

import json
from typing import Any

import pytest

from gradlab.config import DataConfig
from gradlab.dotted import override
from gradlab.errors import UserError


@pytest.mark.parametrize(
    ("given", "kept", "size"),
    [
        (0, 0, None),
        ("0", 0, None),
        (32, 32, (32, 32)),
        ("32", 32, (32, 32)),
        ("64x48", "64x48", (48, 64)),  # width x height -> H W
        (" 64X48 ", "64x48", (48, 64)),
        ("064x048", "64x48", (48, 64)),
        ("48x48", 48, (48, 48)),
        ("4096x1", "4096x1", (1, 4096)),
    ],
)
def test_size_of_images(given: Any, kept: int | str, size: tuple[int, int] | None) -> None:
    config = override(DataConfig(), {"image_size": given})
    assert (config.image_size, config.size) == (kept, size)
    assert DataConfig.model_validate(json.loads(config.model_dump_json())) == config


TEXTS = (
    "",
    "x",
    "4x",
    "x4",
    "0x5",
    "5x0",
    "0x0",
    "-4",
    "4.5",
    "4x5x6",
    "4097",
    "\u0663",
    "9" * 5000,
)


@pytest.mark.parametrize("given", [*TEXTS, 4097, 10**12, True, None, 4.0, [4, 5]])
def test_what_is_no_size_of_images(given: Any) -> None:
    with pytest.raises(UserError, match=r"image_size: .*\(32\) or widthxheight \(64x48\)"):
        override(DataConfig(), {"image_size": given})
