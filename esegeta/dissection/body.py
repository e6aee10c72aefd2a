"""Where the patient is: chance moves what a unit marks within the body, and never out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from scipy import ndimage
from skimage.filters import threshold_otsu
from torch import Tensor

from esegeta.axes import Image, Mask, Shape

EMPTY_SHARE = 0.25
"""Share of the border that has one and the same value where the background is empty."""

DARK_SHARE = 0.75
"""Share of the border that is below Otsu's threshold where the background is dark and noisy."""


@dataclass(frozen=True, eq=False)
class CaseSpace:
    """What chance knows of a case.

    Args:
        number: of the case; a draw moves each case in its own way, and all units alike.
        shape: of the volume.
        body: the voxels of the flattened volume that chance keeps to.
        stride: voxels between positions of the layer, along each axis.
    """

    number: int
    shape: Shape
    body: Bool[Tensor, " N"]
    stride: tuple[float, ...]


def find_body(image: Image) -> Mask:
    """Return the voxels `*S` of an image that are not the background around the patient.

    The background is the value that much of the border shares, in all channels, such as the zeros
    around a skull-stripped brain or clipped air. Where there is none it is what lies below Otsu's
    threshold, if nearly all of the border does. Holes count as body, and so does everything where
    neither is found: a picture that is filled to its edges.
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
    """Return the voxels of the value that the border shares, or None where it shares none."""
    on_border = _border(image.shape[1:], image.device)
    columns, counts = torch.unique(image[:, on_border], dim=1, return_counts=True)
    most = int(counts.argmax())
    if int(counts[most]) < EMPTY_SHARE * int(on_border.sum()):
        return None
    value = columns[:, most].reshape(-1, *[1] * (image.ndim - 1))
    empty: Mask = (image == value).all(dim=0)
    return empty


def _dark_background(image: Image) -> Mask | None:
    """Return the voxels below Otsu's threshold, or None where the border is not of them."""
    grey = image.mean(dim=0)
    values = grey.cpu().numpy()
    if np.ptp(values) == 0:
        return None
    dark = grey <= float(threshold_otsu(values))
    on_border = _border(grey.shape, grey.device)
    return dark if float(dark[on_border].double().mean()) >= DARK_SHARE else None


def _border(shape: Shape, device: torch.device) -> Mask:
    inner = torch.zeros(tuple(shape), dtype=torch.bool, device=device)
    inner[tuple(slice(1, -1) for _ in shape)] = True
    return ~inner
