"""Chance that knows how smooth units are and where the body ends: random masks in a unit's place.

A unit that has nothing to do with a concept may still be smooth, and lie in the body as the concept
does. Surrogates are random fields as smooth as the unit, of which as many voxels of the body are
taken as the unit's mask has there, the largest ones; what the mask has outside the body stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from esegeta.axes import Mask, Shape
from esegeta.dissection.above import Above
from esegeta.dissection.blocks import Blocks, block_sides, box_of, parts_in_box
from esegeta.dissection.body import CaseSpace
from esegeta.dissection.chance import CaseChance, Chance, Overlaps, draw_seed
from esegeta.dissection.fields import Fields
from esegeta.dissection.tail import least_p, tail_p_values
from esegeta.dissection.tally import ConceptParts, OverlapTally, tally

LAGS = (1, 2, 4, 8, 16)
"""Distances in voxels at which neighbours are compared."""

LEAST_PAIRS, PAIRS_SHARE = 20, 0.5
"""Neighbours that must lie in the body at a distance: this many, and this share of the mask."""

ALIKE = (0.3, 0.98)
"""Correlations from which a smoothness is read: below is noise, above counts as the largest."""

FINEST_VOX = 0.35
"""Smoothness of a field of single voxels."""

WIDEST_SHARE = 0.25
"""Share of the volume's longest side; a smoother field would have no room to vary."""

PAIRS_AT_A_TIME = 1 << 20
"""Voxels of masks, times distances, that are looked at together."""

TABLE_BYTES = 1 << 24
"""Largest table of all units' voxels: faster than a search among those of their masks."""

STEPS_PER_DOUBLING = 2
"""Smoothness is rounded up to this many classes between a length and twice that length."""


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

    def p_values(self, observed: OverlapTally, drawn: Overlaps) -> Float[Tensor, "U K"]:
        """Return p-values that go on beyond the last draw, by the tail of the draws."""
        return tail_p_values(observed, drawn)

    def least_p(self, num_cases: int) -> float:
        """Return the smallest p-value that a tail tells."""
        return least_p(self.samples)

    def of_case(self, partition: ConceptParts, space: CaseSpace) -> SurrogateDraws:
        """Begin a case; units of one smoothness share their fields, whatever layer they are of."""
        body = space.body & partition.counted[partition.parts.long()]
        return SurrogateDraws(self, partition, space, body)


