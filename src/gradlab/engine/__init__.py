"""The loop (`fit`), optimizers and schedules, the run folder, observers."""

from gradlab.engine.fit import Diverged, Interrupted, Observer, Trainable, fit
from gradlab.engine.record import Progress, Record
from gradlab.engine.run import RunFolder
from gradlab.engine.runtime import Generators, Setup, resolve, seeded
from gradlab.engine.updater import Updater

__all__ = [
    "Diverged",
    "Generators",
    "Interrupted",
    "Observer",
    "Progress",
    "Record",
    "RunFolder",
    "Setup",
    "Trainable",
    "Updater",
    "fit",
    "resolve",
    "seeded",
]
