"""Cases side by side, and the plane in which a layer varies most."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from esegeta.similarity import Moments, PrincipalPlane, UnitLayout, cka_of_cases
from tests.similarity.test_alignment import cka_of, noise

LAYOUT = UnitLayout((6, 5))


def test_the_plane_is_that_of_sklearn() -> None:
    data = noise(80, 11) @ noise(11, 11, seed=1) + 3
    own = LAYOUT.columns[1]
    model = PCA(2).fit(data[:, own].numpy())
    plane = PrincipalPlane.of(Moments.of(data, LAYOUT), 1)
    found = plane.coordinates(data[:, own]).numpy()
    expected = model.transform(data[:, own].numpy())
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-9)
    np.testing.assert_allclose(plane.shares.numpy(), model.explained_variance_ratio_, atol=1e-9)


def test_a_layer_of_one_unit_has_a_flat_plane() -> None:
    data = noise(20, 1)
    plane = PrincipalPlane.of(Moments.of(data, UnitLayout((1,))), 0)
    found = plane.coordinates(data)
    assert found[:, 1].abs().max() == 0 and plane.shares.tolist() == pytest.approx([1])


def test_cases_are_compared_by_their_common_units() -> None:
    """CKA with units for positions: of the transposed tables, however many positions each has."""
    first, second = noise(40, 11), noise(25, 11, seed=1)
    first, second = first @ noise(11, 11, seed=2), second @ noise(11, 11, seed=2)
    found = cka_of_cases([Moments.of(first, LAYOUT), Moments.of(second, LAYOUT)], 0)
    one, two = ((part[:, :6] - part[:, :6].mean(dim=0)).T for part in (first, second))
    assert found[0, 1] == pytest.approx(float(cka_of(one, two)[0, 1]), rel=1e-9)
    assert found[0, 0] == pytest.approx(1)


def test_cases_of_few_units_have_no_value() -> None:
    parts = [Moments.of(noise(40, 3, seed), UnitLayout((3,))) for seed in (0, 1)]
    assert cka_of_cases(parts, 0).isnan().all()
