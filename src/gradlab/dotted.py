"""Configurations by the dotted names of their fields: checked, changed, listed."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gradlab.errors import UserError, unknown
from gradlab.text import brief

C = TypeVar("C", bound=BaseModel)


def validate(config: type[C], value: Mapping[str, Any], where: str) -> C:
    """`value` as a configuration; a UserError names each field that does not fit."""
    try:
        return config.model_validate(value)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            field = ".".join(str(part) for part in item["loc"]) or "value"
            if item["type"] == "extra_forbidden":
                lines.append(str(_unknown_field(config, item["loc"])))
            else:
                found = "" if item["type"] == "missing" else f", found {brief(item['input'])}"
                lines.append(f"{field}: {item['msg'].lower()}{found}")
        raise UserError(f"{where}: " + "; ".join(lines)) from None


def override(recipe: C, changes: dict[str, Any], where: str = "recipe") -> C:
    """`recipe` with fields replaced by dotted name; unknown names are refused with the nearest.

    >>> from gradlab.config import Choice, Recipe
    >>> mine = override(Recipe(name="a", model=Choice(name="mlp")), {"optimizer.lr": "0.5"})
    >>> mine.optimizer.lr
    0.5
    """
    tree = recipe.model_dump()
    for dotted, value in _flat(changes):
        parts = dotted.replace("-", "_").split(".")
        node, kind = tree, _Field(type(recipe))
        for depth, part in enumerate(parts):
            if not kind.open and part not in kind.names:
                raise unknown("field", dotted, field_names(type(recipe)))
            if depth < len(parts) - 1:
                node = node.setdefault(part, {})
                kind = kind.child(part)
                if not isinstance(node, dict) or not (kind.open or kind.names):
                    raise unknown("field", dotted, field_names(type(recipe)))
        leaf = kind.child(parts[-1])
        if leaf.names and "name" in leaf.names and isinstance(value, str):
            node[parts[-1]] = {**_kept(node.get(parts[-1]), leaf, value), "name": value}
        else:
            node[parts[-1]] = split_typed(value) if leaf.many else value
    return validate(type(recipe), tree, where)


def _flat(changes: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of changes, which may be nested instead of dotted."""
    for key, value in changes.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def field_names(config: type[BaseModel], prefix: str = "") -> list[str]:
    """The dotted names of all fields, those of inner configurations included."""
    names = []
    for key in config.model_fields:
        kind = _Field(config).child(key)
        names.append(prefix + key)
        if kind.config is not None:
            names += field_names(kind.config, f"{prefix}{key}.")
    return names


def field_table(config: BaseModel, prefix: str = "") -> list[tuple[str, str, str]]:
    """Dotted name, value and meaning of every field of a configuration."""
    rows = []
    for key, info in type(config).model_fields.items():
        value = getattr(config, key)
        if isinstance(value, BaseModel):
            rows += field_table(value, f"{prefix}{key}.")
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            rows += [
                row
                for index, item in enumerate(value)
                for row in field_table(item, f"{prefix}{key}[{index}].")
            ]
        else:
            rows.append((prefix + key, str(value), info.description or ""))
    for key, value in (config.model_extra or {}).items():
        rows.append((prefix + key, str(value), "option"))
    return rows


class _Field:
    """What `override` needs to know of a field: an inner configuration, a sequence, or a value."""

    def __init__(self, annotation: Any) -> None:
        options = get_args(annotation) if get_origin(annotation) in _UNIONS else (annotation,)
        configs = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        self.config: type[BaseModel] | None = configs[0] if configs else None
        self.names = set(self.config.model_fields) if self.config else set()
        self.open = self.config is not None and self.config.model_config.get("extra") == "allow"
        self.many = is_sequence(annotation)

    def child(self, name: str) -> _Field:
        if self.config is None or name not in self.config.model_fields:
            return _Field(Any)
        return _Field(self.config.model_fields[name].annotation)


_UNIONS = (Union, types.UnionType)


def _kept(old: Any, kind: _Field, name: str) -> dict[str, Any]:
    """What stays when an inner configuration is renamed: nothing of another choice's options."""
    if not isinstance(old, dict) or (kind.open and old.get("name") != name):
        return {}
    return old


def is_sequence(annotation: Any) -> bool:
    """Whether a field of this type takes several values."""
    options = get_args(annotation) if get_origin(annotation) in _UNIONS else (annotation,)
    return any(get_origin(option) in (tuple, list) for option in options)


def split_typed(value: Any) -> Any:
    """`a,b` as typed on a command line, as a sequence; anything else unchanged."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.strip("[]()").split(",") if part.strip()]


def _unknown_field(config: type[BaseModel], location: tuple[int | str, ...]) -> UserError:
    return unknown("field", ".".join(str(part) for part in location), field_names(config))
