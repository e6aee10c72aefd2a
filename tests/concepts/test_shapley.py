"""Shapley values: by hand, by all orders, and their sum; what a head recovers from concepts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from esegeta.concepts import Positions, completeness, held_out_dice, shapley_values


def game(seed: int, count: int):
    """Return a game with a random worth for each set of players."""
    worths: dict[tuple[int, ...], float] = {}
    generator = np.random.default_rng(seed)

    def worth(chosen) -> float:
        return worths.setdefault(tuple(chosen), float(generator.normal()))

    return worth


def by_all_orders(worth, count: int) -> np.ndarray:
    total = np.zeros(count)
    orders = list(itertools.permutations(range(count)))
    for order in orders:
        for place, player in enumerate(order):
            before = tuple(sorted(order[:place]))
            total[player] += worth(tuple(sorted((*before, player)))) - worth(before)
    return total / len(orders)


def test_exact_values_are_the_mean_over_all_orders() -> None:
    worth = game(0, 4)
    found = shapley_values(worth, 4, samples=0, seed=0)
    np.testing.assert_allclose(found, by_all_orders(worth, 4))
    assert found.sum() == pytest.approx(worth((0, 1, 2, 3)) - worth(()))


def test_shapley_values_of_the_glove_game() -> None:
    """Player 0 holds a left glove, 1 and 2 a right one each: 2/3, 1/6, 1/6."""

    def worth(chosen) -> float:
        return float(0 in chosen and (1 in chosen or 2 in chosen))

    np.testing.assert_allclose(shapley_values(worth, 3, samples=0, seed=0), [2 / 3, 1 / 6, 1 / 6])


def test_sampled_values_have_an_exact_sum_and_are_exact_for_additive_games() -> None:
    parts = np.arange(13.0)
    found = shapley_values(lambda chosen: parts[list(chosen)].sum(), 13, samples=3, seed=1)
    np.testing.assert_allclose(found, parts)
    worth = game(2, 13)
    sampled = shapley_values(worth, 13, samples=3, seed=1)
    assert sampled.sum() == pytest.approx(worth(tuple(range(13))) - worth(()))


def planted(seed: int = 0, units: int = 6) -> Positions:
    """The label is where unit 0 and unit 1 add up to more than 1; all else is noise."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(240, units))
    return Positions(
        values,
        values[:, 0] + values[:, 1] > 1,
        generator.uniform(1, 3, size=240),
        np.arange(240) // 80,
    )


def test_only_concepts_that_determine_the_label_are_complete() -> None:
    own, axes = planted(), np.eye(6)
    whole = completeness(own, axes[[0, 1]], randoms=4, samples=0, seed=0)
    assert whole.dice > 0.95 and whole.share == pytest.approx(1, abs=0.05)
    assert whole.p == pytest.approx(0.2)
    assert whole.shapley.sum() == pytest.approx(whole.dice - whole.dice_of_nothing)
    assert whole.shapley[0] == pytest.approx(whole.shapley[1], abs=0.1)
    useless = completeness(own, axes[[4, 5]], randoms=4, samples=0, seed=0)
    assert useless.share < 0.2 and useless.p > 0.2
    mixed = completeness(own, axes[[0, 5]], randoms=3, samples=0, seed=0)
    assert mixed.shapley[0] > 5 * abs(mixed.shapley[1])


def test_a_head_without_concepts_predicts_the_label_everywhere() -> None:
    own = planted()
    inside, total = own.weights[own.is_label].sum(), own.weights.sum()
    assert held_out_dice(own, np.zeros((0, 6))) == pytest.approx(2 * inside / (inside + total))


def test_dice_is_weighted_by_the_voxels_of_positions() -> None:
    """A position of weight 3 is as three of weight 1."""
    own = planted()
    counts = np.arange(240) % 3 + 1
    weighted = Positions(own.activations, own.is_label, counts.astype(float), own.cases)
    rows = np.repeat(np.arange(240), counts)
    repeated = Positions(
        own.activations[rows], own.is_label[rows], np.ones(len(rows)), own.cases[rows]
    )
    one = held_out_dice(weighted, np.eye(6)[[0, 3]])
    assert one == pytest.approx(held_out_dice(repeated, np.eye(6)[[0, 3]]), abs=0.05)


@pytest.mark.parametrize(("of_the_other", "dice"), [(True, 1.0), (False, 0.0)])
def test_a_head_trained_on_one_class_predicts_it_everywhere(
    of_the_other: bool, dice: float
) -> None:
    """One case is all label, the other all of it or none: each is called what the other is."""
    values, cases = np.random.default_rng(0).normal(size=(8, 2)), np.arange(8) // 4
    own = Positions(values, (cases == 0) | of_the_other, np.ones(8), cases)
    assert held_out_dice(own, np.eye(2)) == dice
