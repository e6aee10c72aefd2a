"""Prototypes and criticisms against choices of all kinds, written out anew."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from esegeta.errors import DataError
from esegeta.examples import (
    choose_criticisms,
    choose_prototypes,
    distances,
    find_neighbours,
    median_distance,
    radial_kernel,
)

NUM = 12


def kernel_of(seed: int, num: int = NUM) -> torch.Tensor:
    points = torch.randn((num, 3), generator=torch.Generator().manual_seed(seed))
    between = distances(points)
    return radial_kernel(between, median_distance(between))


def mmd2(kernel: np.ndarray, chosen: tuple[int, ...]) -> float:
    """Return the mean over pairs, term by term."""
    everything = range(len(kernel))
    of_all = np.mean([kernel[i, j] for i in everything for j in everything])
    between = np.mean([kernel[i, s] for i in everything for s in chosen])
    own = np.mean([kernel[s, t] for s in chosen for t in chosen])
    return of_all - 2 * between + own


def least_of_all(kernel: np.ndarray, count: int) -> float:
    choices = itertools.combinations(range(len(kernel)), count)
    return min(mmd2(kernel, chosen) for chosen in choices)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_prototypes_are_the_best_of_all_choices_of_12_points(count: int) -> None:
    for seed in range(2):
        kernel = kernel_of(seed)
        found = choose_prototypes(kernel, count)
        best = least_of_all(kernel.numpy(), count)
        assert found.mmd2 == pytest.approx(best, abs=1e-12)
        assert mmd2(kernel.numpy(), found.chosen) == pytest.approx(found.mmd2, abs=1e-12)


def test_the_greedy_choice_takes_the_best_step() -> None:
    kernel = kernel_of(5)
    greedy: tuple[int, ...] = ()
    for _ in range(3):
        steps = [item for item in range(NUM) if item not in greedy]
        greedy = (*greedy, min(steps, key=lambda item: mmd2(kernel.numpy(), (*greedy, item))))
    assert choose_prototypes(kernel, 3).greedy_mmd2 == pytest.approx(mmd2(kernel.numpy(), greedy))


def test_exchanges_improve_the_greedy_choice_and_the_bound_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("esegeta.examples.prototypes.MOST_TRIED", 0)
    kernel = kernel_of(1)
    found = choose_prototypes(kernel, 3)
    assert found.mmd2 <= found.greedy_mmd2 < found.random_mmd2
    for place, item in itertools.product(range(3), range(NUM)):
        other = (*found.chosen[:place], item, *found.chosen[place + 1 :])
        assert len(set(other)) < 3 or mmd2(kernel.numpy(), other) >= found.mmd2 - 1e-10
    everything = float(kernel.mean())
    best = least_of_all(kernel.numpy(), 3)
    assert 0.8 < found.reaches <= (everything - found.mmd2) / (everything - best) + 1e-12


def test_two_clusters_have_a_prototype_each_and_the_outlier_is_the_criticism() -> None:
    points = torch.tensor([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2], [25.0]])
    kernel = radial_kernel(distances(points), 2.0)
    found = choose_prototypes(kernel, 2)
    assert {item < 3 for item in found.chosen} == {True, False}
    assert sorted(found.shares) == [3 / 7, 4 / 7]
    criticism = choose_criticisms(kernel, found.chosen, 1)
    assert criticism.chosen == (6,)
    # It is one of seven, and no prototype is like it.
    assert criticism.witness[0] == pytest.approx(1 / 7, abs=1e-6)


def test_criticisms_take_the_best_step_of_their_objective() -> None:
    kernel = kernel_of(3)
    prototypes = choose_prototypes(kernel, 2).chosen
    array = kernel.numpy()
    witness = [
        np.mean([array[i, item] for i in range(NUM)])
        - np.mean([array[s, item] for s in prototypes])
        for item in range(NUM)
    ]

    def worth(chosen: tuple[int, ...]) -> float:
        _, log_det = np.linalg.slogdet(array[np.ix_(chosen, chosen)])
        return sum(abs(witness[item]) for item in chosen) + log_det

    expected: tuple[int, ...] = ()
    for _ in range(3):
        steps = [item for item in range(NUM) if item not in (*expected, *prototypes)]
        expected = (*expected, max(steps, key=lambda item: worth((*expected, item))))
    found = choose_criticisms(kernel, prototypes, 3)
    assert found.chosen == expected
    np.testing.assert_allclose(found.witness, [witness[item] for item in expected], atol=1e-12)


def test_the_width_is_the_median_of_all_pairs() -> None:
    between = distances(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]))
    assert median_distance(between) == pytest.approx(math.sqrt(18))  # of 1, 4.24 and 5
    assert float(radial_kernel(between, 5.0)[0, 1]) == pytest.approx(math.exp(-0.5))
    many_equal = distances(torch.tensor([[0.0]] * 5 + [[2.0]]))
    assert median_distance(many_equal) == 2.0
    with pytest.raises(DataError, match="the same embedding"):
        median_distance(distances(torch.ones(4, 2)))


def test_neighbours_are_sorted_by_distance() -> None:
    between = distances(torch.tensor([[0.0], [1.0], [3.0], [7.0]]))
    found = find_neighbours(between, 2)
    first = [(one.is_near, one.rank, one.neighbour, one.distance) for one in found if one.item == 0]
    assert first == [(True, 1, 1, 1.0), (True, 2, 2, 3.0), (False, 1, 3, 7.0), (False, 2, 2, 3.0)]
    assert len(find_neighbours(between, 9)) == 4 * 2 * 3


def test_a_prototype_between_two_clusters_is_exchanged_for_one_of_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first step takes the item in the middle, which stands for neither."""
    monkeypatch.setattr("esegeta.examples.prototypes.MOST_TRIED", 0)
    points = torch.tensor([[-2.0], [-1.9], [-2.1], [0.0], [2.0], [1.9], [2.1]])
    kernel = radial_kernel(distances(points), 2.0)
    found = choose_prototypes(kernel, 2)
    assert found.mmd2 < found.greedy_mmd2
    assert found.mmd2 == pytest.approx(least_of_all(kernel.numpy(), 2), abs=1e-12)
    assert {float(points[item]) > 0 for item in found.chosen} == {True, False}
    assert 3 not in found.chosen
