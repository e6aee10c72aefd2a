"""Objectives are the numbers that they say, and combine."""

from __future__ import annotations

import pytest
import torch

from esegeta.errors import LayerError
from esegeta.features import (
    DirectionObjective,
    DiversityObjective,
    LabelObjective,
    LayerObjective,
    UnitObjective,
)
from esegeta.model import Labels
from esegeta.predict import OUTPUT

SEEN = {"a": torch.randn(2, 3, 4, 5), OUTPUT: torch.randn(2, 3, 4, 5)}


def test_a_unit_objective_is_its_mean_or_one_position() -> None:
    assert torch.allclose(UnitObjective("a", 1)(SEEN), SEEN["a"][:, 1].mean((1, 2)))
    assert torch.equal(UnitObjective("a", 1, "centre")(SEEN), SEEN["a"][:, 1, 2, 2])
    assert torch.equal(UnitObjective("a", 1, (3, 0))(SEEN), SEEN["a"][:, 1, 3, 0])


def test_a_layer_objective_is_its_mean_square() -> None:
    assert torch.allclose(LayerObjective("a")(SEEN), (SEEN["a"] ** 2).mean((1, 2, 3)))


def test_a_direction_objective_is_a_projection() -> None:
    v = torch.tensor([3.0, 0.0, 4.0])
    expected = (0.6 * SEEN["a"][:, 0] + 0.8 * SEEN["a"][:, 2]).mean((1, 2))
    assert torch.allclose(DirectionObjective("a", v)(SEEN), expected)


def test_a_label_objective_is_its_logit() -> None:
    labels = Labels.of({1: "one", 2: "two"}, "softmax", 3)
    found = LabelObjective(labels, "two")(SEEN)
    assert torch.allclose(found, SEEN[OUTPUT][:, 2].mean((1, 2)))


def test_sums_keep_their_coefficients() -> None:
    one, other = UnitObjective("a", 0), LayerObjective("a")
    both = 2 * one - other * 0.5
    assert torch.allclose(both(SEEN), 2 * one(SEEN) - 0.5 * other(SEEN))
    unit, layer = "unit 0 of a (mean)", "mean square of a"
    assert both.describe() == f"(2 * {unit}) - (0.5 * {layer})"
    assert (-one + other).describe() == f"(-{unit}) + {layer}"
    assert (-one + one)(SEEN).abs().max() == 0
    labels = Labels.of({1: "one", 2: "two"}, "softmax", 3)
    assert (one + LabelObjective(labels, "one")).layers == {"a", OUTPUT}


def test_diversity_is_the_cosine_of_grams() -> None:
    grams = [torch.einsum("uxy,vxy->uv", one, one) for one in SEEN["a"]]
    cosine = torch.cosine_similarity(grams[0].flatten(), grams[1].flatten(), dim=0)
    assert torch.allclose(DiversityObjective("a")(SEEN), -cosine.expand(2))
    assert DiversityObjective("a")({"a": SEEN["a"][:1]}).tolist() == [0.0]


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (UnitObjective("a", 3), "no unit 3"),
        (UnitObjective("a", 0, (4, 0)), r"no position \[4, 0\]"),
        (UnitObjective("a", 0, (0, 0, 0)), "no position"),
        (DirectionObjective("a", torch.ones(2)), "3 units, but the direction has 2"),
    ],
)
def test_a_missing_layer_or_unit_is_named(objective: UnitObjective, words: str) -> None:
    with pytest.raises(LayerError, match=words):
        objective(SEEN)
