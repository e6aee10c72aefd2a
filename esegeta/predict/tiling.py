"""Where windows stand along an axis, and how much their voxels count: as in MONAI or nnU-Net.

    positions  fixed  0, s, 2s, ... with s = int(size * (1 - overlap)); the last one is moved back
               even   as many as fit with steps of at most size * (1 - overlap), evenly spread
    blend      gaussian   about the middle (n - 1) / 2, at least 0.001 of the middle
               nnunet     about the voxel n // 2, without a floor
               constant   1

The first of each is MONAI's `sliding_window_inference`, `even` and `nnunet` are nnU-Net's.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import Shape

Blend = Literal["gaussian", "constant", "nnunet"]
Placing = Literal["fixed", "even"]
Box = tuple[slice, ...]

SIGMA_SCALE = 0.125
"""Standard deviation of the Gaussian, in lengths of the window."""
FLOOR = 1e-3
"""Least weight of the Gaussian about the middle."""


def spot(image: int, box: Box) -> tuple[Any, ...]:
    """Return the index of a box of one image in `B C *S`, all channels."""
    return (image, slice(None), *box)


def starts_along(length: int, size: int, overlap: float, positions: Placing) -> list[int]:
    """Return where windows start along one axis; together they cover it from end to end.

    Args:
        length: length of the axis, at least `size`.
        size: size of a window.
        overlap: least fraction that neighbouring windows share, in [0, 1).
        positions: see the top of this file.
    """
    if positions == "even":
        return _even_starts(length, size, overlap)
    interval = size if size == length else max(int(size * (1 - overlap)), 1)
    count = 1 + -(-(length - size) // interval)
    return [min(place * interval, length - size) for place in range(count)]


def _even_starts(length: int, size: int, overlap: float) -> list[int]:
    """Spread windows evenly; a half is rounded to the even place.

    Source: nnunetv2.inference.sliding_window_prediction.compute_steps_for_sliding_window.
    """
    steps = math.ceil((length - size) / (size * (1 - overlap)))
    if steps == 0:
        return [0]
    return [int(np.round((length - size) / steps * place)) for place in range(steps + 1)]


@lru_cache(maxsize=8)
def importance_of(size: Shape, blend: Blend, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the blending weight of each voxel of a window, above zero.

    Args:
        size: lengths of the window.
        blend: see the top of this file.
        device: device of the result.
        dtype: dtype of the result.
    """
    if blend == "nnunet":
        return _gaussian_without_floor(size).to(device=device, dtype=dtype)
    if blend == "constant":
        return torch.ones(size, device=device, dtype=dtype)
    return _gaussian(size, device).to(dtype)


def _gaussian(size: Shape, device: torch.device) -> Tensor:
    """Return the product of a Gaussian along each axis, at least `FLOOR`, in float32.

    The same bits as MONAI's, whose import takes longer than many a prediction.
    Source: monai.data.utils.compute_importance_map.
    """
    weights = torch.ones((), device=device)
    for length in size:
        middle = (length - 1) / 2
        distance = torch.arange(-middle, middle + 1, dtype=torch.float32, device=device)
        along = torch.exp(distance**2 / (-2 * (SIGMA_SCALE * length) ** 2))
        weights = weights[..., None] * along
    return weights.clamp(min=max(float(weights.min()), FLOOR))


def _gaussian_without_floor(size: Shape) -> Tensor:
    """Return a point at n // 2, smoothed to 4 sigma; zeros become the least weight.

    Source: nnunetv2.inference.sliding_window_prediction.compute_gaussian.
    """
    from scipy.ndimage import gaussian_filter

    point = np.zeros(size)
    point[tuple(length // 2 for length in size)] = 1.0
    sigmas = [length * SIGMA_SCALE for length in size]
    smoothed = gaussian_filter(point, sigmas, 0, mode="constant", cval=0)
    smoothed /= smoothed.max()
    smoothed[smoothed == 0] = smoothed[smoothed > 0].min()
    return torch.from_numpy(smoothed)
