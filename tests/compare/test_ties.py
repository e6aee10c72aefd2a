"""What rounding makes of equal maps is a tie, in ranks and in tests."""

import numpy as np
import pytest

from esegeta.compare.merge import ScoreColumn
from esegeta.compare.score_table import are_tied, rank_competitors
from esegeta.compare.significance import compare_pairs
from tests.compare.tables import table_of


def test_differences_of_rounding_count_as_ties() -> None:
    """Gini of a map and of the same map times 100 differ by 3.7e-10; p was .039."""
    gini = np.random.default_rng(0).uniform(0.4, 0.9, 12)
    table = table_of(np.stack([gini, gini + 3.7e-10, gini - 0.1], axis=1), "higher", name="gini")
    assert rank_competitors(table).ranks.tolist() == [[1.5, 1.5, 3.0]] * 12
    same, *others = compare_pairs(table)
    assert same.outcome is not None
    assert (same.outcome.p, same.outcome.effect, same.median_gain) == (1.0, 0.0, 0.0)
    assert all(pair.outcome is not None and pair.outcome.p < 0.001 for pair in others)


def test_ties_are_transitive_and_other_values_stay_distinct() -> None:
    values = np.array([[1.0, 1.0 + 8e-7, 1.0 + 1.6e-6, 1.0 + 4e-6, -3.0]])
    assert rank_competitors(table_of(values)).ranks.tolist() == [[3.0, 3.0, 3.0, 5.0, 1.0]]


@pytest.mark.parametrize(("span", "tied"), [(1.0, True), (0.0, False)])
def test_rounding_near_zero_is_relative_to_the_range_of_the_score(span: float, tied: bool) -> None:
    """1 - cos^2 of two perfect maps is 0 and 2e-16; an unbounded score may be as small as that."""
    kind = ScoreColumn("s", "lower", "faithfulness", span=span)
    assert bool(are_tied(np.array(0.0), np.array(2e-16), kind)) is tied
