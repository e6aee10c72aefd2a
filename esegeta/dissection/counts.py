"""Second pass over the cases: what each unit's mask shares with each concept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from esegeta.dissection.above import Above, find_above
from esegeta.dissection.bin_edges import BinEdges
from esegeta.dissection.body import CaseSpace
from esegeta.dissection.chance import CaseChance, Chance
from esegeta.dissection.curves import histograms, positions_within
from esegeta.dissection.parts import BYTES_OF_COUNT, MB, UnitParts
from esegeta.dissection.quantile import LargestValues, rank_of
from esegeta.dissection.tally import ConceptParts, OverlapTally, tally
from esegeta.dissection.thresholds import Thresholds, inner_positions, is_dead
from esegeta.dissection.where import peaks, places_above
from esegeta.predict import UnitMaps

TIE = 1e-6
"""Activations that differ from the threshold by this part of it tie with it: rounding of blends."""


@dataclass(frozen=True, eq=False)
class CaseCounts:
    """What was counted in one case, for the units of all layers.

    Args:
        both: voxels of a unit's mask and a concept.
        units: voxels of each unit's mask.
        concepts: voxels of each concept.
        num_voxels: number of voxels of the volume that count.
        positions: number of positions of each unit's layer in the volume.
        above: positions above the threshold.
        ties: positions at the threshold, within rounding.
        peak: largest activation.
        peak_voxel: the voxel of the peak, as an index into the flattened volume.
        inside: positions of each concept by bin of the unit's activation.
        everything: all positions by bin.
        chance: overlaps by draw of chance.
        image_both: voxels of a concept in the mask that the image is judged by on its own.
        image_units: voxels of that mask; both are zero unless images are judged one by one.
    """

    both: Int[Tensor, "U K"]
    units: Int[Tensor, " U"]
    concepts: Int[Tensor, " K"]
    num_voxels: Int[Tensor, ""]
    positions: Int[Tensor, " U"]
    above: Int[Tensor, " U"]
    ties: Int[Tensor, " U"]
    peak: Float[Tensor, " U"]
    peak_voxel: Int[Tensor, " U"]
    inside: Int[Tensor, "U B K"]
    everything: Int[Tensor, "U B"]
    chance: Int[Tensor, "D U K"]
    image_both: Int[Tensor, "U K"]
    image_units: Int[Tensor, " U"]

    @property
    def tally(self) -> OverlapTally:
        """The counts of voxels at the threshold over the data set."""
        return OverlapTally(self.both, self.units, self.concepts, int(self.num_voxels))

    @property
    def image_tally(self) -> OverlapTally:
        """The counts of voxels of the image judged by itself."""
        return OverlapTally(self.image_both, self.image_units, self.concepts, int(self.num_voxels))

    def tensors(self) -> dict[str, Tensor]:
        """Return the fields by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, eq=False)
class Counting:
    """What is counted for units, and how.

    Args:
        parts: the parts that the units of all layers are cut into.
        chance: the null distribution of overlaps.
        quantile: share of an image's activations above its own threshold.
        image_threshold: threshold at which single images are judged; None if they are not.
    """

    parts: UnitParts
    chance: Chance
    quantile: float
    image_threshold: Literal["dataset", "image"] | None = None


def count_case(
    counting: Counting,
    unit_thresholds: Thresholds,
    partition: ConceptParts,
    maps: Iterable[UnitMaps],
    number: int,
    body: Bool[Tensor, " N"],
    concepts_of: Sequence[Callable[[], ConceptParts]] = (),
) -> CaseCounts:
    """Count one case.

    Args:
        counting: what is counted.
        unit_thresholds: thresholds and bins of the units of all layers.
        partition: the parts that concepts cut the volume into.
        maps: the maps of all units, by part.
        number: number of the case, for the draws of chance.
        body: voxels of the flattened volume that chance keeps to.
        concepts_of: reads the concepts of each case on the grid of this one, for chance.
    """
    columns = []
    drawing: CaseChance | None = None
    for item in maps:
        if drawing is None:
            space = CaseSpace(number, item.grid.windows.shape, body, concepts_of)
            drawing = counting.chance.of_case(partition, space)
        columns.append(_count_part(counting, unit_thresholds, partition, item, drawing))
    assert drawing is not None
    joined = {name: torch.cat([column[name] for column in columns]) for name in columns[0]}
    return CaseCounts(
        **joined,
        concepts=partition.sizes.cpu(),
        num_voxels=torch.tensor(partition.num_voxels),
        chance=drawing.overlaps().cpu(),
    )


