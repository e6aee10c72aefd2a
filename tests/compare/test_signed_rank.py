"""The signed-rank test against scipy, against all signs one by one, and by closed form."""

import itertools

import numpy as np
import pytest
from scipy import stats

from esegeta.compare.significance import fewest_pairs, least_corrected_p, signed_rank


def drawn(num: int, seed: int, *, rounded: bool = False) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0.4, 1.0, num)
    return np.round(values * 2) / 2 if rounded else values


def enumerated(differences: np.ndarray) -> float:
    """Two-sided p over every assignment of signs to the ranks of what is not zero."""
    ranks = stats.rankdata(np.abs(differences))[differences != 0]
    observed = abs(float((np.sign(differences[differences != 0]) * ranks).sum()))
    signs = itertools.product((-1, 1), repeat=len(ranks))
    sums = [abs(sum(sign * rank for sign, rank in zip(some, ranks, strict=True))) for some in signs]
    return sum(one >= observed - 1e-9 for one in sums) / len(sums)


@pytest.mark.parametrize("num", [1, 2, 5, 6, 13, 30, 50])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exact_p_is_that_of_scipy(num: int, seed: int) -> None:
    differences = drawn(num, seed)
    expected = stats.wilcoxon(differences, method="exact")
    found = signed_rank(differences)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-10)
    assert min(found.positive, found.negative) == expected.statistic


@pytest.mark.parametrize("num", [3, 6, 8, 11])
@pytest.mark.parametrize("seed", range(6))
def test_ties_and_zeros_are_exact_by_enumeration(num: int, seed: int) -> None:
    differences = drawn(num, seed, rounded=True)
    assert signed_rank(differences).p == pytest.approx(enumerated(differences), rel=1e-12)


@pytest.mark.parametrize("rounded", [False, True])
def test_many_pairs_are_as_scipys_normal_approximation(rounded: bool) -> None:
    differences = drawn(70, 3, rounded=rounded)
    assert rounded == bool((differences == 0).any())
    expected = stats.wilcoxon(differences, zero_method="pratt", method="asymptotic")
    assert signed_rank(differences).p == pytest.approx(expected.pvalue, rel=1e-10)


def test_exact_and_approximate_p_agree() -> None:
    differences = drawn(50, 7, rounded=True) - 0.1
    one, other = signed_rank(differences).p, signed_rank(np.append(differences, 0.0)).p
    assert one == pytest.approx(other, abs=0.01)


@pytest.mark.parametrize("num", [6, 60])
def test_equal_pairs_have_p_one(num: int) -> None:
    found = signed_rank(np.zeros(num))
    assert (found.num_zero, found.p, found.effect) == (num, 1.0, 0.0)


def test_one_sign_has_the_least_p_and_the_full_effect() -> None:
    found = signed_rank(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    assert (found.p, found.effect, found.positive) == (2 / 64, 1.0, 21.0)
    assert least_corrected_p(6, 1) == found.p
    mirrored = signed_rank(-np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    assert (mirrored.p, mirrored.effect) == (2 / 64, -1.0)


def test_zeros_are_ranked_and_count_in_neither_sum() -> None:
    """Ranks 1.5 and 1.5 go to the zeros: of 3, 4, 5 the 4 is negative."""
    found = signed_rank(np.array([0.0, 1.0, -2.0, 3.0, 0.0]))
    assert (found.num_zero, found.positive, found.negative) == (2, 8.0, 4.0)
    assert found.effect == pytest.approx(4 / 12)
    assert found.p == pytest.approx(enumerated(np.array([0.0, 1.0, -2.0, 3.0, 0.0])))


def test_the_effect_of_a_known_example() -> None:
    """Kerby 2014: W of 30 ranks for and 6 against is (30 - 6) / 36."""
    found = signed_rank(np.array([1.0, 2.0, -3.0, 4.0, 5.0, -2.5, 7.0, 8.0]))
    ranks = {1.0: 1, 2.0: 2, -2.5: 3, -3.0: 4, 4.0: 5, 5.0: 6, 7.0: 7, 8.0: 8}
    against = ranks[-2.5] + ranks[-3.0]
    assert found.effect == pytest.approx((36 - 2 * against) / 36)


@pytest.mark.parametrize("num_tests", [1, 3, 28, 780])
def test_the_number_of_pairs_that_a_family_needs(num_tests: int) -> None:
    needed = fewest_pairs(num_tests, 0.05)
    assert least_corrected_p(needed, num_tests) < 0.05 <= least_corrected_p(needed - 1, num_tests)
