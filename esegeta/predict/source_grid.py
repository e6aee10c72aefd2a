"""The prediction on the scan's own grid: put back there, then decided there, a slab at a time.

    logits          interpolate the logits, then decide: nnU-Net's order
    probabilities   softmax or sigmoid, interpolate, then decide: MONAI's Activationsd, Invertd
    labels          decide on the network's grid, then take the nearest voxel

Interpolation is linear, by the two grids: that of MONAI's `Invertd` of `Spacingd`, and of
`skimage.transform.resize(order=1, mode="edge")`, which nnU-Net calls, between grids of one extent.
Voxels whose centre no voxel of the network's grid covers, as those that were cropped, are 0.
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

from esegeta.axes import LabelMap, Logits, Mask
from esegeta.model import Labels
from esegeta.volume import Grid, Volume, reorient_like, resample

Rule = Literal["logits", "probabilities", "labels"]
Decide = Callable[[Logits], Tensor]
"""From logits `1 L *S` to `1 K *S`: what is wanted of each voxel."""

SLAB_VALUES = 1 << 23
"""How many interpolated logits are held at a time."""

COVERED = 0.5 + 1e-3
"""How far from the centre of the outermost voxel its side lies, in voxels; rounding included."""


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

    @property
    def is_resampled(self) -> bool:
        """Whether more than a permutation and flips of axes lies between the two grids."""
        _, turned = reorient_like(self.volume.data[:0], self.volume.grid, self._onto)
        return not turned.same_as(self._onto)

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
        if not self.is_resampled:
            return reorient_like(decide(self.logits)[0], self.volume.grid, self._onto)[0]
        if self.rule == "labels":
            # Interpolation is in float32, which holds the ranks of large integers but not them.
            integers, ranks = torch.unique(decide(self.logits)[0], return_inverse=True)
            nearest = resample(ranks.float(), self.volume.grid, self._onto, resampling="nearest")
            moved: Tensor = integers[nearest.round().long()]
            for planes, onto in self._slabs():
                beyond = ~_covered(self.volume.grid, onto, device=moved.device)
                moved[:, planes].masked_fill_(beyond, 0)
            return moved
        return self._read_interpolated(decide)

    def _read_interpolated(self, decide: Decide) -> Tensor:
        values, grid = reorient_like(self.logits[0], self.volume.grid, self._onto)
        found: Tensor | None = None
        for planes, onto in self._slabs():
            box = _box_around(onto, grid)
            moved = self._interpolated(values[(slice(None), *box)], _cropped(grid, box), onto)
            beyond = ~_covered(grid, onto, device=moved.device)
            part = decide(moved[None])[0].masked_fill(beyond, 0)
            if found is None:
                found = part.new_zeros((len(part), *self._onto.shape))
            found[:, planes] = part
        assert found is not None  # a grid has a plane
        return found

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


def _covered(grid: Grid, onto: Grid, *, device: torch.device) -> Mask:
    """Return which voxels of `onto` have their centre within a voxel of `grid`."""
    change = torch.as_tensor(_between(onto, grid), device=device)
    shape = onto.shape
    inside = torch.ones(shape, dtype=torch.bool, device=device)
    for axis, length in enumerate(grid.shape):
        index = change[axis, -1].expand(shape).clone()
        for other, size in enumerate(shape):
            along = torch.arange(size, device=device, dtype=index.dtype) * change[axis, other]
            index += along.reshape([size if place == other else 1 for place in range(len(shape))])
        inside &= (index >= -COVERED) & (index <= length - 1 + COVERED)
    return inside
