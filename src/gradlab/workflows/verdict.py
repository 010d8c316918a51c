"""The verdict on a training that has ended: what went wrong, by which numbers, and what to try.

Causes first, then what they lead to. Each rule reads the evidence and says nothing where all is
well: a limit lies far from what healthy trainings show, and a small val split is given its chance.
`docs/verdict.md` has a paragraph for each code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from gradlab.insight.finding import Finding, name_words
from gradlab.insight.health import Activation
from gradlab.measures import measure
from gradlab.wording import counted
from gradlab.workflows.evidence import Evidence
from gradlab.workflows.fixes import Fixes

Rule = Callable[[Evidence, Fixes], Iterator[Finding]]

FLAT = 0.1
"""Share of a guess's loss: a training that gained less has learnt nothing."""
STILL = 0.03
"""Relative change of the weights below which they have hardly moved."""
RAN_AWAY = 5.0
"""Relative change of the weights beyond which they have run away."""
GUESSES = frozenset(
    {"majority class", "mean", "mean image", "random actions", "frequency of tokens"}
)
"""Baselines that look at no input; the others are models."""


def verdict(found: Evidence) -> list[dict[str, str]]:
    """The findings about a training, as the JSON of a run holds them; none where all is well.

    Where a cause is known its effects are left out, but for the one that everybody asks for.
    """
    fixes = Fixes(found.recipe)
    said = [finding for rule in CAUSES for finding in rule(found, fixes)]
    said += [finding for rule in EFFECTS if not said for finding in rule(found, fixes)]
    beaten = [*no_better_than_baseline(found, fixes)]
    if said:  # what is behind it is what to change
        beaten = [replace(finding, fix=said[0].fix) for finding in beaten]
    return [
        {"code": finding.code, "evidence": finding.what, "fix": finding.fix}
        for finding in (*said, *beaten)
    ]


def _say(code: str, what: str, fix: str) -> Finding:
    return Finding("warning", code, what, fix)


# what the numbers say


def learnt(found: Evidence) -> float | None:
    """How far the training loss fell below that of a guess (else: below where it began), as a
    share of it; 1 is all the way to 0."""
    curve, level = found.smoothed(), found.guess or found.initial
    if not curve or level is None or level <= 0:
        return None
    return 1 - curve[-1] / level


def _numbers(found: Evidence) -> str:
    """The way of the training loss in words."""
    curve = found.smoothed()
    first = found.initial if found.initial is not None else curve[0]
    steps = counted(int(found.train[-1][0]), "step")
    guess = "" if found.guess is None else f" (a guess has {found.guess:.4g})"
    return (
        f"the training loss was {first:.4g} at the start and {curve[-1]:.4g} after {steps}{guess}"
    )


def _moved(found: Evidence) -> str:
    share = 100 * found.network.changed.relative if found.network else math.nan
    return f"the weights changed by {share:{',.0f' if share > 10 else '.2g'}} % of their size"


# causes: layers that cannot learn


