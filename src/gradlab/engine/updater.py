"""What is delicate in a step, once: precision, accumulation, clipping, schedule and their order."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Protocol, TypeVar

import torch
from pydantic import Field, TypeAdapter
from torch import Tensor, nn
from typing_extensions import TypedDict

from gradlab.config import OptimizerConfig, Plan, ScheduleConfig
from gradlab.engine.record import Count, Number, typed
from gradlab.engine.runtime import Setup
from gradlab.engine.schedule import factor
from gradlab.errors import UserError
from gradlab.text import brief


class Divisible(Protocol):
    """A batch that can be cut into parts and knows how many examples it has."""

    def __len__(self) -> int: ...

    def parts(self, count: int) -> Sequence[Divisible]:
        """The batch in `count` parts of nearly equal size."""


B = TypeVar("B", bound=Divisible)


class Plateau(TypedDict):
    """What a plateau schedule has seen."""

    epoch: Annotated[int, Field(strict=True, ge=-1)]
    """The last one that it was told of, from 0."""
    best: Number | None
    stale: Count
    factor: Annotated[Number, Field(gt=0)]
    """Of the learning rate now."""


class State(TypedDict):
    """What an updater saves: its step, its schedule, and the optimizer's slots by parameter."""

    step: Count
    plateau: Plateau
    slots: dict[Annotated[str, Field(pattern="^[0-9]{1,9}$")], dict[str, Any]]


_STATE = TypeAdapter(State)


