"""Where the patient is: chance moves what a unit marks within the body, and never out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from skimage.filters import threshold_otsu
from torch import Tensor

from esegeta.axes import Image, Mask, Shape
from esegeta.dissection.tally import ConceptParts

EMPTY_SHARE = 0.5
"""Share of two opposite faces that has one and the same value where the background is empty."""

DARK_SHARE = 0.75
"""Share of two opposite faces below Otsu's threshold where the background is dark and noisy."""


@dataclass(frozen=True, eq=False)
class CaseSpace:
    """What chance knows about a case.

    Args:
        number: number of the case; a draw moves each case in its own way, and all units alike.
        shape: shape of the volume.
        body: the voxels of the flattened volume that chance keeps to.
        concepts_of: reads the concepts of each case, by its number, on the grid of this one.
    """

    number: int
    shape: Shape
    body: Bool[Tensor, " N"]
    concepts_of: Sequence[Callable[[], ConceptParts]] = ()


def find_body(image: Image) -> Mask:
    """Return the voxels `*S` of an image that are not the background around the patient.

    The background is the value that most of two opposite faces share, in all channels, such as the
    zeros around a skull-stripped brain or clipped air. Where there is none it is what lies below
    Otsu's threshold, if nearly all of two faces do. Holes count as body, and so does
    everything where neither is found: a picture that is filled to its edges.
    """
    empty = _empty_background(image)
    if empty is None:
        empty = _dark_background(image)
    if empty is None:
        return torch.ones_like(image[0], dtype=torch.bool)
    filled = ndimage.binary_fill_holes(~empty.cpu().numpy())
    assert filled is not None
    body = torch.from_numpy(filled).to(image.device)
    return body if bool(body.any()) else torch.ones_like(body)


def _empty_background(image: Image) -> Mask | None:
    """Return the voxels of the value that two opposite faces share, or None where none do."""
    for axis in range(1, image.ndim):
        voxels = _faces(image, axis)
        value, count = _commonest(voxels)
        if count >= EMPTY_SHARE * voxels.shape[1]:
            empty: Mask = (image == value.reshape(-1, *[1] * (image.ndim - 1))).all(dim=0)
            return empty
    return None


def _commonest(voxels: Float[Tensor, "C N"]) -> tuple[Float[Tensor, " C"], int]:
    """Return the commonest column, the lowest of equally common ones, and how often it is there.

    Columns are numbered channel by channel, in their order; comparing them as a whole, as
    `torch.unique` along an axis does, takes twenty times as long.
    """
    numbers = torch.zeros_like(voxels[0], dtype=torch.int64)
    for channel in voxels:
        own = torch.unique(channel, return_inverse=True)[1]
        numbers = torch.unique(numbers * (own.max() + 1) + own, return_inverse=True)[1]
    counts = torch.bincount(numbers)
    most = counts.argmax()
    return voxels[:, (numbers == most).int().argmax()], int(counts[most])


def _dark_background(image: Image) -> Mask | None:
    """Return the voxels below Otsu's threshold, or None where no two opposite faces are of them."""
    grey = image.mean(dim=0)
    values = grey.cpu().numpy()
    if np.ptp(values) == 0:
        return None
    dark = grey <= float(threshold_otsu(values.ravel()))  # three slices are not colours
    shares = [float(_faces(dark[None], axis).double().mean()) for axis in range(1, image.ndim)]
    return dark if max(shares) >= DARK_SHARE else None


def _faces(data: Tensor, axis: int) -> Tensor:
    """Return both faces `C N` at the ends of an axis; a scan may cut the body at those of one."""
    ends = (0, -1) if data.shape[axis] > 1 else (0,)
    return torch.cat([data.select(axis, end).flatten(1) for end in ends], dim=1)