def _count_part(
    counting: Counting,
    unit_thresholds: Thresholds,
    partition: ConceptParts,
    maps: UnitMaps,
    drawing: CaseChance,
) -> dict[str, Tensor]:
    start, count = counting.parts.starts[maps.units], len(maps.units)
    own = slice(start, start + count)
    device = maps.data.device
    thresholds = unit_thresholds.threshold[own].to(device)
    box, centres = inner_positions(maps)
    values = positions_within(maps.data, box)
    peak, place = peaks(values)
    above = partition.within(find_above(maps.data, maps.grid, thresholds))
    voxels = tally(above, partition, count)
    drawing.add(above, count, maps.grid.stride)
    centres = centres.to(device)
    inside, everything = _count_bins(
        values,
        unit_thresholds.edges_of(own, device),
        partition,
        centres,
        counting.parts.room_mb,
    )
    exceeding, ties = _count_positions(values, thresholds)
    limits = unit_thresholds.minimum[own].to(device), unit_thresholds.maximum[own].to(device)
    single = _count_image(counting, partition, maps, values, thresholds, limits)
    found = {
        "both": voxels.both,
        "units": voxels.units,
        "positions": torch.full((count,), values.shape[1]),
        "above": exceeding,
        "ties": ties,
        "peak": peak,
        "peak_voxel": centres[place],
        "inside": inside,
        "everything": everything,
        "image_both": single.both,
        "image_units": single.units,
    }
    return {name: tensor.cpu() for name, tensor in found.items()}


def _count_positions(values: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many positions of each unit exceed its threshold, and how many are at it."""
    slack = TIE * thresholds.abs()
    bound = thresholds - slack
    # At least the bound is above the number before it.
    below = torch.nextafter(bound, torch.full_like(bound, -torch.inf))
    units, places = places_above(values, below)  # few
    beyond = values[units, places] - thresholds[units]
    tied = beyond.abs() <= slack[units]
    count = len(thresholds)
    above = torch.bincount(units[beyond > 0], minlength=count)
    return above, torch.bincount(units[tied], minlength=count)


def _count_bins(
    values: Tensor, bin_edges: BinEdges, partition: ConceptParts, centres: Tensor, room_mb: float
) -> tuple[Tensor, Tensor]:
    """Return positions of each concept by bin, and all by bin; some units at a time."""
    parts = partition.parts[centres]
    counts_of_unit = bin_edges.num_bins * (2 * partition.num_parts + partition.members.shape[1])
    step = max(int(room_mb * MB / (BYTES_OF_COUNT * counts_of_unit)), 1)
    inside, everything = [], []
    for first in range(0, len(values), step):
        rows = slice(first, first + step)
        whole = step >= len(values)
        some = bin_edges if whole else bin_edges.of_units(rows, values.device)
        bins = some.bins(values[rows])
        counts = histograms(bins, bin_edges.num_bins, parts, partition.num_parts)
        own = partition.of_concepts(counts.flatten(0, 1))
        inside.append(own.reshape(*counts.shape[:2], -1))
        everything.append(partition.of_any(counts))
    return torch.cat(inside), torch.cat(everything)


def _count_image(
    counting: Counting,
    partition: ConceptParts,
    maps: UnitMaps,
    values: Tensor,
    thresholds: Tensor,
    limits: tuple[Tensor, Tensor],
) -> OverlapTally:
    """Count M = {a >= T} in an image judged by itself; nothing where no image is.

    Where T is the smallest activation there is, M would be the whole image, and is {a > T}; that
    of a dead unit is empty.
    """
    count = len(maps.units)
    if counting.image_threshold is None:
        nothing = torch.zeros(0, dtype=torch.int64, device=values.device)
        return tally(Above(nothing, nothing), partition, count)
    if counting.image_threshold == "image":
        own = LargestValues(rank_of(values.shape[1], counting.quantile))
        own.merge(own.take(values))
        low, high = values.aminmax(dim=1)
        thresholds, limits = torch.where(is_dead(low, high), high, own.thresholds()), (low, high)
    # At least T is above the number before it.
    below = torch.nextafter(thresholds, torch.full_like(thresholds, -torch.inf))
    cuts_off = (thresholds > limits[0]) & ~is_dead(*limits)
    level = torch.where(cuts_off, below, thresholds)
    return tally(find_above(maps.data, maps.grid, level), partition, count)
