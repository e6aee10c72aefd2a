"""Surrogates: overlaps as smooth as units within the body, false names as rare as they claim."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from esegeta.dissection.chance import CircularShift, q_values
from esegeta.dissection.fields import Fields
from esegeta.dissection.surrogates import (
    FINEST_VOX,
    Surrogates,
    grades_of,
    numbered,
    smoothness_vox,
    width_vox,
)
from esegeta.dissection.tally import ConceptParts, OverlapTally, tally
from tests.dissection.bodies import FLAT, SHAPES, above_of, ellipsoid, smooth, space_of
from tests.dissection.drawn import overlaps


def test_anisotropic_layers_have_anisotropic_surrogates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that is coarser along one axis is smoother along it, in its units' surrogates too."""
    asked = []
    monkeypatch.setattr(
        "esegeta.dissection.surrogates.Fields",
        lambda widths, numbers, seed: asked.append(widths) or Fields(widths, numbers, seed),
    )
    body = torch.ones(12, 12, 12, dtype=torch.bool)
    masks = torch.from_numpy(smooth(np.random.default_rng(0), (12, 12, 12), 1.0) > 1)[None]
    case = Surrogates(samples=2).of_case(ConceptParts.of([masks[0]]), space_of(body))
    case.add(above_of(masks), 1, (1.0, 1.0, 4.0))
    case.overlaps()
    (widths,) = asked
    np.testing.assert_allclose(np.array(widths) / widths[0], [1, 1, 4], rtol=1e-5)


def test_overlaps_count_the_ranked_voxels_of_each_unit() -> None:
    body = ellipsoid(SHAPES[2])
    generator = torch.Generator().manual_seed(0)
    masks = (
        torch.rand((3, *SHAPES[2]), generator=generator)
        < torch.tensor([0.05, 0.2, 0.1])[:, None, None]
    )
    concepts = [torch.rand(SHAPES[2], generator=generator) < 0.3 for _ in range(3)]
    partition, above, space = ConceptParts.of(concepts), above_of(masks), space_of(body)
    found = overlaps(Surrogates(samples=7, seed=5), above, partition, 3, space)
    inside = above_of(masks & body)
    grades = grades_of(smoothness_vox(inside, 3, SHAPES[2], body.flatten(), FLAT[2]))
    for unit in range(3):
        size = int((masks[unit] & body).sum())
        grade = int(grades[unit])
        fields = Fields((width_vox(grade),) * 2, numbered(body), 5 * 1_000_003 * 1009 + grade)
        most = max(int((masks[u] & body).sum()) for u in range(3) if grades[u] == grades[unit])
        ranked = torch.cat(list(fields.draws(7, most)))[:, :size]
        for place, concept in enumerate(concepts):
            outside = int((masks[unit] & ~body & concept).sum())
            expected = concept.flatten()[ranked].sum(dim=1) + outside
            assert torch.equal(found[:, unit, place], expected)


def test_all_units_of_a_draw_use_one_field_for_any_batching() -> None:
    body = ellipsoid(SHAPES[2])
    fields = np.stack([smooth(np.random.default_rng(n), SHAPES[2], 1 + n) for n in range(3)])
    masks = torch.from_numpy(fields > 1.5)
    partition = ConceptParts.of(
        [torch.from_numpy(smooth(np.random.default_rng(9), SHAPES[2], 2) > 1)]
    )
    null, space = Surrogates(samples=30, seed=2), space_of(body, 4)
    whole = overlaps(null, above_of(masks), partition, 3, space)
    parts = [overlaps(null, above_of(masks[[n]]), partition, 1, space) for n in range(3)]
    assert torch.equal(whole, torch.cat(parts, dim=1))


def world(
    generator: np.random.Generator, width: float, num_units: int, planted: int
) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """Return units in a body, blobs in it, and the body; the first units mark the blobs."""
    shape = SHAPES[3]
    body = ellipsoid(shape)
    index = body.nonzero().numpy()
    places = np.indices(shape).reshape(3, -1).T
    blobs = []
    for _ in range(5):
        centre = index[generator.integers(len(index))]
        near = ((places - centre) ** 2).sum(axis=1).reshape(shape) < 16
        blobs.append(torch.from_numpy(near) & body)
    units = []
    for number in range(num_units):
        field = smooth(generator, shape, width)
        if number < planted:
            field = field + 8 * ndimage.gaussian_filter(blobs[number % 5].double().numpy(), 1.0)
        units.append(np.where(body.numpy(), field, field.min()))
    return torch.from_numpy(np.stack(units)), blobs, body


