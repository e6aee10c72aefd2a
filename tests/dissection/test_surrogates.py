"""Surrogates: as smooth as units, within the body, and false names as rare as they claim to be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from esegeta.dissection.above import Above
from esegeta.dissection.blocks import Blocks, box_of, parts_in_box
from esegeta.dissection.body import CaseSpace
from esegeta.dissection.chance import CircularShift, q_values
from esegeta.dissection.fields import Fields
from esegeta.dissection.surrogates import (
    Surrogates,
    correlation_of,
    grades_of,
    neighbours,
    numbered,
    smoothness_vox,
    width_vox,
)
from esegeta.dissection.tally import ConceptParts, OverlapTally, tally
from tests.dissection.drawn import overlaps

SHAPES = {2: (48, 40), 3: (26, 24, 22)}
FLAT = {2: (1.0, 1.0), 3: (1.0, 1.0, 1.0)}


def ellipsoid(shape: tuple[int, ...]) -> torch.Tensor:
    axes = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    return torch.from_numpy(sum((axis / 0.85) ** 2 for axis in axes) < 1)


def space_of(body: torch.Tensor, number: int = 0) -> CaseSpace:
    return CaseSpace(number, tuple(body.shape), body.flatten())


def above_of(masks: torch.Tensor) -> Above:
    units, voxels = masks.flatten(1).nonzero().unbind(1)
    return Above(units, voxels)


def smooth(generator: np.random.Generator, shape: tuple[int, ...], width: float) -> np.ndarray:
    field = ndimage.gaussian_filter(generator.normal(size=shape), width, mode="wrap")
    return np.asarray(field / field.std())


@pytest.mark.parametrize("share", [0.005, 0.1, 0.6])
def test_the_correlation_is_that_of_two_gaussian_variables(share: float) -> None:
    level = stats.norm.isf(share)
    rho = np.array([0.0, 0.2, 0.5, 0.8, 0.97])
    both = [
        stats.multivariate_normal([0, 0], [[1, one], [one, 1]]).cdf([-level, -level]) / share
        for one in rho
    ]
    found = correlation_of(torch.tensor(both), torch.full((5,), share, dtype=torch.float64))
    np.testing.assert_allclose(found, rho, atol=5e-3)


@pytest.mark.parametrize("width", [0.8, 1.5, 3.0])
def test_the_smoothness_of_masks_is_that_of_their_fields(ndim: int, width: float) -> None:
    generator = np.random.default_rng(3)
    shape = tuple(3 * length for length in SHAPES[ndim])
    body = torch.ones(shape, dtype=torch.bool)
    fields = np.stack([smooth(generator, shape, width) for _ in range(4)])
    masks = torch.from_numpy(fields > 2.0)
    found = smoothness_vox(above_of(masks), 4, shape, body.flatten(), FLAT[ndim])
    # Never less than it is, by more than the sample tells.
    assert (found > 0.85 * width).all()
    assert (found < 1.5 * width).all()


@pytest.mark.parametrize("table", [0, 1 << 24])
@pytest.mark.parametrize("at_a_time", [1, 1 << 20])
def test_neighbours_are_those_that_lie_in_the_body_and_the_mask(
    ndim: int, table: int, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted by shifting whole masks; voxels at the end of a line have none on the next one."""
    monkeypatch.setattr("esegeta.dissection.surrogates.TABLE_BYTES", table)
    monkeypatch.setattr("esegeta.dissection.surrogates.PAIRS_AT_A_TIME", at_a_time)
    shape = {2: (19, 7), 3: (9, 6, 5)}[ndim]
    body, masks = torch.rand(shape) < 0.8, torch.rand(3, *shape) < 0.4
    masks[1] = False
    above = above_of(masks)
    pairs, both = neighbours(above, above.counts(3), shape, body.flatten())
    expected = []
    for axis, side in enumerate(shape):
        for lag in (lag for lag in (1, 2, 4, 8, 16) if lag < side):
            here = masks.narrow(axis + 1, 0, side - lag)
            there = body.narrow(axis, lag, side - lag)
            twice = here & masks.narrow(axis + 1, lag, side - lag)
            expected.append([(own & there).flatten(1).sum(dim=1) for own in (here, twice)])
    assert torch.equal(pairs, torch.stack([one for one, _ in expected], dim=1))
    assert torch.equal(both, torch.stack([two for _, two in expected], dim=1))


