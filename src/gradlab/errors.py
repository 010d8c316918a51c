"""What gradlab raises when a person can put the matter right.

A message says what was expected, what was found, where, and what to do. The command line prints
it and exits with code 2; from Python it is an ordinary exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from gradlab.text import brief

MANY = 40
"""More names than these are not listed where the nearest one is likely to be meant."""


class UserError(Exception):
    """A mistake in what gradlab was given: a name, a file, a value, a dataset, a run."""


class UnknownName(UserError):
    """A name that no registry knows; the message holds the nearest known ones."""


class MissingExtra(UserError):
    """An optional package that is not installed; the message names the extra that brings it."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for a name that is not known, with the nearest known names.

    >>> print(unknown("recipe", "lenet", ["lenet5", "mlp"]))
    unknown recipe 'lenet': did you mean 'lenet5'? Known: lenet5, mlp
    """
    names = sorted(known)
    near = difflib.get_close_matches(name[:200], names, n=3, cutoff=0.5)
    hint = f": did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    listed = f" Known: {', '.join(names)}" if names and not (near and len(names) > MANY) else ""
    return UnknownName(f"unknown {kind} {brief(name)}{hint}{listed}")


def missing_extra(package: str, extra: str) -> MissingExtra:
    """The error for an optional package that is not installed."""
    return MissingExtra(
        f"this needs the package {package!r}, which is not installed: "
        f"pip install 'gradlab[{extra}]'"
    )
