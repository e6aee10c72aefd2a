"""One target a lesion: a target split into the connected components of its label."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from esegeta.errors import EmptyTargetError, TargetError
from esegeta.targets.region import Component
from esegeta.targets.scene import Scene, measure_components
from esegeta.targets.unit import UnitTarget
from esegeta.targets.voxels import VoxelTarget

Split = TypeVar("Split", bound=VoxelTarget | UnitTarget)
"""Targets that have a region."""


def split_components(target: Split, scene: Scene, *, min_volume_ml: float = 0.0) -> list[Split]:
    """Return one target for each connected component of the predicted label, largest first.

    The facts of each hold `component`, its `volume_ml` and its `centre_mm` (RAS).

    Raises:
        EmptyTargetError: the label is not predicted, or every component is too small.
        TargetError: the target names no label.
    """
    if target.label is None:
        raise TargetError(f"{target.describe()}: a label is needed to split it into components")
    counts, centres = measure_components(scene.components(target.label))
    grid = scene.volume.grid
    targets: list[Split] = []
    for rank, (count, place) in enumerate(zip(counts.tolist(), centres.tolist(), strict=True), 1):
        volume_ml = count * grid.voxel_volume_ml
        if volume_ml < min_volume_ml:
            break
        centre = grid.to_mm(place)
        facts = {"component": rank, "volume_ml": volume_ml, "centre_mm": list(centre)}
        targets.append(replace(target, over=Component(rank), facts=facts))
    if not targets:
        raise EmptyTargetError(
            f'{scene.volume.name}: label "{target.label}" has no predicted component of at least '
            f"{min_volume_ml:g} ml",
            hint="lower min_volume_ml, or explain another label",
        )
    return targets
