"""Folds of cases: whoever holds a concept takes turns with the others that do."""

from __future__ import annotations

import pytest
import torch

from esegeta.dissection.all_counts import FoldDealer


@pytest.mark.parametrize("holders", ["ac", "bd", "ad", "abc", "abcd"])
def test_folds_alternate_over_holders_and_over_other_cases(holders: str) -> None:
    """Every other case of all of them would put a and c into one fold."""
    turns = FoldDealer()
    folds = {name: int(turns.next(torch.tensor([name in holders]))[0]) for name in "abcd"}
    others = [name for name in "abcd" if name not in holders]
    for group in (holders, others):
        assert [folds[name] for name in group] == [place % 2 for place in range(len(group))]
    assert turns.holders.tolist() == [len(holders)]


def test_each_concept_has_folds_of_its_own() -> None:
    turns = FoldDealer()
    rows = [[True, True], [False, True], [True, True]]
    folds = torch.stack([turns.next(torch.tensor(row)) for row in rows])
    assert folds.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert turns.holders.tolist() == [2, 3]
