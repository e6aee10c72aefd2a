"""Planes of a scan and the planes of a prediction that interpolation onto them reads.

A prediction that comes slab by slab is interpolated as it comes: whatever planes of the scan lie
between those that are there are done, and only the few that the next ones also read are kept.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from esegeta.predict.tiling import Box
from esegeta.volume import Grid

ALIGNED = 1e-6
"""Share of a step that may go along another axis, for axes to count as parallel."""


@dataclass(frozen=True)
class Planes:
    """Some planes of the scan, with what is read for them.

    Args:
        onto: the planes' place in the scan, along its axis.
        read: planes of the network's grid, along its own.
    """

    onto: slice
    read: slice


@dataclass(frozen=True)
class PlanesAlong:
    """All planes of a scan across the axis that slabs of the prediction lie across.

    Args:
        grid: the network's grid.
        onto: the scan's.
        axis: the axis of the network's grid.
        along: the axis of the scan that is parallel to it.
        step: planes of the network's grid that a plane of the scan goes on; below 0 backwards.
        start: where the scan's first plane lies, in planes of the network's grid.
    """

    grid: Grid
    onto: Grid
    axis: int
    along: int
    step: float
    start: float

    @classmethod
    def of(cls, grid: Grid, onto: Grid, axis: int) -> PlanesAlong | None:
        """Return the planes; None where no axis of the scan is parallel to the network's."""
        keep = [*range(grid.ndim), 3]
        change = np.asarray((np.linalg.inv(grid.affine) @ onto.affine)[np.ix_(keep, keep)])
        steps = np.abs(change[axis, :-1])
        along = int(steps.argmax())
        others = np.delete(steps, along)
        if (others > ALIGNED * steps[along]).any():
            return None
        return cls(grid, onto, axis, along, float(change[axis, along]), float(change[axis, -1]))

    def index(self, planes: slice) -> tuple[slice, ...]:
        """Return planes of the scan as an index of data on it."""
        return (slice(None),) * self.along + (planes,)

    def groups(self, thickness: int) -> list[Planes]:
        """Return all planes of the scan, some at a time, in the order in which they are read."""
        length = self.onto.shape[self.along]
        found = []
        for first in range(0, length, thickness):
            stop = min(first + thickness, length)
            found.append(Planes(slice(first, stop), self._read(first, stop)))
        return found if self.step > 0 else found[::-1]

    def _read(self, first: int, stop: int) -> slice:
        ends = sorted(self.start + self.step * place for place in (first, stop - 1))
        length = self.grid.shape[self.axis]
        low = min(max(math.floor(ends[0]) - 1, 0), length - 1)
        return slice(low, min(max(math.ceil(ends[1]) + 2, low + 1), length))


class PlaneReader:
    """Hands on the planes of a prediction that come slab by slab, as groups of the scan need them.

    Args:
        planes: the planes of the scan.
        thickness: of a group, in planes of the scan.
        do: is given a group and the logits `1 L *P` of the planes that it reads.
    """

    def __init__(
        self, planes: PlanesAlong, thickness: int, do: Callable[[Planes, Tensor], None]
    ) -> None:
        self._axis = planes.axis
        self._groups = deque(planes.groups(thickness))
        self._do = do
        self._kept: Tensor | None = None
        self._first = 0

    def take(self, logits: Tensor, box: Box) -> None:
        """Take the next slab."""
        here = box[self._axis]
        while self._groups and self._groups[0].read.stop <= here.stop:
            group = self._groups.popleft()
            self._do(group, self._between(group.read, logits, here))
        if self._groups:
            first = min(self._groups[0].read.start, here.stop)
            # A copy: the slab's memory is used again.
            kept = self._between(slice(first, here.stop), logits, here).clone()
            self._kept, self._first = kept, first

    def _between(self, planes: slice, logits: Tensor, here: slice) -> Tensor:
        parts = []
        if planes.start < here.start:
            assert self._kept is not None  # it begins where the next group does
            stop = min(planes.stop, here.start)
            parts.append(self._cut(self._kept, slice(planes.start, stop), self._first))
        # Groups that end before this slab were handed on with an earlier one.
        rest = slice(max(planes.start, here.start), planes.stop)
        parts.append(self._cut(logits, rest, here.start))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=self._axis + 2)

    def _cut(self, logits: Tensor, planes: slice, first: int) -> Tensor:
        return logits.narrow(
            self._axis + 2, planes.start - first, max(planes.stop - planes.start, 0)
        )
