"""What the work on cases is cut into where several processes do it, and about what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from esegeta.model import only_batch
from esegeta.workflow.build import Basis, Experiment
from esegeta.workflow.task import Task


def placed(tasks: Iterable[Task], place: str) -> Iterator[Task]:
    """Yield tasks that go to one process together."""
    return (replace(task, place=place) for task in tasks)


def piece_of(case: str, target: str) -> str:
    """Return what the maps of one target of a case are called where a case is split."""
    return f"{case} / {target}"


def pieces_of_cases(experiment: Experiment) -> dict[str, list[str]]:
    """Return the pieces that each case may be split into: one a target of the config."""
    return {
        case.name: [piece_of(case.name, plan.name) for plan in experiment.targets]
        for case in experiment.cases
    }


def cost_of_cases(basis: Basis) -> dict[str, float]:
    """Return about what each case costs, by its name: its windows' volume as the network sees it.

        cost = prod_a max(n_a s_a / t_a, w_a)

    over axes a of n voxels of s mm, resampled to t mm, and windows of w voxels. Headers tell; a
    case whose header was not read costs what one window does.
    """
    window = math.prod(basis.config.keys.inference.window)
    return {
        case.name: _cost(basis, case.name) if case.name in basis.grids else float(window)
        for case in basis.cases
    }


def with_smaller_batch(experiment: Experiment) -> Experiment | None:
    """Return an experiment that takes half as many windows at a time.

    None where one is all, or where the network takes no other number.
    """
    size = experiment.predictor.batch_size
    if size < 2 or only_batch(experiment.predictor.network) is not None:
        return None
    predictor = replace(experiment.predictor, batch_size=size // 2)
    return replace(experiment, predictor=predictor)


def _cost(basis: Basis, name: str) -> float:
    grid, keys = basis.grids[name], basis.config.keys
    spacing_mm = keys.data.preprocess.spacing_mm or grid.spacing_mm
    lengths = [
        length * own / (new or own)  # of an axis that keeps its spacing nothing is said
        for length, own, new in zip(grid.shape, grid.spacing_mm, spacing_mm, strict=False)
    ]
    window = keys.inference.window
    if len(window) < len(lengths):  # slices of a volume
        return math.prod(lengths)
    return math.prod(max(*pair) for pair in zip(lengths, window, strict=False))
