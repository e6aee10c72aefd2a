"""First pass over the cases: the threshold of each unit, its range, and the edges of its bins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from esegeta.dissection.bin_edges import BINS, BinEdges, Sketch
from esegeta.dissection.curves import centre_voxels, positions_within
from esegeta.dissection.parts import BYTES_OF_FLOAT, MB, UnitParts
from esegeta.dissection.quantile import ThresholdFinder, rank_of, threshold_finder
from esegeta.predict import UnitMaps, Units

DEAD = 1e-5
"""A unit that changes by no more than this part of itself is constant but for rounded blends."""

TABLE_BYTES = 1 << 25
"""Tables of bins stay from case to case up to this: those of 512 units."""


@dataclass(frozen=True, eq=False)
class Thresholds:
    """What is known about each unit before anything is counted.

    Args:
        threshold: the k-th largest activation over all cases; a dead unit's maximum.
        minimum: smallest activation.
        maximum: largest activation; a unit is dead if it practically equals the smallest.
        mean: mean over the layer's positions, float64.
        centre: centre of the bin edges.
        offsets: offsets from it of the edges of the bins that activations are counted in.
    """

    threshold: Float[Tensor, " U"]
    minimum: Float[Tensor, " U"]
    maximum: Float[Tensor, " U"]
    mean: Float[Tensor, " U"]
    centre: Float[Tensor, " U"]
    offsets: Float[Tensor, "U E"]

    def tensors(self) -> dict[str, Tensor]:
        """Return the fields by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @cached_property
    def bin_edges(self) -> BinEdges:
        """Where activations are cut into bins."""
        return BinEdges(self.centre, self.offsets)

    def edges_of(self, rows: slice, device: torch.device) -> BinEdges:
        """Return the edges of some units: the same for each case, as far as tables may stay."""
        if len(self.centre) * BINS > TABLE_BYTES:
            return self.bin_edges.of_units(rows, device)
        key = (rows.start, rows.stop, device)
        if key not in self._asked:
            self._asked[key] = self.bin_edges.of_units(rows, device)
        return self._asked[key]

    @cached_property
    def _asked(self) -> dict[tuple[int, int, torch.device], BinEdges]:
        return {}

    @property
    def dead(self) -> Bool[Tensor, " U"]:
        """Units that do not change over all cases."""
        return is_dead(self.minimum, self.maximum)


