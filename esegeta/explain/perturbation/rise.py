"""RISE: which voxels are kept when the target is high, over random masks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits, generator_for
from esegeta.explain.meaning import WORTH, Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation.edited import Edits
from esegeta.explain.perturbation.edits import EditedTarget
from esegeta.explain.perturbation.features import Features, parse_features
from esegeta.explain.perturbation.masked_target import MaskedTarget
from esegeta.explain.standard_error import confidence
from esegeta.predict import Box, spot


@dataclass(frozen=True)
class Rise(Explainer):
    """How far the target lies above its mean when a voxel is kept, over random smooth masks.

        a(v) = 1 / (N p)  sum_i (R(x m_i + x' (1 - m_i)) - mean R) m_i(v)

    Masks m_i are coarse grids of cells, kept with probability p, interpolated linearly and shifted
    at random. Positive: with the voxel, the target is higher. Unit: target. Zero outside the
    windows of the target.

    Args:
        features: None for smooth masks; or features, each kept or replaced as a whole.
        baseline: zero, mean, minimum, blur, or an image file.
        samples: number of masks N.
        cell_mm: side in mm of a cell of the smooth masks.
        keep: probability p that a cell or feature is kept.
        seed: random seed for the masks.
        spread: also give the standard error over masks, as for a covariance.

    Source: Petsiuk et al., RISE, 2018, equation 6; there the baseline is zero and the mean of R is
    not taken off, which adds a constant, `mean_value` among the facts, to every voxel.
    """

    features: Features | str | None = None
    baseline: Baseline | str = "mean"
    samples: int = 512
    cell_mm: float = 20.0
    keep: float = 0.5
    seed: int = 0
    spread: bool = False

    name: ClassVar[str] = "rise"
    traits: ClassVar[Traits] = Traits("perturbation", stochastic=True, by_channel=False)
    meaning: ClassVar[Meaning] = WORTH
    zero_hint: ClassVar[str] = (
        "no mask changes the target; is the image equal to its baseline, or are the cells too "
        "large?"
    )

    def __post_init__(self) -> None:
        if self.features is not None:
            object.__setattr__(self, "features", parse_features(self.features))
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))
        if self.samples < 2:
            raise ConfigError(f"rise: samples: {self.samples} must be at least 2")
        if self.cell_mm <= 0:
            raise ConfigError(f"rise: cell_mm: {self.cell_mm:g} must be above zero")
        if not 0 < self.keep < 1:
            raise ConfigError(f"rise: keep: {self.keep:g} is outside 0..1")

    @property
    def cost(self) -> Cost:
        """One forward pass per mask."""
        return Cost.of(self.samples)

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map."""
        baseline = parse_baseline(self.baseline).of(objective.volume)
        if self.features is not None:
            partition = parse_features(self.features).of(objective.volume)
            return self._over_features(MaskedTarget(objective, partition, baseline))
        target = EditedTarget(objective)
        masks = SmoothMasks.draw(self, objective)
        padded = target.windows.pad_image(baseline[None])
        values = target.start() + target.changes(_Masked(masks, padded, target))
        mean = values.mean()
        data, errors = _weigh(self, masks, (values - mean) / self.keep, target)
        more = {
            "mean_value": float(mean),
            "cells": list(masks.grids.shape[1:]),
            "windows_by_brute_force": target.brute_force_windows,
        }
        more |= confidence(self.samples - 1) if self.spread else {}
        return RawMap(data, more=more, standard_error=errors)

    def _over_features(self, masked_target: MaskedTarget) -> RawMap:
        generator = generator_for(torch.empty(0), self.seed)
        draws = torch.rand((self.samples, len(masked_target.players)), generator=generator)
        values = masked_target.values(masked_target.with_dummies(draws < self.keep))
        kept = (draws < self.keep).to(values)
        # A constant in the masks adds nothing to the map, as the values are centred, but it adds to
        # the spread of the terms.
        terms = (values - values.mean())[:, None] * (kept - kept.mean(dim=0)) / self.keep
        errors = terms.std(dim=0) / math.sqrt(self.samples) if self.spread else None
        more = {"mean_value": float(values.mean())}
        more |= confidence(self.samples - 1) if self.spread else {}
        return masked_target.map(terms.mean(dim=0), errors=errors, more=more)


@dataclass(frozen=True, eq=False)
class SmoothMasks:
    """Coarse random grids, shifted, which any box of any mask is interpolated from.

    Args:
        grids: 0 or 1 for each cell, `N *G`, on the volume's device.
        shifts: shift of each mask along each axis, in cells, `N ndim`.
        cell_vox: side of a cell along each axis.
    """

    grids: Float[Tensor, "N *G"]
    shifts: Float[Tensor, "N D"]
    cell_vox: tuple[float, ...]

    @classmethod
    def draw(cls, method: Rise, objective: Objective) -> SmoothMasks:
        """Draw the masks of a method for a volume; a cell is at least a voxel wide."""
        grid = objective.volume.grid
        cells = tuple(max(1.0, method.cell_mm / spacing) for spacing in grid.spacing_mm)
        counts = [math.ceil(n / cell) + 1 for n, cell in zip(grid.shape, cells, strict=True)]
        generator = generator_for(torch.empty(0), method.seed)
        draws = torch.rand((method.samples, *counts), generator=generator)
        shifts = torch.rand((method.samples, grid.ndim), generator=generator)
        device = objective.x.device
        return cls((draws < method.keep).float().to(device), shifts, cells)

    def __len__(self) -> int:
        return len(self.grids)

    def of(self, mask: int, box: Box) -> Float[Tensor, "*S"]:
        """Return a mask within a box of the volume, in 0..1; linear between cells' centres."""
        return self.at(mask, [torch.arange(part.start, part.stop) for part in box])

    def at(self, mask: int, voxels: Sequence[Tensor]) -> Float[Tensor, "*S"]:
        """Return a mask at voxels of the volume, given by their indices along each axis."""
        result = self.grids[mask]
        for axis, places in enumerate(voxels):
            count = self.grids.shape[axis + 1]
            shift = float(self.shifts[mask, axis])
            place = (places.to(result.device) + 0.5) / self.cell_vox[axis] + shift - 0.5
            cells = torch.arange(count, device=result.device)
            near = (1 - (place.clamp(0, count - 1)[:, None] - cells).abs()).clamp(min=0)
            result = torch.movedim(torch.tensordot(near, result, dims=([1], [axis])), 0, axis)
        return result


class _Masked(Edits):
    """Copies of the image, blended with the baseline by masks."""

    def __init__(self, masks: SmoothMasks, baseline: Tensor, target: EditedTarget) -> None:
        self._masks = masks
        self._baseline = baseline
        self._windows = target.windows

    def __len__(self) -> int:
        return len(self._masks)

    def touching(self, window: int) -> Mapping[int, Hashable]:
        return {mask: mask for mask in range(len(self._masks))}

    def apply(self, edit: int, crop: Tensor, box: Box) -> None:
        # Where zeros lie around the volume image and baseline are the same: any mask will do.
        mask = self._masks.at(edit, self._windows.origins(box)).to(crop)
        start = self._baseline[spot(0, box)].to(crop)
        crop.copy_(start + mask * (crop - start))


def _weigh(
    method: Rise, masks: SmoothMasks, values: Float64[Tensor, " N"], target: EditedTarget
) -> tuple[Image, Image | None]:
    """Return the mean of `value_i m_i` over masks and its standard error, in the seen windows.

    The values add up to zero, so that this is a covariance: its error is that of the mean of
    `value_i (m_i - mean m)`.
    """
    windows = target.windows
    mask_of_seen = windows.seen_by(target.seen, values.device)
    if not target.seen:
        return mask_of_seen[None].float(), None
    box = _bounding_box(mask_of_seen)
    sides = tuple(part.stop - part.start for part in box)

    def placed(part: Tensor) -> Image:
        whole: Any = torch.zeros(windows.shape, device=values.device)
        whole[box] = part
        return torch.where(mask_of_seen, whole, torch.zeros_like(whole))[None]

    mean = torch.zeros(sides, device=values.device)
    # Moments of c = m - p, not of m: less is lost when the squares of means are taken off.
    centre, first, second = torch.zeros((3, *(sides if method.spread else ())), device=mean.device)
    for place, value in enumerate(values.tolist()):
        mask = masks.of(place, box)
        mean.add_(mask, alpha=value / len(masks))
        if method.spread:
            mask -= method.keep
            weight = value * value / len(masks)
            centre.add_(mask, alpha=1 / len(masks))
            first.add_(mask, alpha=weight)
            second.addcmul_(mask, mask, value=weight)

    if not method.spread:
        return placed(mean), None
    squares = second - 2 * centre * first + centre * centre * float(values.square().mean())
    variance = (squares - mean * mean).clamp(min=0) / (len(masks) - 1)
    return placed(mean), placed(variance.sqrt())


def _bounding_box(mask: Tensor) -> Box:
    places = mask.nonzero()
    low, high = places.amin(dim=0).tolist(), places.amax(dim=0).tolist()
    return tuple(slice(start, stop + 1) for start, stop in zip(low, high, strict=True))
