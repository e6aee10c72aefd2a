"""Trails in a body: being silent in air tells nothing of a change that is silent there, too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from esegeta.dissection import draw_places
from esegeta.dissection.information import Bins, Dependence, dependence
from esegeta.predict import WindowPlan, list_passes

SIDE, NUM_WINDOWS = 32, 6


def between_independent_fields(seed: int, *, whole: bool) -> Dependence:
    """Return what a smooth field in a disc tells of another, over windows of one disc each."""
    generator = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    disc = torch.from_numpy(sum(axis**2 for axis in axes) < 0.64)
    layout = WindowPlan((SIDE,) * 2, passes=list_passes([])).lay((SIDE, SIDE))
    cases = {str(number): layout for number in range(NUM_WINDOWS)}
    places = draw_places(
        cases,
        windows=NUM_WINDOWS,
        samples=1800,
        permutations=99,
        seed=seed,
        bodies=None if whole else dict.fromkeys(cases, disc),
    )
    known, changes, drawn, stay = [], [], [], []
    for name in cases:
        (place,) = places[name]
        source, change = (
            ndimage.gaussian_filter(generator.normal(size=(SIDE, SIDE)), 2.0, mode="wrap")
            for _ in range(2)
        )
        source = torch.from_numpy(source / source.std()) * disc
        at = tuple(place.voxels.T)
        moved = (place.voxels[None] + place.shifts[:, None]) % SIDE
        known.append(source[at])
        changes.append((torch.from_numpy(change / change.std()) * disc)[at])
        drawn.append(source[moved.unbind(-1)])
        stay.append(place.stay())
    x, y = torch.cat(known), torch.cat(changes)
    bins = Bins.of(x)
    codes = bins.codes(torch.cat(drawn, dim=1)).masked_fill(~torch.cat(stay, dim=1), -1)
    return dependence(bins.codes(x), Bins.of(y).codes(y), codes)


@pytest.mark.slow
def test_independent_fields_within_the_body_are_not_linked() -> None:
    found = [between_independent_fields(seed, whole=False) for seed in range(60)]
    assert np.mean([one.p <= 0.05 for one in found]) <= 0.1
    assert np.mean([one.weight for one in found]) < 0.01


@pytest.mark.slow
def test_independent_fields_seem_linked_if_air_is_included() -> None:
    found = [between_independent_fields(seed, whole=True) for seed in range(5)]
    assert all(one.p <= 0.05 for one in found)
    assert min(one.weight for one in found) > 0.2
