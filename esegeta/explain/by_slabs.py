"""Values and gradients of targets that are not linear, where the prediction y is not held.

Slabs of y are made, looked at and dropped: first for the sums over voxels that a target may be a
function of, then for the slope of each voxel, which follows from them and from y there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from esegeta.predict import Curved, Pullback, Slab, pull_back_rolling
from esegeta.targets import Sums, Totals

if TYPE_CHECKING:
    from esegeta.explain.objective import Objective


def pull_back_by_slabs(objectives: Sequence[Objective]) -> list[Pullback]:
    """Return the gradient of each target by the input; slabs of y are made, looked at, dropped."""
    one = objectives[0]
    totals = totals_together([item for item in objectives if not sums_of(item).is_linear])
    curved = []
    for objective in objectives:
        sums = sums_of(objective)
        weights = sums.weights(None if sums.is_linear else totals[id(objective)])
        slope = partial(sums.write_slope, weights=weights)
        curved.append(Curved(slope, objective.target.touched(objective.windows)))
    return pull_back_rolling(one.predictor, one.x, curved)


def sums_of(objective: Objective) -> Sums:
    """Return the sums over voxels that a target is a function of."""
    assert objective.target.sums is not None  # else it does not roll
    return objective.target.sums


def totals_together(objectives: Sequence[Objective]) -> dict[int, Totals]:
    """Return the sums that each target is a function of, by its identity; y comes slab by slab."""
    found = {
        id(item): item.target.known_totals[0]
        for item in objectives
        if item.is_original and item.target.known_totals
    }
    missing = [item for item in objectives if id(item) not in found]
    if not missing:
        return found
    one = missing[0]
    chosen = sorted(set().union(*(item.target.touched(item.windows) for item in missing)))
    totals: dict[int, Totals] = {}

    def take(slab: Slab) -> None:
        logits = one.predictor.averaged(slab.parts)
        for item in missing:
            own = sums_of(item).part(logits, slab.box)
            totals[id(item)] = totals[id(item)] + own if id(item) in totals else own

    one.predictor.each_slab(one.x, take, chosen=chosen)
    for item in missing:
        item.tally.windows_run += len(item.target.touched(item.windows))
        if item.is_original:
            item.target.known_totals.append(totals[id(item)])
    return found | totals
