"""How far each voxel lies from a structure's surface, in mm."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from esegeta.axes import Mask
from esegeta.score.localisation.undefined import UndefinedError
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
    from scipy import ndimage

    if not grid.is_rectangular:
        raise UndefinedError("the axes of the grid are not at right angles, as distances in mm ask")
    # SciPy's Euclidean distance transform is exact and knows anisotropic spacing.
    inside = structure.cpu().numpy()
    outward = ndimage.distance_transform_edt(~inside, sampling=grid.spacing_mm)
    inward = ndimage.distance_transform_edt(inside, sampling=grid.spacing_mm)
    return torch.from_numpy(outward - inward).to(structure.device)
