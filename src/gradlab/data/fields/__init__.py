"""Fields: what one part of an example is. One file for each kind."""

from __future__ import annotations

from typing import Any

from gradlab.registry import Registry

fields: Registry[Any] = Registry(
    "field",
    (
        "gradlab.data.fields.image",
        "gradlab.data.fields.values",
        "gradlab.data.fields.table",
        "gradlab.data.fields.label",
        "gradlab.data.fields.number",
        "gradlab.data.fields.text",
        "gradlab.data.fields.series",
    ),
)
"""The kinds of field by their `type`; each entry is a class, see `gradlab.data.fields.base`."""
