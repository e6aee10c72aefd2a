"""Supervoxels: pieces of an image of about one grey value, at several sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from esegeta.axes import Image, Mask

COMPACTNESS = 0.1
"""Weight of nearness against likeness, of grey values in 0..1."""


def supervoxels(
    image: Image, body: Mask, spacing_mm: tuple[float, ...], *, counts: Sequence[int]
) -> list[Int[Tensor, "*S"]]:
    """Cut an image into supervoxels, one map for each size; numbered from 1, 0 outside the body.

    Args:
        image: `C *S`.
        body: voxels that are cut up.
        spacing_mm: spacing of the voxels, in mm.
        counts: about how many there are to be in the image, for each size.

    Source: Achanta et al., SLIC superpixels (PAMI 2012), as in scikit-image.
    """
    from skimage.segmentation import slic

    data = image.detach().double().cpu().numpy()
    low = data.reshape(len(data), -1).min(axis=1)
    reach = data.reshape(len(data), -1).max(axis=1) - low
    column = (-1, *[1] * (data.ndim - 1))
    grey = (data - low.reshape(column)) / np.where(reach > 0, reach, 1.0).reshape(column)
    inside = body.cpu().numpy()
    thick = [axis for axis, length in enumerate(inside.shape) if length > 1]
    found = []
    for count in counts:
        numbers = slic(
            grey.squeeze(tuple(axis + 1 for axis in range(inside.ndim) if axis not in thick)),
            n_segments=count,
            compactness=COMPACTNESS,
            spacing=[spacing_mm[axis] for axis in thick],
            channel_axis=0,
            start_label=1,
        ).reshape(inside.shape)
        found.append(torch.from_numpy(_renumbered(numbers * inside)).to(body.device))
    return found


def _renumbered(numbers: Int[np.ndarray, "*S"]) -> Int[np.ndarray, "*S"]:
    """Number what is left from 1 without gaps."""
    known, places = np.unique(numbers, return_inverse=True)
    first = 0 if known[0] == 0 else 1
    return (places.reshape(numbers.shape) + first).astype(np.int64)
