"""One batch through a model before the first step, to say what would not learn.

The mistakes looked for are the quiet ones: they raise nothing, or raise far from their cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from gradlab.insight.expects import expectation
from gradlab.insight.finding import Finding, layer_words, name_words, shape_words, tensors_in
from gradlab.insight.losses import LossCheck, UnfitError, label_findings
from gradlab.insight.nonfinite import non_finite, watch

Loss = Callable[[Any, Any], Any]


def preflight(
    model: nn.Module,
    loss: Loss,
    x: Any,
    y: Any,
    optimizer: Optimizer | None = None,
    *,
    classes: int | None = None,
    call: Callable[[nn.Module, Any], Any] | None = None,
) -> list[Finding]:
    """What is wrong with a model, a loss and an optimizer, seen on one batch.

    model: the plain module (not compiled, not wrapped for several processes). loss: called as
    `loss(output, y)`; a module, a torch function or any other. x, y: a batch of inputs and
    targets as in training, N ... each, on the model's device. classes: how many there are, for
    labels 0..classes-1. call: how the model is given x, where that is not `model(x)`.

    The batch passes forward and backward in training mode. No trace is left: parameters,
    gradients, buffers, modes and torch's generators are as before. Nothing is raised for what is
    wrong with the model or the data; give the findings to `refuse` for that.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
    >>> x, y = torch.randn(8, 4), torch.arange(8) % 3
    >>> [finding.code for finding in preflight(model, nn.CrossEntropyLoss(), x, y)]
    ['softmax-before-loss']
    """
    findings = [*_on_parameters(model, loss, optimizer), *_on_devices(model, x, y)]
    if any(finding.code in ("lazy-parameters", "other-device") for finding in findings):
        return findings
    with no_trace(model, loss), torch.enable_grad(), watch(model) as bad:
        model.train()
        with _Trace(model) as trace:
            try:
                given = x.clone() if isinstance(x, Tensor) else x
                output = model(given) if call is None else call(model, given)
            except Exception as error:
                return [*findings, trace.failure(error)]
        findings += _on_input(x, trace)
        value, found = _loss_of(loss, output, y, trace, classes)
        findings += found
        if value is None:
            return findings
        if non_finite(value) is not None:
            return [*findings, _loss_not_finite(value, bad.first)]
        findings += _on_gradients(model, value)
        if bad.first is not None and not any(f.code == "gradient-not-finite" for f in findings):
            fix = "look at what this layer computes: log or root of 0, division by 0, overflow"
            findings.append(Finding("warning", "not-finite", bad.first, fix))
    return findings


@contextmanager
def no_trace(*owners: Any) -> Iterator[None]:
    """Put parameters, buffers, modes and generators back as they were on entry."""
    modules = [m for owner in owners if isinstance(owner, nn.Module) for m in owner.modules()]
    modes = [(module, module.training) for module in modules]
    # Which tensor stands where, too: a forward pass may put another in a buffer's place.
    tensors = [
        (module, name, tensor, tensor.detach().clone())
        for module in modules
        for own in (module.named_parameters(recurse=False), module.named_buffers(recurse=False))
        for name, tensor in own
    ]
    devices = {tensor.device for _, _, tensor, _ in tensors if tensor.is_cuda}
    with torch.random.fork_rng(list(devices)):
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for module, name, tensor, saved in tensors:
                if getattr(module, name) is not tensor:
                    setattr(module, name, tensor)
                with torch.no_grad():
                    tensor.copy_(saved)


class _Trace:
    """Follows a forward pass: where it is, and which layers ran first and last."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._inside: list[tuple[str, nn.Module, tuple[Any, ...]]] = []
        self.first: nn.Module | None = None
        self.last: tuple[nn.Module, Any] | None = None

    def __enter__(self) -> _Trace:
        self._hooks = ExitStack()
        for name, module in self._model.named_modules():
            before, after = partial(self._enter, name), self._leave
            self._hooks.callback(module.register_forward_pre_hook(before).remove)
            self._hooks.callback(module.register_forward_hook(after).remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def _enter(self, name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._inside.append((name, module, args))
        if self.first is None and next(module.children(), None) is None:
            self.first = module

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        while self._inside.pop()[1] is not module:  # one that raised, and was caught, stays behind
            pass
        if next(module.children(), None) is None:
            self.last = (module, output)

    def failure(self, error: Exception) -> Finding:
        """What a forward pass that raised says: which layer, its input, what it expects."""
        name, module, args = self._inside[-1] if self._inside else ("", self._model, ())
        given = [f"{shape_words(t.shape)} {_kind(t)}" for t in tensors_in(args)]
        what = f"{layer_words(name, module)} failed on an input of {' and '.join(given) or '?'}"
        first = next(tensors_in(args), None)
        known = expectation(module, first) if first is not None else None
        if known is None:
            fix = "fix the forward pass there, or give it the inputs that it expects"
            if isinstance(error, torch.OutOfMemoryError):
                fix = "make the batch, the inputs or the model smaller"
            return Finding("error", "forward-failed", f"{what}: {_line(error)}", fix)
        wanted, fix = known
        return Finding("error", "forward-failed", f"{what}: it expects {wanted}", fix)


def _on_parameters(model: nn.Module, loss: Loss, optimizer: Optimizer | None) -> Iterator[Finding]:
    """Parameters without a shape, without an owner or of another model."""
    parameters = dict(model.named_parameters())
    lazy = [name for name, parameter in parameters.items() if is_lazy(parameter)]
    if lazy:
        what = f"parameters have no shape yet: {name_words(lazy)}"
        fix = "pass a batch through the model once, model(x), before making the optimizer"
        yield Finding("error", "lazy-parameters", what, fix)
    trainable = {name: p for name, p in parameters.items() if p.requires_grad}
    if not trainable:
        what = "the model has no parameter that can be trained"
        fix = "register layers as attributes of the module (a list of layers as nn.ModuleList)"
        fix += ", and set requires_grad_(True) where parameters were frozen"
        yield Finding("error", "nothing-to-train", what, fix)
    if optimizer is None:
        return
    updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
    left_out = [name for name, p in trainable.items() if id(p) not in updated]
    if left_out:
        what = f"parameters are not in the optimizer: {name_words(left_out)}"
        fix = "make the optimizer from model.parameters() once the model is complete and on its"
        fix += " device; freeze with requires_grad_(False) what should not be trained"
        yield Finding("error", "not-in-optimizer", what, fix)
    own = {id(p) for p in parameters.values()}
    if isinstance(loss, nn.Module):
        own |= {id(p) for p in loss.parameters()}
    if updated - own:
        what = f"the optimizer holds {len(updated - own)} parameters that are not the model's"
        fix = "make the optimizer after the model has got its final layers"
        yield Finding("warning", "foreign-parameters", what, fix)


def _on_devices(model: nn.Module, x: Any, y: Any) -> Iterator[Finding]:
    """Inputs or targets on another device than the model."""
    devices = {parameter.device for parameter in model.parameters()}
    for words, value in (("inputs", x), ("targets", y)):
        if isinstance(value, Tensor) and devices and value.device not in devices:
            where = " and ".join(sorted(map(str, devices)))
            what = f"the {words} are on {value.device}, the model on {where}"
            fix = f"move the {words}: .to({where!r})"
            yield Finding("error", "other-device", what, fix)


def _on_input(x: Any, trace: _Trace) -> Iterator[Finding]:
    """Inputs that are NaN or infinite, or far from mean 0 and standard deviation 1."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return
    kind = non_finite(x)
    if kind is not None:
        what = f"the inputs hold {kind} values"
        yield Finding("warning", "input-not-finite", what, "fill in or drop the missing values")
    elif not isinstance(trace.first, _NORMALISING) and x.numel() > 1:
        std, mean = (float(value) for value in torch.std_mean(x.float()))
        if abs(mean) > _LARGE or std > _LARGE:
            what = f"the inputs are not normalised: mean {mean:.3g}, standard deviation {std:.3g}"
            fix = "subtract the mean and divide by the standard deviation of the training split"
            yield Finding("warning", "input-scale", what, fix)


def _loss_of(
    loss: Loss, output: Any, y: Any, trace: _Trace, classes: int | None
) -> tuple[Tensor | None, list[Finding]]:
    """The loss, or None where it cannot be computed or not be trained on; and why."""
    check = LossCheck(output, y, trace.last, classes)
    findings = check.findings
    whole = isinstance(y, Tensor) and not (y.is_floating_point() or y.dtype == torch.bool)
    try:
        with check:
            value = loss(output, y.clone() if isinstance(y, Tensor) else y)
    except UnfitError:
        return None, findings
    except Exception as error:
        given = [f"{shape_words(t.shape)} {_kind(t)}" for t in tensors_in((output, y))]
        what = f"the loss failed on {' and '.join(given)}: {_line(error)}"
        fix = "give it the output and target that it expects"
        if whole and not check.known and classes is not None:
            findings += label_findings(y, classes, -100, outputs=False)
        return None, findings or [Finding("error", "loss-failed", what, fix)]
    if whole and not check.known and classes is not None:
        findings += label_findings(y, classes, -100, outputs=False)
    if not isinstance(value, Tensor):
        what = f"the loss is a {type(value).__name__}, not a tensor"
        fix = "return the tensor itself, without .item(), float() or numpy"
        return None, [*findings, Finding("error", "loss-type", what, fix)]
    if value.numel() != 1:
        what = f"the loss is {shape_words(value.shape)} values, not a scalar"
        fix = "take the mean, or leave out reduction='none'"
        return None, [*findings, Finding("error", "loss-shape", what, fix)]
    return value, findings


def _loss_not_finite(value: Tensor, first: str | None) -> Finding:
    what = f"the loss is {value.item()} already"
    if first is None:
        what += ", though the model's outputs are finite"
        fix = "look for log or root of 0, or division by 0, in the loss and in the targets"
    else:
        what += f": {first}"
        fix = "fix that place; if it is the input, fill in or drop the missing values"
    return Finding("error", "loss-not-finite", what, fix)


def _on_gradients(model: nn.Module, value: Tensor) -> Iterator[Finding]:
    """Parameters without a gradient, with zeros only, or with one that is not finite."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        return
    if not value.requires_grad:
        what = "the loss has no gradient: between the parameters and the loss the graph is cut"
        fix = "leave out detach(), .data, argmax, numpy and torch.no_grad() on the way"
        yield Finding("error", "loss-without-gradient", what, fix)
        return
    try:
        # Unlike backward(), this leaves .grad alone and calls no hook of the parameters' owners.
        found = torch.autograd.grad(value.sum(), list(parameters.values()), allow_unused=True)
    except Exception as error:
        fix = "leave out operations in place on what the gradient needs"
        what = f"the backward pass failed: {_line(error)}"
        yield Finding("error", "backward-failed", what, fix)
        return
    gradients = dict(zip(parameters, found, strict=True))
    missing = [name for name, gradient in gradients.items() if gradient is None]
    if missing:
        what = f"parameters get no gradient: {name_words(missing)}"
        fix = "use them in the forward pass (no detach on the way), take them out, or freeze them"
        yield Finding("error", "no-gradient", what, f"{fix} with requires_grad_(False)")
    given = {name: gradient for name, gradient in gradients.items() if gradient is not None}
    bad = [name for name, gradient in given.items() if non_finite(gradient) is not None]
    if bad:
        what = f"the loss is finite, but gradients are NaN or infinite: {name_words(bad)}"
        fix = "look for a root or a norm of exactly 0, or overflow; add a small number inside it"
        yield Finding("error", "gradient-not-finite", what, fix)
    zero = [name for name, gradient in given.items() if not torch.count_nonzero(_dense(gradient))]
    if zero:
        what = f"the gradient is exactly zero for all of: {name_words(zero)}"
        fix = "right where a factor starts at 0; else look for dead ReLUs or a constant output"
        yield Finding("warning", "zero-gradient", what, fix)


def _dense(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


_LARGE = 10.0
_NORMALISING = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.Embedding,
)
