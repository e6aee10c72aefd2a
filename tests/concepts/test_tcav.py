"""TCAV: what drives, what does not, and how often chance is taken for a finding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from esegeta.concepts import (
    ByCase,
    Cav,
    Slopes,
    generalise,
    interval_over_cases,
    random_cavs,
    score_concept,
)
from tests.concepts.planted import examples, slopes

UNITS = 8
DRIVER = [4.0] + [0.5] * (UNITS - 1)
IDLE = [0.0] + [1.0] * (UNITS - 1)


def scored_of(seed: int, weights: list[float], shift: dict[int, float], draws: int = 30):
    own = examples(seed, units=UNITS, shift=shift)
    fit = generalise(own, "logistic", draws=draws, permutations=19, seed=seed)
    randoms = random_cavs(own, "logistic", count=30, seed=seed)
    return fit, score_concept(fit.cavs, randoms, slopes(seed, weights), steps=own.steps, seed=seed)


def test_a_unit_that_drives_the_label_has_tcav_one() -> None:
    fit, found = scored_of(0, DRIVER, {0: 4.0}, draws=6)
    assert fit.p <= 0.05
    assert found.share == 1.0
    assert found.size > 0 and found.low > 0
    assert found.p < 1e-4 and found.p_rank == pytest.approx(1 / 31)
    assert found.alignment > 0.9
    # The slope of 4 times the 4 that the unit differs by, to sampling noise.
    assert found.size == pytest.approx(16, rel=0.2)


def test_a_unit_that_lowers_the_label_has_tcav_zero() -> None:
    _, found = scored_of(0, [-one for one in DRIVER], {0: 4.0}, draws=6)
    assert found.share == 0.0 and found.high < 0
    assert found.p < 1e-4


def test_a_unit_that_drives_nothing_is_not_significant() -> None:
    """It is told apart as well as the other, and its size is as random concepts'."""
    fit, found = scored_of(3, IDLE, {0: 20.0}, draws=6)
    assert fit.p <= 0.05 and fit.accuracy == 1
    assert found.p > 0.05
    assert abs(found.size) < 3 * found.null_spread


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shift", "region", "runs"),
    [({}, 0.0, 60), ({0: 3.0}, 0.0, 200), ({0: 20.0}, 0.0, 200), ({0: 8.0}, 1.5, 200)],
    ids=["no concept", "idle", "idle and far apart", "idle, a region in each case"],
)
def test_the_significance_level_is_kept_under_the_null(
    shift: dict[int, float], region: float, runs: int
) -> None:
    """Simulated runs: significant at most as often as the level says, to its own chance.

    With no concept at all the gate refuses nearly all before anything is tested: a few runs tell.
    """
    level, found = 0.05, 0
    for seed in range(runs):
        own = examples(
            1000 + seed, units=4, shift=shift, cases=4, pieces=3, counters=5, region=region
        )
        fit = generalise(own, "svm", draws=3, permutations=19, seed=seed)
        if fit.p > level:
            continue
        randoms = random_cavs(own, "svm", count=30, seed=seed)
        weights = [0.0, 1.0, -0.5, 0.7]
        known = slopes(seed, weights, cases=4)
        scored = score_concept(fit.cavs, randoms, known, steps=own.steps, seed=seed)
        found += scored.p_larger <= level
    # At the level itself more than 16 of 200 happen once in forty times.
    assert found <= stats.binom.ppf(0.975, runs, level)


def test_derivatives_are_sums_over_units() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=(5, 3))
    own = Slopes(values, np.array([0, 0, 2, 2, 2]))
    cavs = [Cav(np.zeros(3), 0.0, step) for step in generator.normal(size=(2, 3))]
    expected = np.zeros((2, 5))
    for r, cav in enumerate(cavs):
        for u in range(5):
            for k in range(3):
                expected[r, u] += cav.step[k] * values[u, k]
    found = own.steps(cavs)
    np.testing.assert_allclose(found, expected)
    by_case = [expected[:, :2].mean(1), expected[:, 2:].mean(1)]
    np.testing.assert_allclose(own.by_case(found), np.stack(by_case, axis=1))


