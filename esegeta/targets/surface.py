"""How far voxels are from the surface of a mask, in mm."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Mask

DISTANCE_TOLERANCE_MM = 1e-4
"""Affines are stored in float32: what is 2 mm apart on an oblique grid may be 2.0000001 mm."""


def near_surface(
    inside: Mask, spacing_mm: tuple[float, ...], within_mm: float, *, of: Mask | None = None
) -> Mask:
    """Return voxels whose distance to the other side of a mask's surface is at most `within_mm`.

    Empty where the mask is empty or covers everything: then there is no surface.

    Args:
        inside: the mask, `*S`.
        spacing_mm: spacing of the voxels, in mm.
        within_mm: the distance, in mm.
        of: the voxels that count, `*S`; towards others a mask has no surface. None for all.
    """
    beside = ~inside if of is None else ~inside & of
    if not bool(inside.any()) or not bool(beside.any()):
        return torch.zeros_like(inside)
    inner, outer = distance_to(beside, spacing_mm), distance_to(inside, spacing_mm)
    return torch.where(inside, inner, outer) <= within_mm + distance_tolerance_mm(spacing_mm)


def distance_tolerance_mm(spacing_mm: tuple[float, ...]) -> float:
    """Return by how much distances may be wrong: at most a hundredth of a voxel."""
    return min(DISTANCE_TOLERANCE_MM, 1e-2 * min(spacing_mm))


def distance_to(mask: Mask, spacing_mm: tuple[float, ...]) -> Float[Tensor, "*S"]:
    """Return each voxel's distance in mm to the nearest voxel of a mask, between centres; float64.

    0 within the mask, infinite where the mask is empty.
    """
    from scipy import ndimage

    if not bool(mask.any()):
        return torch.full(mask.shape, torch.inf, dtype=torch.float64, device=mask.device)
    # SciPy's Euclidean distance transform is exact and knows anisotropic spacing.
    distance = ndimage.distance_transform_edt(~mask.cpu().numpy(), sampling=spacing_mm)
    return torch.from_numpy(distance).to(mask.device)
