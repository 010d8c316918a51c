"""Where examples come from and how they become batches."""

from gradlab.data.dataset import Dataset, Schema, Split
from gradlab.data.sources import datasets, load

__all__ = ["Dataset", "Schema", "Split", "datasets", "load"]
