"""Tables and lines as people read them, on a terminal or in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gradlab.errors import UserError
from gradlab.measures import measure
from gradlab.text import one_line, printable


def say(text: str) -> None:
    """Text as people read it, whatever names stand in it."""
    print("\n".join(printable(line) for line in text.split("\n")))


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows under a header; names from a person's data are not read as markup."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in header:
        drawn.add_column(Text(one_line(name)), overflow="fold")  # wrapped, and nothing left out
    for row in rows:
        drawn.add_row(*(Text(one_line(str(cell))) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=10_000)  # cut for a person's screen only: a pipe gets it all
    try:
        console.print(drawn)
    except UnicodeEncodeError as error:
        raise UserError(f"the output cannot be written in {error.encoding}: set LANG") from None


def metric(name: str, value: float | None) -> str:
    """A metric as people write it; empty when there is none."""
    return "" if value is None else measure(name).text(value)
