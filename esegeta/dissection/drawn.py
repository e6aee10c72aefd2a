"""Concepts that are drawn by hand (boxes, points), or told by grey values (bright, textured)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Corners, Mask
from esegeta.dissection.body import find_body
from esegeta.dissection.concept import ConceptRule, ConceptSources, Look
from esegeta.dissection.quantile import rank_of
from esegeta.targets import distance_to, distance_tolerance_mm, voxel_at, voxels_in_box


@dataclass(frozen=True)
class Boxes(ConceptRule):
    """Voxels in boxes that were drawn in some cases; no voxel of the others.

    Args:
        boxes: first voxel and one past the last, in voxels of the image's file, by case.
    """

    boxes: Mapping[str, tuple[Corners, ...]]
    kind: ClassVar[str] = "box"

    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return the voxels whose centre lies in a box."""
        volume = ground.volume
        found = torch.zeros(volume.grid.shape, dtype=torch.bool, device=volume.data.device)
        for start, stop in self.boxes.get(volume.name, ()):
            found |= voxels_in_box(volume, start, stop)
        return found


@dataclass(frozen=True)
class Points(ConceptRule):
    """Voxels around points that were set in some cases; no voxel of the others.

    Args:
        points: voxels of the image's file, by case.
        radius_mm: how far around them, in mm.
    """

    points: Mapping[str, tuple[tuple[float, ...], ...]]
    radius_mm: float
    kind: ClassVar[str] = "point"

    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return the voxels within the radius of the voxel nearest to a point."""
        volume = ground.volume
        seeds = torch.zeros(volume.grid.shape, dtype=torch.bool, device=volume.data.device)
        for point in self.points.get(volume.name, ()):
            seeds |= voxel_at(volume, point)
        spacing_mm = volume.grid.spacing_mm
        limit = self.radius_mm + distance_tolerance_mm(spacing_mm)
        return distance_to(seeds, spacing_mm) <= limit


@dataclass(frozen=True)
class Bright(ConceptRule):
    """Voxels of the body with the largest grey values of each image.

    Args:
        share: of the body's voxels.
        channel: of the image, from 0.
    """

    share: float
    channel: int = 0
    kind: ClassVar[str] = "bright"

    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return where the grey value is among the largest; none where too many are equal."""
        image = ground.volume.data
        return largest_in(find_body(image), image[self.channel], self.share)


@dataclass(frozen=True)
class Textured(ConceptRule):
    """Voxels of the body around which grey values differ most.

    Args:
        share: of the body's voxels.
        sigma_mm: width in mm of the Gaussian neighbourhood; 0 for one voxel's along each axis.
        channel: of the image, from 0.
    """

    share: float
    sigma_mm: float = 0.0
    channel: int = 0
    kind: ClassVar[str] = "textured"

    def mask(self, name: str, ground: ConceptSources, look: Look) -> Mask:
        """Return where the local standard deviation is among the largest."""
        from scipy import ndimage

        volume = ground.volume
        data = volume.data[self.channel].detach().double().cpu().numpy()
        sigma = [self.sigma_mm / step if self.sigma_mm else 1.0 for step in volume.grid.spacing_mm]
        mean = ndimage.gaussian_filter(data, sigma, mode="nearest")
        square = ndimage.gaussian_filter((data - data.mean()) ** 2, sigma, mode="nearest")
        variance = square - (mean - data.mean()) ** 2
        steepness = torch.from_numpy(variance).to(volume.data.device)
        return largest_in(find_body(volume.data), steepness, self.share)


def largest_in(body: Mask, values: Tensor, share: float) -> Mask:
    """Return the voxels of a body whose values are above all but a share of them."""
    inside = values[body]
    least = inside.topk(rank_of(inside.numel(), share)).values[-1]
    return body & (values > least)
