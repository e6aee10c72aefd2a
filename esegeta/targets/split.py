"""One target a lesion: a target split into the connected components of its label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from esegeta.errors import EmptyTargetError, TargetError
from esegeta.targets.region import Component
from esegeta.targets.scene import Scene, measure_components
from esegeta.targets.unit import UnitTarget
from esegeta.targets.voxels import VoxelTarget
from esegeta.volume import Volume, without_size

Split = TypeVar("Split", bound=VoxelTarget | UnitTarget)
"""Targets that have a region."""


def split_components(target: Split, scene: Scene, *, min_volume_ml: float = 0.0) -> list[Split]:
    """Return one target for each connected component of the predicted label, largest first.

    The facts of each hold `component`, its `volume_ml` and its `centre_mm` (RAS); for pictures
    its `num_pixels` and its `centre_pixel`, in the order of the file's axes.

    Raises:
        DataError: a least volume is asked for of a picture, whose pixels have no size.
        EmptyTargetError: the label is not predicted, or every component is too small.
        TargetError: the target names no label.
    """
    if target.label is None:
        raise TargetError(f"{target.describe()}: a label is needed to split it into components")
    if min_volume_ml > 0 and scene.volume.source.is_picture:
        raise without_size(scene.volume.name, "min_volume_ml")
    counts, centres = measure_components(scene.components(target.label))
    targets: list[Split] = []
    for rank, (count, place) in enumerate(zip(counts.tolist(), centres.tolist(), strict=True), 1):
        if count * scene.volume.voxel_volume_ml < min_volume_ml:
            break
        facts = {"component": rank, **_facts_of(count, place, scene.volume)}
        targets.append(replace(target, over=Component(rank), facts=facts))
    if not targets:
        raise EmptyTargetError(
            f'{scene.volume.name}: label "{target.label}" has no predicted component of at least '
            f"{min_volume_ml:g} ml",
            hint="lower min_volume_ml, or explain another label",
        )
    return targets


def _facts_of(count: int, place: Sequence[float], volume: Volume) -> dict[str, Any]:
    """Return how large a component is and where its centre lies."""
    centre_mm = volume.grid.to_mm(place)
    if volume.source.is_picture:
        return {"num_pixels": count, "centre_pixel": list(volume.source.grid.to_index(centre_mm))}
    return {"volume_ml": count * volume.voxel_volume_ml, "centre_mm": list(centre_mm)}
