"""The page that a run leaves behind."""

from gradlab.report.writing import Gallery, write

__all__ = ["Gallery", "write"]
