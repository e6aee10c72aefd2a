"""The shape legend: a letter for each axis, an alias for each tensor passed between rooms.

    B   batch                       C   input channels (MRI sequences, colours)
    L   output channels (labels)    U   units of a layer
    *S  spatial axes in NIfTI voxel order: two or three of them, x first

Two or three spatial axes are the same code everywhere; what differs is the length of `*S`.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

Image = Float[Tensor, "C *S"]
"""An image or a map: channels first, float32."""

Batch = Float[Tensor, "B C *S"]
"""What a network takes."""

Logits = Float[Tensor, "B L *S"]
"""What a network returns, before softmax or sigmoid."""

Field = Float[Tensor, "B *S"]
"""One number per voxel."""

Scalars = Float[Tensor, " B"]
"""One number per image of the batch."""

Mask = Bool[Tensor, "*S"]
"""True for the voxels that belong."""

LabelMap = Int[Tensor, "*S"]
"""The integer of a label at each voxel, 0 for background."""

Shape = tuple[int, ...]
"""Lengths of the spatial axes, in voxels."""

Corners = tuple[tuple[int, ...], tuple[int, ...]]
"""First voxel of a box, and one past the last."""


def shape_text(shape: Shape) -> str:
    """Return a shape as people write it, such as 64x64x32."""
    return "x".join(str(length) for length in shape)


def along_axes(places: Int[Tensor, " N"], shape: Shape) -> tuple[Int[Tensor, " N"], ...]:
    """Return places in a flattened volume along each of its axes.

    Equal to `torch.unravel_index`, which loads a library for symbols first.
    """
    found = []
    for length in reversed(shape):
        found.append(places % length)
        places = places.div(length, rounding_mode="floor")
    return tuple(reversed(found))
