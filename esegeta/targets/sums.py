"""Targets as functions of sums over voxels: their value and slope come slab by slab.

    R(y) = F(s),    s_i = sum_v q_i(y_v)        q_i: a number of a voxel's logits

A sum or mean has one s and a linear F; soft Dice two, and F(a, b) = 2 a / (b + |g|). Nothing but
the sums must be known of the whole volume:

    dR/dy_v = sum_i dF/ds_i * dq_i/dy_v
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from esegeta.axes import Logits, Scalars
from esegeta.predict import Box

Totals = Float64[Tensor, "B M"]
"""The sums s of each image."""

EVERYTHING: Box = (slice(None),)
"""All voxels."""

SLOPE_VALUES = 1 << 20
"""How many logits have their slopes formed at a time."""


@dataclass(frozen=True, eq=False)
class Sums:
    """A target as a function of sums over voxels.

    Args:
        part: the sums over a box, `B M` in float64, of its logits `B L *P`; differentiable.
        outcome: the target, float64 `B`, of the sums over all boxes; differentiable.
        count: M.
        is_linear: whether the target is linear in the sums, so that its slope does not depend on
            them.
    """

    part: Callable[[Logits, Box], Totals]
    outcome: Callable[[Totals], Scalars]
    count: int = 1
    is_linear: bool = True

    def value(self, logits: Logits) -> Scalars:
        """Return the target of the logits of all voxels, `B L *S`."""
        return self.outcome(self.part(logits, EVERYTHING))

    def weights(self, totals: Totals | None = None) -> Totals:
        """Return dF/ds, `B M`, at the sums over all voxels; where F is linear, without them."""
        if totals is None:
            totals = torch.zeros((1, self.count), dtype=torch.float64)
        leaf = totals.detach().requires_grad_(True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.outcome(leaf).sum(), leaf)
        return slope

    def write_slope(self, logits: Logits, box: Box, into: Tensor, *, weights: Totals) -> None:
        """Write dR/dy of a box, `B L *P`, given dF/ds; a few planes of it at a time."""
        first = box[0]
        plane = max(1, logits[:, :, :1].numel())
        thickness = max(1, SLOPE_VALUES // plane)
        for start in range(0, logits.shape[2], thickness):
            y = logits[:, :, start : start + thickness].detach().requires_grad_(True)
            here = slice(first.start + start, first.start + start + y.shape[2])
            with torch.enable_grad():
                worth = (self.part(y, (here, *box[1:])) * weights.to(y.device)).sum()
                (own,) = torch.autograd.grad(worth, y)
            into[:, :, start : start + thickness] = own

    def flipped(self, axis: int, length: int) -> Sums:
        """Return the same target of logits whose spatial axis is stored from its other end.

        Args:
            axis: the axis.
            length: its length, in voxels.
        """

        def part(logits: Logits, box: Box) -> Totals:
            sides = list(box)
            if len(box) > axis and box[axis] != slice(None):
                sides[axis] = slice(length - box[axis].stop, length - box[axis].start)
            return self.part(logits.flip(axis + 2), tuple(sides))

        return Sums(part, self.outcome, self.count, self.is_linear)


def joined(
    parts: Sequence[Sums | None], outcome: Callable[[list[Scalars]], Scalars], *, is_linear: bool
) -> Sums | None:
    """Return a target that is a function of others; None where one of them is no function of sums.

    Args:
        parts: the other targets.
        outcome: the target, of theirs.
        is_linear: whether it is linear in the others.
    """
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    counts = [one.count for one in known]

    def part(logits: Logits, box: Box) -> Totals:
        return torch.cat([one.part(logits, box) for one in known], dim=1)

    def of_totals(totals: Totals) -> Scalars:
        own = torch.split(totals, counts, dim=1)
        return outcome([one.outcome(some) for one, some in zip(known, own, strict=True)])

    return Sums(part, of_totals, sum(counts), is_linear and all(one.is_linear for one in known))
