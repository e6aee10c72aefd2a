"""How large an image may be: known from its header and its file, before anything is unpacked."""

from __future__ import annotations

import math

from esegeta.axes import Shape
from esegeta.errors import DataError
from esegeta.machine import memory_bytes

BYTES_PER_VOXEL = 40
"""What a voxel takes in a run at the least: image, logits, their slope and blend, map."""


def usual_max_voxels() -> int:
    """Return how many voxels an image may have where nobody says."""
    return memory_bytes() // BYTES_PER_VOXEL


def require_size(shape: Shape, what: str, max_voxels: int | None) -> None:
    """Refuse what has more voxels than this machine could work on.

    Args:
        shape: of the voxels, channels among them.
        what: has them.
        max_voxels: None for any number.

    Raises:
        DataError: it has more.
    """
    count = math.prod(shape)
    if min(shape, default=1) < 1:  # more than 64 bits hold, by a spacing of next to nothing
        raise DataError(f"{what}: no grid has {shape} voxels", hint="check spacings and sizes")
    if max_voxels is None or count <= max_voxels:
        return
    lengths = " x ".join(str(length) for length in shape)
    raise DataError(
        f"{what}: {lengths} are {count:.3g} voxels, and the limit is {max_voxels:.3g}",
        hint="crop or resample it; the limit is `data: {max_voxels: ...}`, by default what fits "
        "into the memory of this machine",
    )
