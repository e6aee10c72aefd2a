"""Supervoxels: pieces of an image of about one grey value, at several sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from esegeta.axes import Image, Mask
from esegeta.explain.perturbation.supervoxels import slic_labels

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
    """
    inside = body.cpu()
    # Of a single slice the thickness must not count: it would take resolution from the others.
    axes = [axis for axis, length in enumerate(inside.shape) if length > 1]
    flat = image.reshape(len(image), *(inside.shape[axis] for axis in axes))
    spacing = tuple(spacing_mm[axis] for axis in axes)
    found = []
    for count in counts:
        labels = slic_labels(flat, spacing, count, compactness=COMPACTNESS)
        numbers = (labels.long() + 1).reshape(inside.shape) * inside
        found.append(_renumbered(numbers).to(body.device))
    return found


def _renumbered(numbers: Int[Tensor, "*S"]) -> Int[Tensor, "*S"]:
    """Number what is left from 1 without gaps."""
    known, places = torch.unique(numbers, return_inverse=True)
    renumbered: Tensor = places if known[0] == 0 else places + 1
    return renumbered
