"""How much work lies ahead: an estimate for the progress that is shown; nothing hangs on it."""

from __future__ import annotations

from collections.abc import Sequence

from esegeta.explain import Explainer
from esegeta.predict import Windows
from esegeta.targets import FrozenTarget


def expected_windows(
    explainer: Explainer, targets: Sequence[FrozenTarget], windows: Windows
) -> int | None:
    """Return about how many windows the maps of some targets will take, None where unknown."""
    touched = [frozenset(target.touched(windows)) for target in targets]
    if explainer.traits.together:
        touched = [frozenset().union(*touched)]
    is_linear = all(target.is_linear for target in targets)
    counts = [
        explainer.cost.windows(len(some), len(windows), is_linear=is_linear) for some in touched
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
