"""The target of images from which parts were removed, whatever takes their place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from esegeta.axes import Image, Logits, Mask
from esegeta.explain import (
    Attribution,
    Coalitions,
    EditedTarget,
    Edits,
    MaskedTarget,
    Objective,
    Partition,
)
from esegeta.predict import Box, spot
from esegeta.score.removal.replacement import NoisyLinear, Replacement, impute


class Removals(ABC):
    """One objective under removal of the parts of a partition.

    Only windows that both the target and a removed part touch are run, and results for what a
    window has seen once are kept.
    """

    partition: Partition
    x: Image

    @property
    @abstractmethod
    def start(self) -> float:
        """The target of the untouched image."""

    @abstractmethod
    def values(self, coalitions: Coalitions) -> Float64[Tensor, " M"]:
        """Return the target of each coalition's image, on the CPU."""

    @abstractmethod
    def predictions(self, coalitions: Coalitions) -> Iterator[Logits]:
        """Yield the prediction of each coalition's image; not for linear targets."""

    @abstractmethod
    def image(self, coalition: Bool[Tensor, " N"]) -> Image:
        """Return the image of one coalition, `C *S`."""

    def foreseen(self, coalitions: Coalitions, attribution: Attribution) -> Float64[Tensor, " M"]:
        """Return how far the map predicts that the target falls for each coalition, on the CPU.

        The shares of what is removed add up; a map of slopes is multiplied by the change of the
        image first.
        """
        if attribution.meaning.is_slope:
            slope = attribution.per_channel().double()
            falls = [((self.x - self.image(row)).double() * slope).sum() for row in coalitions]
            return torch.stack(falls).cpu()
        worths = sums_by_part(attribution.density(), self.partition)
        return (~coalitions).double() @ worths.cpu()


def removals(objective: Objective, partition: Partition, replacement: Replacement) -> Removals:
    """Return the removals of an objective, given what replaces removed parts."""
    if isinstance(replacement, NoisyLinear):
        return _ByImputation(objective, partition, replacement)
    return _ByBaseline(objective, partition, replacement.of(objective.volume))


def sums_by_part(map_: Image, partition: Partition) -> Float64[Tensor, " N"]:
    """Return the sum of a map `C *S` over each part, in float64, on the map's device."""
    labels = partition.labels.flatten() + 1
    groups = map_.flatten(1).double()
    if not partition.channels:
        groups = groups.sum(dim=0, keepdim=True)
    length = partition.num_regions + 1
    sums = [torch.bincount(labels, weights=group, minlength=length)[1:] for group in groups]
    return torch.cat(sums)


class _ByBaseline(Removals):
    def __init__(self, objective: Objective, partition: Partition, baseline: Image) -> None:
        self.partition = partition
        self.x = objective.volume.data
        self._baseline = baseline
        self._masked_target = MaskedTarget(objective, partition, baseline)
        self._start = self._masked_target.target.start()

    @property
    def start(self) -> float:
        return self._start

    def values(self, coalitions: Coalitions) -> Tensor:
        return self._start + self._masked_target.changes(coalitions)

    def predictions(self, coalitions: Coalitions) -> Iterator[Logits]:
        return self._masked_target.predictions(coalitions)

    def image(self, coalition: Tensor) -> Image:
        return torch.where(_kept(coalition, self.partition), self.x, self._baseline)


class _ByImputation(Removals):
    """Each image is solved for as a whole: what a hole is filled with depends on all holes."""

    def __init__(
        self, objective: Objective, partition: Partition, replacement: NoisyLinear
    ) -> None:
        self.partition = partition
        self.x = objective.volume.data
        self._spacing_mm = objective.volume.grid.spacing_mm
        self._replacement = replacement
        self._target = EditedTarget(objective)
        self._start = self._target.start()

    @property
    def start(self) -> float:
        return self._start

    def values(self, coalitions: Coalitions) -> Tensor:
        changes = [self._target.changes(self._edit(row)) for row in coalitions]
        return self._start + torch.cat(changes).cpu()

    def predictions(self, coalitions: Coalitions) -> Iterator[Logits]:
        for row in coalitions:
            yield from self._target.predictions(self._edit(row))

    def image(self, coalition: Tensor) -> Image:
        kept = _kept(coalition, self.partition)
        planes = self.x.unbind()
        # Channels of which different voxels are removed are filled in one by one.
        holes = kept.expand(len(planes), *kept.shape[1:]).logical_not().unbind()
        if len(kept) == 1:
            return self._impute(self.x, holes[0])
        parts = [self._impute(plane[None], hole) for plane, hole in zip(planes, holes, strict=True)]
        return torch.cat(parts)

    def _impute(self, data: Image, hole: Mask) -> Image:
        how = self._replacement
        return impute(data, hole, self._spacing_mm, noise=how.noise, seed=how.seed)

    def _edit(self, coalition: Tensor) -> _Whole:
        image = self.image(coalition)
        name = coalition.numpy().tobytes()
        return _Whole(name, (image != self.x).any(dim=0), image, self._target)


class _Whole(Edits):
    """One other image in place of the whole image."""

    def __init__(self, name: Hashable, changed: Mask, image: Image, target: EditedTarget) -> None:
        self._name = name
        self._touched = set(target.windows.seeing(changed))
        self._image = target.windows.pad_image(image[None])

    def __len__(self) -> int:
        return 1

    def touching(self, window: int) -> Mapping[int, Hashable]:
        return {0: self._name} if window in self._touched else {}

    def apply(self, edit: int, crop: Tensor, box: Box) -> None:
        index: tuple[Any, ...] = spot(0, box)
        crop.copy_(self._image[index].to(crop))


def _kept(coalition: Tensor, partition: Partition) -> Bool[Tensor, "G *S"]:
    rows = coalition.to(partition.labels.device)
    kept: Tensor = partition.look_up(rows, partition.labels, rest=True)
    return kept