class ThresholdSearch:
    """Takes in maps case by case, in one to three passes, and finds the thresholds of all units.

    Args:
        parts: the parts that the units of all layers are cut into.
        num_values: number of a unit's activations that the quantile is taken over, by layer.
        quantile: share of these above the threshold.
        upsampled: take the quantile of voxels, not of the layer's positions.
        num_cases: number of cases whose maps are added in each pass.
        kept_mb: disk space in MB for what is taken of all cases before it is merged; unlimited
            where nothing is kept.
    """

    def __init__(
        self,
        parts: UnitParts,
        num_values: Mapping[str, int],
        *,
        quantile: float,
        upsampled: bool,
        num_cases: int,
        kept_mb: float = math.inf,
    ) -> None:
        self._upsampled = upsampled
        self._finders: dict[Units, ThresholdFinder] = {}
        for part in parts.parts:
            rank = rank_of(num_values[part.layer], quantile)
            memory_mb = parts.room_mb * len(part) / parts.num_units
            # Of each case at most as many values as there are in all, and no more than the rank.
            most = min(num_values[part.layer], num_cases * rank) * len(part) * BYTES_OF_FLOAT / MB
            if most > kept_mb * len(part) / parts.num_units:
                memory_mb = 0.0
            self._finders[part] = threshold_finder(len(part), rank, memory_mb=memory_mb)
        self._sketches = {part: Sketch(num_cases) for part in parts.parts}
        self._lows: dict[Units, Tensor] = {}
        self._highs: dict[Units, Tensor] = {}
        self._sums: dict[Units, Tensor] = {}
        self._num_positions: dict[Units, int] = {}
        self._pass = 0

    @property
    def num_passes(self) -> int:
        """How often the maps of all cases must be added."""
        return max(self.passes_of_parts)

    @property
    def passes_of_parts(self) -> list[int]:
        """The same of each part."""
        return [finder.num_passes for finder in self._finders.values()]

    def add(self, maps: UnitMaps, case: int) -> None:
        """Take in the maps of a part of one case."""
        self.merge(maps.units, self.take(maps, case))

    def take(self, maps: UnitMaps, case: int) -> dict[str, Tensor]:
        """Return what the maps of a part of one case come to in this pass; empty for nothing.

        Args:
            maps: the maps.
            case: the number of the case.
        """
        finder = self._finders[maps.units]
        if self._pass >= finder.num_passes:
            return {}
        values = self._values(maps)
        taken = {"values": finder.take(values)}
        if self._pass:
            return taken
        native = native_values(maps)
        return {
            **taken,
            "sketch": self._sketches[maps.units].take(native, case),
            "total": native.sum(dim=1).double(),  # by parts of parts: as exact as float32 is
            "positions": torch.tensor(native.shape[1]),
            "low": values.amin(dim=1),  # twice as fast as both at once
            "high": values.amax(dim=1),
        }

    def merge(self, units: Units, taken: Mapping[str, Tensor]) -> None:
        """Take in what `take` has returned, case by case in their order: means are sums."""
        if not taken:
            return
        self._finders[units].merge(taken["values"])
        if self._pass:
            return
        self._sketches[units].merge(taken["sketch"])
        self._sums[units] = self._sums.get(units, 0) + taken["total"]
        self._num_positions[units] = self._num_positions.get(units, 0) + int(taken["positions"])
        low, high = taken["low"], taken["high"]
        if units in self._lows:
            low = torch.minimum(low, self._lows[units])
            high = torch.maximum(high, self._highs[units])
        self._lows[units], self._highs[units] = low, high

    def state(self) -> dict[str, Tensor]:
        """Return what is known between passes, for `resume`."""
        found: dict[str, Tensor] = {}
        for place, (part, finder) in enumerate(self._finders.items()):
            facts = {
                **finder.state(),
                "sketch": self._sketches[part].taken(),
                "total": self._sums[part],
                "positions": torch.tensor(self._num_positions[part]),
                "low": self._lows[part],
                "high": self._highs[part],
            }
            found |= {f"{place}.{name}": tensor for name, tensor in facts.items()}
        return found

    def resume(self, num_passes: int, state: Mapping[str, Tensor]) -> None:
        """Go on after so many passes, at least one, from what was known then."""
        for place, (part, finder) in enumerate(self._finders.items()):
            start = f"{place}."
            facts = {
                name.removeprefix(start): tensor
                for name, tensor in state.items()
                if name.startswith(start)
            }
            finder.resume(num_passes, facts)
            self._sketches[part].merge(facts["sketch"])
            self._sums[part] = facts["total"]
            self._num_positions[part] = int(facts["positions"])
            self._lows[part], self._highs[part] = facts["low"], facts["high"]
        self._pass = num_passes

    def end_pass(self) -> None:
        """Note that all cases were added once more."""
        for finder in self._finders.values():
            if self._pass < finder.num_passes:
                finder.end_pass()
        self._pass += 1

    def unit_thresholds(self) -> Thresholds:
        """Return the thresholds after the last pass."""
        low, high = _joined(list(self._lows.values())), _joined(list(self._highs.values()))
        threshold = _joined([finder.thresholds() for finder in self._finders.values()])
        bin_edges = [
            sketch.bin_edges(self._lows[part], self._highs[part])
            for part, sketch in self._sketches.items()
        ]
        return Thresholds(
            torch.where(is_dead(low, high), high, threshold),
            low,
            high,
            _joined([total / self._num_positions[part] for part, total in self._sums.items()]),
            _joined([own.centre for own in bin_edges]),
            _joined([own.offsets for own in bin_edges]),
        )

    def _values(self, maps: UnitMaps) -> Float[Tensor, "U N"]:
        """Return the activations that quantiles are taken over."""
        if not self._upsampled:
            return native_values(maps)
        voxels = maps.grid.to_voxels(maps.data)
        if maps.image is not None:
            voxels = voxels[(slice(None), *(slice(*ends) for ends in maps.image))]
        return voxels.flatten(1)


def is_dead(low: Float[Tensor, " U"], high: Float[Tensor, " U"]) -> Bool[Tensor, " U"]:
    """Return which units do not change, given their smallest and largest activations."""
    return high - low <= DEAD * torch.maximum(low.abs(), high.abs())


def native_values(maps: UnitMaps) -> Float[Tensor, "U P"]:
    """Return the activations at the layer's own positions in the image."""
    box, _ = inner_positions(maps)
    return positions_within(maps.data, box)


def inner_positions(maps: UnitMaps) -> tuple[tuple[slice, ...], Tensor]:
    """Return the box of positions in the image, and the voxel at the centre of each."""
    return centre_voxels(maps.grid, torch.device("cpu"), maps.image)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.cpu() for tensor in tensors])