def unregistered_layers(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """Layers in a Python list, or bare tensors: neither trained nor saved."""
    names = found.network.unregistered if found.network else ()
    if names:
        what = f"{name_words(names)}: holds layers that the network does not know of"
        what += ", which are neither trained nor saved (a Python list or dictionary)"
        yield _say("unregistered-layers", what, "nn.ModuleList in place of the list")


def frozen_layers(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """Layers that are not trained, and are as torch drew them."""
    names = found.network.frozen if found.network else ()
    if names:
        what = f"{name_words(names)}: not trained (requires_grad is False), yet still as random as "
        what += "torch draws new layers"
        yield _say("frozen-layers", what, "requires_grad_(True) on these parameters")


def unchanged_layers(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """Parameters of which no value has changed, though they are trained."""
    names = found.network.changed.unchanged if found.network else ()
    if not names or not found.network:
        return
    what = f"{name_words(names)}: not one value has changed in {int(found.train[-1][0]):,} steps"
    dead = any(value == 0 for _, value in found.network.health.gradients)
    fix = fixes.lr(100)
    if found.recipe.transfer.init in ("zeros", "constant"):
        what += f", which began with --init {found.recipe.transfer.init}"
        fix = fixes.option("transfer.init", "default")
    elif dead:
        what += ", and their gradient is 0"
        fix = fixes.awake()
    yield _say("unchanged-layers", what, fix)


# causes: units


def dead_units(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """Layers of which nearly all units are 0 for every example."""
    layer = _dead_layer(found)
    if layer is not None and not any(rate_too_high(found, fixes)):
        what = f"{layer.name}: {100 * layer.dead:.0f} % of the {layer.units} units are dead, 0 for "
        what += "every example looked at"
        yield _say("dead-units", what, fixes.awake())


def _dead_layer(found: Evidence) -> Activation | None:
    layers = found.network.health.activations if found.network else ()
    return next((layer for layer in layers if layer.units > 1 and layer.dead > 0.9), None)


def saturated_units(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """Layers of which nearly all values are at the ends of a tanh or sigmoid."""
    health = found.network.health if found.network else None
    for layer in health.activations if health else ():
        if layer.saturated > 0.75:
            what = f"{layer.name}: {100 * layer.saturated:.0f} % of the values are saturated, where"
            what += " the slope is next to 0"
            yield _say("saturated-units", what, fixes.option("transfer.init", "xavier"))
            return


def vanishing_gradient(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """A first layer whose gradient is thousands of times smaller than the last one's."""
    gained = learnt(found)
    gradients = found.network.health.gradients if found.network else ()
    if len(gradients) < 3 or (gained is not None and gained > 0.5):
        return
    (first, low), (last, high) = gradients[0], gradients[-1]
    if 0 < low < 1e-3 * high:
        what = f"the gradient vanishes on its way back: of its size beside the weights, {first} has"
        what += f" {low:.1e}, {last} {high:.1e}"
        yield _say("vanishing-gradient", what, fixes.gradients())


# causes: the rate, the loss, the batches


def wrong_sign(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """A loss that falls while the answers become worse than a guess."""
    curve = found.smoothed()
    if len(curve) < 2 or curve[0] - curve[-1] < FLAT * abs(curve[0]):
        return
    guess = next(iter(found.baselines.get("val", {}).values()), {})
    for name in ("accuracy", "r2"):
        values, by_guess = found.val.get(name, ()), guess.get(name)
        if not values or by_guess is None:
            continue
        reached, text = _mean(values[-3:]), measure(name).text
        # R2 on val falls in overfitting too: there no loss is negative.
        r2_lost = reached < by_guess - 0.5 and curve[-1] < 0
        if r2_lost if name == "r2" else reached < by_guess / 2:
            what = f"the loss has the wrong sign: it fell from {curve[0]:.4g} to {curve[-1]:.4g}, "
            what += f"while {name} on val came to {text(reached)}, below a guess ({text(by_guess)})"
            yield _say("wrong-sign", what, "loss=lambda output, y: -loss(output, y)")
        return


def rate_too_low(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """A flat loss, and weights that have hardly moved."""
    gained, network = learnt(found), found.network
    if gained is None or network is None or gained > 0.5 or _dead_layer(found):
        return
    change = network.changed.relative
    if 0 < change < STILL:
        factor = min(max(10.0 ** round(math.log10(0.3 / change)), 10.0), 1e5)
        what = (
            f"the learning rate {found.recipe.optimizer.lr:g} is too low: {_numbers(found)}, and "
        )
        yield _say("rate-too-low", what + _moved(found), fixes.lr(factor))


def rate_too_high(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """A loss that has grown, or jumps up and down, or stays up while the weights run away."""
    gained, network, curve = learnt(found), found.network, found.smoothed()
    if gained is None or network is None or found.initial is None or gained > 0.9:
        return
    level = max(found.guess or found.initial, found.initial)
    change, jumps = network.changed.relative, _roughness(found)
    highest = max(value for _, value in found.train)
    if change < STILL or (highest < 2 * level and change < 1 and _dead_layer(found)):
        return
    if curve[-1] > 1.3 * level:
        why = f"{_numbers(found)}: it has grown"
    elif highest > 3 * level:
        why = f"the training loss, {found.initial:.4g} at the start, had grown to {highest:.4g}"
    elif curve[-1] > 2.5 * min(curve) and gained < 0.7:
        why = f"the training loss had come down to {min(curve):.4g} and ended at {curve[-1]:.4g}"
    elif jumps > 0.4 and gained < 0.5:
        why = f"the training loss jumps by {100 * jumps:.0f} % from one line of the log to the next"
    elif gained < 2 * FLAT and change > RAN_AWAY:
        why = _numbers(found)
    else:
        return
    what = f"the learning rate {found.recipe.optimizer.lr:g} is too high: {why}, and "
    yield _say("rate-too-high", what + _moved(found), fixes.lr(0.1 if change < 20 else 0.01))


def _roughness(found: Evidence) -> float:
    """The mean jump between neighbours in the second half of the training loss, as a share."""
    values = [value for _, value in found.train]
    values = values[len(values) // 2 :]
    if len(values) < 4:
        return 0.0
    jumps = [abs(b - a) for a, b in pairwise(values)]
    return (sum(jumps) / len(jumps)) / max(abs(sum(values) / len(values)), 1e-12)


def initial_loss(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """A first loss that is far above that of a guess."""
    guess, first = found.guess, found.initial
    if guess is None or first is None or guess <= 0 or first < 3 * guess:
        return
    what = f"the loss before the first step was {first:.4g}, {first / guess:.0f} times that of a "
    what += f"guess ({guess:.4g}): the first steps are spent on undoing it"
    yield _say("initial-loss", what, fixes.option("transfer.init", "xavier"))


def one_step_an_epoch(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """A batch that holds the whole of a small dataset, and so few updates."""
    count, updates = found.counts.get("train", 0), int(found.train[-1][0]) if found.train else 0
    if found.steps == 1 and count >= 16 and updates < 100:
        what = f"one step an epoch: a batch holds all {count} training examples, which makes "
        what += f"{counted(updates, 'update')} in all"
        size = max(1 << max((count // 10).bit_length() - 1, 0), 8)
        yield _say("one-step-an-epoch", what, fixes.option("plan.batch_size", size))


# effects


def overfitting(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """A val loss that rises while the training loss falls."""
    values = found.val.get("loss", ())
    if len(values) < 5 or not found.train or found.steps < 1:
        return
    (since, low), end = min(values, key=lambda pair: pair[1]), _mean(values[-3:])
    after = [value for epoch, value in values if epoch > since]
    falling = [value for step, value in found.train if step >= since * found.steps]
    level = found.guess or found.initial or low
    if len(after) < 4 or len(falling) < 2 or level <= 0:
        return
    fell = falling[-1] < 0.9 * falling[0]
    if fell and end > 1.25 * low and end - low > 0.3 * level and low > 0:
        what = f"overfitting since epoch {since:.0f}: the val loss has risen from {low:.4g} to "
        what += (
            f"{end:.4g}, while the training loss fell from {falling[0]:.4g} to {falling[-1]:.4g}"
        )
        yield _say("overfitting", what, fixes.regularise())


def underfitting(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """A training loss that is still falling fast, or worse on train itself than a simple model."""
    gained = learnt(found)
    if gained is None:
        return
    curve = [*([] if found.initial is None else [found.initial]), *found.smoothed()]
    level = found.guess or found.initial or math.inf
    before = curve[-max(len(curve) // 4, 2)]
    behind = _behind(found, "train", 0.05)
    if before - curve[-1] > 0.08 * level and curve[-1] > 0.35 * level:
        what = f"underfitting: the training loss was still falling, from {before:.4g} to "
        what += f"{curve[-1]:.4g} in the last quarter"
        yield _say("underfitting", what, fixes.option("plan.epochs", 3 * found.recipe.plan.epochs))
    elif behind and gained < 0.75:
        what = f"underfitting: on the training split itself {behind}"
        yield _say("underfitting", what, fixes.more_room())


def _behind(found: Evidence, split: str, share: float) -> str:
    """In words by what a simple model is clearly better; nothing where none is."""
    reached = found.metrics.get(split, {}).get(found.monitor)
    known = measure(found.monitor)
    for name, figures in found.baselines.get(split, {}).items():
        theirs = figures.get(found.monitor)
        if reached is None or theirs is None or name in GUESSES:
            continue
        gain = theirs - reached if known.goal == "min" else reached - theirs
        if gain < -share * abs(theirs) - _noise(found.monitor, theirs, found.counts.get(split)):
            return (
                f"{found.monitor} is {known.text(reached)}, that of the {name} {known.text(theirs)}"
            )
    return ""


def no_better_than_baseline(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """A network that is no better than a guess, or clearly worse than a simple model."""
    split = next((s for s in ("val", "test") if s in found.metrics and s in found.baselines), "")
    reached = found.metrics.get(split, {}).get(found.monitor)
    if reached is None:
        return
    known, beaten = measure(found.monitor), []
    for name, figures in found.baselines[split].items():
        theirs = figures.get(found.monitor)
        if theirs is None:
            continue
        margin = 0.0
        if name not in GUESSES:
            margin = 1.5 * _noise(found.monitor, theirs, found.counts.get(split))
        gain = theirs - reached if known.goal == "min" else reached - theirs
        if gain < -margin or (not margin and gain <= 0):
            beaten.append(f"{name!r} ({known.text(theirs)})")
    if beaten:
        what = f"the network is no better than the baseline {' and '.join(beaten)} on {split}: "
        what += f"{found.monitor} {known.text(reached)}"
        room = (learnt(found) or 0) < 0.5 or _behind(found, "train", 0.0)
        yield _say(
            "no-better-than-baseline", what, fixes.more_room() if room else fixes.regularise()
        )


def _noise(name: str, value: float, count: int | None) -> float:
    """The standard error of the difference between two such figures on so many examples."""
    if not count:
        return 0.0
    if measure(name).goal == "max" and 0 <= value <= 1:
        return math.sqrt(2 * max(value * (1 - value), 1 / (count + 2)) / count)
    return abs(value) * math.sqrt(4 / count)


def noisy_best(found: Evidence, fixes: Fixes) -> Iterator[Finding]:
    """A best epoch by a val metric that jumps from epoch to epoch: the best is the luckiest."""
    values = [value for _, value in found.val.get(found.monitor, ())]
    count = found.counts.get("val", 0)
    if len(values) < 8 or not count:
        return
    known = measure(found.monitor)
    later = values[len(values) // 2 :]
    jump = sum(abs(b - a) for a, b in pairwise(later)) / (len(later) - 1)
    usual, best = sum(later) / len(later), (min if known.goal == "min" else max)(values)
    if known.goal == "max" and 0 <= best <= 1:
        large = 0.04
    else:
        guess = next(iter(found.baselines.get("val", {}).values()), {})
        large = 0.05 * abs(guess.get(found.monitor, 4 * usual))
    if jump > large and abs(best - usual) > max(1.3 * jump, 3 * large):
        what = f"the best epoch is one noisy value: {found.monitor} {known.text(best)} on "
        what += f"{counted(count, 'val example')}, where the later epochs have {known.text(usual)} "
        what += f"on average and differ by {known.text(jump)} from one to the next"
        fix = fixes.lr(0.3) if count >= 100 else fixes.option("data.val", 0.3)
        yield _say("noisy-best-epoch", what, fix)


def _mean(values: Sequence[tuple[float, float]]) -> float:
    return sum(value for _, value in values) / max(len(values), 1)


CAUSES: tuple[Rule, ...] = (
    unregistered_layers,
    frozen_layers,
    unchanged_layers,
    wrong_sign,
    rate_too_low,
    rate_too_high,
    dead_units,
    saturated_units,
    vanishing_gradient,
    one_step_an_epoch,
    initial_loss,
)
EFFECTS: tuple[Rule, ...] = (overfitting, underfitting, noisy_best)
