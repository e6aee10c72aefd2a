"""The images that networks are trained and tested on: cases, or slabs of the only case."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import Image, LabelMap, Mask, Shape
from esegeta.errors import ConfigError
from esegeta.explain import Baseline
from esegeta.predict import Box, WindowPlan
from esegeta.volume import Volume


@dataclass(frozen=True, eq=False)
class Sample:
    """One image of a retraining, in the memory of the host: a case, or a slab of the only case.

    Args:
        place: among all samples; seeds are derived from it.
        case: place of its case.
        box: where it lies in the case.
        data: the image as the network takes it, `C *S`.
        fill: what takes the place of removed voxels, `C *S`; of the whole case, cut out.
        truth: the ground truth, `*S`.
        labels: integers that patches are centred on and Dice is measured of.
    """

    place: int
    case: int
    box: Box
    data: Image
    fill: Image
    truth: LabelMap
    labels: tuple[int, ...]

    @property
    def shape(self) -> Shape:
        """Lengths of the spatial axes."""
        return tuple(self.truth.shape)

    @cached_property
    def pools(self) -> dict[int, np.ndarray]:
        """The flat indices of each label that has any voxel."""
        flat = self.truth.flatten()
        found = {label: (flat == label).nonzero().flatten() for label in self.labels}
        return {label: voxels.int().numpy() for label, voxels in found.items() if len(voxels)}

    def without(self, removed: Mask) -> Image:
        """Return the image with the fill in place of some voxels, in all channels."""
        return torch.where(removed, self.fill, self.data)


def make_samples(
    volumes: Sequence[Volume],
    truths: Sequence[Tensor],
    baseline: Baseline,
    labels: tuple[int, ...],
    boxes: Sequence[Sequence[Box]],
) -> list[Sample]:
    """Return the samples of all cases; each case is cut into its boxes."""
    samples: list[Sample] = []
    for case, (volume, truth) in enumerate(zip(volumes, truths, strict=True)):
        fill = baseline.of(volume)
        for box in boxes[case]:
            part = (slice(None), *box)
            samples.append(
                Sample(len(samples), case, box, volume.data[part], fill[part], truth[box], labels)
            )
    return samples


def whole_box(shape: Shape) -> Box:
    """Return the box that holds a whole volume."""
    return tuple(slice(0, length) for length in shape)


def slab_axis(shape: Shape, plan: WindowPlan) -> int:
    """Return the axis to cut along: that of a 2D network's slices, else the longest."""
    sliced = plan.lay(shape).slice_axis
    return sliced if sliced is not None else shape.index(max(shape))


def slab_boxes(shape: Shape, axis: int, count: int) -> list[Box]:
    """Cut a volume into slabs whose thicknesses differ by one voxel at most.

    Raises:
        ConfigError: there are fewer voxels along the axis than slabs.
    """
    length = shape[axis]
    if length < count:
        raise ConfigError(
            f"retrain.folds: {count} slabs of a single case with {length} voxels along axis {axis}",
            hint=f"give at most {length} folds, or more cases",
        )
    edges = [round(place * length / count) for place in range(count + 1)]
    boxes = []
    for start, stop in itertools.pairwise(edges):
        box = list(whole_box(shape))
        box[axis] = slice(start, stop)
        boxes.append(tuple(box))
    return boxes
