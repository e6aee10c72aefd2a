"""Concept activation vectors: direction, separation, held-out accuracy and its permutation test."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from esegeta.concepts import (
    Examples,
    fit_cav,
    folds_of,
    generalise,
    held_out_accuracy,
    mean_cosine,
    random_cavs,
)
from tests.concepts.planted import examples


@pytest.mark.parametrize("classifier", ["logistic", "svm"])
def test_the_vector_is_the_unit_that_separates(classifier: str) -> None:
    """Mirrored pairs differ in unit 2 alone, so that all other weights cancel exactly."""
    generator = np.random.default_rng(0)
    half = generator.normal(size=(20, 4))
    half[:, 2] = 0
    both = np.concatenate([half, -half])
    step = np.array([0, 0, 3.0, 0])
    jitter = np.outer(np.resize([0.1, -0.1], 40), step / 3)
    cav = fit_cav(both + step + jitter, both - step + jitter, classifier)  # type: ignore[arg-type]
    np.testing.assert_allclose(cav.vector, [0, 0, 1, 0], atol=1e-4)
    assert cav.separation == pytest.approx(6, abs=1e-4)
    np.testing.assert_allclose(cav.step, 2 * step, atol=1e-12)
    assert cav.offset == pytest.approx(0, abs=1e-2)


def test_the_vector_scales_with_the_units_of_activations() -> None:
    """A unit measured in other units has its weight in them: the plane stays where it is."""
    one = examples(1, units=3, shift={0: 2.0})
    scale = np.array([100.0, 1.0, 0.01])
    first = fit_cav(one.positives, one.counters[:, 0], "logistic")
    other = fit_cav(one.positives * scale, one.counters[:, 0] * scale, "logistic")
    normal = first.vector / scale
    np.testing.assert_allclose(other.vector, normal / np.linalg.norm(normal), rtol=1e-6)
    signs = one.positives @ first.vector > first.offset
    assert np.array_equal(signs, (one.positives * scale) @ other.vector > other.offset)


def test_only_units_that_separate_have_weight() -> None:
    one = examples(2, units=3, shift={0: 1.0})
    positives, others = one.positives.copy(), one.counters[:, 0].copy()
    positives[:, 1] = others[:, 1] = 7.0
    positives[:, 2], others[:, 2] = 4.0, 3.0
    cav = fit_cav(positives, others, "logistic")
    assert cav.vector[1] == 0
    assert cav.vector[2] > cav.vector[0] > 0
    silent = fit_cav(np.ones((4, 2)), np.ones((4, 2)), "logistic")
    assert (silent.vector == 0).all() and silent.separation == 0


def test_accuracy_is_measured_on_held_out_cases() -> None:
    """An independent rewrite with scikit-learn's own folds."""
    from sklearn.metrics import balanced_accuracy_score

    one = examples(3, units=4, shift={1: 1.0}, cases=7, pieces=3)
    others = one.counters[:, 3]
    called = np.zeros((2, len(one)))
    for group in np.array_split(np.arange(7), 4):
        test = np.isin(one.cases, group)
        cav = fit_cav(one.positives[~test], others[~test], "svm")
        called[:, test] = [side[test] @ cav.vector > cav.offset for side in (one.positives, others)]
    truth = np.repeat([1, 0], len(one))
    expected = balanced_accuracy_score(truth, called.ravel())
    assert held_out_accuracy(one.positives, others, one.cases, "svm") == pytest.approx(expected)
    assert sum(fold.astype(int) for fold in folds_of(one.cases)).tolist() == [1] * len(one)


def test_marks_of_single_cases_do_not_generalise() -> None:
    """Each case has a mark of its own: perfect within cases, worthless in others."""
    one = examples(4, units=6, cases=6)
    positives = one.positives + 8 * np.eye(6)[one.cases] * np.where(one.cases % 2, 1, -1)[:, None]
    marked = Examples(positives, one.counters, one.cases)
    found = generalise(marked, "logistic", draws=3, permutations=19, seed=0)
    assert found.accuracy < 0.75
    within = fit_cav(positives, one.counters[:, 0], "logistic")
    assert (positives @ within.vector > within.offset).mean() > 0.8


def test_a_concept_generalises_and_chance_does_not() -> None:
    real = generalise(examples(5, shift={0: 3.0}), "logistic", draws=4, permutations=19, seed=1)
    assert real.accuracy > 0.85 and real.p == pytest.approx(1 / 20)
    assert real.cosine > 0.9
    assert real.mean.vector[0] > 0.9
    chance = generalise(examples(6), "logistic", draws=4, permutations=19, seed=1)
    assert chance.p > 0.1
    assert chance.cosine < real.cosine


def test_mean_cosine_is_that_of_all_pairs() -> None:
    vectors = [v / np.linalg.norm(v) for v in np.random.default_rng(0).normal(size=(5, 3))]
    pairs = [one @ two for one, two in itertools.combinations(vectors, 2)]
    assert mean_cosine(vectors) == pytest.approx(np.mean(pairs))
    assert np.isnan(mean_cosine(vectors[:1]))


def test_random_concepts_compare_counter_pieces_with_each_other() -> None:
    """What the concept's own pieces are plays no part, and no piece stands against itself."""
    one = examples(7)
    other = Examples(one.positives + 100, one.counters, one.cases)
    for left, right in zip(
        random_cavs(one, "svm", count=3, seed=2),
        random_cavs(other, "svm", count=3, seed=2),
        strict=True,
    ):
        np.testing.assert_array_equal(left.vector, right.vector)
    numbers = np.arange(30 * 8.0).reshape(30, 8, 1)
    numbered = Examples(one.positives, numbers.repeat(8, axis=2), one.cases)
    first, second = numbered.draw_random_concept(np.random.default_rng(0))
    assert (first != second).all()
    assert (first // 8 == second // 8).all()
