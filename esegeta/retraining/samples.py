"""The images that networks are trained and tested on, what is taken out of them, and patches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.axes import Image, LabelMap, Mask, Shape
from esegeta.errors import ConfigError
from esegeta.explain import Attribution, Baseline, relevance, shuffled_order
from esegeta.model import Labels
from esegeta.predict import Box, WindowPlan
from esegeta.volume import Volume

RemovalMode = Literal["roar", "kar"]
MapRank = Literal["magnitude", "value"]

Importance = Float[Tensor, "*S"]
"""How much each voxel matters to a method; only the order counts."""

VoxelOrder = Int[Tensor, " V"]
"""All voxels of an image by their flat index, the most important first, without padding."""


def importance_of(attribution: Attribution, rank_by: MapRank) -> Importance:
    """Return what voxels are ranked by, channels summed.

    `magnitude`: how much information, whichever way it pulls; `value`: how much a voxel raises
    the target.
    """
    return relevance(attribution, rank_by).sum(dim=0)


def rank_voxels(importance: Importance, seed: int, inside: Mask | None = None) -> VoxelOrder:
    """Rank the voxels of an image, the most important first; a seed decides between equals.

    The order in memory plays no part: it would take a map's zeros out line by line.

    Args:
        importance: importance of each voxel.
        seed: random seed that breaks ties.
        inside: mask of the voxels that are not padding; only they are ranked. None for all.
    """
    if inside is None:
        return shuffled_order(importance.flatten(), seed=seed)
    places = inside.flatten().nonzero()[:, 0]
    return places[shuffled_order(importance.flatten()[places], seed=seed)]


@dataclass(frozen=True)
class Removal:
    """Which part of a ranking is taken out of every image.

    Args:
        mode: `roar` removes the voxels of the highest rank, `kar` keeps them and removes the rest.
        method: id of the method that ranks.
        fraction: share of an image's voxels that are removed (`roar`) or kept (`kar`), 0 to 1.
    """

    mode: RemovalMode
    method: str
    fraction: float

    def mask(self, order: VoxelOrder, shape: Shape) -> Mask:
        """Return where the voxels of an image are removed, `*S`.

        Of V voxels, `floor(fraction * V + 1/2)` are those of the highest rank. Padding, which has
        no rank, stays.
        """
        num_top = math.floor(self.fraction * len(order) + 0.5)
        chosen = order[:num_top] if self.mode == "roar" else order[num_top:]
        mask = torch.zeros(math.prod(shape), dtype=torch.bool, device=order.device)
        mask[chosen] = True
        return mask.reshape(shape)


REFERENCE = "reference"
"""Stands for the method of images whose removal no ranking decides."""

UNTOUCHED = Removal("roar", REFERENCE, 0.0)
EMPTY = Removal("roar", REFERENCE, 1.0)
"""The ends of every curve: nothing is removed, and everything is."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image of a retraining, in the memory of the host: a case, or a slab of the only case.

    Args:
        place: its place among all samples; seeds are derived from it.
        case: place of its case among all cases.
        box: its box in the case.
        data: the image as the network takes it, `C *S`.
        fill: what replaces removed voxels, `C *S`; made for the whole case, then cut out.
        truth: the ground truth, `*S`.
        labels: labels that patches are centred on and that Dice is measured for.
        inside: mask of what is not padding, `*S`, in which voxels are ranked, patches centred,
            loss and Dice measured; None for all.
    """

    place: int
    case: int
    box: Box
    data: Image
    fill: Image
    truth: LabelMap
    labels: Labels
    inside: Mask | None = None

    @property
    def shape(self) -> Shape:
        """Lengths of the spatial axes."""
        return tuple(self.truth.shape)

    @cached_property
    def pools(self) -> dict[str, np.ndarray]:
        """The flat indices of each label that has any voxel, by its name."""
        flat, labels = self.truth.flatten(), self.labels
        masks = {name: labels.truth(flat, name) for name in labels.foreground}
        if self.inside is not None:
            masks = {name: mask & self.inside.flatten() for name, mask in masks.items()}
        found = {name: mask.nonzero().flatten() for name, mask in masks.items()}
        return {name: voxels.int().numpy() for name, voxels in found.items() if len(voxels)}

    @cached_property
    def voxels(self) -> np.ndarray | None:
        """The flat indices of the voxels that are not padding; None for all."""
        return None if self.inside is None else self.inside.flatten().nonzero()[:, 0].int().numpy()

    def without(self, removed: Mask) -> Image:
        """Return the image with the fill in place of some voxels, in all channels."""
        return torch.where(removed, self.fill, self.data)


def make_samples(
    volumes: Sequence[Volume],
    truths: Sequence[Tensor],
    baseline: Baseline,
    labels: Labels,
    boxes: Sequence[Sequence[Box]],
) -> list[Sample]:
    """Return the samples of all cases; each case is cut into its boxes."""
    samples: list[Sample] = []
    for case, (volume, truth) in enumerate(zip(volumes, truths, strict=True)):
        fill = baseline.of(volume)
        for box in boxes[case]:
            part = (slice(None), *box)
            data, inside = volume.data[part], volume.inside
            within = None if inside is None else inside[box]
            samples.append(
                Sample(len(samples), case, box, data, fill[part], truth[box], labels, within)
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


@dataclass(frozen=True)
class Spot:
    """Where a patch lies: the sample's place in the fold, and a box of its padded voxels."""

    sample: int
    box: Box


