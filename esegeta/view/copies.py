"""Maps as the page shows them: only the box where they are not zero, on the grid of the file."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Mask
from esegeta.predict import Box
from esegeta.volume import (
    Excerpt,
    Grid,
    Volume,
    display_of,
    map_copy,
    resample,
    seen_on_source,
)

MARGIN = 1
"""Voxels of zeros kept around the box, between which and its values the way back interpolates."""


@dataclass(frozen=True, eq=False)
class MapCopy:
    """The display copy of a map, and how it is shown.

    Args:
        content: bytes of the gzipped NIfTI.
        low: magnitude below which values are dust.
        high: magnitude where colours end.
        peak: largest magnitude.
        is_signed: whether values below zero occur.
    """

    content: bytes
    low: float
    high: float
    peak: float
    is_signed: bool


@dataclass(frozen=True, eq=False)
class Copier:
    """Makes display copies of the maps of one case.

    Args:
        volume: the image.
        view: part of its file that is shown.
        seen: voxels of the file that the network sees, `*T`; None for all.
    """

    volume: Volume
    view: Excerpt
    seen: Mask | None

    @classmethod
    def of(cls, volume: Volume, view: Excerpt) -> Copier:
        """Return the copier of a case."""
        return cls(volume, view, seen_on_source(volume))

    def copy(self, data: Float[Tensor, "A *S"], *, is_signed: bool) -> MapCopy:
        """Return the copy of the sum of maps `A *S` on the network's grid."""
        return self._copied(*self.on_source(data), is_signed=is_signed)

    def copy_of_file(self, data: Float[Tensor, "A *T"], *, is_signed: bool) -> MapCopy:
        """Return the copy of the sum of maps `A *T` that lie on the file's grid already."""
        whole = data[0] if len(data) == 1 else data.sum(dim=0)
        box = _box_of(whole)
        return self._copied(whole[box].numpy(), box, is_signed=is_signed)

    def _copied(self, array: Float[np.ndarray, "*B"], box: Box, *, is_signed: bool) -> MapCopy:
        display = display_of(array, is_signed=is_signed)
        peak = float(np.abs(array).max(initial=0.0))
        shown, aligned = self._shown(array, box)
        high = display.high or peak or 1.0
        grid = Excerpt(aligned, self.view.stride, self.view.shape).grid(self.volume.source.grid)
        content = map_copy(shown, grid, high)
        return MapCopy(content, display.low or high / 100, high, peak, bool((array < 0).any()))

    def on_source(self, data: Float[Tensor, "A *S"]) -> tuple[Float[np.ndarray, "*B"], Box]:
        """Return the part of a sum of maps that is not zero, on the file's grid, and its box there.

        Equal to that box of the whole map brought there, which is zero elsewhere.
        """
        source = self.volume.source.grid
        whole = data[0] if len(data) == 1 else data.sum(dim=0)
        box = _box_of(whole)
        near = self.volume.grid.cropped(box)
        onto = _box_on(source, self.volume.grid, box)
        moved = resample(whole[box][None], near, source.cropped(onto), resampling="bilinear")[0]
        if self.seen is not None:
            moved = moved * self.seen[onto].to(moved.device)
        array: np.ndarray = moved.detach().cpu().numpy().astype(np.float32)
        return array, onto

    def _shown(self, array: np.ndarray, box: Box) -> tuple[np.ndarray, Box]:
        """Return what of a box is shown, one voxel for a block where the whole image is so."""
        stride = self.view.stride
        aligned, inner, taken = [], [], []
        for part, limits in zip(box, self.view.box, strict=True):
            first = min(max(part.start, limits.start), limits.stop - 1)
            first = limits.start + (first - limits.start) // stride * stride
            last = max(min(part.stop, limits.stop), first + 1)
            aligned.append(slice(first, last))
            start, stop = max(part.start, first), max(min(part.stop, last), part.start, first)
            inner.append(slice(start - first, stop - first))
            taken.append(slice(start - part.start, stop - part.start))
        shown = np.zeros([part.stop - part.start for part in aligned], np.float32)
        shown[tuple(inner)] = array[tuple(taken)]
        whole = tuple(slice(0, length) for length in shown.shape)
        return Excerpt(whole, stride, shown.shape).strongest(shown), tuple(aligned)


def _box_of(data: Tensor) -> Box:
    """Return the box where a map is not zero, with a margin; its first voxel where it is all."""
    filled = data != 0
    box: list[slice] = []
    for axis, length in enumerate(data.shape):
        # Each axis is searched in what the axes before it have left: the first costs most.
        part = filled[tuple(box)].flatten(0, axis - 1).any(dim=0) if axis else filled
        line = part.flatten(1).any(dim=1) if part.ndim > 1 else part
        places = torch.nonzero(line)
        first, last = (int(places[0]), int(places[-1])) if len(places) else (0, 0)
        box.append(slice(max(first - MARGIN, 0), min(last + 1 + MARGIN, length)))
    return tuple(box)


def _box_on(source: Grid, grid: Grid, box: Box) -> Box:
    """Return the voxels of the source that lie in a box of a grid, or beside it by a voxel.

    Beyond the grid's own faces, values go on as they are there, for a voxel of the grid at most.
    """
    faces = []
    for part, length in zip(box, grid.shape, strict=True):
        low = part.start - (1.5 if part.start == 0 else 0.5)
        faces.append((low, part.stop - 0.5 + (part.stop == length)))
    corners = np.array([source.to_index(grid.to_mm(ends)) for ends in itertools.product(*faces)])
    found = []
    for low, high, length in zip(
        corners.min(axis=0), corners.max(axis=0), source.shape, strict=True
    ):
        first = int(np.clip(np.ceil(low - 1), 0, length - 1))
        found.append(slice(first, int(np.clip(np.floor(high + 1) + 1, first + 1, length))))
    return tuple(found)
