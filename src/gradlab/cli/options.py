"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from gradlab.config import Runtime

Json = Annotated[bool, Parameter(negative="", help="print one JSON object on stdout")]
Fields = Annotated[
    str, Parameter(help="any other field of the recipe by its dotted name: --optimizer.lr 0.01")
]
Split = Literal["train", "val", "test"]


@Parameter(name="*")
@dataclass(frozen=True)
class Machine:
    """Where and how a command computes; nothing of it belongs to the recipe."""

    device: Annotated[str | None, Parameter(help="auto, cpu, cuda or cuda:N")] = None
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None, Parameter(help="of the arithmetic")
    ] = None
    threads: Annotated[
        int | None, Parameter(help="of the processor (0: by the size of a batch's work)")
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """What a person has named."""
        return {key: value for key, value in vars(self).items() if value is not None}

    @property
    def runtime(self) -> Runtime:
        """What was named, the rest left open."""
        from gradlab.config import Runtime, override

        return override(Runtime(), self.given, where="runtime")


NO_MACHINE = Machine()
DOT = ":"
"""Stands for the dot in an option's name while the parser reads it."""


def dotted(fields: dict[str, str]) -> dict[str, str]:
    """Fields by their dotted names."""
    return {key.replace(DOT, "."): value for key, value in fields.items()}


def joined(tokens: list[str]) -> list[str]:
    """Dotted options in the form that the parser reads: one token each, no dots.

    >>> joined(["train", "mlp", "--optimizer.lr", "0.1", "--data.augment.flip", "--json"])
    ['train', 'mlp', '--optimizer:lr=0.1', '--data:augment:flip=true', '--json']
    """
    found, rest = [], list(tokens)
    while rest:
        token = rest.pop(0)
        option, has_value, value = token.partition("=")
        if not option.startswith("--") or "." not in option:
            found.append(token)
            continue
        if not has_value:
            typed = bool(rest) and not rest[0].startswith("--")
            value = rest.pop(0) if typed else "true"
        found.append(f"{option.replace('.', DOT)}={value}")
    return found
