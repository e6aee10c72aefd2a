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
from scipy.fft import next_fast_len
from torch import Tensor

from esegeta.axes import Shape
from esegeta.dissection.where import places_above

FEWEST_OF_A_FIELD, MOST_OF_A_FIELD = 25, 100
"""Draws that are taken from one field, each shifted at random: more where it has many lumps."""

LUMPS_PER_DRAW = 50

PAD_BY = 3
"""How many times its smoothness a field is longer than the body, since it goes round and round."""

CANDIDATES = 1.4
"""How many more of a field's voxels than a mask's share are ranked at first."""

SAMPLE = 1 << 16
"""Values sampled to estimate how large the largest ones are."""

DEEPER = 3
"""How many times more are ranked for draws that find too few of them in the body."""

ROW_BY_ROW = 1 << 13

VALUES_AT_A_TIME = 1 << 18


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
        for done in range(0, count, self.draws_of_a_field):
            field, shifts = self._next(generator)
            shifts = shifts[: count - done].to(field.device)
            few = CANDIDATES * most * field.numel() < self.num_points**2 / 2
            yield (self._largest if few else self._sorted)(field, shifts, most)

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
            next_fast_len(math.ceil(side + PAD_BY * width), real=True) for side, width in axes
        )

    @cached_property
    def _places(self) -> Int[Tensor, " T"]:
        """The place at each point of the flattened torus; -1 where there is no body."""
        found = torch.full(self._torus, -1, device=self.numbers.device)
        found[tuple(slice(side) for side in self.numbers.shape)] = self.numbers
        return found.flatten()

    def _field(self, generator: torch.Generator) -> Float[Tensor, "*T"]:
        noise = torch.randn(self._torus, generator=generator).to(self.numbers.device)
        spectrum = torch.fft.rfftn(noise)
        for axis, (side, width) in enumerate(zip(self._torus, self.widths, strict=True)):
            last = axis == len(self._torus) - 1
            frequency = torch.fft.rfftfreq(side) if last else torch.fft.fftfreq(side)
            damping = torch.exp(-2 * (math.pi * width * frequency) ** 2)
            line = [1] * len(self._torus)
            line[axis] = -1
            spectrum.mul_(damping.reshape(line).to(spectrum.device))
        field: Tensor = torch.fft.irfftn(spectrum, s=self._torus)
        return field

    def _sorted(self, field: Tensor, shifts: Int[Tensor, "D A"], most: int) -> Int[Tensor, "D H"]:
        """Return the places of the largest values of each shift, where the body is small."""
        points = self.body.nonzero().unbind(1)
        places = self.numbers[self.body]
        # What is moved on by a shift to a voxel came from as far behind it.
        behind, found = torch.tensor(self._torus, device=shifts.device) - shifts, []
        for some in torch.split(behind, max(VALUES_AT_A_TIME // len(places), 1)):
            values = field.flatten()[self._shifted(points, some)]
            found.append(places[values.topk(most).indices])
        return torch.cat(found)

    def _largest(self, field: Tensor, shifts: Int[Tensor, "D A"], most: int) -> Int[Tensor, "D H"]:
        """Return the places of the largest values as each shift has them in the body."""
        device = self.numbers.device
        result = torch.empty((len(shifts), most), dtype=torch.int64, device=device)
        share, rows = CANDIDATES * most / self.num_points, torch.arange(len(shifts), device=device)
        while len(rows):
            # A wide field may have its lumps out of the body: such draws look deeper.
            ranked, short = self._ranked(field, min(share, 1.0)), []
            for some in torch.split(rows, max(VALUES_AT_A_TIME // ranked[0].numel(), 1)):
                found = self._moved(ranked, shifts[some])
                inside = found >= 0
                order = inside.cumsum(dim=1, dtype=torch.int32)
                enough = order[:, -1] >= most
                kept = inside & (order <= most) & enough[:, None]
                result[some[enough]] = found[kept].reshape(-1, most)
                short.append(some[~enough])
            rows = torch.cat(short)
            share *= DEEPER
        return result

    def _ranked(self, field: Tensor, share: float) -> tuple[Tensor, ...]:
        """Return where about this share of a field's voxels is largest, the largest first."""
        if share >= 1:
            level = -math.inf
        else:
            some = field.flatten()[:: max(field.numel() // SAMPLE, 1)]
            level = _ascending(some, max(int((1 - share) * len(some)), 1))
        places = places_above(field[None], field.new_full((1,), level))[1:]
        order = field[places].argsort(descending=True, stable=True)
        return tuple(place[order] for place in places)

    def _moved(self, ranked: tuple[Tensor, ...], shifts: Int[Tensor, "D A"]) -> Int[Tensor, "D C"]:
        """Return the places of ranked points, as shifts have them; -1 for no body."""
        flat = self._shifted(ranked, shifts)
        return self._places.index_select(0, flat.flatten()).reshape(flat.shape)

    def _shifted(self, places: tuple[Tensor, ...], shifts: Int[Tensor, "D A"]) -> Tensor:
        """Return places of the flattened torus, moved on by shifts."""
        num_draws, num_places = len(shifts), len(places[0])
        flat = torch.zeros((num_draws, num_places), dtype=torch.int64, device=self.numbers.device)
        for line, shift, place in zip(self._lines, shifts.unbind(1), places, strict=True):
            if num_places < ROW_BY_ROW:
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


def _ascending(values: Float[Tensor, " N"], rank: int) -> float:
    """Return the value of a rank, counted from the smallest, which has rank 1."""
    if values.device.type != "cpu":
        return float(values.kthvalue(rank).values)
    return float(np.partition(values.numpy(), rank - 1)[rank - 1])
