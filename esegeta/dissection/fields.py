"""Smooth random fields over a body, and the voxels where they are largest.

A field is white noise through a Gaussian filter, on a torus that is longer than the body, so that
one field serves for many draws, each at another place of it. Where a mask is small its voxels are
found once a field and moved: a draw costs as much as its mask has voxels, not as the volume has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import fft
from torch import Tensor

from esegeta.axes import Shape, along_axes
from esegeta.dissection.where import flat_places_above, largest_first, largest_of_rows

FEWEST_OF_A_FIELD, MOST_OF_A_FIELD = 25, 100
"""Draws that are taken from one field, each shifted at random: more where it has many lumps."""

LUMPS_PER_DRAW = 50

PAD_BY = 3
"""How many times its smoothness a field is longer than the body, since it goes round and round."""

CANDIDATES = 1.4
"""How many more of a field's voxels than a mask's share are ranked at first."""

SAMPLE = 1 << 13
"""Values sampled to estimate how large the largest ones are."""

DEEPER = 3
"""How many times more are ranked for draws that find too few of them in the body."""

ROW_BY_ROW = 256
"""Candidates from which a look-up for each draw by itself takes less time than one for all."""

LONG_ROW = 1 << 13

VALUES_AT_A_TIME = 1 << 18

TABLE_POINTS = 1 << 22
"""Points of a table of the torus twice round, which spares draws the way round: 16 MB."""

FieldTable = tuple[Int[Tensor, " W"], Int[Tensor, " A"], Int[Tensor, " T"]]
"""The place at each point twice round a torus, the steps along its axes, and its points in it."""


@dataclass(frozen=True, eq=False)
class Fields:
    """Smooth random fields over the body, at voxels or at the middles of blocks of them.

    Args:
        widths: standard deviation of the filter along each axis, in points.
        numbers: place of each point of the box around the body: a voxel of the flattened volume,
            or a block; -1 where there is no body.
        seed: random seed of the fields.
    """

    widths: tuple[float, ...]
    numbers: Int[Tensor, "*B"]
    seed: int

    @cached_property
    def body(self) -> Bool[Tensor, "*B"]:
        """The points of the body."""
        return self.numbers >= 0

    @cached_property
    def num_points(self) -> int:
        """Number of points of the body."""
        return int(self.body.sum())

    def draws(self, count: int, most: int) -> Iterator[Int[Tensor, "D H"]]:
        """Yield the body's places of the largest values, the largest first, field by field.

        Args:
            count: number of draws.
            most: places H.
        """
        generator = torch.Generator().manual_seed(self.seed)
        # A table takes as long as some draws without one.
        table = self._twice_round if count * most > math.prod(self._torus) else None
        for done in range(0, count, self.draws_of_a_field):
            field, shifts = self._next(generator)
            shifts = shifts[: count - done].to(field.device)
            if CANDIDATES * most * field.numel() < self.num_points**2 / 2:
                yield self._largest(field, shifts, most, table)
            else:
                yield self._sorted(field, shifts, most)

    def values(self, count: int, points: Int[Tensor, "P A"]) -> Float[Tensor, "D P"]:
        """Return the values of `count` draws at points of the box around the body."""
        generator = torch.Generator().manual_seed(self.seed)
        found = []
        for done in range(0, count, self.draws_of_a_field):
            field, shifts = self._next(generator)
            some = shifts[: count - done].to(field.device)
            behind = torch.tensor(self._torus, device=field.device) - some
            found.append(field.flatten()[self._shifted(points.unbind(1), behind)])
        return torch.cat(found)

    def _next(self, generator: torch.Generator) -> tuple[Float[Tensor, "*T"], Int[Tensor, "D A"]]:
        """Return another field, and the shift of each of its draws."""
        field = self._field(generator)
        shifts = [
            torch.randint(side, (self.draws_of_a_field,), generator=generator)
            for side in self._torus
        ]
        return field, torch.stack(shifts, dim=1)

    @cached_property
    def draws_of_a_field(self) -> int:
        """Draws of one field: at most one for each fifty of its lumps, where that is many."""
        lump = math.prod(max(2 * math.sqrt(math.pi) * width, 1.0) for width in self.widths)
        found = int(math.prod(self._torus) / lump / LUMPS_PER_DRAW)
        return min(max(found, FEWEST_OF_A_FIELD), MOST_OF_A_FIELD)

    @cached_property
    def _torus(self) -> Shape:
        """Points along each axis, once round."""
        axes = zip(self.numbers.shape, self.widths, strict=True)
        return tuple(
            fft.next_fast_len(math.ceil(side + PAD_BY * width), real=True) for side, width in axes
        )

    @cached_property
    def _places(self) -> Int[Tensor, " T"]:
        """The place at each point of the flattened torus; -1 where there is no body."""
        found = torch.full(self._torus, -1, device=self.numbers.device)
        found[tuple(slice(side) for side in self.numbers.shape)] = self.numbers
        return found.flatten()

    def _field(self, generator: torch.Generator) -> Float[Tensor, "*T"]:
        noise = torch.randn(self._torus, generator=generator)
        if self.numbers.device.type == "cpu":
            # The threads of torch's transform cost many times what sides like these take.
            spectrum = np.asarray(fft.rfftn(noise.numpy()))
            for damping in self._dampings:
                spectrum *= damping.numpy()
            return torch.from_numpy(fft.irfftn(spectrum, s=self._torus, overwrite_x=True))
        transformed = torch.fft.rfftn(noise.to(self.numbers.device))
        for damping in self._dampings:
            transformed.mul_(damping.to(transformed.device))
        field: Tensor = torch.fft.irfftn(transformed, s=self._torus)
        return field

    @cached_property
    def _dampings(self) -> list[Tensor]:
        """What the filter leaves of each frequency along each axis."""
        found = []
        for axis, (side, width) in enumerate(zip(self._torus, self.widths, strict=True)):
            last = axis == len(self._torus) - 1
            frequency = torch.fft.rfftfreq(side) if last else torch.fft.fftfreq(side)
            line = [1] * len(self._torus)
            line[axis] = -1
            found.append(torch.exp(-2 * (math.pi * width * frequency) ** 2).reshape(line))
        return found

    def _sorted(self, field: Tensor, shifts: Int[Tensor, "D A"], most: int) -> Int[Tensor, "D H"]:
        """Return the places of the largest values of each shift, where the body is small."""
        points = self.body.nonzero().unbind(1)
        places = self.numbers[self.body]
        # What is moved on by a shift to a voxel came from as far behind it.
        behind, found = torch.tensor(self._torus, device=shifts.device) - shifts, []
        for some in torch.split(behind, max(VALUES_AT_A_TIME // len(places), 1)):
            values = field.flatten()[self._shifted(points, some)]
            found.append(places.index_select(0, largest_of_rows(values, most).flatten()))
        return torch.cat(found).reshape(-1, most)

    def _largest(
        self, field: Tensor, shifts: Int[Tensor, "D A"], most: int, table: FieldTable | None
    ) -> Int[Tensor, "D H"]:
        """Return the places of the largest values as each shift has them in the body."""
        device = self.numbers.device
        result = torch.empty((len(shifts), most), dtype=torch.int64, device=device)
        share, rows = CANDIDATES * most / self.num_points, torch.arange(len(shifts), device=device)
        while len(rows):
            # A wide field may have its lumps out of the body: such draws look deeper.
            ranked, short = self._ranked(field, min(share, 1.0)), []
            for some in torch.split(rows, max(VALUES_AT_A_TIME // len(ranked), 1)):
                found, enough = first_inside(self._moved(ranked, shifts[some], table), most)
                result[some[enough]] = found
                short.append(some[~enough])
            rows = torch.cat(short)
            share *= DEEPER
        return result

    def _ranked(self, field: Tensor, share: float) -> Int[Tensor, " C"]:
        """Return where about this share of a field's values is largest, the largest first."""
        values = field.flatten()
        if share >= 1:
            level = -math.inf
        else:
            some = values[:: max(len(values) // SAMPLE, 1)]
            level = _ascending(some, max(int((1 - share) * len(some)), 1))
        return largest_first(values, flat_places_above(values, level))

    def _moved(
        self, ranked: Int[Tensor, " C"], shifts: Int[Tensor, "D A"], table: FieldTable | None
    ) -> Int[Tensor, "D C"]:
        """Return the places of ranked points, as shifts have them; -1 for no body."""
        if table is None:
            flat = self._shifted(along_axes(ranked, self._torus), shifts)
            return self._places.index_select(0, flat.flatten()).reshape(flat.shape)
        twice, steps, once = table
        starts, places = (shifts * steps).sum(dim=1), once.index_select(0, ranked)
        if len(ranked) < ROW_BY_ROW or self.numbers.device.type != "cpu":
            flat = starts[:, None] + places
            return twice.index_select(0, flat.flatten()).reshape(flat.shape)
        found = twice.new_empty((len(shifts), len(ranked)))
        for row, start in zip(found, starts.tolist(), strict=True):
            torch.index_select(twice[start:], 0, places, out=row)
        return found

    @cached_property
    def _twice_round(self) -> FieldTable | None:
        """The places twice round the torus; None where that is too large a table."""
        shape = tuple(2 * side for side in self._torus)
        if math.prod(shape) > TABLE_POINTS or int(self.numbers.max()) >= 2**31:
            return None
        device = self.numbers.device
        table = self._places.reshape(self._torus).int().repeat((2,) * len(shape)).flatten()
        steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        points = torch.arange(math.prod(shape), device=device).reshape(shape)
        once = points[tuple(slice(side) for side in self._torus)].flatten()
        return table, torch.tensor(steps, device=device), once

    def _shifted(self, places: tuple[Tensor, ...], shifts: Int[Tensor, "D A"]) -> Tensor:
        """Return places of the flattened torus, moved on by shifts."""
        num_draws, num_places = len(shifts), len(places[0])
        flat = torch.zeros((num_draws, num_places), dtype=torch.int64, device=self.numbers.device)
        for line, shift, place in zip(self._lines, shifts.unbind(1), places, strict=True):
            if num_places < LONG_ROW:
                flat += line[shift[:, None] + place]
            else:  # twice as fast, where a row is long
                for row, start in enumerate(shift.tolist()):
                    flat[row] += line[start:].index_select(0, place)
        return flat

    @cached_property
    def _lines(self) -> list[Tensor]:
        """What each voxel along an axis, twice round, adds to its place in the flattened torus."""
        lines, step = [], math.prod(self._torus)
        for side in self._torus:
            step //= side
            line = torch.arange(side, device=self.numbers.device) * step
            lines.append(torch.cat([line, line]))
        return lines


def first_inside(
    places: Int[Tensor, "D C"], most: int
) -> tuple[Int[Tensor, "E H"], Bool[Tensor, " D"]]:
    """Return the first places of each row that are not -1, for rows that have enough, and which do.

    Args:
        places: places by row.
        most: how many are wanted of each row, H.
    """
    flat, device = places.flatten(), places.device
    inside = flat_places_above(flat, -1)
    ends = torch.arange(len(places) + 1, device=device) * places.shape[1]
    first = torch.searchsorted(inside, ends)
    enough = first.diff() >= most
    wanted = first[:-1][enough][:, None] + torch.arange(most, device=device)
    found = flat.index_select(0, inside.index_select(0, wanted.flatten()))
    return found.reshape(wanted.shape).long(), enough


def _ascending(values: Float[Tensor, " N"], rank: int) -> float:
    """Return the value of a rank, counted from the smallest, which has rank 1."""
    if values.device.type != "cpu":
        return float(values.kthvalue(rank).values)
    return float(np.partition(values.numpy(), rank - 1)[rank - 1])
