"""What an evaluation finds beside its metrics: each file has a part, and what makes it."""

from __future__ import annotations

from gradlab.tasks.findings.coefficients import Coefficients, coefficients
from gradlab.tasks.findings.confusion import Confusion, ConfusionCollector
from gradlab.tasks.findings.groups import GroupCollector, GroupErrors, Groups
from gradlab.tasks.findings.importance import Importance, importance
from gradlab.tasks.findings.mistakes import WORST, Mistake, MistakeCollector, Mistakes
from gradlab.tasks.findings.reliability import Reliability, ReliabilityCollector
from gradlab.tasks.findings.residuals import ResidualCollector, Residuals

__all__ = [
    "WORST",
    "Coefficients",
    "Confusion",
    "ConfusionCollector",
    "GroupCollector",
    "GroupErrors",
    "Groups",
    "Importance",
    "Mistake",
    "MistakeCollector",
    "Mistakes",
    "Reliability",
    "ReliabilityCollector",
    "ResidualCollector",
    "Residuals",
    "coefficients",
    "importance",
]