def test_a_lump_at_the_edge_is_wide_and_not_noise(ndim: int) -> None:
    """Near neighbours are all in it, and far ones out of the body: it counted as single voxels."""
    body = ellipsoid(SHAPES[ndim])
    for seed in {2: (53, 113), 3: (39, 114)}[ndim]:
        field = smooth(np.random.default_rng(seed), SHAPES[ndim], 6.0)
        field = np.where(body.numpy(), field, field.min())
        mask = torch.from_numpy(field > np.quantile(field, 0.98))[None]
        found = smoothness_vox(above_of(mask), 1, SHAPES[ndim], body.flatten(), FLAT[ndim])
        assert float(found) > 1.9


def test_fields_are_as_smooth_along_each_axis_as_they_are_asked_for() -> None:
    """Neighbours at distance h correlate by exp(-h^2 / 4 s^2)."""
    fields = Fields((1.0, 2.0, 3.0), torch.zeros(40, 40, 40, dtype=torch.int64), 0)
    field = fields._field(torch.Generator().manual_seed(0))
    for axis, width in enumerate((1.0, 2.0, 3.0)):
        found = torch.corrcoef(torch.stack([field, field.roll(2, axis)]).flatten(1))[0, 1]
        assert float(found) == pytest.approx(math.exp(-(2**2) / (4 * width**2)), abs=0.06)


@pytest.mark.parametrize("shape", [(31, 17), (9, 12, 7)])
def test_a_field_is_white_noise_through_a_gaussian_filter(shape: tuple[int, ...]) -> None:
    """By the whole spectrum in float64, which damps exp(-2 (pi s f)^2) along each axis."""
    widths = (1.0, 2.0, 0.5)[: len(shape)]
    fields = Fields(widths, torch.zeros(shape, dtype=torch.int64), 0)
    field = fields._field(torch.Generator().manual_seed(3))
    noise = torch.randn(field.shape, generator=torch.Generator().manual_seed(3)).double()
    spectrum = torch.fft.fftn(noise)
    axes = [torch.fft.fftfreq(side, dtype=torch.float64) for side in field.shape]
    for width, frequency in zip(widths, torch.meshgrid(*axes, indexing="ij"), strict=True):
        spectrum = spectrum * torch.exp(-2 * (math.pi * width * frequency) ** 2)
    expected = torch.fft.ifftn(spectrum).real
    assert torch.allclose(field.double(), expected, rtol=0, atol=1e-6)


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


def test_grades_round_up() -> None:
    widths = torch.tensor([width_vox(0), width_vox(3), width_vox(3) * 1.01], dtype=torch.float64)
    assert grades_of(widths).tolist() == [0, 3, 4]


