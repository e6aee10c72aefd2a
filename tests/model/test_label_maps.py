"""Which ground truths are of these labels, and which are another file's."""

import pytest
import torch

from esegeta.errors import DataError
from esegeta.model import Labels, foreign_integers, foreign_note, present_integers

REGIONS = {"whole": [1, 2, 4], "core": [1, 4]}


def map_of(*integers: int) -> torch.Tensor:
    return torch.tensor(integers * 3).reshape(3, -1)


def labels(given: dict, ignore_label: int | None = None) -> Labels:
    return Labels.of(given, "sigmoid", len(given), ignore_label=ignore_label)


def test_a_mask_of_0_and_255_is_refused_for_label_1() -> None:
    with pytest.raises(
        DataError, match=r"case a: the label map holds 0, 255, but none of the labels \(a 1\)"
    ):
        foreign_integers(map_of(0, 255), labels({1: "a"}), "case a")
    with pytest.raises(DataError, match=r"holds 0, 3, 7, but none .* \(whole 1 2 4, core 1 4\)"):
        foreign_integers(map_of(0, 3, 7), labels(REGIONS), "case a")


@pytest.mark.parametrize(
    ("present", "ignored", "foreign"),
    [
        ((0,), None, []),
        ((0, 1), None, []),
        ((0, 2), None, []),
        ((0, 4, 3), None, [3]),
        ((0, 1, 255), 255, []),
        ((0, 255), 255, []),
        ((5, 1, -1), None, [-1, 5]),
    ],
)
def test_integers_without_a_label_are_found_beside_labels(
    present: tuple, ignored: int | None, foreign: list
) -> None:
    given = labels(REGIONS, ignored)
    assert foreign_integers(map_of(*present), given, "a") == foreign


def test_integers_are_found_however_large_they_are() -> None:
    for large in (312782546, 2**53 + 1, -7):
        assert present_integers(map_of(0, large, large + 4)) == sorted((0, large, large + 4))
    assert present_integers(torch.zeros(0, 2, dtype=torch.long)) == []


def test_a_note_lists_some_of_many() -> None:
    assert foreign_note([3], "a: x.nii.gz") == (
        "a: x.nii.gz: 3 in the label map belongs to no label, and counts as background"
    )
    assert "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 3 more in" in foreign_note(range(1, 16), "a")
