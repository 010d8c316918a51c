"""What a probe says: findings, and the words that name a layer or a shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from gradlab.errors import UserError


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or looks so, and how to fix it.

    An error makes the training wrong or impossible; a warning may be meant. `code` is a stable
    name of the kind of finding.

    >>> print(Finding("error", "loss-shape", "the loss is 8 values", "take its mean"))
    error: the loss is 8 values. Fix: take its mean.
    """

    level: Literal["error", "warning"]
    code: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.level}: {self.what}. Fix: {self.fix}."


def refuse(findings: Iterable[Finding]) -> list[Finding]:
    """The warnings among `findings`; a UserError that holds every error, if there is one."""
    found = list(findings)
    errors = [finding for finding in found if finding.level == "error"]
    if errors:
        lines = [f"- {error.what}. Fix: {error.fix}." for error in errors]
        raise UserError("\n".join(["this would not train as it stands:", *lines]))
    return found


def layer_words(name: str, module: nn.Module) -> str:
    """A module in words, by its name in the model ("" is the model itself).

    >>> layer_words("fc2", nn.Linear(2, 2))
    "layer 'fc2' (Linear)"
    """
    kind = type(module).__name__
    return f"layer {name!r} ({kind})" if name else f"the model ({kind})"


def shape_words(shape: Sequence[int]) -> str:
    """A shape in words.

    >>> shape_words((64, 1)), shape_words(())
    ('64 x 1', 'a scalar')
    """
    return " x ".join(map(str, shape)) if len(shape) else "a scalar"


def name_words(names: Sequence[str], most: int = 6) -> str:
    """The first names of a list, and how many more there are.

    >>> name_words(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in a tensor or in nested tuples, lists and dicts of them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(tuple(value.values()))
