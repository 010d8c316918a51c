"""What is delicate in a step, once: precision, accumulation, clipping, schedule and their order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from gradlab.config import OptimizerConfig, Plan, ScheduleConfig
from gradlab.engine.schedule import factor
from gradlab.engine.runtime import Setup
from gradlab.errors import UserError


class Divisible(Protocol):
    """A batch that can be cut into parts and knows how many examples it has."""

    def __len__(self) -> int: ...

    def parts(self, count: int) -> Sequence[Divisible]:
        """The batch in `count` parts of nearly equal size."""


B = TypeVar("B", bound=Divisible)


class Updater:
    """Takes one optimizer step for each batch.

    The loss of a batch is the mean over its examples, so that `accumulate` changes the memory a
    step needs and not its result. `parameters` come in groups, by name, each with a factor of the
    learning rate; those that need no gradient are left as they are.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[float, list[tuple[str, nn.Parameter]]]],
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        plan: Plan,
        setup: Setup,
        steps_per_epoch: int,
    ) -> None:
        groups = list(parameters)
        self.parameters = [value for _, named in groups for _, value in named]
        if not any(value.requires_grad for value in self.parameters):
            raise UserError("there is nothing to train: no parameter requires a gradient")
        self.optimizer = build(groups, optimizer)
        self.schedule = schedule
        self.accumulate = plan.accumulate
        self.clip_norm = plan.clip_norm
        self.autocast = setup.autocast
        self.steps_per_epoch = steps_per_epoch
        self.total = plan.epochs * steps_per_epoch
        self.step = 0
        self.plateau = {"epoch": -1, "best": None, "stale": 0, "factor": 1.0}
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]

    def update(self, loss: Callable[[B], Tensor], batch: B) -> dict[str, Any]:
        """One step on `batch`: returns the loss (detached, on its device) and the learning rate."""
        lr = self._set_lr()
        self.optimizer.zero_grad(set_to_none=True)
        if self.accumulate == 1:
            with self.autocast():
                value = loss(batch)
            value.backward()  # type: ignore[no-untyped-call]
            mean = value.detach()
        else:
            mean = self._accumulate(loss, batch)
        if self.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.optimizer.step()
        self.step += 1
        return {"loss": mean, "lr": lr, "examples": len(batch)}

    def _accumulate(self, loss: Callable[[B], Tensor], batch: B) -> Tensor:
        mean = torch.zeros((), device=self.parameters[0].device)
        for part in batch.parts(self.accumulate):
            with self.autocast():
                value = loss(part) * (len(part) / len(batch))  # type: ignore[arg-type]
            value.backward()  # type: ignore[no-untyped-call]
            mean += value.detach()
        return mean

    def _set_lr(self) -> float:
        scale = factor(self.schedule, self.step, self.total, self.steps_per_epoch)
        scale *= self.plateau["factor"] or 1.0
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * scale
        return float(self._peaks[0] * scale)

    def observe(self, epoch: int, loss: float) -> None:
        """Tell a plateau schedule the val loss at the end of an epoch (once for each epoch)."""
        state: dict[str, Any] = self.plateau
        if self.schedule.name != "plateau" or epoch <= state["epoch"]:
            return
        state["epoch"] = epoch
        if state["best"] is None or loss < state["best"]:
            state.update(best=loss, stale=0)
            return
        state["stale"] += 1
        if state["stale"] > self.schedule.patience:
            state.update(stale=0, factor=state["factor"] * self.schedule.gamma)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, but the parameters."""
        slots = self.optimizer.state_dict()["state"]
        return {
            "step": self.step,
            "plateau": dict(self.plateau),
            "slots": {str(index): value for index, value in slots.items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.step = state["step"]
        self.plateau = state["plateau"]
        groups = self.optimizer.state_dict()["param_groups"]
        slots = {int(index): value for index, value in state["slots"].items()}
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        # Fused rules read memory as it lies: moments lie as their parameters do (channels last).
        for parameter, slot in self.optimizer.state.items():
            for name, value in slot.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    slot[name] = torch.empty_like(parameter).copy_(value)


def build(
    parameters: list[tuple[float, list[tuple[str, nn.Parameter]]]], config: OptimizerConfig
) -> torch.optim.Optimizer:
    """The optimizer of a configuration: weight decay on matrices and filters, or on all."""
    groups = []
    for scale, named in parameters:
        for decayed in (True, False):
            chosen = [v for _, v in named if (config.decay_all or v.ndim > 1) is decayed]
            if chosen:
                decay = config.weight_decay if decayed else 0.0
                groups.append({"params": chosen, "lr": config.lr * scale, "weight_decay": decay})
    return _RULES[config.name](groups, config)


def _eps(config: OptimizerConfig) -> dict[str, Any]:
    return {} if config.eps is None else {"eps": config.eps}


def _sgd(groups: Any, config: OptimizerConfig, momentum: float, nesterov: bool) -> Any:
    return torch.optim.SGD(groups, lr=config.lr, momentum=momentum, nesterov=nesterov, fused=True)


_RULES: dict[str, Callable[[Any, OptimizerConfig], torch.optim.Optimizer]] = {
    "sgd": lambda groups, c: _sgd(groups, c, 0.0, False),
    "momentum": lambda groups, c: _sgd(groups, c, c.momentum, False),
    "nesterov": lambda groups, c: _sgd(groups, c, c.momentum, True),
    "adagrad": lambda groups, c: torch.optim.Adagrad(groups, lr=c.lr, foreach=True, **_eps(c)),
    "rmsprop": lambda groups, c: torch.optim.RMSprop(groups, lr=c.lr, foreach=True, **_eps(c)),
    "adam": lambda groups, c: torch.optim.Adam(
        groups, lr=c.lr, betas=c.betas, fused=True, **_eps(c)
    ),
    "adamw": lambda groups, c: torch.optim.AdamW(
        groups, lr=c.lr, betas=c.betas, fused=True, **_eps(c)
    ),
}


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the modes are put back at the end."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
