"""Probes: what is wrong with any `nn.Module`, and what happens inside it."""

from gradlab.insight.finding import Finding, refuse
from gradlab.insight.nonfinite import NonFinite, watch
from gradlab.insight.preflight import preflight

__all__ = ["Finding", "NonFinite", "preflight", "refuse", "watch"]
