"""Chance that knows how smooth units are and where the body ends: random masks in a unit's place.

A unit that has nothing to do with a concept may still be smooth, and lie in the body as the concept
does. Surrogates are random fields as smooth as the unit, of which as many voxels of the body are
taken as the unit's mask has there, the largest ones; what the mask has outside the body stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from esegeta.dissection.above import Above
from esegeta.dissection.body import CaseSpace
from esegeta.dissection.chance import Chance, Overlaps, draw_seed
from esegeta.dissection.tally import ConceptParts, tally

LAGS = (1, 2, 4, 8, 16)
"""Distances in voxels at which it is asked how alike neighbours are."""

LEAST_PAIRS, PAIRS_SHARE = 20, 0.5
"""Neighbours that must lie in the body at a distance: this many, and this share of the mask."""

ALIKE = (0.3, 0.98)
"""Correlations from which a smoothness is read: below is noise, above nothing can be told."""

FINEST_VOX = 0.35
"""Smoothness of a field of single voxels."""

WIDEST_SHARE = 0.25
"""Of the volume's longest side: a field that is smoother has no place to vary in."""

STEPS_PER_DOUBLING = 2
"""Smoothness is rounded up to this many classes between a length and twice that length."""

DRAWS_OF_A_FIELD = 25
"""Draws that are taken from one field, each shifted at random."""

VALUES_AT_A_TIME = 1 << 22

PAD_BY = 3
"""How many times its smoothness a field is longer than the body, since it goes round and round."""


@dataclass(frozen=True)
class Surrogates(Chance):
    """Random fields in the place of units: as smooth as each, and within the body as it is.

    A field is white noise through a Gaussian filter. How wide that is follows from how often a
    neighbour of a mask's voxel lies in the mask too: of a Gaussian field above a threshold t

        P(Y > t | X > t) = [p^2 + integral_0^rho exp(-t^2 / (1 + r)) / (2 pi sqrt(1 - r^2)) dr] / p

    with p = P(X > t) and rho = exp(-h^2 / 4 s^2) at distance h. s is the widest that any distance
    and axis asks for, so that chance is at least as lumpy as the unit.

    Source: surrogates of matched smoothness, Burt et al., NeuroImage 220 (2020); differs in that
    they are matched by masks, not by variograms of maps.
    """

    name: ClassVar[str] = "surrogate"

    def overlaps(
        self, above: Above, partition: ConceptParts, num_units: int, space: CaseSpace
    ) -> Overlaps:
        """Count the concepts within random masks; units of one smoothness share their fields."""
        body = space.body & partition.counted[partition.parts.long()]
        inside = _kept(above, body)
        outside = tally(_kept(above, ~body), partition, num_units).both
        sizes = inside.counts(num_units)
        result = outside.cpu().expand(self.samples, *outside.shape).clone()
        if not len(inside.voxels):
            return result
        grades = grades_of(smoothness_vox(inside, num_units, space, body))
        for grade in sorted(set(grades.tolist())):
            units = ((grades == grade) & (sizes > 0)).nonzero()[:, 0]
            if len(units):
                units = units[sizes[units].argsort()]
                fields = Fields.of(grade, space, body, seed=self.seed)
                first = 0
                for ranked in fields.draws(self.samples, int(sizes[units[-1]])):
                    found = _overlaps_of_largest(partition, ranked, sizes[units]).cpu()
                    result[first : first + len(found), units.cpu()] += found
                    first += len(found)
        return result


