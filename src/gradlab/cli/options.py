"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from inspect import Parameter as Argument
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from gradlab.config import Runtime

Json = Annotated[bool, Parameter(negative="", help="print one JSON object on stdout")]
Fields = Annotated[
    str, Parameter(help="any other field of the recipe, as --patience 5 or --schedule.patience 5")
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
        from gradlab.config import Runtime
        from gradlab.dotted import override

        return override(Runtime(), self.given, where="runtime")


NO_MACHINE = Machine()
DOT = ":"
"""Stands for the dot in an option's name while the parser reads it."""


def dotted(fields: dict[str, str]) -> dict[str, str]:
    """Fields by their dotted names."""
    return {key.replace(DOT, "."): value for key, value in fields.items()}


def joined(tokens: list[str], declared: Collection[str] = ()) -> list[str]:
    """Options in the form that the parser reads: hyphens, and dotted ones as one token, no dots.

    `declared` are those that a command has beside the fields of a recipe (nothing: it takes no
    fields): any other without a value is a flag, and true.

    >>> joined(["train", "mlp", "--optimizer.lr", "0.1", "--data.augment.flip", "--json"])
    ['train', 'mlp', '--optimizer:lr=0.1', '--data:augment:flip=true', '--json']
    >>> joined(["train", "mlp", "--batch_size", "32", "--weight_decay=0.1"])
    ['train', 'mlp', '--batch-size', '32', '--weight-decay=0.1']
    >>> joined(["train", "mlp", "--flip", "--json"], {"json"})
    ['train', 'mlp', '--flip=true', '--json']
    """
    found, rest = [], list(tokens)
    while rest:
        token = rest.pop(0)
        option, has_value, value = token.partition("=")
        if not option.startswith("--"):
            found.append(token)
            continue
        if "." not in option:
            option = option.replace("_", "-")
            bare = not has_value and (not rest or rest[0].startswith("--"))
            flag = bool(declared) and bare and option.removeprefix("--") not in declared
            found.append(f"{option}=true" if flag else option + has_value + value)
            continue
        if not has_value:
            typed = bool(rest) and not rest[0].startswith("--")
            value = rest.pop(0) if typed else "true"
        found.append(f"{option.replace('.', DOT)}={value}")
    return found


def declared(command: Callable[..., Any]) -> frozenset[str]:
    """The options of a command that takes fields of a recipe beside them; else nothing.

    >>> def show(recipe, /, *, json=False, **fields): ...
    >>> sorted(declared(show))
    ['help', 'json', 'no-json', 'version']
    """
    arguments = signature(command).parameters
    if all(one.kind is not Argument.VAR_KEYWORD for one in arguments.values()):
        return frozenset()
    names = [name.replace("_", "-") for name, one in arguments.items() if one.kind is _NAMED]
    machine = vars(NO_MACHINE) if "machine" in names else ()
    return frozenset(("help", "version", *names, *(f"no-{n}" for n in names), *machine))


_NAMED = Argument.KEYWORD_ONLY
