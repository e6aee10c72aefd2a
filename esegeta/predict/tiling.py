"""Boxes along axes and the importance of their voxels, as in MONAI's `sliding_window_inference`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from esegeta.axes import Shape

Blend = Literal["gaussian", "constant"]
Box = tuple[slice, ...]

GAUSSIAN_SIGMA_SCALE = 0.125


def spot(image: int, box: Box) -> tuple[Any, ...]:
    """Return the index of a box of one image in `B C *S`, all channels."""
    return (image, slice(None), *box)


def starts_along(length: int, size: int, overlap: float) -> list[int]:
    """Where outputs start along one axis; the last one is moved back to end with the volume."""
    interval = size if size == length else max(int(size * (1 - overlap)), 1)
    count = 1 + -(-(length - size) // interval)
    return [min(place * interval, length - size) for place in range(count)]


@lru_cache(maxsize=8)
def importance_of(size: Shape, blend: Blend, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the blending weight of each voxel of a box of some lengths, above zero."""
    from monai.data.utils import compute_importance_map

    weights: Tensor = compute_importance_map(
        size, mode=blend, sigma_scale=GAUSSIAN_SIGMA_SCALE, device=device, dtype=dtype
    )
    return weights