class PatchSampler:
    """Draws where patches lie, one half-open box after the other.

    Each patch is of a sample drawn with equal chances, and is centred on a voxel of one of its
    labels or on any voxel of the image: the labels that the sample has and `any` have equal
    chances too. A patch that would leave the volume is moved inside.

    Args:
        samples: samples of the training folds.
        plan: plan of a patch.
        seed: random seed of all draws.
    """

    def __init__(self, samples: Sequence[Sample], plan: WindowPlan, seed: int) -> None:
        self._samples = samples
        self._windows = [plan.lay(sample.shape) for sample in samples]
        self._random = np.random.default_rng(seed)

    def draw(self) -> Spot:
        """Return where the next patch lies."""
        place = int(self._random.integers(len(self._samples)))
        sample, windows = self._samples[place], self._windows[place]
        pools = list(sample.pools.values())
        chosen = int(self._random.integers(len(pools) + 1))
        if chosen < len(pools):
            voxel = int(pools[chosen][self._random.integers(len(pools[chosen]))])
        else:
            voxels = sample.voxels
            drawn = int(
                self._random.integers(sample.truth.numel() if voxels is None else len(voxels))
            )
            voxel = drawn if voxels is None else int(voxels[drawn])
        centre = np.unravel_index(voxel, sample.shape)
        box = []
        for axis, (size, length) in enumerate(zip(windows.size, windows.padded_shape, strict=True)):
            start = int(centre[axis]) + windows.padding[axis][0] - size // 2
            start = min(max(start, 0), length - size)
            box.append(slice(start, start + size))
        return Spot(place, tuple(box))


class Patches:
    """Batches of patches of images and ground truth.

    Args:
        samples: samples of the training folds.
        images: image of each sample, with its voxels taken out, `C *S`.
        plan: plan of a patch.
        seed: random seed of the places of patches.
        sampler: what draws those places, instead of one with this seed.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        images: Sequence[Tensor],
        plan: WindowPlan,
        seed: int,
        *,
        sampler: PatchSampler | None = None,
    ) -> None:
        self._sampler = sampler or PatchSampler(samples, plan, seed)
        windows = [plan.lay(sample.shape) for sample in samples]
        self._thin = windows[0].slice_axis
        self._images = [one.pad(image) for one, image in zip(windows, images, strict=True)]
        self._truths = [one.pad(sample.truth) for one, sample in zip(windows, samples, strict=True)]
        self._inside: list[Tensor] | None = None
        if any(sample.inside is not None for sample in samples):
            self._inside = [
                one.pad(_inside_of(sample)) for one, sample in zip(windows, samples, strict=True)
            ]

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the next images `B C *W`, their ground truth, and which voxels are the image's.

        The last two are `B *W`; the last is None where no image was padded by preprocessing. A 2D
        network's patches have lost the axis that its slices lie along.
        """
        spots = [self._sampler.draw() for _ in range(count)]
        images = torch.stack([self._images[s.sample][(slice(None), *s.box)] for s in spots])
        truths = torch.stack([self._truths[s.sample][s.box] for s in spots])
        inside = self._inside
        within = None if inside is None else torch.stack([inside[s.sample][s.box] for s in spots])
        if self._thin is None:
            return images, truths, within
        axis = self._thin + 1
        flat = None if within is None else within.squeeze(axis)
        return images.squeeze(axis + 1), truths.squeeze(axis), flat


def _inside_of(sample: Sample) -> Mask:
    inside = sample.inside
    return torch.ones_like(sample.truth, dtype=torch.bool) if inside is None else inside
