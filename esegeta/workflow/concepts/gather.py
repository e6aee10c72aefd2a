"""What layers see of a case: pieces of concepts, supervoxels, and positions for ConceptSHAP."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from esegeta.axes import Mask
from esegeta.concepts import ConceptPieces, ball, draw_pieces, supervoxels
from esegeta.predict import VoxelLists, pool_regions
from esegeta.workflow.cache import keep_tensors, name_of_tensor
from esegeta.workflow.concepts.session import (
    ConceptSession,
    OpenConcepts,
    first_level,
    open_concepts,
)
from esegeta.workflow.concepts.shown import ANYWHERE, pool_shown, share_of
from esegeta.workflow.task import Content, Desk, Task

SHOWN = 2_000_003
"""Tells draws of patches from those of pieces."""
COUNTERS = 12
"""Counter-pieces of each piece: sets of them are drawn from these."""


def gather(task: Task, desk: Desk) -> Content:
    """Take what layers see of a case, and keep it.

    Raises:
        EsegetaError: the case cannot be read.
    """
    assert task.record is not None and task.key is not None
    session: ConceptSession = desk.job
    number = task.data["case"]
    opened = open_concepts(desk, number)
    run = session.run
    desk.begin(task.name, [task], 2 * len(run.watched.windows(opened.volume.batch)))
    found: dict[str, Tensor] = {}
    lists: list[VoxelLists] = []
    named = _pieces_of_case(session, opened, number)
    for part in named:
        lists += [part.pieces.positives, part.pieces.counters]
        found[name_of_tensor("levels", part.concept, part.group)] = part.pieces.levels
    for name, mask in opened.masks.items():
        found[name_of_tensor("voxels", name)] = mask.sum()
    segments = _segments(session, opened, number, found) if run.keys.discover else None
    if segments is not None:
        lists.append(segments)
    voxels = _positions(session, opened, number, found)
    nothing = torch.zeros(0, dtype=torch.int64, device=run.basis.device)
    regions = VoxelLists.of([VoxelLists(nothing, nothing, 0), *lists])
    pooled = pool_regions(
        run.watched,
        opened.volume.batch,
        run.layers,
        regions,
        voxels=voxels,
        room_mb=session.room_mb,
    )
    for layer in run.layers:
        seen, first = pooled[layer.name], 0
        for part in named:
            for what, one in (
                ("positives", part.pieces.positives),
                ("counters", part.pieces.counters),
            ):
                rows = seen.means[first : first + one.num_regions]
                found[name_of_tensor(what, part.concept, part.group, layer.name)] = rows.float()
                first += one.num_regions
        if segments is not None:
            found[name_of_tensor("segments", layer.name)] = seen.means[first:].float()
        if voxels is not None:
            found[name_of_tensor("positions", layer.name)] = seen.samples
    found |= _shown(session, opened, number)
    keep_tensors(task.record, task.key, found)
    return {}


def _shown(session: ConceptSession, opened: OpenConcepts, number: int) -> dict[str, Tensor]:
    """Return what layers see of the images of a concept that this case is compared with."""
    run, found = session.run, {}
    for rank, (name, images) in enumerate(run.shown.items()):
        for place, image in share_of(images, number, len(session.cases)):
            volume, _ = run.basis.read(image)
            pooled = pool_shown(
                run.watched,
                volume.to(run.basis.device).batch,
                opened.volume.batch,
                opened.places.body,
                run.layers,
                counters=COUNTERS,
                room_mb=session.room_mb,
                generator=session.generator(place, SHOWN + rank),
            )
            found[name_of_tensor("levels", name, place)] = torch.tensor([ANYWHERE])
            for layer, (own, others) in pooled.items():
                found[name_of_tensor("positives", name, place, layer)] = own
                found[name_of_tensor("counters", name, place, layer)] = others
    return found


@dataclass(frozen=True, eq=False)
class NamedPieces:
    """Pieces of a concept in a case, or in a slab of it.

    Args:
        concept: its name.
        group: the number of the case or slab among all.
        pieces: with their counter-pieces.
    """

    concept: str
    group: int
    pieces: ConceptPieces


def slabs_of(session: ConceptSession, opened: OpenConcepts, number: int) -> list[tuple[int, Mask]]:
    """Return the groups of a case: numbers and voxels; one of all voxels where it is not cut."""
    run, body = session.run, opened.places.body
    shape = tuple(body.shape)
    if run.slabs == 1:
        return [(number, torch.ones_like(body))]
    return [
        (number * run.slabs + slab, run.slab(shape, slab).to(body.device))
        for slab in range(run.slabs)
    ]


def _pieces_of_case(
    session: ConceptSession, opened: OpenConcepts, number: int
) -> list[NamedPieces]:
    keys, spacing_mm = session.run.keys, opened.volume.grid.spacing_mm
    steps = ball(keys.piece_mm if keys.pool == "mean" else 0.0, spacing_mm)
    found = []
    for group, slab in slabs_of(session, opened, number):
        places = opened.places
        within = replace(places, body=places.body & slab)
        for rank, (name, mask) in enumerate(opened.masks.items()):
            pieces = draw_pieces(
                mask & slab,
                within,
                steps,
                count=keys.pieces,
                counters=COUNTERS,
                matched=first_level(session),
                generator=session.generator(group, rank),
            )
            if len(pieces):
                found.append(NamedPieces(name, group, pieces))
    return found


def segments_of(session: ConceptSession, opened: OpenConcepts) -> list[Tensor]:
    """Return the maps of supervoxels of a case, one a scale."""
    discover = session.run.keys.discover
    assert discover is not None
    volume = opened.volume
    body = opened.places.body
    return supervoxels(volume.data, body, volume.grid.spacing_mm, counts=discover.scales)


def _segments(
    session: ConceptSession, opened: OpenConcepts, number: int, found: dict[str, Tensor]
) -> VoxelLists:
    """Return the supervoxels of a case as lists of voxels, and keep where they lie."""
    body = opened.places.body
    device, shape = body.device, tuple(body.shape)
    groups = torch.zeros(shape, dtype=torch.int64, device=device)
    for group, slab in slabs_of(session, opened, number):
        groups[slab] = group
    lists, facts = [], []
    for scale, numbers in enumerate(segments_of(session, opened)):
        flat = numbers.flatten()
        voxels = flat.nonzero()[:, 0]
        owners = flat[voxels] - 1
        count = int(flat.max())
        lists.append(VoxelLists(voxels, owners, count))
        # The middle voxel of each, in the order of the voxels, tells its place.
        order = torch.argsort(owners, stable=True)
        sizes = torch.bincount(owners, minlength=count)
        middle = voxels[order][sizes.cumsum(0) - (sizes + 1) // 2]
        facts.append(
            torch.stack(
                [
                    groups.flatten()[middle],
                    opened.places.organ.flatten()[middle],
                    opened.places.depth.flatten()[middle],
                    torch.full_like(middle, scale),
                    torch.arange(1, count + 1, device=device),
                ],
                dim=1,
            )
        )
    found[name_of_tensor("places of segments")] = torch.cat(facts)
    return VoxelLists.of(lists)


def _positions(
    session: ConceptSession, opened: OpenConcepts, number: int, found: dict[str, Tensor]
) -> Tensor | None:
    """Draw voxels of the body inside and outside of each target's label, and keep what they are."""
    shap = session.run.keys.shap
    if shap is None:
        return None
    body = opened.places.body
    generator = session.generator(number, 1_000_003)
    groups = torch.zeros(body.shape, dtype=torch.int64, device=body.device)
    for group, slab in slabs_of(session, opened, number):
        groups[slab] = group
    drawn, first = [], 0
    for plan in session.run.targets:
        if plan.keys.label is None:
            continue
        label = opened.scene.predicted(plan.keys.label)
        rows, weights = [], []
        for mask in (body & label, body & ~label):
            voxels = mask.flatten().nonzero()[:, 0]
            order = torch.randperm(len(voxels), generator=generator)[: shap.positions // 2]
            rows.append(voxels[order.to(voxels.device)])
            weights.append(torch.full((len(rows[-1]),), len(voxels) / max(len(rows[-1]), 1)))
        chosen = torch.cat(rows)
        drawn.append(chosen)
        found[name_of_tensor("rows", plan.name)] = torch.tensor([first, first + len(chosen)])
        found[name_of_tensor("is_label", plan.name)] = label.flatten()[chosen]
        found[name_of_tensor("weights", plan.name)] = torch.cat(weights)
        found[name_of_tensor("groups", plan.name)] = groups.flatten()[chosen]
        first += len(chosen)
    return torch.cat(drawn) if drawn else None
