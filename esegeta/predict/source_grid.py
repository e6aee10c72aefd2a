"""The prediction on the scan's own grid: put back there, then decided there, a slab at a time.

    logits          interpolate the logits, then decide: nnU-Net's order
    probabilities   softmax or sigmoid, interpolate, then decide: MONAI's Activationsd, Invertd
    labels          decide on the network's grid, then take the nearest voxel's decision

Interpolation is linear, by the two grids: that of MONAI's `Invertd` of `Spacingd`, and of
`skimage.transform.resize(order=1, mode="edge")`, which nnU-Net calls, between grids of one extent.
Where preprocessing treated a coarse axis separately, the nearest slice is taken along it, as
nnU-Net does with `order_z=0`. Voxels that preprocessing cut off are 0.

Postprocessing comes last, on the scan's grid. Where nothing is interpolated it is done on the
network's, padding left out: the voxels are the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from esegeta.axes import Field, LabelMap, Logits, Mask
from esegeta.model import Decided, DecidedByLogits, Labels, Segmentation
from esegeta.predict.prediction import Prediction
from esegeta.predict.source_planes import PlaneReader, Planes, PlanesAlong
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

GridRule = Literal["logits", "probabilities", "labels"]
PlanesIndex = tuple[slice, ...]
"""Which planes of the image, as an index of its voxels."""

Decide = Callable[[Logits, PlanesIndex], Tensor]
"""From logits `1 L *S` to `1 K *S`, given the planes of the image that they lie on."""

SLAB_VALUES = 1 << 23
"""How many interpolated logits are held at a time."""

HELD_VALUES = 1 << 28
"""How many masks of the image, in voxels, are held at a time."""

ROUNDING = 1e-6
"""Tolerance, in slices, around the middle between two of them."""


@dataclass(frozen=True, eq=False)
class SourceGrid:
    """A prediction that is read on the grid of the scan.

    No more than a slab of all output channels is ever held on that grid.

    Args:
        logits: `1 L *S` on the volume's grid, or what makes them.
        volume: the image, with the grid that it came from.
        labels: what the output channels mean.
        rule: what is interpolated.
    """

    logits: Logits | Prediction
    volume: Volume
    labels: Labels
    rule: GridRule = "logits"

    @cached_property
    def label_map(self) -> LabelMap:
        """Label integers `*T`, 0 where the network saw nothing; after postprocessing."""
        if self._is_decided_before:
            return self._put_back(self._decided.label_map[None])[0]
        refined = self._refined

        def paint(logits: Logits, planes: PlanesIndex) -> Tensor:
            masks = None
            if refined is not None:
                masks = {name: mask[planes] for name, mask in refined.items()}
            return self.labels.label_map(logits, masks)[:, None]

        return self._read(paint)[0]

    def masks(self) -> Iterator[tuple[str, Mask]]:
        """Yield where each label but the background is predicted, `*T`; after postprocessing."""
        names, labels = self.labels.foreground, self.labels
        if self._is_decided_before:
            for name in names:
                yield name, self._put_back(self._decided.mask(name)[None])[0]
        elif self._refined is not None:
            yield from self._refined.items()
        elif not labels.may_overlap:
            for name in names:
                yield name, labels.shown(self.label_map, name)
        else:
            yield from self._predicted()

    def probabilities(self, names: Sequence[str]) -> Iterator[tuple[str, Field]]:
        """Yield the probability of labels in 0..1, float32, 0 where the network saw nothing.

        Under `rule: labels`, where no interpolation decides, the probabilities are interpolated all
        the same.
        """
        rule: GridRule = "logits" if self.rule == "logits" else "probabilities"
        source = replace(self, rule=rule)
        return source._of_each(names, lambda y, name: self.labels.probability_of(y, name).float())

    def _predicted(self) -> Iterator[tuple[str, Mask]]:
        """Yield where labels are predicted on the image's grid, before postprocessing."""
        return self._of_each(self.labels.foreground, self.labels.predicted)

    def _of_each(
        self, names: Sequence[str], decide: Callable[[Logits, str], Tensor]
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield what is wanted of each label on the image's grid, some read at a time."""

        def decide_all(group: Sequence[str], logits: Logits, _: PlanesIndex) -> Tensor:
            return torch.stack([decide(logits, name) for name in group], dim=1)

        for group in self._groups(names):
            yield from zip(group, self._read(partial(decide_all, group)), strict=True)

    @cached_property
    def _refined(self) -> dict[str, Mask] | None:
        """All masks after postprocessing on the image's grid; None where there is none."""
        steps, ml = self.labels.postprocessing, self.volume.source.voxel_volume_ml
        if not steps:
            return None
        exclusive = not self.labels.may_overlap
        return steps.refine(dict(self._predicted()), voxel_ml=ml, exclusive=exclusive)

    @cached_property
    def _decided(self) -> Segmentation:
        """The prediction decided on the network's grid."""
        volume = self.volume
        return Segmentation(self._decisions, volume.voxel_volume_ml, volume.inside)

    @property
    def _decisions(self) -> Decided:
        if isinstance(self.logits, Prediction):
            return self.logits.decided
        return DecidedByLogits(self.labels, self.logits)

    @cached_property
    def _is_decided_before(self) -> bool:
        """Whether everything is decided on the network's grid, so that decisions are only moved."""
        brought = self.rule == "labels" and not self.labels.postprocessing
        return brought or not is_interpolated(self.volume)

    def _put_back(self, found: Shaped[Tensor, "K *S"]) -> Shaped[Tensor, "K *T"]:
        return on_source(found, self.volume, resampling="nearest")

    def _groups(self, names: Sequence[str]) -> Iterator[Sequence[str]]:
        held = max(1, HELD_VALUES // math.prod(self._onto.shape))
        for start in range(0, len(names), held):
            yield names[start : start + held]

    def _read(self, decide: Decide) -> Shaped[Tensor, "K *T"]:
        """Return what is wanted for each voxel of the image, 0 where the network saw nothing."""
        if not is_interpolated(self.volume):
            return self._put_back(self._gathered(decide))
        seen = seen_on_source(self.volume)
        found: Tensor | None = None

        def put(moved: Logits, planes: PlanesIndex) -> None:
            nonlocal found
            part = decide(moved, planes)[0]
            if seen is not None:
                part = part.masked_fill(~seen[planes].to(part.device), 0)
            if found is None:
                found = part.new_zeros((len(part), *self._onto.shape))
            found[(slice(None), *planes)] = part

        along = self._along()
        if along is not None:
            self._slab_by_slab(along, put)
        else:
            for planes, moved in self._nearest() if self.rule == "labels" else self._between():
                put(moved[None], (planes,))
        assert found is not None  # a grid has a plane
        return found

    def _gathered(self, decide: Decide) -> Shaped[Tensor, "K *S"]:
        """Return what is wanted for each voxel of the network's grid."""
        if not isinstance(self.logits, Prediction):
            return decide(self.logits, ())[0]
        return self.logits.gathered(lambda logits: decide(logits, ())[0])

    def _along(self) -> PlanesAlong | None:
        """Return the planes of the image as slabs of the prediction come; None: all is held."""
        if not isinstance(self.logits, Prediction) or self.logits.is_held or self.rule == "labels":
            return None
        return PlanesAlong.of(self.volume.grid, self._onto, self.logits.axis)

    def _slab_by_slab(self, along: PlanesAlong, put: Callable[[Logits, PlanesIndex], None]) -> None:
        """Interpolate slabs of the prediction as they come."""
        assert isinstance(self.logits, Prediction)
        plane = math.prod(self._onto.shape) // self._onto.shape[along.along]
        thickness = max(1, SLAB_VALUES // (self.labels.num_outputs * plane))

        def do(group: Planes, logits: Tensor) -> None:
            grid = _planes_of(self.volume.grid, along.axis, group.read)
            onto = _planes_of(self._onto, along.along, group.onto)
            values, grid = reorient_like(logits[0], grid, onto)
            values, grid = self._nearest_slices(values, grid, onto)
            put(self._interpolated(values, grid, onto)[None], along.index(group.onto))

        self.logits.each_part(PlaneReader(along, thickness, do).take)

    @property
    def _whole(self) -> Logits:
        return self.logits.logits if isinstance(self.logits, Prediction) else self.logits

    def _between(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield slabs of the image, and the logits interpolated on them, `L *T`."""
        values, grid = reorient_like(self._whole[0], self.volume.grid, self._onto)
        values, grid = self._nearest_slices(values, grid, self._onto)
        for planes, onto in self._slabs():
            box = _box_around(onto, grid)
            near = values[(slice(None), *box)]
            yield planes, self._interpolated(near, grid.cropped(box), onto)

    def _nearest(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield slabs of the image, and the logits of the nearest voxels on them, `L *T`.

        Deciding by these gives the nearest voxel's decision, since each voxel is decided by itself.
        """
        shape = self.volume.grid.shape
        places = torch.arange(math.prod(shape), device=self._whole.device).reshape(1, *shape)
        nearest = resample(places, self.volume.grid, self._onto, resampling="nearest")[0]
        values = self._whole[0].flatten(1)
        for planes, _ in self._slabs():
            yield planes, values[:, nearest[planes]]

    def _nearest_slices(self, values: Tensor, grid: Grid, onto: Grid) -> tuple[Tensor, Grid]:
        """Take the nearest slice at each of the image's along the axis that is taken separately."""
        moves = (move for move in self.volume.route.moves if isinstance(move, Respace))
        separate = next((move.separate_axis for move in moves), False)
        axis = coarse_axis(grid, onto.spacing_mm, separate)
        if axis is None:
            return values, grid
        step, start = _change_between(onto, grid)[axis, [axis, -1]]
        index = start + step * np.arange(onto.shape[axis])
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
        thickness = max(1, SLAB_VALUES // (self.labels.num_outputs * math.prod(plane)))
        for start in range(0, num_planes, thickness):
            planes = slice(start, min(start + thickness, num_planes))
            yield planes, self._onto.cropped((planes, *(slice(0, side) for side in plane)))

    @property
    def _onto(self) -> Grid:
        return self.volume.source.grid


def _planes_of(grid: Grid, axis: int, planes: slice) -> Grid:
    box = [slice(0, length) for length in grid.shape]
    box[axis] = planes
    return grid.cropped(box)


def _change_between(onto: Grid, grid: Grid) -> np.ndarray:
    """Return the affine from voxel indices of one grid to those of another, of their axes."""
    change = np.linalg.inv(grid.affine) @ onto.affine
    keep = [*range(grid.ndim), 3]
    return np.asarray(change[np.ix_(keep, keep)])


def _box_around(onto: Grid, grid: Grid) -> tuple[slice, ...]:
    """Return the voxels of a grid that interpolation onto another reads; at least one."""
    ends = itertools.product(*((0, length - 1) for length in onto.shape))
    corners = np.array([[*corner, 1] for corner in ends]) @ _change_between(onto, grid)[:-1].T
    box = []
    for low, high, length in zip(corners.min(axis=0), corners.max(axis=0), grid.shape, strict=True):
        first = int(np.clip(np.floor(low) - 1, 0, length - 1))
        box.append(slice(first, int(np.clip(np.ceil(high) + 2, first + 1, length))))
    return tuple(box)
