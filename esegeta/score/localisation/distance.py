"""How far each voxel lies from a structure's surface, in mm."""

from __future__ import annotations

from jaxtyping import Float64
from torch import Tensor

from esegeta.axes import Mask
from esegeta.score.localisation.undefined import UndefinedError
from esegeta.targets import distance_to
from esegeta.volume import Grid

TOUCHES_MM = 1e-6
"""By so much may a distance be too long for rounding."""


def signed_distance(structure: Mask, grid: Grid) -> Float64[Tensor, "*S"]:
    """Return the distance to the nearest voxel on the other side, in mm, negative inside.

    Between voxels' centres: outside to the nearest voxel of the structure, inside to the nearest
    one beyond it. No voxel is at 0.

    Raises:
        UndefinedError: the grid's axes are not at right angles.
    """
    if not grid.is_rectangular:
        raise UndefinedError("the axes of the grid are not at right angles, as distances in mm ask")
    return distance_to(structure, grid.spacing_mm) - distance_to(~structure, grid.spacing_mm)
