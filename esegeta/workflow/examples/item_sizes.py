"""Sizes and counts of items that no case can have, refused before anything is computed."""

from __future__ import annotations

import math

from esegeta.axes import Shape
from esegeta.config.examples import ExamplesKeys
from esegeta.errors import ConfigError
from esegeta.workflow.build import Basis


def check_sizes(basis: Basis, keys: ExamplesKeys) -> None:
    """Refuse a `min_voxels` that no item has, and more slices or supervoxels than there are.

    Raises:
        ConfigError: with the line of the key.
    """
    shapes = {name: tuple(grid.shape) for name, grid in basis.network_grids().items()}
    if keys.layer is not None or (keys.surrogate is not None and keys.of == "component"):
        _check_least(basis, keys, shapes)
    if keys.of == "slice" and keys.layer is not None and "prototypes" in keys.model_fields_set:
        _check_slices(basis, keys, shapes)
    if keys.of == "supervoxel" or (keys.surrogate is not None and keys.of != "component"):
        _check_supervoxels(basis, keys, shapes)


def _check_least(basis: Basis, keys: ExamplesKeys, shapes: dict[str, Shape]) -> None:
    largest = {name: math.prod(shape) for name, shape in shapes.items()}
    if keys.of == "slice":
        largest = {
            name: most // shapes[name][slice_axis(basis, shapes[name])]
            for name, most in largest.items()
        }
    name, most = max(largest.items(), key=lambda item: item[1])
    if keys.min_voxels > most:
        what = f"a slice of {name}" if keys.of == "slice" else f"all of {name}"
        raise ConfigError(
            f"{basis.config.document.place(('examples', 'min_voxels'))}: examples.min_voxels: no "
            f"{keys.of} has {keys.min_voxels} voxels; the largest, {what}, has {most}",
            hint=f"give at most {most}, and fewer for small structures",
        )


def _check_slices(basis: Basis, keys: ExamplesKeys, shapes: dict[str, Shape]) -> None:
    count = sum(shape[slice_axis(basis, shape)] for shape in shapes.values())
    if keys.prototypes > count:
        raise ConfigError(
            f"{basis.config.document.place(('examples', 'prototypes'))}: examples.prototypes: "
            f"{keys.prototypes} prototypes of {count} slices",
            hint=f"give at most {count}, or more cases",
        )


def _check_supervoxels(basis: Basis, keys: ExamplesKeys, shapes: dict[str, Shape]) -> None:
    name, shape = min(shapes.items(), key=lambda item: math.prod(item[1]))
    if keys.supervoxels > math.prod(shape):
        raise ConfigError(
            f"{basis.config.document.place(('examples', 'supervoxels'))}: examples.supervoxels: "
            f"{keys.supervoxels} supervoxels of {name}, which has {math.prod(shape)} voxels",
            hint="give fewer, such as 100",
        )


def slice_axis(basis: Basis, shape: Shape) -> int:
    """Return the axis that slices of a case lie along."""
    axis = basis.predictor.plan.lay(shape).slice_axis
    return len(shape) - 1 if axis is None else axis
