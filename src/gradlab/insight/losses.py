"""Whether a loss is given what it is made for: shapes, types, labels, scores or probabilities.

The loss may be a module, a torch function or any function of the user's own: while it runs, each
call of a torch loss inside it is seen with its arguments, and checked before it is made. That
matters on a GPU, where a label out of range does not raise but ends the process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gradlab.insight.finding import Finding, shape_words


@dataclass(frozen=True)
class Seen:
    """What a loss is about to be given.

    `ending` names the last operation in front of it, see `last_operation`; `ignored` is the label
    that the loss leaves out; `classes` is how many there are, if that is known.
    """

    output: Tensor
    target: Tensor
    ending: str
    ignored: int | None
    classes: int | None

    @property
    def outputs(self) -> int:
        """How many classes the output has a score for."""
        return self.output.shape[1]


class UnfitError(Exception):
    """The loss was not called: it would fail, or compute something that was not meant."""


class LossCheck(TorchFunctionMode):
    """While this is entered, each torch loss that is called is checked first.

    `findings` holds what was found, `known` whether a torch loss was called at all. A call that
    would fail is not made: `UnfitError` is raised instead. `last` is the layer that ran last in
    the model, and its output.
    """

    def __init__(
        self, output: Any, y: Any, last: tuple[nn.Module, Any] | None, classes: int | None
    ) -> None:
        super().__init__()
        self.findings: list[Finding] = []
        self.known = False
        self._shapes = {getattr(output, "shape", None), getattr(y, "shape", None)}
        self._last = last
        self._classes = classes

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [arg for arg in args[:2] if isinstance(arg, Tensor)]
        if len(tensors) == 2:
            if func in CHECKS:
                self._check(func, tensors[0], tensors[1], kwargs.get("ignore_index"))
            elif getattr(func, "__name__", "") in _DIFFERENCES:
                # Only of the output and the target as they are: pairs may be what a loss is about.
                shapes = {tensor.shape for tensor in tensors}
                if len(shapes) == 2 and shapes == self._shapes:
                    self._refuse(_broadcast(tensors[0].shape, tensors[1].shape))
        return func(*args, **kwargs)

    def _check(self, func: Any, output: Tensor, target: Tensor, ignored: int | None) -> None:
        fits, means = CHECKS[func]
        self.known = True
        ending = last_operation(output, self._last)
        seen = Seen(output.detach(), target.detach(), ending, ignored, self._classes)
        self._refuse(fits(seen))
        if not seen.output.isnan().any():
            self.findings += means(seen)

    def _refuse(self, findings: Iterable[Finding]) -> None:
        found = list(findings)
        self.findings += found
        if any(finding.level == "error" for finding in found):
            raise UnfitError


def last_operation(tensor: Tensor, last: tuple[nn.Module, Any] | None = None) -> str:
    """The operation that made a tensor, changes of shape and type aside.

    One of softmax, log_softmax, sigmoid, log_sigmoid, relu, linear and other. It is read from the
    graph, or else from the layer that ran last, if the tensor is its output.

    >>> last_operation(torch.softmax(torch.zeros(2, 3, requires_grad=True), 1).unsqueeze(1))
    'softmax'
    """
    node = tensor.grad_fn
    while node is not None and _SHAPING.fullmatch(node.name()):
        node = node.next_functions[0][0]
    name = _OPERATIONS.get(re.sub(r"Backward\d*$", "", node.name())) if node else None
    if name is None and last is not None and isinstance(last[1], Tensor):
        module, made = last
        if made.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr():
            name = _MODULES.get(type(module))
    return name or "other"


def label_findings(
    labels: Tensor, classes: int, ignored: int | None = None, outputs: bool = True
) -> list[Finding]:
    """Labels that are not in 0..classes-1; `classes` counts the model's outputs, or else names."""
    valid = labels if ignored is None else labels[labels != ignored]
    if not valid.numel():
        return []
    low, high = (int(value) for value in torch.aminmax(valid))
    if low >= 0 and high < classes:
        return []
    many = f"the model has {classes} outputs" if outputs else f"there are {classes} classes"
    if low == 1 and high == classes:
        fix = "count the classes from 0: y - 1"
    elif low < 0:
        fix = f"number the classes 0 to {classes - 1}; a label to leave out goes to ignore_index"
    else:
        more = f", or give the model {high + 1} outputs" if outputs else ""
        fix = f"number the classes 0 to {classes - 1}{more}"
    what = f"labels go from {low} to {high}, but {many} (0 to {classes - 1})"
    return [Finding("error", "labels-out-of-range", what, fix)]


