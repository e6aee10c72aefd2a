"""Connected components of a mask, with their sizes and centres."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import LabelMap, Mask


def connected_components(mask: Mask) -> LabelMap:
    """Number the connected components of a mask from 1, the largest first; 0 is background."""
    from scipy import ndimage

    array = mask.cpu().numpy()
    structure = np.ones((3,) * array.ndim, dtype=bool)
    numbered, count = ndimage.label(array, structure=structure)
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
    rank = np.zeros(count + 1, dtype=np.int64)
    rank[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1)
    return torch.from_numpy(rank[numbered]).to(mask.device)


def measure_components(components: LabelMap) -> tuple[Tensor, Tensor]:
    """Return the number of voxels and the mean index of each component.

    Args:
        components: `*S`, numbered from 1.

    Returns:
        Counts, `K`, and centres in voxel indices, `K ndim`, float64.
    """
    flat = components.flatten()
    counts = torch.bincount(flat)
    centres = []
    for axis, length in enumerate(components.shape):
        shape = [length if place == axis else 1 for place in range(components.ndim)]
        index = torch.arange(length, device=flat.device, dtype=torch.float64).reshape(shape)
        weights = index.expand(components.shape).flatten()
        centres.append(torch.bincount(flat, weights=weights) / counts.clamp(min=1))
    return counts[1:], torch.stack(centres, dim=1)[1:]
