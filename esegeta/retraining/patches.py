"""Patches to train on: where they lie depends on seeds and ground truth, never on the images.

Two networks of one seed and fold see the same patches in the same order, whatever was taken out
of their images: what differs between their Dice is due to what was taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from esegeta.predict import Box, WindowPlan
from esegeta.retraining.samples import Sample


@dataclass(frozen=True)
class Spot:
    """Where a patch lies: a sample by its place in the fold, and a box of its padded voxels."""

    sample: int
    box: Box


class PatchSampler:
    """Draws where patches lie, one half-open box after the other.

    Each patch is of a sample drawn with equal chances, and is centred on a voxel of one of its
    labels or on any voxel: the labels that the sample has and `any` have equal chances too. A
    patch that would leave the image is moved inside.

    Args:
        samples: of the training folds.
        plan: of a patch.
        seed: of all draws.
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
            voxel = int(self._random.integers(sample.truth.numel()))
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
        samples: of the training folds.
        images: of each sample, with its voxels taken out, `C *S`.
        plan: of a patch.
        seed: of where they lie.
    """

    def __init__(
        self, samples: Sequence[Sample], images: Sequence[Tensor], plan: WindowPlan, seed: int
    ) -> None:
        self._sampler = PatchSampler(samples, plan, seed)
        windows = [plan.lay(sample.shape) for sample in samples]
        self._thin = windows[0].slice_axis
        self._images = [one.pad(image) for one, image in zip(windows, images, strict=True)]
        self._truths = [one.pad(sample.truth) for one, sample in zip(windows, samples, strict=True)]

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the next images `B C *W` and their ground truth `B *W`.

        A 2D network's patches have lost the axis that its slices lie along.
        """
        spots = [self._sampler.draw() for _ in range(count)]
        images = torch.stack([self._images[s.sample][(slice(None), *s.box)] for s in spots])
        truths = torch.stack([self._truths[s.sample][s.box] for s in spots])
        if self._thin is None:
            return images, truths
        return images.squeeze(self._thin + 2), truths.squeeze(self._thin + 1)
