"""Concepts: what a unit may be a detector of, as a mask over each case."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import LabelMap, Mask
from esegeta.dissection.quantile import rank_of
from esegeta.errors import DataError, GridError
from esegeta.targets import distance_to, distance_tolerance_mm, near_surface
from esegeta.volume import Volume

Side = Literal["left", "right", "posterior", "anterior", "inferior", "superior"]

SIDES: dict[Side, tuple[int, int]] = {
    "left": (0, -1),
    "right": (0, 1),
    "posterior": (1, -1),
    "anterior": (1, 1),
    "inferior": (2, -1),
    "superior": (2, 1),
}
"""Axis of the patient's space (right, anterior, superior) and its direction."""

Look = Callable[[str], Mask]
"""From the name of another concept to its mask."""


@dataclass(frozen=True, eq=False)
class ConceptSources:
    """What the concepts of a case are made from.

    Args:
        volume: the image as the network takes it.
        truth: the label map on the volume's grid, or None.
        files: masks read from files, by the name of their concept.
    """

    volume: Volume
    truth: LabelMap | None = None
    files: Mapping[str, Tensor] = field(default_factory=dict)


class ConceptRule(ABC):
    """How the mask of a concept is made."""

    kind: ClassVar[str]
    needs_labels: ClassVar[bool] = False

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the concepts that it is made from."""
        return ()

    @abstractmethod
    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return the voxels `*S` of the concept of this name."""


@dataclass(frozen=True)
class Concept:
    """A named mask over every case.

    Args:
        name: name of the concept.
        rule: how its mask is made.
        category: concepts of one kind, such as organs; the rule's kind where none is given.
    """

    name: str
    rule: ConceptRule
    category: str = ""

    @property
    def group(self) -> str:
        """The category."""
        return self.category or self.rule.kind


@dataclass(frozen=True)
class LabelValues(ConceptRule):
    """Voxels whose label is one of some integers."""

    values: tuple[int, ...]
    kind: ClassVar[str] = "label"
    needs_labels: ClassVar[bool] = True

    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return where the label map holds one of the integers.

        Raises:
            DataError: the case has no label map.
        """
        if ground.truth is None:
            raise DataError(
                f'{ground.volume.name}: concept "{name}" needs a label map, but the case has none',
                hint="give the case a `label:` file",
            )
        return _holds(ground.truth.to(ground.volume.data.device), self.values)


@dataclass(frozen=True)
class MaskFile(ConceptRule):
    """Voxels that a file marks: not zero, or one of some integers."""

    values: tuple[int, ...] = ()
    kind: ClassVar[str] = "mask"

    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return the mask that was read for the concept.

        Raises:
            GridError: the mask has another shape than the volume.
        """
        given = ground.files[name].to(ground.volume.data.device)
        if tuple(given.shape) != ground.volume.grid.shape:
            raise GridError(
                f'{ground.volume.name}: concept "{name}": the mask is {tuple(given.shape)}, '
                f"the volume {ground.volume.grid.shape}"
            )
        if not self.values:
            return given != 0
        return _holds(given, self.values)


@dataclass(frozen=True)
class BoundaryBand(ConceptRule):
    """Voxels near the surface of a concept, on either side of it."""

    of: str
    within_mm: float
    kind: ClassVar[str] = "boundary"

    @property
    def sources(self) -> tuple[str, ...]:
        """The concept whose surface it is."""
        return (self.of,)

    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return voxels whose distance to the other side is at most `within_mm`."""
        return near_surface(look(self.of), ground.volume.grid.spacing_mm, self.within_mm)


@dataclass(frozen=True)
class Distance(ConceptRule):
    """Voxels outside of a concept, in a band of distances from it: `low < d <= high` mm."""

    of: str
    low_mm: float
    high_mm: float
    kind: ClassVar[str] = "distance"

    @property
    def sources(self) -> tuple[str, ...]:
        """The concept that distances are from."""
        return (self.of,)

    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return the band; empty where the concept is."""
        inside = look(self.of)
        spacing_mm = ground.volume.grid.spacing_mm
        distance, tolerance = distance_to(inside, spacing_mm), distance_tolerance_mm(spacing_mm)
        low, high = self.low_mm + tolerance, self.high_mm + tolerance
        return ~inside & (distance > low) & (distance <= high)


