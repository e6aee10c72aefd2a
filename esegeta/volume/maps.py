"""Maps brought back onto the grid of their source, and written.

Two grids say all there is to know, so no history of transforms is kept. Axes are permuted and
flipped exactly; only if a resampling remains is anything interpolated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from esegeta.volume.grid import Grid
from esegeta.volume.nifti import space_of, write_nifti
from esegeta.volume.preprocess import Resampling
from esegeta.volume.volume import Source, Volume


def resample(
    data: Shaped[Tensor, "C *S"], grid: Grid, onto: Grid, *, resampling: Resampling
) -> Shaped[Tensor, "C *T"]:
    """Bring `C *S` from one grid onto another that covers the same space.

    The value of a map is a density (per voxel of the network's grid): interpolation keeps its
    height, not its sum. Voxels beyond the border take the value at the border.
    """
    if grid.same_as(onto):
        return data
    aligned, aligned_grid = reorient_like(data, grid, onto)
    if aligned_grid.same_as(onto):
        return aligned
    return _interpolate(aligned, aligned_grid, onto, resampling)


def reorient_like(
    data: Shaped[Tensor, "C *S"], grid: Grid, like: Grid
) -> tuple[Shaped[Tensor, "C *T"], Grid]:
    """Permute and flip axes so that each points the way it does in `like`; exact."""
    ndim = grid.ndim
    if grid.same_as(like) or _is_upright(grid) or _is_upright(like):
        return data, grid  # a 2D slice across the x-y plane has no in-plane orientation
    start = nib.orientations.io_orientation(_square(grid.affine, ndim))
    end = nib.orientations.io_orientation(_square(like.affine, ndim))
    change = nib.orientations.ornt_transform(start, end).astype(int)
    order = np.argsort(change[:, 0])
    flips = [axis + 1 for axis in range(ndim) if change[order[axis], 1] < 0]
    moved = data.permute(0, *(int(axis) + 1 for axis in order)).flip(flips).contiguous()
    turn = np.eye(4)
    turn[:ndim, :] = 0
    turn[:ndim, :ndim] = nib.orientations.inv_ornt_aff(change, grid.shape)[:ndim, :ndim]
    turn[:ndim, 3] = nib.orientations.inv_ornt_aff(change, grid.shape)[:ndim, ndim]
    return moved, Grid(tuple(moved.shape[1:]), grid.affine @ turn)


def _is_upright(grid: Grid) -> bool:
    square = grid.affine[: grid.ndim, : grid.ndim]
    return grid.ndim == 2 and bool(abs(np.linalg.det(square)) < 1e-6 * np.prod(grid.spacing_mm))


def _interpolate(data: Tensor, grid: Grid, onto: Grid, resampling: Resampling) -> Tensor:
    from monai.data import MetaTensor
    from monai.transforms import SpatialResample

    image = MetaTensor(data, affine=torch.as_tensor(_square(grid.affine, grid.ndim)))
    mover: Any = SpatialResample(mode=resampling, padding_mode="border", dtype=torch.float64)
    moved: Tensor = mover(
        image,
        dst_affine=torch.as_tensor(_square(onto.affine, onto.ndim)),
        spatial_size=onto.shape,
    )
    return moved.as_subclass(Tensor).to(data.dtype).contiguous()


def _square(affine: np.ndarray, ndim: int) -> np.ndarray:
    """Return the (ndim + 1) x (ndim + 1) affine of the first axes."""
    keep = [*range(ndim), 3]
    return np.asarray(affine[np.ix_(keep, keep)], dtype=np.float64)


def map_on_source(data: Tensor, volume: Volume) -> np.ndarray:
    """Bring a map `*S` from the volume's grid onto its source's: float32, linear."""
    moved = resample(data[None], volume.grid, volume.source.grid, resampling="bilinear")
    return moved[0].detach().cpu().numpy().astype(np.float32)


def write_map(path: Path, data: Tensor, volume: Volume) -> None:
    """Write a map `*S` of the volume's grid as float32 NIfTI on its source's grid."""
    write_nifti(path, map_on_source(data, volume), volume.source, intent="estimate")


def write_map_on_grid(path: Path, data: Tensor, grid: Grid, volume: Volume) -> None:
    """Write a map `*G` as float32 NIfTI on a grid of its own, in the space of a volume's source."""
    array = data.detach().cpu().numpy().astype(np.float32)
    space = space_of(volume.source)
    write_nifti(path, array, Source(grid), intent="estimate", space=space)
