"""The one form in which recipes, datasets, models, tasks and probes are registered and found."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

from gradlab.errors import UserError, unknown

if TYPE_CHECKING:
    from gradlab.config import Config

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind: a decorator puts one in, a lookup takes it out.

    `modules` are imported at the first lookup, so that to know the registry costs nothing.

    >>> shapes = Registry("shape")
    >>> @shapes.register("square")
    ... def square(side: int, *, filled: bool = True): return side * side
    >>> shapes["square"](3)
    9
    >>> shapes["sqare"]
    Traceback (most recent call last):
    gradlab.errors.UnknownName: unknown shape 'sqare': did you mean 'square'? Known: square
    """

    def __init__(self, kind: str, modules: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self._modules = modules
        self._loaded = False
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that registers what it decorates; a name registered twice raises."""

        def put(entry: T) -> T:
            self.add(name, entry)
            return entry

        return put

    def add(self, name: str, entry: T) -> None:
        """Register `entry` under `name`; ValueError when the name is taken."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry

    def _load(self) -> dict[str, T]:
        if not self._loaded:
            for module in self._modules:
                importlib.import_module(module)
            self._loaded = True  # now, not before: another thread must not see half of it
        return self._entries

    def __getitem__(self, name: str) -> T:
        entries = self._load()
        if name not in entries:
            raise unknown(self.kind, name, entries)
        return entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._load()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._load()))

    def __len__(self) -> int:
        return len(self._load())

    def options(self, name: str) -> type[Config]:
        """The options of an entry as a configuration class: its keyword-only parameters.

        A parameter's annotation gives the type (`Annotated[int, Field(description=...)]` adds a
        description), its default the default.
        """
        return options_of(self[name], f"{self.kind} {name!r}")

    def check(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """`given` as valid options of the entry, converted to their types; UserError if not.

        Values may be text as typed on a command line, Python values, or what JSON makes of them;
        what comes back is the same for all three.

        >>> shapes = Registry("shape")
        >>> @shapes.register("star")
        ... def star(*, points: int = 5, radii: tuple[float, ...] = (), filled: bool = False): ...
        >>> shapes.check("star", {"radii": "1,2.5", "filled": "true"})
        {'radii': (1.0, 2.5), 'filled': True}
        """
        from gradlab.dotted import is_sequence, split_typed, validate

        options = self.options(name)
        tree = {}
        for key, value in given.items():
            if key not in options.model_fields:
                raise unknown(f"option of {self.kind} {name!r}:", key, options.model_fields)
            many = is_sequence(options.model_fields[key].annotation)
            tree[key] = split_typed(value) if many else value
        config = validate(options, tree, where=f"{self.kind} {name!r}")
        return {key: getattr(config, key) for key in given}


def options_of(entry: Any, what: str) -> type[Config]:
    """A configuration class made of the keyword-only parameters of a function or class."""
    from pydantic import create_model

    from gradlab.config import Config

    function = entry.__init__ if inspect.isclass(entry) else entry
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.default is inspect.Parameter.empty:
            raise UserError(f"{what}: option {key!r} has no default value")
        fields[key] = (hints.get(key, Any), parameter.default)
    return create_model("Options", __base__=Config, **fields)
