"""Chance of trails: fields as smooth as a unit in each window, and few false edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from esegeta.dissection import StandIns, draw_places, q_values
from esegeta.dissection.fields import Fields
from esegeta.dissection.information import Bins, Dependence, dependence
from esegeta.dissection.places import Covered, Places
from esegeta.predict import WindowPlan, list_passes

SIDE, NUM_WINDOWS = 40, 4
WHOLE = Covered((SIDE, SIDE), (SIDE, SIDE))


def disc(side: int = SIDE) -> torch.Tensor:
    axes = np.meshgrid(*[np.linspace(-1, 1, side)] * 2, indexing="ij")
    return torch.from_numpy(sum(axis**2 for axis in axes) < 0.8)


def places_in_discs(seed: int, samples: int = 1200, draws: int = 99) -> list[Places]:
    layout = WindowPlan((SIDE,) * 2, passes=list_passes([])).lay((SIDE, SIDE))
    cases = {str(number): layout for number in range(NUM_WINDOWS)}
    found = draw_places(
        cases,
        windows=NUM_WINDOWS,
        samples=samples,
        permutations=draws,
        seed=seed,
        bodies=dict.fromkeys(cases, disc()),
    )
    return [one for own in found.values() for one in own]


def smooth(generator: np.random.Generator, width: float) -> torch.Tensor:
    field = ndimage.gaussian_filter(generator.normal(size=(3 * SIDE,) * 2), width, mode="wrap")
    return torch.from_numpy(field / field.std())[SIDE : 2 * SIDE, SIDE : 2 * SIDE]


def between(places: list[Places], x: list[torch.Tensor], y: list[torch.Tensor]) -> Dependence:
    """Return what maps in windows tell of others there, with stand-ins as chance."""

    def seen(maps: list[torch.Tensor]) -> torch.Tensor:
        pairs = zip(places, maps, strict=True)
        return torch.cat([one.flatten()[at.positions(WHOLE, one.shape)] for at, one in pairs])

    known, change = seen(x), seen(y)
    bins = Bins.of(known)
    drawn = [
        StandIns(place, len(place.shifts)).codes(bins.codes(one), one, WHOLE)
        for place, one in zip(places, x, strict=True)
    ]
    codes = Bins.of(change).codes(change)
    return dependence(bins.codes(known), codes, torch.cat(drawn, dim=1))


def test_values_of_a_draw_equal_the_shifted_field() -> None:
    fields = Fields((2.0, 1.0), torch.zeros(12, 9, dtype=torch.int64), 3)
    points = torch.tensor([[0, 0], [11, 8], [5, 3]])
    found = fields.values(fields.draws_of_a_field + 2, points)
    generator, rows = torch.Generator().manual_seed(3), []
    for _ in range(2):
        field = fields._field(generator)
        shifts = [
            torch.randint(n, (fields.draws_of_a_field,), generator=generator) for n in field.shape
        ]
        for down, along in zip(*shifts, strict=True):
            moved = field.roll((int(down), int(along)), (0, 1))
            rows.append(moved[tuple(points.T)])
    torch.testing.assert_close(found, torch.stack(rows)[: len(found)], rtol=0, atol=0)


def test_a_draw_rearranges_the_values_of_the_unit() -> None:
    (place, *_) = places_in_discs(0)
    activation = smooth(np.random.default_rng(0), 2.0)
    own = Bins.of(activation.flatten()).codes(activation)
    drawn = StandIns(place, 20).codes(own, activation, WHOLE)
    here = own[tuple(place.voxels.T)]
    assert drawn.shape == (20, len(here))
    assert torch.equal(drawn.sort(dim=1).values, here.sort().values.expand(20, -1))
    assert not any(torch.equal(row, here) for row in drawn)


def test_voxels_of_one_position_have_one_code() -> None:
    (place, *_) = places_in_discs(0)
    activation = torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    own = Bins.of(activation.flatten()).codes(activation)
    drawn = StandIns(place, 20).codes(own, activation, WHOLE)
    where = place.positions(WHOLE, (10, 10))
    for position in where.unique():
        assert (drawn[:, where == position].diff(dim=1) == 0).all()


@pytest.mark.parametrize("width", [1.0, 4.0])
def test_draws_are_as_smooth_as_the_unit(width: float) -> None:
    """Of a linear code, neighbours at distance 2 correlate as in the unit, or somewhat more."""
    (place, *_) = places_in_discs(1, samples=4 * 900)
    found = []
    for seed in range(4):
        activation = smooth(np.random.default_rng(seed), width)
        own = Bins.of(activation.flatten(), 32).codes(activation)
        drawn = StandIns(place, 25).codes(own, activation, WHOLE).double()
        grid = torch.full((25, SIDE, SIDE), torch.nan, dtype=torch.float64)
        grid[:, place.voxels[:, 0], place.voxels[:, 1]] = drawn
        left, right = grid[:, :-2].flatten(), grid[:, 2:].flatten()
        both = ~(left.isnan() | right.isnan())
        found.append(float(torch.corrcoef(torch.stack([left[both], right[both]]))[0, 1]))
    truth = math.exp(-(2**2) / (4 * width**2))
    assert truth - 0.08 < np.mean(found) < truth + 0.25


def test_draws_of_a_constant_unit_are_constant() -> None:
    (place, *_) = places_in_discs(0)
    drawn = StandIns(place, 3).codes(disc().long() * 0, torch.zeros(SIDE, SIDE), WHOLE)
    assert torch.equal(drawn, torch.zeros(3, len(place.voxels), dtype=torch.int64))


def p_of_independent(seed: int, width: float, kind: str) -> float:
    generator = np.random.default_rng(seed)
    body = disc()
    x = [smooth(generator, width) for _ in range(NUM_WINDOWS)]
    y = [smooth(generator, width) for _ in range(NUM_WINDOWS)]
    if kind == "rectified":
        x = [one.clamp(min=0.5) for one in x]
    elif kind == "peaks":
        x, y = [one.exp() for one in x], [one.exp() for one in y]
    elif kind == "stride":
        x = [one[::4, ::4] for one in x]
    return between(places_in_discs(seed), x, [one * body for one in y]).p


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "kind"),
    [(1.5, ""), (4.0, ""), (3.0, "rectified"), (3.0, "peaks"), (4.0, "stride"), (1.5, "stride")],
)
def test_independent_smooth_units_in_a_body_are_not_linked(width: float, kind: str) -> None:
    """p is at most 0.05 in a twentieth of pairs, and at most one run of twenty in ten links any."""
    p = torch.tensor([p_of_independent(seed, width, kind) for seed in range(160)]).double()
    assert float((p <= 0.05).double().mean()) <= 0.085  # 2 standard errors above 0.05
    linked = [bool((q_values(run) <= 0.05).any()) for run in p.reshape(8, 20)]
    assert sum(linked) <= 1


@pytest.mark.slow
def test_planted_links_are_found() -> None:
    """Changes of which a third of the variance is the source's own."""
    found = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        x = [smooth(generator, 3.0) for _ in range(NUM_WINDOWS)]
        y = [0.6 * one + 0.8 * smooth(generator, 3.0) for one in x]
        found.append(between(places_in_discs(seed), x, y).p <= 0.01)
    assert np.mean(found) > 0.9
