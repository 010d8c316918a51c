"""Names from a person's data, as they may be written into a terminal or a message."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

# What a terminal obeys instead of showing: control characters (C0 without tab and newline, DEL,
# C1), separators of lines, marks and overrides of the direction of writing; and the halves of
# surrogate pairs, which stand for bytes of a file name that are not UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """`text` with everything that a terminal would obey written out as an escape.

    >>> print(printable("cat\\x1b[2J"), printable("a\\u202eb"), printable("caf\\udce9"))
    cat\\x1b[2J a\\u202eb caf\\xe9
    """
    return _UNSAFE.sub(lambda found: _escaped(ord(found[0])), text)


def one_line(text: str) -> str:
    r"""`printable`, with tabs and ends of lines written out too.

    >>> print(one_line("a\nb"))
    a\nb
    """
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def shortened(text: str, limit: int = 200) -> str:
    """`text`, with its middle left out where it is longer than `limit`.

    >>> shortened("0123456789" * 3, 11)
    '01234…56789'
    """
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[:half]}…{text[-(limit - 1 - half) :]}"


def quoted(name: str) -> str:
    """A name as it stands in a message.

    >>> print(quoted("a" * 5000 + "\\x1b"))  # doctest: +ELLIPSIS
    'aaa...…aaa...\\x1b'
    """
    return f"'{one_line(shortened(name))}'"


def width(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> width("cat"), width("\u732b")
    (3, 2)
    """
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def brief(value: Any, limit: int = 80) -> str:
    """`repr(value)`, with its middle left out where it is longer than `limit`.

    >>> brief("a" * 5000, 20)
    "'aaaaaaaa…aaaaaaaaa'"
    """
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        text = f"a {type(value).__name__}"
    return shortened(text, limit)


def _escaped(number: int) -> str:
    if 0xDC80 <= number <= 0xDCFF:  # the stand-in for a byte that is not UTF-8
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
