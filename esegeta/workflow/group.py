"""Units of one method, for a few targets at a time: they share forward passes where they can."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from esegeta.explain import Attribution
from esegeta.targets import FrozenTarget, Target
from esegeta.volume import Volume
from esegeta.workflow.map_task import Ground, MapTask
from esegeta.workflow.outcome import TaskResult
from esegeta.workflow.prepared import with_files
from esegeta.workflow.targets import TargetPlan

TARGETS_AT_A_TIME = 4
"""Each holds a mask and a gradient of the volume's size."""

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Aim:
    """One target of a case: an entry of the config, or one component of it.

    Args:
        plan: the entry.
        name: as it stands in file names.
        target: to be frozen.
        order: place of the entry, and of the component in it.
    """

    plan: TargetPlan
    name: str
    target: Target
    order: tuple[int, int]


def in_groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of up to `size` items, drawn from the rest when they are asked for."""
    rest = iter(items)
    while group := list(itertools.islice(rest, size)):
        yield group


def attempt_tasks(
    units: Sequence[MapTask],
    targets: Sequence[FrozenTarget],
    ground: Ground,
) -> Iterator[TaskResult]:
    """Do units of one method on one case, one a target; yield how each ended."""
    start = time.perf_counter()
    maps = _explain_together(units, targets, ground.volume)
    if maps is None:
        for unit, target in zip(units, targets, strict=True):
            yield unit.attempt(ground, target)
        return
    share = (time.perf_counter() - start) / len(units)
    for unit in units:
        yield unit.keep(maps.pop(0), ground, seconds=share)


def _explain_together(
    units: Sequence[MapTask], targets: Sequence[FrozenTarget], volume: Volume
) -> list[Attribution] | None:
    """Return all maps, or None where each target is to be explained by itself."""
    one = units[0]
    if len(units) == 1 or not one.explainer.traits.together:
        return None
    try:
        explainer = with_files(one.explainer, one.case, one.experiment, volume)
        return explainer.explain_together(one.experiment.predictor, volume, targets)
    except Exception:
        # Whatever it was, it comes again for the target that it belongs to, and only for that one.
        return None