@dataclass(frozen=True, eq=False)
class Fields:
    """Smooth random fields over the body.

    Args:
        widths_vox: standard deviation of the filter along each axis.
        body: the voxels of the box around the body.
        places: the voxels of the body in the flattened volume.
        seed: of the fields.
    """

    widths_vox: tuple[float, ...]
    body: Bool[Tensor, "*B"]
    places: Int[Tensor, " M"]
    seed: int

    @classmethod
    def of(cls, grade: int, space: CaseSpace, body: Tensor, *, seed: int) -> Fields:
        """Return the fields of one grade of smoothness in a case."""
        mask = body.reshape(space.shape)
        index = mask.nonzero()
        ends = zip(index.amin(dim=0).tolist(), index.amax(dim=0).tolist(), strict=True)
        box = tuple(slice(first, last + 1) for first, last in ends)
        widths = tuple(width_vox(grade) * ratio for ratio in _ratios(space.stride))
        own = draw_seed(seed, space.number) * 1009 + grade
        return cls(widths, mask[box], body.nonzero()[:, 0], own)

    def draws(self, count: int, most: int) -> Iterator[Int[Tensor, "D H"]]:
        """Yield the body's voxels of the largest values, the largest first, some draws at a time.

        Args:
            count: draws.
            most: voxels H.
        """
        generator = torch.Generator().manual_seed(self.seed)
        sides = self.body.shape
        step = min(DRAWS_OF_A_FIELD, max(VALUES_AT_A_TIME // len(self.places), 1))
        for done in range(0, count, DRAWS_OF_A_FIELD):
            field = self._field(generator)
            shifts = torch.stack(
                [
                    torch.randint(side, (DRAWS_OF_A_FIELD,), generator=generator)
                    for side in field.shape
                ]
            )
            # Once round and on for the length of the body: a shifted voxel needs no remainder.
            for axis, side in enumerate(sides):
                field = torch.cat([field, field.narrow(axis, 0, side)], dim=axis)
            length = torch.tensor(
                [math.prod(field.shape[axis + 1 :]) for axis in range(field.ndim)]
            )
            here = (self.body.nonzero() * length.to(self.body.device)).sum(dim=1)
            moves = (shifts * length[:, None]).sum(dim=0).to(self.body.device)
            for first in range(0, min(DRAWS_OF_A_FIELD, count - done), step):
                some = moves[first : min(first + step, count - done)]
                values = field.flatten()[here + some[:, None]]
                yield self.places[values.topk(most).indices]

    def _field(self, generator: torch.Generator) -> Tensor:
        shape = tuple(
            side + math.ceil(PAD_BY * width)
            for side, width in zip(self.body.shape, self.widths_vox, strict=True)
        )
        noise = torch.randn(shape, generator=generator).to(self.body.device)
        spectrum = torch.fft.rfftn(noise)
        for axis, (side, width) in enumerate(zip(shape, self.widths_vox, strict=True)):
            last = axis == len(shape) - 1
            frequency = torch.fft.rfftfreq(side) if last else torch.fft.fftfreq(side)
            damping = torch.exp(-2 * (math.pi * width * frequency) ** 2).to(spectrum.device)
            line = [1] * len(shape)
            line[axis] = -1
            spectrum = spectrum * damping.reshape(line)
        field: Tensor = torch.fft.irfftn(spectrum, s=shape)
        return field


def smoothness_vox(
    above: Above, num_units: int, space: CaseSpace, body: Bool[Tensor, " N"]
) -> Float[Tensor, " U"]:
    """Return how smooth a Gaussian field is whose mask would be as lumpy as each unit's.

    In voxels, along an axis of the layer's mean stride: standard deviation of the filter.
    """
    sizes = above.counts(num_units)
    share = sizes.double() / body.sum()
    needed = (PAIRS_SHARE * sizes).clamp(min=LEAST_PAIRS)
    length = body.numel()
    keys = above.units * length + above.voxels
    keys = keys.sort().values
    widest = torch.full((num_units,), FINEST_VOX, dtype=torch.float64, device=body.device)
    step = length
    for side, ratio in zip(space.shape, _ratios(space.stride), strict=True):
        step //= side
        place = above.voxels // step % side
        for lag in (lag for lag in LAGS if lag < side):
            there = above.voxels + lag * step
            counts = (place + lag < side) & body[there.clamp(max=length - 1)]
            units, wanted = above.units[counts], (above.units * length + there)[counts]
            found = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
            pairs = torch.bincount(units, minlength=num_units)
            both = torch.bincount(units[keys[found] == wanted], minlength=num_units)
            rho = correlation_of(both.double() / pairs, share)
            width = lag / (2 * (-rho.log()).sqrt()) / ratio
            told = (pairs >= needed) & (rho > ALIKE[0]) & (rho < ALIKE[1])
            widest = torch.where(told, torch.maximum(widest, width), widest)
    return widest.clamp(max=WIDEST_SHARE * max(space.shape))


def correlation_of(both: Float[Tensor, " U"], share: Float[Tensor, " U"]) -> Float[Tensor, " U"]:
    """Return the correlation of two Gaussian variables, in 0..1, from how often both are large.

    Args:
        both: P(Y > t | X > t); NaN gives 0.
        share: P(X > t).
    """
    angle = torch.linspace(0, math.pi / 2, 513, dtype=torch.float64, device=both.device)
    share = share.clamp(1e-12, 1 - 1e-12)
    level = torch.special.ndtri(share)[:, None]
    density = torch.exp(-(level**2) / (1 + angle.sin())) / (2 * math.pi)
    joint = share[:, None] ** 2 + torch.cat(
        [torch.zeros_like(level), torch.cumulative_trapezoid(density, angle)], dim=1
    )
    place = torch.searchsorted(joint / share[:, None], both.nan_to_num(0.0)[:, None])[:, 0]
    return angle[place.clamp(max=len(angle) - 1)].sin()


def grades_of(widths_vox: Float[Tensor, " U"]) -> Int[Tensor, " U"]:
    """Return the grades of smoothness, rounded up."""
    doublings = (widths_vox / FINEST_VOX).log2()
    return (STEPS_PER_DOUBLING * doublings - 1e-9).ceil().clamp(min=0).long()


def width_vox(grade: int) -> float:
    """Return the width in voxels that a grade stands for."""
    return float(FINEST_VOX * 2 ** (grade / STEPS_PER_DOUBLING))


def _ratios(stride: tuple[float, ...]) -> list[float]:
    mean = math.prod(stride) ** (1 / len(stride))
    return [one / mean for one in stride]


def _kept(above: Above, mask: Tensor) -> Above:
    kept = mask[above.voxels]
    return Above(above.units[kept], above.voxels[kept])


def _overlaps_of_largest(
    partition: ConceptParts, ranked: Int[Tensor, "D H"], sizes: Int[Tensor, " U"]
) -> Overlaps:
    """Return what the first voxels of rankings share with concepts, as many as each unit has.

    Args:
        partition: by concepts.
        ranked: voxels of the flattened volume, the largest first.
        sizes: ascending.
    """
    device, (num_draws, most) = ranked.device, ranked.shape
    # The first unit that takes a voxel of this rank; those behind it take it too.
    first = torch.searchsorted(sizes, torch.arange(most, device=device), right=True)
    rows = torch.arange(num_draws, device=device)[:, None] * len(sizes) + first
    places = rows * partition.num_parts + partition.parts[ranked].long()
    length = num_draws * len(sizes) * partition.num_parts
    counts = torch.bincount(places.flatten(), minlength=length)
    counts = counts.reshape(num_draws, len(sizes), -1).cumsum(dim=1)
    return partition.of_concepts(counts.flatten(0, 1)).reshape(num_draws, len(sizes), -1)
