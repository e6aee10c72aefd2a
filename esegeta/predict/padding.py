"""What lies outside of an image, where windows reach beyond it: zeros, its edge, or its mirror.

Padding is a part of the function that is explained: what is copied out of the image is the
image's own. Its transpose adds the slopes of all copies of a voxel to that voxel's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Padding = Literal["zeros", "edge", "reflect"]
"""Zeros; the nearest voxel; or the image mirrored at its outermost voxels, again and again where
it is smaller than what is missing."""

Widths = tuple[tuple[int, int], ...]
"""Voxels before and after each axis."""


@lru_cache(maxsize=64)
def origins(length: int, widths: tuple[int, int], padding: Padding) -> Tensor:
    """Return which voxel of an axis each padded voxel is a copy of; with zeros, where it lies.

    Args:
        length: length of the axis, without padding.
        widths: voxels before and after it.
        padding: contents of these voxels. Zeros are copies of nothing: their index lies outside
            `0..length - 1`.
    """
    places = torch.arange(-widths[0], length + widths[1])
    if padding == "edge":
        return places.clamp(0, length - 1)
    if padding == "reflect":
        period = max(2 * (length - 1), 1)
        return (length - 1) - ((places % period) - (length - 1)).abs()
    return places


def extend(data: Tensor, widths: Widths, padding: Padding) -> Tensor:
    """Pad the last axes of `... *S`, one for each pair of widths."""
    if not any(before or after for before, after in widths):
        return data
    if padding == "zeros":
        return F.pad(data, [width for pair in reversed(widths) for width in pair])
    first = data.ndim - len(widths)
    for axis, pair in enumerate(widths, start=first):
        if pair != (0, 0):
            data = data.index_select(axis, origins(data.shape[axis], pair, padding).to(data.device))
    return data


def fold(data: Tensor, widths: Widths, padding: Padding) -> Tensor:
    """Return the transpose of `extend`: `<extend(x), y> = <x, fold(y)>` for all x and y."""
    if not any(before or after for before, after in widths):
        return data
    first = data.ndim - len(widths)
    for axis, pair in enumerate(widths, start=first):
        length = data.shape[axis] - sum(pair)
        inner = data.narrow(axis, pair[0], length)
        if padding == "zeros" or pair == (0, 0):
            data = inner
            continue
        places = origins(length, pair, padding).to(data.device)
        folded = inner.clone()
        for start, count in ((0, pair[0]), (pair[0] + length, pair[1])):
            copies = data.narrow(axis, start, count)
            folded.index_add_(axis, places[start : start + count], copies)
        data = folded
    return data