@dataclass(frozen=True, eq=False)
class MaskedUnits:
    """What surrogates must know of the masks of a layer's units.

    Args:
        outside: overlap of the masks with concepts outside the body.
        sizes: number of their voxels in the body.
        grades: grades of their smoothness.
        ratios: ratios of the layer's strides along the axes to their mean.
    """

    outside: Int[Tensor, "U K"]
    sizes: Int[Tensor, " U"]
    grades: Int[Tensor, " U"]
    ratios: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class SurrogateDraws(CaseChance):
    """Surrogates in one case.

    Args:
        chance: number of draws and their seed.
        partition: the partition of the case by concepts.
        space: the case.
        body: its voxels that count, in the flattened volume.
        layers: layers added so far.
        blocks: the body in blocks, by their sides; smoothnesses share them.
    """

    chance: Surrogates
    partition: ConceptParts
    space: CaseSpace
    body: Bool[Tensor, " N"]
    layers: list[MaskedUnits] = field(default_factory=list)
    blocks: dict[Shape, Blocks] = field(default_factory=dict)

    def add(self, above: Above, num_units: int, stride: tuple[float, ...]) -> None:
        """Take in the units of a layer."""
        inside = _kept(above, self.body)
        outside = tally(_kept(above, ~self.body), self.partition, num_units).both
        ratios = stride_ratios(stride)
        widths = smoothness_vox(inside, num_units, self.space.shape, self.body, ratios)
        found = MaskedUnits(outside, inside.counts(num_units), grades_of(widths), ratios)
        self.layers.append(found)

    def overlaps(self) -> Overlaps:
        """Count the concepts within random masks."""
        outside = torch.cat([layer.outside for layer in self.layers])
        sizes = torch.cat([layer.sizes for layer in self.layers])
        result = outside.cpu().expand(self.chance.samples, *outside.shape).clone()
        for (grade, ratios), units in self._alike().items():
            units = units[sizes[units] > 0]
            if len(units):
                units = units[sizes[units].argsort()]
                widths = tuple(width_vox(grade) * ratio for ratio in ratios)
                found = self._drawn(widths, grade, sizes[units])
                result[:, units.cpu()] += found.cpu()
        return result

    def _drawn(self, widths: tuple[float, ...], grade: int, sizes: Int[Tensor, " U"]) -> Overlaps:
        """Return the overlaps of random masks of one smoothness, of ascending sizes."""
        seed = draw_seed(self.chance.seed, self.space.number) * 1009 + grade
        sides = block_sides(widths, tuple(self._numbers.shape))
        if max(sides) > 1:
            blocks = self._blocks_of(sides)
            fields = blocks.fields(widths, seed=seed)
            draws = fields.draws(self.chance.samples, blocks.enough(int(sizes[-1])))
            return torch.cat([blocks.overlaps(ranked, sizes) for ranked in draws])
        fields = Fields(widths, self._numbers, seed)
        draws = fields.draws(self.chance.samples, int(sizes[-1]))
        return torch.cat([_overlaps_of_largest(self.partition, one, sizes) for one in draws])

    @cached_property
    def _numbers(self) -> Int[Tensor, "*B"]:
        return numbered(self.body.reshape(self.space.shape))

    @cached_property
    def _parts(self) -> Int[Tensor, "*B"]:
        return parts_in_box(self.partition, self.body.reshape(self.space.shape))

    def _blocks_of(self, sides: Shape) -> Blocks:
        if sides not in self.blocks:
            self.blocks[sides] = Blocks.of(self.partition, self._parts, sides)
        return self.blocks[sides]

    def _alike(self) -> dict[tuple[int, tuple[float, ...]], Int[Tensor, " U"]]:
        """Return the units of each smoothness, and of each shape of it."""
        found: dict[tuple[int, tuple[float, ...]], list[Tensor]] = {}
        first = 0
        for layer in self.layers:
            for grade in sorted(set(layer.grades.tolist())):
                own = (layer.grades == grade).nonzero()[:, 0] + first
                found.setdefault((grade, layer.ratios), []).append(own)
            first += len(layer.grades)
        return {key: torch.cat(units) for key, units in found.items()}


def numbered(body: Mask) -> Int[Tensor, "*B"]:
    """Return the index in the flattened volume of each voxel of the box around a body, else -1."""
    box = box_of(body)
    index = torch.arange(body.numel(), device=body.device).reshape(body.shape)[box]
    return torch.where(body[box], index, -1)


def smoothness_vox(
    above: Above,
    num_units: int,
    shape: Shape,
    body: Bool[Tensor, " N"],
    ratios: Sequence[float],
    *,
    widest_share: float = WIDEST_SHARE,
) -> Float[Tensor, " U"]:
    """Return how smooth a Gaussian field is whose mask would be as lumpy as each unit's.

    In voxels, along an axis of the layer's mean stride: standard deviation of the filter.
    """
    sizes = above.counts(num_units)
    distances = [
        (lag, ratio)
        for side, ratio in zip(shape, ratios, strict=True)
        for lag in LAGS
        if lag < side
    ]
    widest = torch.full((num_units,), FINEST_VOX, dtype=torch.float64, device=body.device)
    if not distances:
        return widest
    share = sizes.double() / body.sum()
    needed = (PAIRS_SHARE * sizes).clamp(min=LEAST_PAIRS)
    num_pairs, both = neighbours(above, sizes, shape, body)
    rho = correlation_of(both.double() / num_pairs, share)
    lags, scales = torch.tensor(distances, dtype=torch.float64, device=body.device).unbind(dim=1)
    told = (num_pairs >= needed[:, None]) & (rho > ALIKE[0])
    # A compact lump is more alike than can be told from: as smooth as this at least.
    rho = rho.clamp(max=ALIKE[1])
    width = torch.where(told, lags / (2 * (-rho.log()).sqrt()) / scales, FINEST_VOX)
    return torch.maximum(widest, width.amax(dim=1)).clamp(max=widest_share * max(shape))


