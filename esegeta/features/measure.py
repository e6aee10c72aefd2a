"""Honest numbers of a picture: is it more than the data has, and could it be a real patch?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Batch
from esegeta.features.fourier import high_frequency_share
from esegeta.features.penalties import TotalVariation

PatchValues = Float[Tensor, " N"]
"""One number a real patch."""

CHUNK = 32
"""Real patches that are compared at a time."""


@dataclass(frozen=True, eq=False)
class RealPatches:
    """What pictures are compared with, on the host.

    Args:
        data: `N C *S`.
        spacing_mm: spacing of the voxels, in mm.
        places: case and first voxel of each along the axes of the case.
        std: of the data's values.
        roughness: total variation of each.
        fine: high-frequency share of each.
        apart: distance of each to the nearest other of which no voxel is its own.
    """

    data: Batch = field(repr=False)
    spacing_mm: tuple[float, ...]
    places: tuple[tuple[str, tuple[int, ...]], ...] = field(repr=False)
    std: float
    roughness: PatchValues = field(repr=False)
    fine: PatchValues = field(repr=False)
    apart: PatchValues = field(repr=False)

    @classmethod
    def of(
        cls,
        data: Batch,
        spacing_mm: tuple[float, ...],
        places: Sequence[tuple[str, tuple[int, ...]]],
        box: tuple[int, ...],
    ) -> RealPatches:
        """Measure real patches.

        Args:
            data: `N C *S`.
            spacing_mm: spacing of the voxels, in mm.
            places: case and first voxel of each.
            box: lengths of a patch along the axes of `places`.
        """
        chunks = torch.split(data, CHUNK)
        variation = TotalVariation(spacing_mm)
        std = float(data.std()) or 1.0
        distances = distances_between(data, data) / std
        distances[_share_voxels(places, box)] = torch.inf
        return cls(
            data,
            spacing_mm,
            tuple(places),
            std,
            torch.cat([variation(chunk) for chunk in chunks]),
            torch.cat([high_frequency_share(chunk, spacing_mm) for chunk in chunks]),
            distances.min(1).values,
        )

    @property
    def typically_apart(self) -> float | None:
        """The median distance of a real patch to the nearest other; None where all overlap."""
        known = self.apart[self.apart.isfinite()]
        return float(known.median()) if len(known) else None


@dataclass(frozen=True)
class Measured:
    """What is told of one picture.

    Args:
        activation: the objective's value.
        percentile: part of real patches with a smaller one, in percent.
        of_largest: the value as a multiple of the largest of a real patch; None where that is not
            above zero.
        total_variation: over the median of real patches.
        high_frequency: part of the power above half of the finest frequency.
        high_frequency_real: its median over real patches.
        distance: root mean square difference to the nearest real patch, in standard deviations of
            the data.
        distance_real: median distance between real patches that do not overlap.
        nearest: number of the nearest real patch.
    """

    activation: float
    percentile: float
    of_largest: float | None
    total_variation: float | None
    high_frequency: float
    high_frequency_real: float
    distance: float
    distance_real: float | None
    nearest: int


def measure(
    picture: Float[Tensor, "1 C *S"], activation: float, real: RealPatches, values: PatchValues
) -> Measured:
    """Measure one picture.

    Args:
        picture: `1 C *S`, on the host.
        activation: its value.
        real: what it is compared with.
        values: the objective's value of each real patch.
    """
    distances = distances_between(picture, real.data)[0] / real.std
    nearest = int(distances.argmin())
    rough = float(TotalVariation(real.spacing_mm)(picture)[0])
    usual = float(real.roughness.median())
    largest = float(values.max())
    return Measured(
        activation=activation,
        percentile=100 * float((values < activation).float().mean()),
        of_largest=activation / largest if largest > 0 else None,
        total_variation=rough / usual if usual > 0 else None,
        high_frequency=float(high_frequency_share(picture, real.spacing_mm)[0]),
        high_frequency_real=float(real.fine.median()),
        distance=float(distances[nearest]),
        distance_real=real.typically_apart,
        nearest=nearest,
    )


def distances_between(
    one: Float[Tensor, "N C *S"], other: Float[Tensor, "M C *S"]
) -> Float[Tensor, "N M"]:
    """Return root mean square differences: a row for each of `one`, a column for each other."""
    first, second = one.flatten(1).double(), other.flatten(1).double()
    middle = second.mean(0)  # differences of large numbers would lose their digits
    first, second = first - middle, second - middle
    squares = first.square().sum(1)[:, None] + second.square().sum(1) - 2 * first @ second.T
    return (squares.clamp(min=0) / first.shape[1]).sqrt().float()


def stability(pictures: Sequence[Batch], mean: Tensor) -> float | None:
    """Return the mean correlation of pictures of several seeds; None of fewer than two.

    Args:
        pictures: `B C *S` of each seed.
        mean: the mean real patch, which all have in common, and which is taken off.
    """
    if len(pictures) < 2:
        return None
    flat = torch.stack([(one - mean).flatten().double() for one in pictures])
    flat = flat - flat.mean(1, keepdim=True)
    flat = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-30)
    pairs = [float(flat[i] @ flat[j]) for i, j in combinations(range(len(flat)), 2)]
    return sum(pairs) / len(pairs)


def largest_apart(
    values: PatchValues,
    places: Sequence[tuple[str, tuple[int, ...]]],
    box: tuple[int, ...],
    count: int,
) -> list[int]:
    """Return the numbers of the patches with the largest values of which no two overlap by half.

    Args:
        values: of each patch.
        places: case and first voxel of each.
        box: lengths of a patch.
        count: how many.
    """
    chosen: list[int] = []
    for number in values.argsort(descending=True, stable=True).tolist():
        case, start = places[number]
        near = any(
            places[other][0] == case
            and all(
                abs(a - b) < n / 2 for a, b, n in zip(start, places[other][1], box, strict=True)
            )
            for other in chosen
        )
        if not near:
            chosen.append(number)
        if len(chosen) == count:
            break
    return chosen


def _share_voxels(places: Sequence[tuple[str, tuple[int, ...]]], box: tuple[int, ...]) -> Tensor:
    """Return which pairs of patches share voxels, each with itself among them."""
    cases = sorted({case for case, _ in places})
    owner = torch.tensor([cases.index(case) for case, _ in places])
    starts = torch.tensor([start for _, start in places])
    near = (starts[:, None] - starts[None]).abs() < torch.tensor(box)
    return near.all(2) & (owner[:, None] == owner[None])
