"""The version of gradlab; a run records it."""

__version__ = "0.1.0"
