"""TensorBoard event files in the run's folder; the extra `tensorboard` brings the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradlab.engine.fit import Observer
from gradlab.engine.record import Progress
from gradlab.errors import missing_extra


class TensorBoard(Observer):
    """Writes each logged number as a scalar, `train/loss` and the like."""

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing_extra("tensorboard", "tensorboard") from None
        self.writer = SummaryWriter(str(run / "tensorboard"))

    def stepped(self, progress: Progress, line: dict[str, Any]) -> None:
        """Write a window of training steps."""
        self._write(line)

    def evaluated(self, progress: Progress, line: dict[str, Any]) -> None:
        """Write an evaluation."""
        self._write(line)

    def ended(self, progress: Progress) -> None:
        """Close the file."""
        self.writer.close()

    def _write(self, line: dict[str, Any]) -> None:
        for name, value in line.items():
            if name not in ("step", "epoch", "split", "steps"):
                self.writer.add_scalar(f"{line['split']}/{name}", value, line["step"])