@dataclass(frozen=True)
class Complement(ConceptRule):
    """Voxels outside a concept."""

    of: str
    kind: ClassVar[str] = "complement"

    @property
    def sources(self) -> tuple[str, ...]:
        """The concept that it leaves out."""
        return (self.of,)

    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return all other voxels."""
        return ~look(self.of)


@dataclass(frozen=True)
class Together(ConceptRule):
    """Voxels that belong to any, or to all, of some concepts."""

    of: tuple[str, ...]
    every: bool
    kind: ClassVar[str] = "union"

    @property
    def sources(self) -> tuple[str, ...]:
        """The concepts that are put together."""
        return self.of

    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return the union or the intersection."""
        result = look(self.of[0]).clone()
        for other in self.of[1:]:
            result = result & look(other) if self.every else result | look(other)
        return result


@dataclass(frozen=True)
class Half(ConceptRule):
    """The part of a concept, or of the image, on one side of the image's middle.

    Args:
        side: side of the patient: left, right, posterior, anterior, inferior or superior.
        of: name of a concept; None for the whole image.
    """

    side: Side
    of: str | None = None
    kind: ClassVar[str] = "half"

    @property
    def sources(self) -> tuple[str, ...]:
        """The concept that is cut in two."""
        return () if self.of is None else (self.of,)

    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return the voxels whose centre is beyond the plane through the image's middle.

        Raises:
            DataError: the image is one voxel thick in that direction.
        """
        grid = ground.volume.grid
        row, sign = SIDES[self.side]
        offset = np.zeros((1,) * grid.ndim)
        for axis, length in enumerate(grid.shape):
            shape = [length if place == axis else 1 for place in range(grid.ndim)]
            centred = np.arange(length) - (length - 1) / 2
            offset = offset + grid.affine[row, axis] * centred.reshape(shape)
        if np.abs(offset).max() == 0:
            raise DataError(
                f'{ground.volume.name}: concept "{name}": the image has no {self.side} half',
                hint="it is only one voxel thick in that direction",
            )
        half = torch.from_numpy(np.broadcast_to(sign * offset > 1e-6, grid.shape).copy())
        half = half.to(ground.volume.data.device)
        return half if self.of is None else half & look(self.of)


@dataclass(frozen=True)
class Edges(ConceptRule):
    """Voxels with the steepest grey values of each image.

    Args:
        share: share of the image's voxels that count as edges, in 0..1.
        sigma_mm: width in mm of a Gaussian blur applied first; 0 for none.
        channel: channel of the image, from 0.
    """

    share: float
    sigma_mm: float = 0.0
    channel: int = 0
    kind: ClassVar[str] = "edges"

    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return where the magnitude of the gradient per mm is among the largest."""
        from scipy import ndimage

        volume = ground.volume
        spacing = volume.grid.spacing_mm
        # SciPy blurs with another width along each axis, which thick slices need.
        image = volume.data[self.channel].detach().double().cpu().numpy()
        if self.sigma_mm > 0:
            sigma = [self.sigma_mm / step for step in spacing]
            image = ndimage.gaussian_filter(image, sigma, mode="nearest")
        axes = [axis for axis, length in enumerate(image.shape) if length > 1]
        slopes = [np.gradient(image, spacing[axis], axis=axis) for axis in axes]
        steepness = torch.from_numpy(np.sqrt(sum(slope**2 for slope in slopes)))
        rank = rank_of(steepness.numel(), self.share)
        least = steepness.flatten().topk(rank).values[-1]
        return (steepness > least).to(volume.data.device)


def concept_masks(
    concepts: Sequence[Concept], ground: ConceptSources, *, helpers: Sequence[Concept] = ()
) -> list[Mask]:
    """Return the mask of each concept over a case; those that others build on are made once.

    Args:
        concepts: all of them; each may build on any other, but not on itself.
        ground: image, label map and mask files of the case.
        helpers: concepts that others may build on, but that are not dissected themselves.

    Raises:
        DataError: the case lacks something that a concept needs.
    """
    known = {concept.name: concept for concept in (*helpers, *concepts)}
    made: dict[str, Mask] = {}

    def look(name: str) -> Mask:
        if name not in made:
            made[name] = known[name].rule.mask(name, ground, look)
        return made[name]

    return [look(concept.name) for concept in concepts]


def _holds(integers: Tensor, values: tuple[int, ...]) -> Mask:
    """Return where one of a few integers is; `torch.isin` takes several times as long."""
    found = integers == values[0]
    for value in values[1:]:
        found |= integers == value
    return found
