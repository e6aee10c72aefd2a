"""The prediction on the scan's own grid: put back there, then decided there, a slab at a time.

    logits          interpolate the logits, then decide: nnU-Net's order
    probabilities   softmax or sigmoid, interpolate, then decide: MONAI's Activationsd, Invertd
    labels          decide on the network's grid, then take the nearest voxel

Interpolation is linear, by the two grids: that of MONAI's `Invertd` of `Spacingd`, and of
`skimage.transform.resize(order=1, mode="edge")`, which nnU-Net calls, between grids of one extent.
Where preprocessing treated a coarse axis separately, the nearest slice is taken along it, as
nnU-Net does with `order_z=0`. Voxels that preprocessing cut off are 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from esegeta.axes import LabelMap, Logits
from esegeta.model import Labels
from esegeta.volume import (
    Grid,
    Respace,
    Volume,
    coarse_axis,
    is_interpolated,
    on_source,
    reorient_like,
    resample,
    seen_on_source,
)

Rule = Literal["logits", "probabilities", "labels"]
Decide = Callable[[Logits], Tensor]
"""From logits `1 L *S` to `1 K *S`: what is wanted of each voxel."""

SLAB_VALUES = 1 << 23
"""How many interpolated logits are held at a time."""

ROUNDING = 1e-6
"""By how many slices the middle between two of them may be missed."""


@dataclass(frozen=True, eq=False)
class SourceGrid:
    """A prediction that is read on the grid of the scan.

    No more than a slab of all output channels is ever held on that grid.

    Args:
        logits: `1 L *S` on the volume's grid.
        volume: the image, with the grid that it came from.
        labels: what the output channels mean.
        rule: what is interpolated.
    """

    logits: Logits
    volume: Volume
    labels: Labels
    rule: Rule = "logits"

    def label_map(self) -> LabelMap:
        """Return label integers `*T`, 0 where the network saw nothing."""
        return self.read(lambda logits: self.labels.label_map(logits)[:, None])[0]

    def probability(self, labels: Sequence[str | int]) -> Shaped[Tensor, "K *T"]:
        """Return the probability of some labels in 0..1, float32, 0 where the network saw nothing.

        Under `rule: labels`, whose decision is not that of any interpolation, the probabilities
        are interpolated all the same.
        """
        rule: Rule = "logits" if self.rule == "logits" else "probabilities"
        source = SourceGrid(self.logits, self.volume, self.labels, rule)

        def decide(logits: Logits) -> Tensor:
            found = [self.labels.probability_of(logits, label) for label in labels]
            return torch.stack(found, dim=1).float()

        return source.read(decide)

    def read(self, decide: Decide) -> Shaped[Tensor, "K *T"]:
        """Return what is wanted of each voxel of the scan's grid, 0 where the network saw nothing.

        Args:
            decide: acts on each voxel by itself; under `labels` it returns integers or masks.
        """
        if self.rule == "labels" or not is_interpolated(self.volume):
            return on_source(decide(self.logits)[0], self.volume, resampling="nearest")
        values, grid = reorient_like(self.logits[0], self.volume.grid, self._onto)
        values, grid = self._nearest_slices(values, grid)
        seen = seen_on_source(self.volume)
        found: Tensor | None = None
        for planes, onto in self._slabs():
            box = _box_around(onto, grid)
            moved = self._interpolated(values[(slice(None), *box)], _cropped(grid, box), onto)
            part = decide(moved[None])[0]
            if seen is not None:
                part = part.masked_fill(~seen[planes].to(part.device), 0)
            if found is None:
                found = part.new_zeros((len(part), *self._onto.shape))
            found[:, planes] = part
        assert found is not None  # a grid has a plane
        return found

    def _nearest_slices(self, values: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
        """Take the nearest slice at each of the image's along the axis that is taken separately."""
        moves = (move for move in self.volume.route.moves if isinstance(move, Respace))
        separate = next((move.separate_axis for move in moves), False)
        axis = coarse_axis(grid, self._onto.spacing_mm, separate)
        if axis is None:
            return values, grid
        step, start = _between(self._onto, grid)[axis, [axis, -1]]
        index = start + step * np.arange(self._onto.shape[axis])
        nearest = np.floor(index + 0.5 + ROUNDING).clip(0, grid.shape[axis] - 1).astype(np.int64)
        places = torch.from_numpy(nearest).to(values.device)
        change = np.eye(4)
        change[axis, axis], change[axis, 3] = step, start
        moved = values.index_select(axis + 1, places)
        return moved, Grid(tuple(moved.shape[1:]), grid.affine @ change)

    def _interpolated(self, values: Tensor, grid: Grid, onto: Grid) -> Tensor:
        """Return logits on a slab, in float64; those of interpolated probabilities likewise."""
        values = values.double()
        if self.rule == "logits":
            return resample(values, grid, onto, resampling="bilinear")
        values = self.labels.probability(values[None])[0]
        moved = resample(values, grid, onto, resampling="bilinear").clamp(0, 1)
        # Their softmax, or sigmoid, is what was interpolated.
        return moved.log() if self.labels.activation == "softmax" else moved.logit()

    def _slabs(self) -> Iterator[tuple[slice, Grid]]:
        num_planes, *plane = self._onto.shape
        thickness = max(1, SLAB_VALUES // (self.logits.shape[1] * math.prod(plane)))
        for start in range(0, num_planes, thickness):
            planes = slice(start, min(start + thickness, num_planes))
            yield planes, _cropped(self._onto, (planes, *(slice(0, side) for side in plane)))

    @property
    def _onto(self) -> Grid:
        return self.volume.source.grid


def _cropped(grid: Grid, box: Sequence[slice]) -> Grid:
    shift = np.eye(4)
    shift[: grid.ndim, 3] = [part.start for part in box]
    return Grid(tuple(part.stop - part.start for part in box), grid.affine @ shift)


def _between(onto: Grid, grid: Grid) -> np.ndarray:
    """Return the affine from voxel indices of one grid to those of another, of their axes."""
    change = np.linalg.inv(grid.affine) @ onto.affine
    keep = [*range(grid.ndim), 3]
    return np.asarray(change[np.ix_(keep, keep)])


def _box_around(onto: Grid, grid: Grid) -> tuple[slice, ...]:
    """Return the voxels of a grid that interpolation onto another reads; never none at all."""
    ends = itertools.product(*((0, length - 1) for length in onto.shape))
    corners = np.array([[*corner, 1] for corner in ends]) @ _between(onto, grid)[:-1].T
    box = []
    for low, high, length in zip(corners.min(axis=0), corners.max(axis=0), grid.shape, strict=True):
        first = int(np.clip(np.floor(low) - 1, 0, length - 1))
        box.append(slice(first, int(np.clip(np.ceil(high) + 2, first + 1, length))))
    return tuple(box)
