"""A command in parts: which places are whose."""

from pathlib import Path

import pytest

from esegeta.errors import ConfigError
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.parts import Lot, Part, keep_shares, kept_shares, lots_of, share_out


def test_parts_are_disjoint_whole_and_balanced() -> None:
    lots = [Lot(f"case {number}", cost=float(1 + number**2 % 17)) for number in range(50)]
    shares = share_out(lots, 4)
    assert shares.keys() == set(lots)
    loads = [sum(lot.cost for lot, part in shares.items() if part == k) for k in (1, 2, 3, 4)]
    assert max(loads) <= 4 / 3 * sum(loads) / 4
    assert share_out(lots[::-1], 4) == shares


def test_the_most_expensive_places_are_assigned_first() -> None:
    # By hand: 5, 4, 3, 3, 3 over two: 5 | 4, then 3 to the 4, 3 to the 5, and the last to the 7.
    costs = {"a": 3.0, "b": 5.0, "c": 3.0, "d": 4.0, "e": 3.0}
    lots = lots_of(costs, {}, 2)
    shares = {lot.place: part for lot, part in share_out(lots, 2).items()}
    assert shares == {"b": 1, "d": 2, "a": 2, "c": 1, "e": 2}
    assert [lot.place for lot in lots] == ["b", "d", "a", "c", "e"]


THREE = {name: [f"{name} / {k}" for k in "xyz"] for name in "abcd"}


@pytest.mark.parametrize(
    ("costs", "count", "expected"),
    [
        # As many cases as workers, or more of about a size: whole.
        ({"a": 4.0, "b": 4.0}, 2, ["a", "b"]),
        ({"a": 4.0, "b": 3.0, "c": 4.0}, 2, ["a", "c", "b"]),
        # One case over two and over many: 4 (2 + 1) / 4 and 4 (1 + 1) / 4, or 4 (1 + 1) / 4 each.
        ({"a": 4.0}, 2, ["a / y, a / z", "a / x"]),
        ({"a": 4.0}, 9, ["a / x", "a / y", "a / z"]),
        # A share is 12 / 3: b costs more, and goes into three; c and d fit beside.
        ({"b": 10.0, "c": 1.0, "d": 1.0}, 3, ["b / x", "b / y", "b / z", "c", "d"]),
        # By hand: three cases in halves of 3 and 2 are done after 5, whole ones after 4.
        ({"a": 4.0, "b": 4.0, "c": 4.0}, 4, ["a", "b", "c"]),
        ({"a": 0.0}, 2, ["a"]),
        ({}, 2, []),
    ],
    ids=str,
)
def test_a_place_larger_than_a_part_is_split(
    costs: dict[str, float], count: int, expected: list[str]
) -> None:
    lots = lots_of(costs, THREE, count)
    assert [str(lot) for lot in lots] == expected
    handed_out = sorted(name for lot in lots for name in lot.names)
    whole = {lot.place for lot in lots if not lot.pieces}
    assert handed_out == sorted(
        [*whole, *(piece for name in costs if name not in whole for piece in THREE[name])]
    )


def test_a_place_without_pieces_stays_whole() -> None:
    assert lots_of({"a": 4.0}, {}, 8) == lots_of({"a": 4.0}, {"a": ["a / x"]}, 8) == [Lot("a")]
    assert {lot.cost for lot in lots_of({"a": 4.0}, THREE, 3)} == {2.0}


def test_a_recorded_division_stays(tmp_path: Path) -> None:
    folder = SharedFolder(tmp_path, "run")
    lots = [Lot("a", ("a / x", "a / y"), 1.0), Lot("b", cost=2.0)]
    first = keep_shares(folder, ["a", "b"], lots, 2)
    assert kept_shares(folder, ["b", "a"], 2) == first == {lots[0]: 2, lots[1]: 1}
    # A header that was not read costs another time something else.
    assert keep_shares(folder, ["a", "b"], [Lot("a", cost=9.0), lots[1]], 2) == first
    assert kept_shares(folder, ["a", "c"], 2) is None
    assert kept_shares(folder, ["a", "b"], 3) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0/4", "no part 0"),
        ("5/4", "no part 5"),
        ("1/0", r"at least 1 \(found 0\)"),
        (f"1/{10**26}", "at most 10000"),
        ("x", '"x" is not valid'),
    ],
)
def test_an_invalid_part_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Part.parse(text)
