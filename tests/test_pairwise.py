from __future__ import annotations

from itertools import combinations, product

from tests.pairwise import pairwise, rows_of


def test_few_rows_cover_every_pair() -> None:
    dimensions = [list("abcd"), list("efg"), list("hi"), list("jk")]
    rows = rows_of(*dimensions)
    for a, b in combinations(range(4), 2):
        assert {(row[a], row[b]) for row in rows} == set(product(dimensions[a], dimensions[b]))
    assert 12 <= len(rows) <= 14 < 4 * 3 * 2 * 2


def test_two_dimensions_are_all_their_combinations() -> None:
    assert rows_of([1, 2], [3, 4, 5]) == list(product([1, 2], [3, 4, 5]))


@pairwise(one=[1, 2], other=["a"])
def test_values_are_passed_by_name(one: int, other: str) -> None:
    assert one in (1, 2)
    assert other == "a"
