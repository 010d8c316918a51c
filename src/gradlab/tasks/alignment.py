"""A loss as a person gives it, and how targets are brought to the form that it takes.

What fits is left as it is. Else the shape or the type of the target is changed, where one change
alone makes the loss computable and each value of the output still meets the one value of the target
that it must: which change that is, is tried on a batch and said.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import loss as torch_losses

from gradlab.errors import UserError
from gradlab.insight.losses import LossCheck, UnfitError

Loss = Callable[[Any, Any], Any]

_MISFITS = frozenset(
    ("target-shape", "target-dtype", "shapes-broadcast", "batch-size", "output-shape", "loss")
)
"""Findings that another shape or type of the target may cure."""


@dataclass(frozen=True)
class Alignment:
    """How output and target are given to a loss.

    `output`: "" as it is, "classes second" for N T K as N K T. `shape`: "" as it is, "output" as
    the output, "flat" without a last axis of 1. `dtype`: "" as it is, "output" or "int64".
    """

    output: str = ""
    shape: str = ""
    dtype: str = ""

    def __call__(self, output: Any, y: Any) -> tuple[Any, Any]:
        """Output and target as the loss is to be given them."""
        output = self.turned(output)
        if not isinstance(output, Tensor) or not isinstance(y, Tensor):
            return output, y
        if self.shape == "output":
            y = y.reshape(output.shape)
        elif self.shape == "flat":
            y = y.squeeze(-1)
        if self.dtype == "int64":
            y = y.long()
        elif self.dtype == "output" or (y.is_floating_point() and output.is_floating_point()):
            y = y.to(output.dtype)
        return output, y

    def turned(self, output: Any) -> Any:
        """The output as the loss is to be given it."""
        return output.movedim(-1, 1) if self.output else output

    def words(self, output: Tensor, y: Tensor) -> tuple[str, ...]:
        """What is changed, in words."""
        said = []
        given, aligned = self(output, y)
        if self.output:
            said.append(
                f"output: N T K (a score for each of K classes at each place), given to the loss "
                f"as N K T: {_shape(given)}"
            )
        changes = []
        if aligned.shape != y.shape:
            changes.append(f"of the shape {_shape(y)} as {_shape(aligned)}")
        if aligned.dtype != y.dtype:
            changes.append(f"{_kind(y)} as {_kind(aligned)}")
        if changes:
            said.append(f"target: {' and '.join(changes)}, as the loss takes it")
        return tuple(said)


def _shape(tensor: Tensor) -> str:
    return " x ".join(["N", *map(str, tensor.shape[1:])])


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


class Aligned(nn.Module):
    """A loss that is given outputs and targets in the form that it takes."""

    def __init__(self, loss: Loss, alignment: Alignment) -> None:
        super().__init__()
        self.loss, self.alignment = loss, alignment

    def forward(self, output: Any, y: Any) -> Any:
        """The loss of outputs and targets as they come."""
        return self.loss(*self.alignment(output, y))


@dataclass(frozen=True)
class Fit:
    """An alignment under which a loss can be computed, and the torch losses that it called."""

    alignment: Alignment
    called: frozenset[str]


def fitting(loss: Loss, output: Tensor, y: Tensor, classes: int | None = None) -> Fit | None:
    """The first alignment that makes `loss` computable, least changes first; None if none does.

    output: of a batch of several examples, detached. y: its targets as they are.

    >>> fit = fitting(nn.MSELoss(), torch.zeros(4, 1), torch.zeros(4))
    >>> fit.alignment
    Alignment(output='', shape='output', dtype='')
    """
    for alignment in _candidates(output, y):
        probe = output.detach().clone().requires_grad_(output.is_floating_point())
        given, aligned = alignment(probe, y)
        check = _Heard(given, aligned, None, classes)
        misfit, value = False, None
        try:
            with torch.enable_grad(), check:
                value = loss(given, aligned.clone())
            if isinstance(value, Tensor) and value.requires_grad and value.numel() == 1:
                torch.autograd.grad(value, probe)
        except UnfitError:
            pass  # its findings say whether another form would cure it
        except Exception:
            misfit = True
        if not misfit and not any(finding.code in _MISFITS for finding in check.findings):
            return Fit(alignment, frozenset(check.called))
    return None


class _Heard(LossCheck):
    """Notes the names of the torch losses that are called."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.called: set[str] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if getattr(functional, name, None) is func:
            self.called.add(name)
        return super().__torch_function__(func, types, args, kwargs)


