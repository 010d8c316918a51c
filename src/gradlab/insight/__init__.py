"""Probes: what is wrong with any `nn.Module`, and what happens inside it."""

from gradlab.insight.finding import Finding, refuse
from gradlab.insight.health import Health, Movement, frozen, look, moved, sketch, unregistered
from gradlab.insight.nonfinite import NonFinite, watch
from gradlab.insight.preflight import no_trace, preflight

__all__ = [
    "Finding",
    "Health",
    "Movement",
    "NonFinite",
    "frozen",
    "look",
    "moved",
    "no_trace",
    "preflight",
    "refuse",
    "sketch",
    "unregistered",
    "watch",
]
