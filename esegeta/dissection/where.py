"""Where activations exceed a level, and where they are largest, as fast as the device finds it.

On a CPU torch takes five to ten times as long as NumPy to compare numbers, and to list the few
places where a mask holds; the numbers are the same.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def places_where(mask: Bool[Tensor, "*any"]) -> tuple[Int[Tensor, " H"], ...]:
    """Return the indices along each axis where a mask holds, in ascending order.

    Equal to `mask.nonzero().unbind(1)`.
    """
    if mask.device.type != "cpu":
        return mask.nonzero().unbind(1)
    flat = np.flatnonzero(mask.numpy())
    return tuple(torch.from_numpy(index) for index in np.unravel_index(flat, mask.shape))


def places_above(
    values: Float[Tensor, "U *any"], levels: Float[Tensor, " U"]
) -> tuple[Int[Tensor, " H"], ...]:
    """Return the indices along each axis where units exceed their levels, in ascending order.

    Args:
        values: activations of each unit.
        levels: one for each unit; the comparison is strict.
    """
    column = levels.reshape(-1, *[1] * (values.ndim - 1))
    if values.device.type != "cpu":
        return places_where(values > column)
    return places_where(torch.from_numpy(values.detach().numpy() > column.numpy()))


def peaks(values: Float[Tensor, "U N"]) -> tuple[Float[Tensor, " U"], Int[Tensor, " U"]]:
    """Return the largest activation of each unit, and the first of the places where it is."""
    if values.device.type != "cpu":
        found = values.max(dim=1)
        return found.values, found.indices
    places = torch.from_numpy(values.detach().numpy().argmax(axis=1))
    return values.gather(1, places[:, None])[:, 0], places