def test_draws_are_the_largest_values_of_the_body(ndim: int) -> None:
    """The masks have the unit's size, lie in the body, and are everywhere in it as often."""
    body = ellipsoid(SHAPES[ndim])
    fields = Fields((width_vox(4),) * ndim, numbered(body), 1)
    ranked = torch.cat(list(fields.draws(600, 50)))
    assert ranked.shape == (600, 50)
    assert body.flatten()[ranked].all()
    assert all(len(set(row.tolist())) == 50 for row in ranked[:20])
    half = torch.zeros_like(body)
    half[: SHAPES[ndim][0] // 2] = True
    shares = half.flatten()[ranked].double().mean(dim=1)
    expected = float((half & body).sum() / body.sum())
    assert abs(float(shares.mean()) - expected) < 4 * float(shares.std()) / math.sqrt(600 / 5)


@pytest.mark.parametrize("table", [0, 1 << 22], ids=["lines", "table"])
@pytest.mark.parametrize(("most", "row"), [(20, 256), (20, 1), (600, 256)])
def test_draws_are_what_sorting_the_whole_field_gives(
    most: int, row: int, table: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few voxels are moved, many are sorted; a body may hold too few of the first at first."""
    monkeypatch.setattr("esegeta.dissection.fields.VALUES_AT_A_TIME", 5000)
    monkeypatch.setattr("esegeta.dissection.fields.TABLE_POINTS", table)
    monkeypatch.setattr("esegeta.dissection.fields.ROW_BY_ROW", row)
    body = ellipsoid((30, 44))
    fields = Fields((4.0, 4.0), numbered(body), 4)
    generator = torch.Generator().manual_seed(fields.seed)
    field = fields._field(generator)
    shifts = [
        torch.randint(n, (fields.draws_of_a_field,), generator=generator) for n in field.shape
    ]
    found = next(iter(fields.draws(1000, most)))
    assert found.shape == (fields.draws_of_a_field, most)
    for drawn, (down, along) in zip(found, zip(*shifts, strict=True), strict=True):
        moved = torch.zeros(30, 44)
        height, width = fields.body.shape
        moved[box_of(body)] = field.roll((int(down), int(along)), (0, 1))[:height, :width]
        values = torch.where(body, moved, -math.inf).flatten()
        expected = values.sort(descending=True).values[:most]
        assert torch.equal(values[drawn], expected)


def test_blocks_hold_what_their_voxels_hold(ndim: int) -> None:
    """Counted one by one; the last block in proportion."""
    generator = torch.Generator().manual_seed(0)
    shape = (13, 11, 9)[:ndim]
    body = ellipsoid(shape)
    concepts = torch.rand((3, *shape), generator=generator) < 0.3
    partition = ConceptParts.of(list(concepts))
    sides = (2, 3, 1)[:ndim]
    blocks = Blocks.of(partition, parts_in_box(partition, body), sides)
    index = body.nonzero()
    voxels = index - index.amin(dim=0)
    ids = {tuple(one): n for n, one in enumerate((blocks.numbers >= 0).nonzero().tolist())}
    of_voxel = [ids[tuple(int(v) // s for v, s in zip(one, sides, strict=True))] for one in voxels]
    own = torch.tensor(of_voxel)
    inside = concepts[:, body]
    ranked = torch.randperm(len(ids), generator=generator)[None, : blocks.enough(20)]
    found = blocks.overlaps(ranked, torch.tensor([1, 7, 20]))
    for unit, size in enumerate((1, 7, 20)):
        left, expected = float(size), torch.zeros(3, dtype=torch.float64)
        for block in ranked[0].tolist():
            held = own == block
            share = min(left / int(held.sum()), 1.0)
            expected += share * inside[:, held].sum(dim=1)
            left -= share * int(held.sum())
        assert left == pytest.approx(0)
        assert torch.equal(found[0, unit], expected.round().long())


@pytest.mark.slow
def test_blocks_give_the_distribution_that_voxels_give(monkeypatch: pytest.MonkeyPatch) -> None:
    body = ellipsoid((70, 66))
    blob = ndimage.gaussian_filter(np.eye(70, 66)[::-1] * 5.0, 6) > 0.25
    partition = ConceptParts.of([torch.from_numpy(blob.copy())])
    units = torch.from_numpy(np.stack([smooth(np.random.default_rng(1), (70, 66), 6.0) > 1.4]))
    drawn = {}
    for voxels in (0, 1 << 16):
        monkeypatch.setattr("esegeta.dissection.blocks.SMALL_VOXELS", voxels)
        null = Surrogates(samples=2000, seed=voxels)
        drawn[voxels] = overlaps(null, above_of(units), partition, 1, space_of(body))[:, 0, 0]
    # Of 80 fields each: draws of one field are alike.
    assert stats.ks_2samp(*(values[::10].numpy() for values in drawn.values())).pvalue > 0.01


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


def test_all_units_of_a_draw_move_alike_however_they_are_split() -> None:
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
def test_detectors_are_named_all_the_same() -> None:
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


def test_correlations_of_several_distances_are_those_of_each() -> None:
    share = torch.tensor([0.005, 0.1, 0.4], dtype=torch.float64)
    both = torch.tensor([[0.1, 0.6, torch.nan], [0.2, 0.9, 1.0], [0.5, 0.4, 0.7]]).double()
    each = [correlation_of(column, share) for column in both.unbind(dim=1)]
    assert torch.equal(correlation_of(both, share), torch.stack(each, dim=1))


def test_the_smallest_p_of_a_small_body_is_the_share_of_draws_in_the_same_place() -> None:
    """Of a unit that marks its concept and nothing else: where there is no room, so does chance."""
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
