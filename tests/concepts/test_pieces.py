"""Pieces of concepts and their counter-pieces: where they lie, and what they are matched for."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from esegeta.concepts import ConceptPieces, MatchingCriteria, ball, draw_pieces

SPACING = {2: (1.0, 2.0), 3: (1.0, 2.0, 1.5)}
SHAPE = {2: (20, 18), 3: (12, 10, 9)}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def everywhere(
    ndim: int, organs: torch.Tensor | None = None, step_mm: float = 3.0
) -> MatchingCriteria:
    body = torch.ones(SHAPE[ndim], dtype=torch.bool)
    return MatchingCriteria.of(body, SPACING[ndim], organs=organs, step_mm=step_mm)


def drawn(
    mask: torch.Tensor, places: MatchingCriteria, radius_mm: float = 2.0, matched: int = 0
) -> ConceptPieces:
    steps = ball(radius_mm, SPACING[mask.ndim])
    return draw_pieces(
        mask, places, steps, count=6, counters=4, matched=matched, generator=generator()
    )


def test_a_ball_holds_the_voxels_within_its_radius(ndim: int) -> None:
    found = {tuple(step) for step in ball(3.1, SPACING[ndim]).tolist()}
    wanted = {
        step
        for step in itertools.product(range(-4, 5), repeat=ndim)
        if math.hypot(*(n * mm for n, mm in zip(step, SPACING[ndim], strict=True))) <= 3.1
    }
    assert found == wanted
    assert ball(0.0, SPACING[ndim]).tolist() == [[0] * ndim]


def test_pieces_lie_within_the_concept_and_counter_pieces_outside(ndim: int) -> None:
    mask = torch.zeros(SHAPE[ndim], dtype=torch.bool)
    mask[2:7, 3:8] = True
    found = drawn(mask, everywhere(ndim))
    assert len(found) == 6
    inside = mask.flatten()
    assert inside[found.positives.voxels].all()
    assert not inside[found.counters.voxels].any()
    assert found.counters.num_regions == 24
    assert (found.positives.sizes > 0).all()
    sizes = found.positives.sizes.repeat_interleave(4)
    assert (found.counters.sizes <= sizes).all() and (2 * found.counters.sizes >= sizes).all()


def test_counter_pieces_have_the_shape_of_their_piece() -> None:
    """A piece at the corner of a concept is moved with the corner."""
    mask = torch.zeros(30, 30, dtype=torch.bool)
    mask[14:16, 10:21] = True
    body = torch.ones_like(mask)
    places = MatchingCriteria.of(body, (1.0, 1.0), step_mm=100.0)
    found = draw_pieces(
        mask, places, ball(2.0, (1.0, 1.0)), count=3, counters=4, matched=0, generator=generator()
    )
    for piece in range(3):
        own = found.positives.voxels[found.positives.owners == piece]
        shape = own - own.min()
        for counter in range(4):
            moved = found.counters.voxels[found.counters.owners == 4 * piece + counter]
            if len(moved) == len(own):
                assert torch.equal(moved - moved.min(), shape)
    assert (found.counters.sizes == found.positives.sizes.repeat_interleave(4)).any()


def test_counter_pieces_match_organ_and_depth(ndim: int) -> None:
    organs = torch.zeros(SHAPE[ndim], dtype=torch.long)
    organs[:6] = 1
    mask = torch.zeros(SHAPE[ndim], dtype=torch.bool)
    mask[3:5, 4:6] = True  # within organ 1
    places = everywhere(ndim, organs)
    found = drawn(mask, places, radius_mm=0.0)
    assert (found.levels == 0).all()
    for piece, centre in enumerate(found.centres.tolist()):
        others = found.counters.voxels[found.counters.owners // 4 == piece]
        assert (organs.flatten()[others] == 1).all()
        depth_mm = places.depth_mm.flatten()
        assert ((depth_mm[others] - depth_mm[centre]).abs() <= 3.0).all()


def test_a_concept_equal_to_its_organ_is_matched_for_depth_alone(ndim: int) -> None:
    organs = torch.zeros(SHAPE[ndim], dtype=torch.long)
    organs[3:6, 3:6] = 4
    places = everywhere(ndim, organs)
    found = drawn(organs == 4, places, radius_mm=0.0)
    assert (found.levels == 1).all()
    depth_mm = places.depth_mm.flatten()
    for piece, centre in enumerate(found.centres.tolist()):
        others = found.counters.voxels[found.counters.owners // 4 == piece]
        assert ((depth_mm[others] - depth_mm[centre]).abs() <= 3.0).all()
    assert (drawn(organs == 4, places, radius_mm=0.0, matched=2).levels == 2).all()


def test_a_concept_that_fills_the_body_has_no_counter_pieces(ndim: int) -> None:
    mask = torch.ones(SHAPE[ndim], dtype=torch.bool)
    found = drawn(mask, everywhere(ndim))
    assert len(found) == 0 and found.counters.num_regions == 0
    assert len(drawn(~mask, everywhere(ndim))) == 0


@pytest.mark.parametrize("whole", [True, False])
def test_depth_is_the_distance_to_the_bodys_surface(ndim: int, whole: bool) -> None:
    body = torch.ones(SHAPE[ndim], dtype=torch.bool)
    if not whole:
        body[:3] = False
    places = MatchingCriteria.of(body, SPACING[ndim], step_mm=1.0)
    spacing = np.array(SPACING[ndim])
    # The surface of a body that fills its image is just outside of the image.
    bounds = [range(-1, n + 1) for n in SHAPE[ndim]] if whole else [range(n) for n in SHAPE[ndim]]
    outside = np.array(
        [
            voxel
            for voxel in itertools.product(*bounds)
            if any(v < 0 or v >= n for v, n in zip(voxel, SHAPE[ndim], strict=True))
            or not body[voxel]
        ]
    )
    for voxel in [(5,) * ndim, (3,) * ndim, (11, 9, 8)[:ndim]]:
        distance = np.sqrt((((outside - np.array(voxel)) * spacing) ** 2).sum(axis=1)).min()
        assert int(places.depth[voxel]) == math.floor(distance)


def test_counter_pieces_match_the_mean_depth_of_their_piece() -> None:
    """The mean depth of counter-pieces is their piece's, though their centres only come near."""
    mask = torch.zeros(40, 40, dtype=torch.bool)
    mask[8:18, 9:19] = True
    places = MatchingCriteria.of(torch.ones_like(mask), (1.0, 1.0), step_mm=4.0)
    found = draw_pieces(
        mask, places, ball(4.0, (1.0, 1.0)), count=4, counters=6, matched=0, generator=generator()
    )
    depth_mm = places.depth_mm[None].float()
    own = found.positives.means(depth_mm)[:, 0]
    others = found.counters.means(depth_mm)[:, 0].reshape(4, 6)
    assert (others.mean(dim=1) - own).abs().max() < 0.75
    assert abs(float(others.mean() - own.mean())) < 0.3


def test_places_too_small_for_a_piece_are_not_used() -> None:
    """The rest of the organ are two holes in the concept: a voxel fits there, a piece does not."""
    organs = torch.zeros(24, 24, dtype=torch.long)
    organs[8:15, 8:15] = 1
    mask = organs == 1
    mask[10, 11] = mask[12, 11] = False
    places = MatchingCriteria.of(torch.ones_like(mask), (1.0, 1.0), organs=organs, step_mm=100.0)
    steps = {radius: ball(radius, (1.0, 1.0)) for radius in (0.0, 2.0)}
    levels = {
        radius: draw_pieces(
            mask, places, own, count=6, counters=4, matched=0, generator=generator()
        ).levels
        for radius, own in steps.items()
    }
    assert levels[0.0].tolist() == [0] * 6 and levels[2.0].tolist() == [1] * 6
