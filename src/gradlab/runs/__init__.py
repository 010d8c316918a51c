"""Runs, opened: evaluated, predicted with, looked into."""

from gradlab.runs.ensemble import Ensemble
from gradlab.runs.opening import load
from gradlab.runs.run import Run

__all__ = ["Ensemble", "Run", "load"]