def q_of(kind: type, seed: int, *, width: float, planted: int, num_units: int = 20) -> torch.Tensor:
    """Return q of units and 5 blobs over four cases."""
    generator = np.random.default_rng(seed)
    null = kind(samples=1000, seed=seed)
    cases = [world(generator, width, num_units, planted) for _ in range(4)]
    everything = torch.stack([units.flatten(1) for units, _, _ in cases], dim=1).flatten(1)
    thresholds = everything.quantile(0.98, dim=1)
    counts: list[OverlapTally] = []
    drawn: torch.Tensor | int = 0
    for number, (units, blobs, body) in enumerate(cases):
        above = above_of(units > thresholds[:, None, None, None])
        partition = ConceptParts.of(blobs)
        counts.append(tally(above, partition, num_units))
        drawn = drawn + overlaps(null, above, partition, num_units, space_of(body, number))
    assert isinstance(drawn, torch.Tensor)
    total = counts[0] + counts[1] + counts[2] + counts[3]
    return q_values(null.p_values(total, drawn))


@pytest.mark.slow
@pytest.mark.parametrize("width", [1.0, 3.0])
def test_independent_units_in_a_body_are_not_named(width: float) -> None:
    """At most one run in ten names any of 20 smooth units for any of 5 blobs; shifts do."""
    false = [
        bool((q_of(Surrogates, seed, width=width, planted=0) <= 0.05).any()) for seed in range(10)
    ]
    assert sum(false) <= 1
    if width == 3.0:
        assert any(
            (q_of(CircularShift, seed, width=width, planted=0) <= 0.05).any() for seed in range(3)
        )


@pytest.mark.slow
def test_planted_detectors_are_named() -> None:
    found = []
    for seed in range(4):
        q = q_of(Surrogates, seed, width=2.0, planted=5)
        found += [float(q[unit, unit]) <= 0.05 for unit in range(5)]
        assert (q[5:] > 0.05).double().mean() > 0.98
    assert np.mean(found) > 0.9


@pytest.mark.slow
def test_a_few_detectors_among_many_units_are_named() -> None:
    """Of 500 pairs no share of a thousand draws is small enough for five: their tail tells."""
    found = []
    for seed in range(3):
        q = q_of(Surrogates, seed, width=2.0, planted=5, num_units=100)
        found += [float(q[unit, unit]) <= 0.05 for unit in range(5)]
        assert (q[5:] > 0.05).double().mean() > 0.995
    assert np.mean(found) > 0.9


def test_the_smallest_p_of_a_small_body_is_the_share_of_matching_draws() -> None:
    """A unit equal to its concept: in a body without room, random draws often match it too."""
    body = torch.ones(15, 12, dtype=torch.bool)
    concept = torch.zeros(15, 12, dtype=torch.bool)
    concept[1:5, 2:10] = True
    partition, above = ConceptParts.of([concept]), above_of(concept[None])
    null = Surrogates(samples=99)
    found = overlaps(null, above, partition, 1, space_of(body))
    observed = tally(above, partition, 1)
    nothing = OverlapTally(observed.both * 0, observed.units, observed.concepts, body.numel())
    assert int(nothing.most.both) == int(concept.sum())
    reached = int((found >= int(concept.sum())).sum())
    assert float(null.p_values(nothing.most, found)) == (1 + reached) / 100
    assert float(null.p_values(nothing, found)) == 1


def test_a_single_voxel_has_the_finest_smoothness() -> None:
    """It has no neighbours that could be alike."""
    body = torch.ones(1, 1, dtype=torch.bool)
    found = smoothness_vox(above_of(body[None]), 1, (1, 1), body.flatten(), (1.0, 1.0))
    assert found.tolist() == [FINEST_VOX]


def test_wide_masks_in_large_bodies_are_drawn_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the size of the unit, up to halves of voxels; layers share blocks of the same sides."""
    monkeypatch.setattr("esegeta.dissection.blocks.SMALL_VOXELS", 0)
    body = ellipsoid(SHAPES[2])
    wide = torch.from_numpy(smooth(np.random.default_rng(1), SHAPES[2], 6.0) > 1)[None]
    partition = ConceptParts.of([torch.ones_like(body), ~body])
    case = Surrogates(samples=40).of_case(partition, space_of(body))
    for ratios in ((1.0, 1.0), (1.0, 1.01)):
        case.add(above_of(wide), 1, ratios)
    found = case.overlaps()
    size, outside = int((wide & body).sum()), int((wide & ~body).sum())
    assert (found[:, :, 0] == size + outside).all()
    assert (found[:, :, 1] == outside).all()
    assert [max(sides) > 1 for sides in case.blocks] == [True]
