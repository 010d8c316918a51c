"""Names from a person's data, as they may be written into a terminal or a message."""

from __future__ import annotations

import re
from typing import Any

# What a terminal obeys instead of showing: control characters (C0 without tab and newline, DEL,
# C1), separators of lines, marks and overrides of the direction of writing; and the halves of
# surrogate pairs, which stand for bytes of a file name that are not UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """`text` with everything that a terminal would obey written out as an escape.

    >>> print(printable("cat\\x1b[2J"), printable("a\\u202eb"))
    cat\\x1b[2J a\\u202eb
    """
    return _UNSAFE.sub(lambda found: _escaped(ord(found[0])), text)


def brief(value: Any, limit: int = 80) -> str:
    """`repr(value)`, with its middle left out where it is longer than `limit`.

    >>> brief("a" * 5000, 20)
    "'aaaaaaaa…aaaaaaaaa'"
    """
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        text = f"a {type(value).__name__}"
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[:half]}…{text[-(limit - 1 - half) :]}"


def _escaped(number: int) -> str:
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