def neighbours(
    above: Above, sizes: Int[Tensor, " U"], shape: Shape, body: Bool[Tensor, " N"]
) -> tuple[Int[Tensor, "U A"], Int[Tensor, "U A"]]:
    """Return how many voxels of masks have a neighbour in the body, and in the mask too.

    Along each axis, at each of the distances that are shorter than it, in this order.

    Args:
        above: voxels of the masks.
        sizes: how many each of the units has.
        shape: shape of the volume.
        body: voxels that count as neighbours, in the flattened volume.
    """
    length, step = body.numel(), body.numel()
    keys, ends = above.units * length + above.voxels, sizes.cumsum(dim=0)
    holds = _membership(keys, len(sizes) * length)
    pairs, both = [], []
    for side in shape:
        step //= side
        lags = torch.tensor([lag for lag in LAGS if lag < side], device=body.device)
        place = above.voxels // step % side
        for some in torch.split(lags, max(PAIRS_AT_A_TIME // max(len(keys), 1), 1)):
            moved = some[:, None] * step
            # Beyond the last voxel of a line is another line: such neighbours do not count.
            counts = place + some[:, None] < side
            counts &= body[(above.voxels + moved).clamp_(max=length - 1)]
            pairs.append(_by_unit(counts, ends))
            both.append(_by_unit(counts & holds(keys + moved), ends))
    return torch.cat(pairs).T.contiguous(), torch.cat(both).T.contiguous()


def _membership(keys: Int[Tensor, " H"], length: int) -> Callable[[Tensor], Tensor]:
    """Return what tells which numbers are among some keys from 0 to a length."""
    if length <= TABLE_BYTES:
        table = torch.zeros(length, dtype=torch.bool, device=keys.device)
        table[keys] = True
        return lambda wanted: table[wanted.clamp(max=length - 1)]
    known = keys.sort().values
    last = len(known) - 1
    return lambda wanted: known[torch.searchsorted(known, wanted).clamp(max=last)] == wanted


def _by_unit(holds: Bool[Tensor, "A H"], ends: Int[Tensor, " U"]) -> Int[Tensor, "A U"]:
    """Return how many entries hold for each unit; those of unit u come before `ends[u]`."""
    before = torch.nn.functional.pad(holds.cumsum(dim=1), (1, 0))[:, ends]
    return before.diff(dim=1, prepend=before.new_zeros(len(before), 1))


def correlation_of(
    both: Float[Tensor, "U *A"], share: Float[Tensor, " U"]
) -> Float[Tensor, "U *A"]:
    """Return the correlation of two Gaussian variables, in 0..1, from how often both are large.

    Args:
        both: P(Y > t | X > t), one or several a unit; NaN gives 0.
        share: P(X > t).
    """
    angle = torch.linspace(0, math.pi / 2, 513, dtype=torch.float64, device=both.device)
    share = share.clamp(1e-12, 1 - 1e-12)
    level = torch.special.ndtri(share)[:, None]
    density = torch.exp(-(level**2) / (1 + angle.sin())) / (2 * math.pi)
    joint = share[:, None] ** 2 + torch.cat(
        [torch.zeros_like(level), torch.cumulative_trapezoid(density, angle)], dim=1
    )
    wanted = both.nan_to_num(0.0).reshape(len(share), -1)
    place = torch.searchsorted(joint / share[:, None], wanted).reshape(both.shape)
    return angle[place.clamp(max=len(angle) - 1)].sin()


def grades_of(widths_vox: Float[Tensor, " U"]) -> Int[Tensor, " U"]:
    """Return the grades of smoothness, rounded up."""
    doublings = (widths_vox / FINEST_VOX).log2()
    return (STEPS_PER_DOUBLING * doublings - 1e-9).ceil().clamp(min=0).long()


def width_vox(grade: int) -> float:
    """Return the width in voxels that a grade stands for."""
    return float(FINEST_VOX * 2 ** (grade / STEPS_PER_DOUBLING))


def stride_ratios(stride: tuple[float, ...]) -> tuple[float, ...]:
    """Return the ratios of a layer's strides to their mean."""
    mean = math.prod(stride) ** (1 / len(stride))
    return tuple(round(one / mean, 6) for one in stride)


def _kept(above: Above, mask: Tensor) -> Above:
    kept = mask[above.voxels]
    return Above(above.units[kept], above.voxels[kept])


def _overlaps_of_largest(
    partition: ConceptParts, ranked: Int[Tensor, "D H"], sizes: Int[Tensor, " U"]
) -> Overlaps:
    """Return what the top voxels of each ranking share with concepts, as many as the unit has.

    Args:
        partition: the partition of the volume by concepts.
        ranked: voxels of the flattened volume, the largest first.
        sizes: numbers of voxels, ascending.
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
