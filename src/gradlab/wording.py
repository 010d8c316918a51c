"""Lists in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SHOWN = 10
"""So many files, rows or columns are named."""


def counted(count: int, what: str) -> str:
    """So many things.

    >>> counted(1, "epoch"), counted(2000, "step")
    ('1 epoch', '2,000 steps')
    """
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def some(names: Iterable[str], limit: int = 3) -> str:
    """The first names, and how many there are beside.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def shown(places: Sequence[str], count: int = 0) -> tuple[str, ...]:
    """The first places, and how many there are beside (of `count`, where some are not given)."""
    more = (count or len(places)) - SHOWN
    return (*places[:SHOWN], *([f"and {more} more"] if more > 0 else []))