def test_the_figures_of_a_concept_by_hand() -> None:
    generator = np.random.default_rng(2)
    own = Slopes(generator.normal(size=(4, 2)), np.arange(4))
    cavs = [Cav(vector, 0.0, 2 * vector) for vector in generator.normal(size=(3, 2))]
    randoms = [Cav(vector, 0.0, 2 * vector) for vector in generator.normal(size=(9, 2))]
    steps = ByCase(generator.normal(size=(4, 2)), np.array([3, 3, 3, 3]))
    found = score_concept(cavs, randoms, own, steps=steps, seed=0)
    derivatives = np.array([[cav.vector @ row for row in own.values] for cav in cavs])
    null = [2 * np.mean([cav.vector @ row for row in own.values]) for cav in randoms]
    assert found.share == (derivatives > 0).mean()
    assert found.size == pytest.approx(2 * derivatives.mean())
    spread = np.std(null, ddof=1)
    t = (found.size - np.mean(null)) / (spread * math.sqrt(1 + 1 / 9))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 8))
    beyond = sum(abs(one - np.mean(null)) >= abs(found.size - np.mean(null)) for one in null)
    assert found.p_rank == pytest.approx((1 + beyond) / 10)
    # More draws of the same vectors make nothing more significant.
    again = score_concept(cavs * 50, randoms, own, steps=steps, seed=0)
    assert again.p == pytest.approx(found.p)
    # With as many pieces in each case, a t test of the mean over cases with their own spread.
    each = steps.means @ own.values.mean(axis=0)
    error = each.std(ddof=1) / math.sqrt(4)
    assert found.p_cases == pytest.approx(2 * stats.t.sf(abs(found.size) / error, 3))
    assert found.p_larger == max(found.p, found.p_cases)


def test_a_case_counts_once_however_many_pieces_it_has() -> None:
    """With as many pieces in each it is the t test of the means of cases; copies change nothing."""
    generator = np.random.default_rng(4)
    values, cases = generator.normal(0.5, 1, size=12), np.repeat([7, 2, 5], 4)
    own = ByCase.of(values, cases)
    means = values.reshape(3, 4).mean(axis=1)[[1, 2, 0]]
    np.testing.assert_allclose(own.means, means)
    expected = stats.ttest_1samp(means, 0, alternative="greater").pvalue
    assert own.p_above(values.mean()) == pytest.approx(expected)
    copied = ByCase.of(np.repeat(values, 9), np.repeat(cases, 9))
    assert copied.p_above(values.mean()) == pytest.approx(expected)
    # Of cases of other sizes: the sum over cases of squared sums of residuals.
    uneven = ByCase.of(values[:9], cases[:9])
    apart = values[:9] - values[:9].mean()
    sums = np.array([apart[cases[:9] == case].sum() for case in (2, 5, 7)])
    error = math.sqrt(3 / 2 * (sums**2).sum()) / 9
    t = values[:9].mean() / error
    assert uneven.p_above(values[:9].mean()) == pytest.approx(stats.t.sf(t, 2))
    still = ByCase.of(np.ones(6), np.arange(6) // 2)
    assert (still.p_above(1.0), still.p_above(0.0)) == (0.0, 1.0)


def test_differences_of_regions_between_cases_are_not_significant() -> None:
    """Pieces of a case are alike: against pieces drawn one by one the size stands out, in vain."""
    own = examples(11, units=4, shift={0: 8.0}, region=3.0, pieces=8)
    fit = generalise(own, "logistic", draws=4, permutations=19, seed=0)
    randoms = random_cavs(own, "logistic", count=30, seed=0)
    weights = slopes(0, [0.0, 1.0, -0.5, 0.7])
    found = score_concept(fit.cavs, randoms, weights, steps=own.steps, seed=0)
    assert fit.p <= 0.05 and found.p < 0.01
    assert found.p_cases > 0.05 and found.p_larger == found.p_cases


def test_a_target_without_slope_has_size_zero_and_p_one() -> None:
    cavs = [Cav(np.array([1.0, 0.0]), 0.0, np.array([1.0, 0.0]))] * 3
    steps = ByCase(np.ones((3, 2)), np.array([1, 2, 3]))
    nothing = Slopes(np.zeros((4, 2)), np.arange(4))
    found = score_concept(cavs, cavs, nothing, steps=steps, seed=0)
    assert (found.p_larger, found.size, found.alignment) == (1.0, 0.0, 0.0)
    assert found.p_cases == 1.0


def test_intervals_over_cases_cover_the_mean() -> None:
    values = np.random.default_rng(3).normal(5, 1, size=40)
    low, high = interval_over_cases(values, seed=0)
    reach = 1.96 * values.std() / math.sqrt(40)
    assert low == pytest.approx(values.mean() - reach, abs=0.05)
    assert high == pytest.approx(values.mean() + reach, abs=0.05)