def _candidates(output: Tensor, y: Tensor) -> Iterator[Alignment]:
    """Alignments that change no meaning, least changes first."""
    shapes = [""]
    if y.shape != output.shape and _bare(y) == _bare(output):
        shapes.append("output")
    if y.ndim > 1 and y.shape[-1] == 1:
        shapes.append("flat")
    dtypes = [""]
    if not y.is_floating_point() and output.is_floating_point():
        dtypes.append("output")
    whole = y.is_floating_point() and bool(torch.equal(y, y.round()))
    if whole or y.dtype in (torch.bool, torch.int8, torch.int16, torch.int32):
        dtypes.append("int64")
    places = [""]
    if output.ndim > 2 and output.shape[:-1] == y.shape:
        places.append("classes second")
    for place in places:
        for shape in shapes:
            for dtype in dtypes:
                yield Alignment(place, shape, dtype)


def _bare(tensor: Tensor) -> tuple[int, ...]:
    """The shape without the axes of 1 behind the first."""
    return (tensor.shape[0], *(side for side in tensor.shape[1:] if side != 1))


# losses by name


def loss_name(loss: Any) -> tuple[str, dict[str, Any]]:
    """Name and options of a loss of torch, enough to make it again; ("given", {}) for any other.

    >>> loss_name(nn.CrossEntropyLoss(label_smoothing=0.1, weight=torch.tensor([1.0, 2.0])))[1]
    {'weight': [1.0, 2.0], 'label_smoothing': 0.1}
    """
    name = getattr(loss, "__name__", "")
    if name in _FUNCTIONS and getattr(functional, name, None) is loss:
        return name, {}
    kind = type(loss)
    if kind.__module__ != torch_losses.__name__ or getattr(torch_losses, kind.__name__) is not kind:
        return GIVEN, {}
    options = {}
    for key, parameter in inspect.signature(kind).parameters.items():
        value = getattr(loss, key, parameter.default)
        if key in ("size_average", "reduce"):
            continue
        if isinstance(value, Tensor) and value.numel() <= _MOST_WEIGHTS:
            value = value.tolist()
        elif value is not None and not isinstance(value, str | int | float | bool):
            return GIVEN, {}
        if value != parameter.default:
            options[key] = value
    return kind.__name__, options


def loss_of(name: str, options: dict[str, Any]) -> Loss | None:
    """The loss of a name; None for one that only a person has. UserError for an unknown name."""
    if name == GIVEN:
        return None
    if name in _FUNCTIONS:
        found: Loss = getattr(functional, name)
        return found
    kind = getattr(torch_losses, name, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module) and name.endswith("Loss")):
        raise UserError(
            f"task.loss: expected a loss of torch.nn (MSELoss, CrossEntropyLoss, ...) or a "
            f"function of torch.nn.functional (mse_loss, ...), found {name!r}"
        )
    values = {
        key: torch.tensor(value) if isinstance(value, list | tuple) else value
        for key, value in options.items()
    }
    made: Loss = kind(**values)
    return made


GIVEN = "given"
"""The name of a loss that only Python has."""
_MOST_WEIGHTS = 1000
_FUNCTIONS = frozenset(
    (
        "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss",
        "kl_div", "l1_loss", "mse_loss", "multi_margin_loss", "multilabel_soft_margin_loss",
        "nll_loss", "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss",
    )
)  # fmt: skip