class Updater:
    """Takes one optimizer step for each batch.

    The loss of a batch is the mean over its examples, so that `accumulate` changes the memory a
    step needs and not its result. `parameters` come in groups, by name, each with a factor of the
    learning rate; those that need no gradient are left as they are. `again` is the step at which
    the schedule begins anew (0: it does not), and the factor of the learning rate from then on.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[float, list[tuple[str, nn.Parameter]]]],
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        plan: Plan,
        setup: Setup,
        steps_per_epoch: int,
        again: tuple[int, float] = (0, 1.0),
        *,
        rule: torch.optim.Optimizer | None = None,
    ) -> None:
        """`rule` is a person's own optimizer of these parameters, in place of the configured one.

        Its learning rates are left as they are, unless a schedule is configured.
        """
        groups = list(parameters)
        self.parameters = [value for _, named in groups for _, value in named]
        if not any(value.requires_grad for value in self.parameters):
            raise UserError("there is nothing to train: no parameter requires a gradient")
        self.optimizer = build(groups, optimizer) if rule is None else rule
        self.slots = slots_of(optimizer) if rule is None else None
        self.schedule = schedule
        self._leaves_lr = rule is not None and schedule == ScheduleConfig()
        self.accumulate = plan.accumulate
        self.clip_norm = plan.clip_norm
        self.autocast = setup.autocast
        self.steps_per_epoch = steps_per_epoch
        self.total = plan.epochs * steps_per_epoch
        self.again = min(again[0], self.total), again[1]
        self.step = 0
        self.plateau: Plateau = {"epoch": -1, "best": None, "stale": 0, "factor": 1.0}
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        """The learning rate of each group, which the schedule multiplies."""

    def update(self, loss: Callable[[B], Tensor], batch: B) -> dict[str, Any]:
        """One step on `batch`: returns the loss (detached, on its device) and the learning rate."""
        lr = self._set_lr()
        self.optimizer.zero_grad(set_to_none=True)
        parts: Sequence[Any] = [batch] if self.accumulate == 1 else batch.parts(self.accumulate)
        losses = []
        for part in parts:
            with self.autocast():
                value = loss(part)
                if len(parts) > 1:
                    value = value * (len(part) / len(batch))
            value.backward()  # type: ignore[no-untyped-call]
            losses.append(value.detach())
        if self.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.optimizer.step()
        self.step += 1
        mean = torch.stack(losses).sum() if len(losses) > 1 else losses[0]
        return {"loss": mean, "lr": lr, "examples": len(batch)}

    def _set_lr(self) -> float:
        if self._leaves_lr:
            return float(self.optimizer.param_groups[0]["lr"])
        border, times = self.again
        first, last, scale = (0, border, 1.0) if self.step < border else (border, self.total, times)
        scale *= factor(self.schedule, self.step - first, last - first, self.steps_per_epoch)
        scale *= self.plateau["factor"]
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * scale
        return float(self.peaks[0] * scale)

    def observe(self, epoch: int, loss: float) -> None:
        """Tell a plateau schedule the val loss at the end of an epoch (once for each epoch)."""
        state = self.plateau
        if self.schedule.name != "plateau" or epoch <= state["epoch"]:
            return
        state["epoch"] = epoch
        best = state["best"]
        if math.isfinite(loss) and (best is None or loss < best):
            state["best"], state["stale"] = loss, 0
            return
        state["stale"] += 1
        if state["stale"] > self.schedule.patience:
            state["stale"], state["factor"] = 0, state["factor"] * self.schedule.gamma

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, but the parameters."""
        slots = self.optimizer.state_dict()["state"]
        return {
            "step": self.step,
            "plateau": self.plateau.copy(),
            "slots": {str(index): value for index, value in slots.items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned; UserError when that was of another optimizer.

        A fused rule reads a slot's memory as if it were its parameter's, so that one of another
        shape would end the process: nothing is taken over before all of it fits.
        """
        saved = typed(_STATE, state, "the optimizer's state")
        slots = {int(index): slot for index, slot in saved["slots"].items()}
        self._check(slots)
        self.step = saved["step"]
        self.plateau = saved["plateau"]
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        # Fused rules read memory as it lies: moments lie as their parameters do (channels last).
        for parameter, slot in self.optimizer.state.items():
            for name, value in slot.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    slot[name] = torch.empty_like(parameter).copy_(value)

    def _check(self, slots: dict[int, dict[str, Any]]) -> None:
        """UserError unless the slots are of this rule and these parameters."""
        own = [value for group in self.optimizer.param_groups for value in group["params"]]
        one = torch.empty(())
        if self.slots is None:  # of a person's own rule, which alone knows them
            if any(index >= len(own) for index in slots):
                raise UserError(
                    f"the optimizer's state: expected {len(own)} parameters; {_FOREIGN}"
                )
            return
        for index, slot in slots.items():
            if index >= len(own) or set(slot) != set(self.slots):
                problem = (
                    f"expected {len(own)} parameters with {_listed(self.slots)}, found "
                    f"{_listed(slot)} of parameter {index}"
                )
                raise UserError(f"the optimizer's state: {problem}; {_FOREIGN}")
            for name, value in slot.items():
                expected, found = _kind(own[index] if self.slots[name] else one), _kind(value)
                if found != expected:
                    raise UserError(
                        f"the optimizer's state: {name} of parameter {index}: expected {expected}, "
                        f"found {found}; {_FOREIGN}"
                    )


_FOREIGN = "it was edited, or is of another network or optimizer"


def _listed(names: Iterable[str]) -> str:
    return brief(", ".join(sorted(names)) or "nothing")


def _kind(value: Any) -> str:
    """Shape and type of a tensor in words."""
    if not isinstance(value, Tensor):
        return brief(value)
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def slots_of(config: OptimizerConfig) -> dict[str, bool]:
    """What a rule keeps of each parameter: names, and whether it is of the parameter's shape.

    The rest are single numbers.

    >>> slots_of(OptimizerConfig(name="adam"))
    {'step': False, 'exp_avg': True, 'exp_avg_sq': True}
    """
    parameter = nn.Parameter(torch.zeros(2, 3))
    optimizer = build([(1.0, [("probe", parameter)])], config)
    parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    found = optimizer.state[parameter].items()
    return {name: value.shape == parameter.shape for name, value in found}


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
