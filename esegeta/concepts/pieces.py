"""Pieces of a concept's region, and pieces of the same shape elsewhere that they are told from.

A concept is shown by pieces: the voxels of its region within a ball around a voxel of it. Each has
counter-pieces: the same voxels moved to another place, beside the concept, in the same organ and
as deep in the body. A direction that tells them apart is thus not one that tells places apart.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.axes import Mask, Shape, along_axes
from esegeta.concepts.places import LEVELS, MatchingCriteria
from esegeta.predict import VoxelLists

TRIES = 6
"""Places that are tried for each counter-piece, of which some do not hold enough of the piece."""
LEAST_SHARE = 0.5
"""Share of a piece's voxels that its counter-piece must have: the others fall on the concept."""
SPREAD_OVER = 2048
"""Voxels among which the centres of pieces are chosen, far from each other."""


@dataclass(frozen=True, eq=False)
class ConceptPieces:
    """Pieces of a concept in a case, and their counter-pieces.

    Args:
        positives: N pieces.
        counters: N x Q counter-pieces, those of a piece side by side.
        levels: what the counter-pieces of each piece are matched for, an index into `LEVELS`.
        centres: of the pieces, indices into the flattened volume.
    """

    positives: VoxelLists
    counters: VoxelLists
    levels: Int[Tensor, " N"]
    centres: Int[Tensor, " N"]

    def __len__(self) -> int:
        return self.positives.num_regions


def ball(radius_mm: float, spacing_mm: tuple[float, ...]) -> Int[Tensor, "M D"]:
    """Return the steps from a voxel to all within a distance of it, the voxel itself first."""
    reach = [math.floor(radius_mm / step) for step in spacing_mm]
    ranges = [range(-far, far + 1) for far in reach]
    steps = [
        step
        for step in itertools.product(*ranges)
        if math.hypot(*(n * mm for n, mm in zip(step, spacing_mm, strict=True))) <= radius_mm
    ]
    steps.sort(key=lambda step: math.hypot(*step))
    return torch.tensor(steps, dtype=torch.int64).reshape(-1, len(spacing_mm))


def draw_pieces(
    mask: Mask,
    places: MatchingCriteria,
    steps: Int[Tensor, "M D"],
    *,
    count: int,
    counters: int,
    matched: int,
    generator: torch.Generator,
) -> ConceptPieces:
    """Draw pieces of a region, and counter-pieces of each.

    A piece that has no two counter-pieces anywhere is left out.

    Args:
        mask: the region, `*S`.
        places: of the volume's voxels.
        steps: from the centre of a piece to its voxels; the centre alone for single positions.
        count: N, at most.
        counters: Q, for each piece.
        matched: first level of `LEVELS` that is tried.
        generator: on the host.
    """
    shape, device = tuple(mask.shape), mask.device
    steps = steps.to(device)
    inside, free = mask.flatten(), (places.body & ~mask).flatten()
    centres = _far_apart(mask, count, generator)
    positives, others, levels, kept = [], [], [], []
    for centre in centres.tolist():
        own, is_in = _moved(torch.tensor([centre], device=device), steps, shape)
        chosen = is_in[0] & inside[own[0]]
        found = _counters(centre, steps[chosen], free, places, counters, matched, shape, generator)
        if found is None:
            continue
        voxels = own[0][chosen]
        positives.append(VoxelLists(voxels, torch.zeros_like(voxels), 1))
        others.append(found[0])
        levels.append(found[1])
        kept.append(centre)
    nothing = centres.new_zeros(0)
    none = VoxelLists(nothing, nothing, 0)
    return ConceptPieces(
        VoxelLists.of([none, *positives]),
        VoxelLists.of([none, *others]),
        torch.tensor(levels, dtype=torch.int64),
        torch.tensor(kept, dtype=torch.int64),
    )


def _counters(
    centre: int,
    steps: Tensor,
    free: Tensor,
    places: MatchingCriteria,
    count: int,
    matched: int,
    shape: Shape,
    generator: torch.Generator,
) -> tuple[VoxelLists, int] | None:
    """Return counter-pieces of a piece, and the level at which there are two or more."""
    depth_mm = places.depth_mm.flatten()
    own, is_in = _moved(torch.tensor([centre], device=free.device), steps, shape)
    own_mm = _mean(depth_mm, own, is_in)
    for level in range(matched, len(LEVELS)):
        alike = (places.alike(centre, level).flatten() & free).nonzero()[:, 0]
        if len(alike) < 2:
            continue
        draws = torch.randint(len(alike), (TRIES * count,), generator=generator)
        candidates = torch.unique(alike[draws.to(alike.device)])
        order = torch.randperm(len(candidates), generator=generator).to(alike.device)
        voxels, is_in = _moved(candidates[order], steps, shape)
        held = is_in & free[voxels]
        enough = held.sum(dim=1) >= LEAST_SHARE * len(steps)
        rows = enough.nonzero()[:, 0]
        if len(rows) < 2:
            continue
        if level < len(LEVELS) - 1:
            # Of a piece that reaches inwards from its centre, those that do so too.
            apart_mm = (_mean(depth_mm, voxels, held) - own_mm).abs()[rows]
            rows = rows[apart_mm.argsort(stable=True)[:count]]
        # Where there are fewer than are wanted, they come again.
        rows = rows[torch.arange(count, device=rows.device) % len(rows)]
        owners, columns = held[rows].nonzero().unbind(1)
        return VoxelLists(voxels[rows][owners, columns], owners, count), level
    return None


def _mean(values: Tensor, voxels: Tensor, held: Tensor) -> Tensor:
    """Return the mean over those voxels of each row that are held."""
    return (values[voxels] * held).sum(dim=1) / held.sum(dim=1).clamp(min=1)


def _moved(
    centres: Int[Tensor, " P"], steps: Int[Tensor, "M D"], shape: Shape
) -> tuple[Int[Tensor, "P M"], Tensor]:
    """Return the voxels at some steps from each centre, and which of them are in the volume."""
    places = torch.stack(along_axes(centres, shape), dim=1)
    voxels = places[:, None] + steps[None]
    lengths = torch.tensor(shape, device=centres.device)
    is_in = ((voxels >= 0) & (voxels < lengths)).all(dim=-1)
    voxels = torch.minimum(voxels.clamp(min=0), lengths - 1)
    flat = torch.zeros_like(voxels[..., 0])
    for axis, length in enumerate(shape):
        flat = flat * length + voxels[..., axis]
    return flat, is_in


def _far_apart(mask: Mask, count: int, generator: torch.Generator) -> Int[Tensor, " P"]:
    """Return voxels of a mask, each the farthest from those before it, the first at random."""
    inside = mask.flatten().nonzero()[:, 0]
    if not len(inside):
        return inside
    some = torch.randperm(len(inside), generator=generator)[:SPREAD_OVER].to(inside.device)
    inside = inside[some]
    places: Float[Tensor, "N D"] = torch.stack(
        along_axes(inside, tuple(mask.shape)), dim=1
    ).double()
    chosen = [0]
    nearest = (places - places[0]).square().sum(dim=1)
    while len(chosen) < min(count, len(inside)):
        farthest = int(nearest.argmax())
        chosen.append(farthest)
        nearest = torch.minimum(nearest, (places - places[farthest]).square().sum(dim=1))
    return inside[chosen]
