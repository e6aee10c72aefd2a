"""Several targets at one input: their values and gradients share the passes of the network.

One target by itself is a list of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from esegeta.axes import Logits
from esegeta.explain.by_slabs import pull_back_by_slabs, sums_of, totals_together
from esegeta.predict import Cotangent, Pullback

if TYPE_CHECKING:
    from esegeta.explain.objective import Objective


def pull_back_together(objectives: Sequence[Objective]) -> list[Pullback]:
    """Return what `pull_back` gives for each target at one input; they share forward passes.

    Each tally counts the windows that its own target needs, as if it had been alone.
    """
    objectives = [objective.whole or objective for objective in objectives]
    _require_one_input(objectives)
    rolling = [objective for objective in objectives if objective.rolls]
    if rolling:
        others = [objective for objective in objectives if not objective.rolls]
        found = dict(
            zip(map(id, rolling), _tallied(rolling, pull_back_by_slabs(rolling)), strict=True)
        )
        rest = pull_back_together(others) if others else []
        found |= zip(map(id, others), rest, strict=True)
        return [found[id(objective)] for objective in objectives]
    cotangents = cotangents_together(objectives)
    actives = [
        objective.active(cotangent)
        for objective, cotangent in zip(objectives, cotangents, strict=True)
    ]
    return _tallied(objectives, _pulled_back(objectives, cotangents, actives))


def _tallied(objectives: Sequence[Objective], results: list[Pullback]) -> list[Pullback]:
    for objective, result in zip(objectives, results, strict=True):
        objective.tally.evaluations += 1
        objective.tally.windows_run += result.num_run
    return results


def _pulled_back(
    objectives: Sequence[Objective],
    cotangents: Sequence[Cotangent],
    actives: Sequence[Sequence[int]],
) -> list[Pullback]:
    """Return the gradient and value of each, those that another method has found among them."""
    one, kept = objectives[0], objectives[0].kept
    if kept is None:
        return one.predictor.pull_back_together(one.x, cotangents, actives=actives)
    found: dict[int, Pullback] = {}
    for place, (objective, active) in enumerate(zip(objectives, actives, strict=True)):
        known = kept.find(("gradient", objective.target), ("value", objective.target))
        if known is not None:
            gradient, value = (tensor.clone() for tensor in known)
            num = len(active)
            found[place] = Pullback(gradient, value, num, len(one.windows), num)
            if one.predictor.on_windows is not None:
                one.predictor.on_windows(num)
    rest = [place for place in range(len(objectives)) if place not in found]
    if rest:
        forms, touched = [cotangents[place] for place in rest], [actives[place] for place in rest]
        made = one.predictor.pull_back_together(one.x, forms, actives=touched)
        for place, result in zip(rest, made, strict=True):
            found[place] = result
            kept.keep(("gradient", objectives[place].target), result.gradient)
            kept.keep(("value", objectives[place].target), result.value)
    return [found[place] for place in range(len(objectives))]


def gradients_together(objectives: Sequence[Objective]) -> list[Tensor]:
    """Return the gradient of each target at one input, `C *S`."""
    return [result.gradient[0] for result in pull_back_together(objectives)]


def values_together(objectives: Sequence[Objective]) -> list[float]:
    """Return the value of each target at one input; they share forward passes."""
    _require_one_input(objectives)
    parts = iter(_linear_values([item for item in objectives if item.target.is_linear]))
    rolling = [item for item in objectives if item.rolls]
    totals = totals_together(rolling)
    curved = [item for item in objectives if not item.target.is_linear and not item.rolls]
    logits = logits_together(curved) if curved else None
    values = []
    for objective in objectives:
        objective.tally.evaluations += 1
        if id(objective) in totals:
            values.append(float(sums_of(objective).outcome(totals[id(objective)])[0]))
        elif logits is None or objective.target.is_linear:
            values.append(next(parts))
        else:
            values.append(float(objective.target.value(logits)[0]))
    return values


def _linear_values(objectives: Sequence[Objective]) -> list[float]:
    if not objectives:
        return []
    one = objectives[0]
    cotangents = cotangents_together(objectives)
    actives = [
        objective.active(cotangent)
        for objective, cotangent in zip(objectives, cotangents, strict=True)
    ]
    parts = one.predictor.contributions_together(one.x, cotangents, actives)
    for objective, active in zip(objectives, actives, strict=True):
        objective.tally.windows_run += len(active)
    return [float(values.sum()) for values in parts]


def cotangents_together(objectives: Sequence[Objective]) -> list[Cotangent]:
    """Return dR/dy of each target at one input; none of them is of single passes."""
    curved = [objective for objective in objectives if not objective.target.is_linear]
    logits = logits_together(curved) if curved else None
    return [objective.target.cotangent(logits) for objective in objectives]


def logits_together(objectives: Sequence[Objective]) -> Logits:
    """Return the prediction at one input, wherever any of the targets looks at it."""
    objectives = [objective.whole or objective for objective in objectives]
    one = objectives[0]
    if one.is_original:
        return one.target.scene.logits
    for objective in objectives:
        objective.tally.windows_run += len(objective.target.touched(objective.windows))
    supports = [objective.target.support for objective in objectives]
    masks = [support for support in supports if support is not None]
    over = None if len(masks) < len(supports) else masks[0]
    for mask in masks[1:]:
        over = None if over is None else over | mask
    return one.predictor.logits(one.x, over=over)


def _require_one_input(objectives: Sequence[Objective]) -> None:
    one = objectives[0]
    for other in objectives[1:]:
        same = other.predictor is one.predictor and other.is_original == one.is_original
        if not same or other.volume.data is not one.volume.data:
            raise ValueError("targets can be explained together only at one and the same input")
