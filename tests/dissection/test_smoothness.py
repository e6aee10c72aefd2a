"""How smooth units are: measured on their masks as it is of their fields."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from esegeta.dissection.surrogates import (
    correlation_of,
    grades_of,
    neighbours,
    smoothness_vox,
    width_vox,
)
from tests.dissection.bodies import FLAT, SHAPES, above_of, ellipsoid, smooth


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
def test_neighbours_are_counted_within_body_and_mask(
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


def test_a_blob_at_the_edge_of_the_body_counts_as_smooth(ndim: int) -> None:
    """Near neighbours are all in it, and far ones out of the body: it counted as single voxels."""
    body = ellipsoid(SHAPES[ndim])
    for seed in {2: (53, 113), 3: (39, 114)}[ndim]:
        field = smooth(np.random.default_rng(seed), SHAPES[ndim], 6.0)
        field = np.where(body.numpy(), field, field.min())
        mask = torch.from_numpy(field > np.quantile(field, 0.98))[None]
        found = smoothness_vox(above_of(mask), 1, SHAPES[ndim], body.flatten(), FLAT[ndim])
        assert float(found) > 1.9


def test_grades_round_up() -> None:
    widths = torch.tensor([width_vox(0), width_vox(3), width_vox(3) * 1.01], dtype=torch.float64)
    assert grades_of(widths).tolist() == [0, 3, 4]


def test_correlations_of_several_distances_are_those_of_each() -> None:
    share = torch.tensor([0.005, 0.1, 0.4], dtype=torch.float64)
    both = torch.tensor([[0.1, 0.6, torch.nan], [0.2, 0.9, 1.0], [0.5, 0.4, 0.7]]).double()
    each = [correlation_of(column, share) for column in both.unbind(dim=1)]
    assert torch.equal(correlation_of(both, share), torch.stack(each, dim=1))
