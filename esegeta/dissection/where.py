"""Where activations exceed a level, and where they are largest, as fast as the device finds it.

On a CPU torch takes five to ten times as long as NumPy to compare numbers, and to list the few
places where a mask holds; the numbers are the same.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from esegeta.dissection.quantile import ordered_bits


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


def flat_places_above(values: Float[Tensor, " N"] | Int[Tensor, " N"], level: float) -> Tensor:
    """Return the indices of values above a level, in ascending order."""
    if values.device.type != "cpu":
        return (values > level).nonzero()[:, 0]
    data = values.detach().numpy()
    return torch.from_numpy(np.flatnonzero(data > data.dtype.type(level)))


def largest_first(values: Float[Tensor, " N"], places: Int[Tensor, " C"]) -> Int[Tensor, " C"]:
    """Return places in the order of their values, the largest first; of equal ones the first."""
    chosen = values.index_select(0, places)
    return places[largest_of_rows(chosen[None], len(places))[0]]


def largest_of_rows(values: Float[Tensor, "D N"], count: int) -> Int[Tensor, "D H"]:
    """Return the places of so many values of each row, the largest first; of equal ones the first.

    On a CPU value and place are sorted as one integer, several times as fast as `topk`.
    """
    if values.device.type != "cpu":
        return values.argsort(dim=1, descending=True, stable=True)[:, :count]
    keys = ordered_bits(-values).numpy().astype(np.int64) << 32
    keys |= np.arange(values.shape[1])
    if count < values.shape[1]:
        keys = np.partition(keys, count - 1, axis=1)[:, :count]
    keys.sort(axis=1)
    return torch.from_numpy(keys & 0xFFFFFFFF)


def peaks(values: Float[Tensor, "U N"]) -> tuple[Float[Tensor, " U"], Int[Tensor, " U"]]:
    """Return the largest activation of each unit, and the first of the places where it is."""
    if values.device.type != "cpu":
        found = values.max(dim=1)
        return found.values, found.indices
    places = torch.from_numpy(values.detach().numpy().argmax(axis=1))
    return values.gather(1, places[:, None])[:, 0], places
