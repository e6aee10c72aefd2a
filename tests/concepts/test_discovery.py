"""Discovered concepts: planted factors and groups come back; supervoxels keep to the body."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esegeta.concepts import discover, matched_cosine, nmf_factors, supervoxels


def factors(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return sparse weights and three shapes that share no unit but one."""
    generator = np.random.default_rng(seed)
    shapes = np.array([[2.0, 1, 0, 0, 0, 0.3], [0, 0, 1, 2, 0, 0.3], [0, 0, 0, 0, 3, 0.3]])
    weights = generator.exponential(size=(60, 3)) * (generator.random((60, 3)) < 0.6)
    weights[np.arange(60), np.arange(60) % 3] += 3
    return weights, shapes


def test_nmf_recovers_planted_factors() -> None:
    weights, shapes = factors()
    parts, found, error = nmf_factors(weights @ shapes, 3, 0)
    lengths = np.linalg.norm(shapes, axis=1, keepdims=True)
    assert matched_cosine(found, shapes / lengths) > 0.99
    np.testing.assert_allclose(parts @ found, weights @ shapes, atol=0.05)
    assert error < 0.2


def test_groups_are_the_planted_ones_the_largest_first() -> None:
    weights, shapes = factors()
    values = weights @ shapes
    found = discover(values, "nmf", count=3, seed=0)
    assert found.stability > 0.98
    own = [set(np.flatnonzero(found.group == number) % 3) for number in range(3)]
    share = np.mean([np.bincount(np.flatnonzero(found.group == n) % 3).max() for n in range(3)])
    assert share / 20 > 0.8 and len(own) == 3
    sizes = np.bincount(found.group)
    assert (np.diff(sizes) <= 0).all()
    assert found.group[found.members(0)].tolist() == [0] * sizes[0]
    assert (np.diff(found.strength[found.members(0)]) <= 0).all()


def test_parts_of_noise_are_not_stable() -> None:
    """Nothing is there to be found: other seeds find other parts."""
    values = np.random.default_rng(0).random(size=(40, 12))
    assert discover(values, "nmf", count=5, seed=0).stability < 0.7


def test_signs_are_told_apart() -> None:
    """Activations of one unit that are as far below zero as above are two concepts, not one."""
    values = np.zeros((40, 3))
    values[:20, 0], values[20:, 0] = 2.0, -2.0
    values += np.random.default_rng(0).normal(size=values.shape) * 0.01
    found = discover(values, "nmf", count=2, seed=0)
    assert len(set(found.group[:20])) == 1 and len(set(found.group[20:])) == 1
    assert found.group[0] != found.group[20]
    signs = found.centres[[found.group[0], found.group[20]], 0]
    assert signs[0] > 0.9 and signs[1] < -0.9


@pytest.mark.parametrize(("apart", "stable"), [(8.0, True), (0.0, False)])
def test_kmeans_tells_how_stable_groups_are(apart: float, stable: bool) -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=(60, 4))
    values[:, 0] += apart * (np.arange(60) % 3)
    found = discover(values, "kmeans", count=3, seed=0)
    assert (found.stability > 0.99) == stable
    if stable:
        for number in range(3):
            assert len(set(found.members(number) % 3)) == 1
            own = values[found.group == number]
            np.testing.assert_allclose(found.centres[number], own.mean(axis=0))


def test_there_are_no_more_groups_than_there_is_to_tell_apart() -> None:
    found = discover(np.repeat(np.eye(2), 5, axis=0), "kmeans", count=6, seed=0)
    assert len(found.centres) == 2


def test_supervoxels_follow_grey_values_within_the_body(ndim: int) -> None:
    shape = (16, 12, 10)[:ndim]
    image = torch.zeros(1, *shape)
    image[:, 8:] = 1.0
    body = torch.ones(shape, dtype=torch.bool)
    body[:, :2] = False
    maps = supervoxels(image, body, (1.0, 2.0, 1.0)[:ndim], counts=[2, 12])
    for numbers in maps:
        assert (numbers[~body] == 0).all() and (numbers[body] > 0).all()
        known = numbers.unique()
        assert torch.equal(known, torch.arange(len(known)))
        for one in known[1:]:
            assert image[0][numbers == one].unique().numel() == 1
    assert maps[1].max() > maps[0].max()
