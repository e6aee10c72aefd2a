"""How well two segmentations agree, and which ones a network cannot have made."""

from __future__ import annotations

import pytest
import torch

from esegeta.errors import DataError
from esegeta.model import Labels
from esegeta.predict.agreement import agreement, require_own_integers

SOFTMAX = Labels({1: "one", 3: "three"}, "softmax", 4)
SIGMOID = Labels({1: "one", 3: "three"}, "sigmoid", 4)


def test_dice_of_each_label() -> None:
    predicted, expected = torch.tensor([[1, 1, 3, 0]]), torch.tensor([[1, 0, 1, 0]])
    one, three = agreement(SOFTMAX, predicted, expected)
    assert (one.label, one.dice, one.num_voxels_expected, one.num_voxels_predicted) == (
        "one",
        0.5,
        2,
        2,
    )
    assert (three.dice, three.num_voxels_expected, three.num_voxels_predicted) == (0.0, 0, 1)
    none, _ = agreement(SOFTMAX, predicted * 0, expected * 0)
    assert none.dice == 1.0


@pytest.mark.parametrize(("labels", "foreign"), [(SOFTMAX, "9"), (SIGMOID, "2, 9")], ids=str)
def test_channels_without_a_name_are_shown_where_the_largest_wins(
    labels: Labels, foreign: str
) -> None:
    require_own_integers(labels, torch.tensor([[0, 1, 3]]), "a")
    with pytest.raises(DataError, match=f"a: the expected segmentation holds {foreign}; the la"):
        require_own_integers(labels, torch.tensor([[0, 1, 2, 3, 9]]), "a")


def test_some_of_many_foreign_integers_are_listed() -> None:
    with pytest.raises(
        DataError, match=r"holds 10, 11, .*, 21 and 3 more; the labels are 0, 1, 2, 3"
    ):
        require_own_integers(SOFTMAX, torch.arange(10, 25)[None], "a")