# Whether a loss can be computed at all, and of what was meant.


def _fits_labels(seen: Seen) -> Iterable[Finding]:
    """Scores N K ... and whole-number labels N ..."""
    output, target = seen.output, seen.target
    if output.ndim < 2:
        what = f"the output is {shape_words(output.shape)}: one value an example, not one a class"
        fix = "give the model an output for each class (N x K), or use BCEWithLogitsLoss"
        yield Finding("error", "output-shape", what, fix)
        return
    wanted = (output.shape[0], *output.shape[2:])
    shapes = f"the output is {shape_words(output.shape)} and the labels {shape_words(target.shape)}"
    if not target.ndim or target.shape[0] != output.shape[0]:
        fix = "keep the examples apart: flatten with x.flatten(1), not with x.view(-1, D)"
        yield Finding("error", "batch-size", f"{shapes}: another number of examples", fix)
    elif target.shape == output.shape and seen.outputs > 1:
        fix = (
            "give the class numbers, y.argmax(1), or probabilities, y.float(), to CrossEntropyLoss"
        )
        yield Finding("error", "target-dtype", f"{shapes}, a column a class, {target.dtype}", fix)
    elif target.shape != wanted:
        same = target.numel() == output.numel() // max(seen.outputs, 1)
        how = f"y.reshape{wanted}" if same else f"one label for each of {shape_words(wanted)}"
        what = f"{shapes}, where labels of {shape_words(wanted)} are expected"
        yield Finding("error", "target-shape", what, f"give {how}")
    elif target.dtype not in (torch.int64, torch.uint8):
        what = f"the labels are {target.dtype}; this loss takes whole numbers, torch.int64"
        yield Finding("error", "target-dtype", what, "give y.long()")
    elif seen.outputs == 1:
        what = "the output has a single class, whose probability is always 1: nothing is learnt"
        fix = "use BCEWithLogitsLoss with y.float(), or give the model an output for each class"
        yield Finding("error", "one-output", what, fix)
    else:
        yield from label_findings(target, seen.outputs, seen.ignored)
        if seen.classes is not None and seen.outputs < seen.classes:
            what = f"the model has {seen.outputs} outputs, but there are {seen.classes} classes"
            fix = f"give the model {seen.classes} outputs"
            yield Finding("error", "too-few-outputs", what, fix)


def _fits_classes(seen: Seen) -> Iterable[Finding]:
    """As `_fits_labels`, and probabilities N K ... may take the place of labels."""
    output, target = seen.output, seen.target
    soft = target.is_floating_point() and target.shape == output.shape
    return () if soft and output.ndim > 1 and seen.outputs > 1 else _fits_labels(seen)


def _fits_alike(seen: Seen) -> Iterable[Finding]:
    """Numbers of one shape; a target of one value stands for all."""
    if seen.output.shape == seen.target.shape or seen.target.numel() == 1:
        return ()
    return _broadcast(seen.output.shape, seen.target.shape)


