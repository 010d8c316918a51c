"""A person's own learning rate schedule: one of torch's, stepped when its documentation says so."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR, ReduceLROnPlateau

from gradlab.errors import UserError

EACH_STEP = (OneCycleLR, CyclicLR)
"""Stepped after each batch; all others after each epoch, ReduceLROnPlateau with the val loss."""


class Scheduler:
    """Steps a torch schedule, and keeps its state and that of the optimizer's groups."""

    def __init__(self, given: Any, optimizer: Optimizer, steps_per_epoch: int) -> None:
        self.schedule, self.optimizer, self.steps_per_epoch = given, optimizer, steps_per_epoch
        if not all(callable(getattr(given, name, None)) for name in ("step", "state_dict")):
            raise UserError(
                f"schedule: expected a name, or a function that makes a schedule of "
                f"torch.optim.lr_scheduler from the optimizer, found {type(given).__name__}"
            )
        if getattr(given, "optimizer", optimizer) is not optimizer:
            raise UserError(
                "schedule: it is made for another optimizer than the one that trains: give "
                "schedule=lambda optimizer: ..., or make it from the optimizer given as optimizer="
            )
        self.waits = isinstance(given, ReduceLROnPlateau)
        self.when = "step" if isinstance(given, EACH_STEP) else "epoch"
        self.steps, self.epoch = 0, -1

    def stepped(self) -> None:
        """After an update."""
        self.steps += 1
        if self.when == "step" or (not self.waits and self.steps % self.steps_per_epoch == 0):
            self.schedule.step()

    def observe(self, epoch: int, loss: float) -> None:
        """After an epoch, once, with the val loss."""
        if self.waits and epoch > self.epoch:
            self.schedule.step(loss)
        self.epoch = max(self.epoch, epoch)

    def state(self) -> dict[str, Any]:
        """The schedule's state, and the numbers of the optimizer's groups that it has set."""
        groups = [
            {key: value for key, value in group.items() if key != "params"}
            for group in self.optimizer.param_groups
        ]
        state = {"schedule": self.schedule.state_dict(), "groups": groups}
        return {"steps": self.steps, "epoch": self.epoch, **_plain(state)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.steps, self.epoch = state["steps"], state["epoch"]
        self.schedule.load_state_dict(_restored(state["schedule"]))
        for group, saved in zip(
            self.optimizer.param_groups, _restored(state["groups"]), strict=True
        ):
            group.update(saved)


def _plain(tree: Any) -> Any:
    """A tree whose dictionaries have keys of text alone, as a checkpoint keeps them."""
    if isinstance(tree, dict):
        if all(isinstance(key, str) for key in tree):
            return {key: _plain(value) for key, value in tree.items()}
        return {_PAIRS: [[_plain(key), _plain(value)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        return [_plain(value) for value in tree]
    if tree is None or isinstance(tree, str | int | float):
        return tree
    if hasattr(tree, "item"):
        return tree.item()
    raise UserError(
        f"schedule: its state holds a {type(tree).__name__}, which no checkpoint keeps: use a "
        "schedule whose state_dict is numbers and text"
    )


def _restored(tree: Any) -> Any:
    """What `_plain` made plain."""
    if isinstance(tree, dict):
        if set(tree) == {_PAIRS}:
            return {key: _restored(value) for key, value in tree[_PAIRS]}
        return {key: _restored(value) for key, value in tree.items()}
    return [_restored(value) for value in tree] if isinstance(tree, list) else tree


_PAIRS = "$pairs"
