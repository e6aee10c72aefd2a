"""How much work lies ahead: an estimate for the progress that is shown; nothing hangs on it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from esegeta.explain import Explainer
from esegeta.predict import Windows
from esegeta.targets import FrozenTarget

PASSES = re.compile(r"\d+ [FB](?: \+ \d+ [FB])*")
REPEATED = re.compile(r"(\d+) x \((.*)\)")


def expected_windows(
    explainer: Explainer, targets: Sequence[FrozenTarget], windows: Windows
) -> int | None:
    """Return about how many windows the maps of some targets will take, None where unknown.

    A target that is not linear has its windows predicted before each pass but the first.
    """
    passes = forward_passes(explainer.cost)
    if passes is None:
        return None
    touched = [frozenset(target.touched(windows)) for target in targets]
    if explainer.traits.together:
        touched = [frozenset().union(*touched)]
    linear = all(target.is_linear for target in targets)
    return (passes if linear else 2 * passes - 1) * sum(len(some) for some in touched)


def forward_passes(cost: str) -> int | None:
    """Return the forward passes in a cost such as `16 x (1 F + 1 B)`; None where it is in words."""
    repeated = REPEATED.fullmatch(cost)
    if repeated:
        inner = forward_passes(repeated[2])
        return None if inner is None else int(repeated[1]) * inner
    if not PASSES.fullmatch(cost):
        return None
    return sum(int(part.split()[0]) for part in cost.split(" + ") if part.endswith("F")) or None