def _fits_yes_no(seen: Seen) -> Iterable[Finding]:
    """Scores and targets of one shape; targets floating, in 0..1."""
    output, target = seen.output, seen.target
    if output.shape != target.shape:
        what = f"the output is {shape_words(output.shape)}, the target {shape_words(target.shape)}"
        if output.numel() == target.numel():
            fix = f"give one shape to both: y.reshape{tuple(output.shape)}"
        else:
            fix = "for one of several classes use CrossEntropyLoss; else one target for each output"
        yield Finding("error", "target-shape", what, fix)
    elif not target.is_floating_point():
        what = f"the target is {target.dtype}; this loss takes floating-point targets in 0..1"
        yield Finding("error", "target-dtype", what, "give y.float()")
    elif target.numel() and not (target.min() >= 0 and target.max() <= 1):
        low, high = float(target.min()), float(target.max())
        shifted = {(-1.0, 1.0): "give (y + 1) / 2", (1.0, 2.0): "give y - 1"}
        fix = shifted.get((low, high), "use CrossEntropyLoss for several classes")
        what = f"targets go from {low:g} to {high:g}, but are probabilities of yes: 0 to 1"
        yield Finding("error", "target-range", what, fix)


def _fits_probability(seen: Seen) -> Iterable[Finding]:
    """As `_fits_yes_no`, of probabilities and not of scores."""
    yield from _fits_yes_no(seen)
    low, high = (float(value) for value in torch.aminmax(seen.output))
    if low < 0 or high > 1:
        yield _no_sigmoid(f"goes from {low:.4g} to {high:.4g}")


# Whether a loss is given scores or probabilities, as it expects.


def _means_anything(seen: Seen) -> Iterable[Finding]:
    return ()


def _means_scores(seen: Seen) -> Iterable[Finding]:
    """For cross-entropy, which applies log-softmax itself."""
    normalised = _normalised(seen.output)
    if seen.ending in ("sigmoid", "log_sigmoid"):
        yield _twice(seen.ending, "log-softmax")
    elif seen.ending == "softmax" or normalised == "softmax":
        yield _twice("softmax", "log-softmax")
    elif seen.ending == "log_softmax" or normalised == "log_softmax":
        yield Finding(
            "warning",
            "log-softmax-before-loss",
            "a log-softmax stands in front of CrossEntropyLoss, which applies its own: no harm, "
            "but no use",
            "take it out of the model, or use NLLLoss",
        )
    yield from _means_no_relu(seen)


def _means_score(seen: Seen) -> Iterable[Finding]:
    """For binary cross-entropy with logits, which applies the sigmoid itself."""
    if seen.ending in ("sigmoid", "softmax", "log_sigmoid", "log_softmax"):
        yield _twice(seen.ending, "sigmoid")
    elif seen.ending == "other" and seen.output.min() >= 0 and seen.output.max() <= 1:
        yield Finding(
            "warning",
            "probabilities-before-loss",
            "every output lies in 0..1, like a probability, but BCEWithLogitsLoss takes scores",
            "leave out what turns scores into probabilities, or use BCELoss",
        )
    yield from _means_no_relu(seen)


def _means_no_relu(seen: Seen) -> Iterable[Finding]:
    if seen.ending == "relu":
        what = "the last operation is a ReLU, so that no score is ever negative and many are stuck"
        yield Finding("warning", "relu-before-loss", what, "end the model with its linear layer")


def _means_log_probabilities(seen: Seen) -> Iterable[Finding]:
    """For NLLLoss, which takes log-probabilities."""
    fix = "end the model with nn.LogSoftmax(dim=1), or use CrossEntropyLoss on the scores"
    if seen.ending == "softmax" or _normalised(seen.output) == "softmax":
        what = "the output is probabilities, but NLLLoss takes their logarithms"
        fix = "put nn.LogSoftmax in place of nn.Softmax, or use CrossEntropyLoss on the scores"
        yield Finding("error", "log-softmax-missing", what, fix)
    elif seen.output.max() > 1e-3:
        high = float(seen.output.max())
        what = f"the output goes up to {high:.4g}, but NLLLoss takes log-probabilities, at most 0"
        yield Finding("error", "log-softmax-missing", what, fix)
    elif _normalised(seen.output) != "log_softmax":
        what = "the output is no log-probabilities: the probabilities of an example do not sum to 1"
        yield Finding("warning", "not-normalised", what, fix)


def _means_probability(seen: Seen) -> Iterable[Finding]:
    """For BCELoss, which takes probabilities."""
    if seen.ending == "linear":
        yield _no_sigmoid("comes straight from a linear layer")


# The words and the tables.


def _broadcast(output: torch.Size, target: torch.Size) -> Iterable[Finding]:
    shapes = f"the output is {shape_words(output)} and the target {shape_words(target)}"
    same = output.numel() == target.numel()
    fix = f"give one shape to both: y.reshape{tuple(output)}" if same else "give one shape to both"
    try:
        grown = torch.broadcast_shapes(output, target)  # type: ignore[no-untyped-call]
    except RuntimeError:
        yield Finding("error", "target-shape", f"{shapes}: they cannot be compared", fix)
    else:
        what = f"{shapes}: compared, they would spread to {shape_words(grown)}, each with others"
        yield Finding("error", "shapes-broadcast", what, fix)


def _normalised(output: Tensor) -> str | None:
    """Whether each example's values (dim 1) sum to 1 as probabilities or as their logarithms."""
    values = output.float()
    for name, shares in (("softmax", values), ("log_softmax", values.exp())):
        total = shares.sum(1)
        if shares.min() >= 0 and torch.allclose(total, torch.ones_like(total), atol=1e-2):
            return name
    return None


def _twice(given: str, own: str) -> Finding:
    return Finding(
        "error",
        f"{given.replace('_', '-')}-before-loss",
        f"a {given.replace('_', '-')} stands in front of a loss that applies {own} itself: "
        "gradients become small and the loss cannot reach 0",
        f"take the {given.replace('_', '-')} out of the model; apply it only to predict",
    )


def _no_sigmoid(found: str) -> Finding:
    what = f"the output {found}, but BCELoss takes probabilities"
    return Finding("error", "sigmoid-missing", what, "use BCEWithLogitsLoss, or end with a sigmoid")


Check = Callable[[Seen], Iterable[Finding]]
CHECKS: dict[Any, tuple[Check, Check]] = {
    F.cross_entropy: (_fits_classes, _means_scores),
    F.nll_loss: (_fits_labels, _means_log_probabilities),
    F.multi_margin_loss: (_fits_labels, _means_anything),
    F.binary_cross_entropy_with_logits: (_fits_yes_no, _means_score),
    F.binary_cross_entropy: (_fits_probability, _means_probability),
    F.mse_loss: (_fits_alike, _means_anything),
    F.l1_loss: (_fits_alike, _means_anything),
    F.smooth_l1_loss: (_fits_alike, _means_anything),
    F.huber_loss: (_fits_alike, _means_anything),
}
"""For each loss of torch: whether it can be computed, and whether it is given what it expects."""

_DIFFERENCES = ("sub", "subtract", "rsub", "__sub__", "__rsub__")
_SHAPING = re.compile(
    r"(View|Reshape|ReshapeAlias|UnsafeView|Squeeze|Unsqueeze|Transpose|T|Permute|Select|Slice|"
    r"Alias|Clone|ToCopy)Backward\d*"
)
_OPERATIONS = {
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "LogSigmoid": "log_sigmoid",
    "Relu": "relu",
    **dict.fromkeys(("Addmm", "Mm", "Bmm", "Linear", "Convolution", "Add"), "linear"),
}
_MODULES: dict[type[nn.Module], str] = {
    nn.Softmax: "softmax",
    nn.LogSoftmax: "log_softmax",
    nn.Sigmoid: "sigmoid",
    nn.LogSigmoid: "log_sigmoid",
    nn.ReLU: "relu",
    nn.Linear: "linear",
}
