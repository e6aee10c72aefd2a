"""Which concept a unit goes by, and which are detectors of a layer."""

from __future__ import annotations

import math

import pytest
import torch

from esegeta.dissection import (
    Concept,
    LabelValues,
    NamingCriteria,
    UnitConceptPair,
    UnitFinding,
    best_pair,
    detectors,
    pairs_of,
)

BAR = NamingCriteria(min_iou=0.1, q_value=0.05)


def pair(
    concept: str, iou: float, q: float = 0.01, unit: int = 0, layer: str = "l"
) -> UnitConceptPair:
    numbers = dict.fromkeys(
        ("ceiling", "dice", "best_threshold_iou", "auroc", "information_quality", "p"), 0.5
    )
    return UnitConceptPair(layer, unit, concept, "label", iou=iou, q=q, **numbers)


def finding(concept: str, iou: float, unit: int, *, named: bool = True) -> UnitFinding:
    best = pair(concept, iou, unit=unit)
    return UnitFinding(best, named, 0.0, 0.005, 0.004, 1, False, 0.0, 1.0)


@pytest.mark.parametrize(
    ("pairs", "name", "named"),
    [
        ([pair("a", 0.2), pair("b", 0.3)], "b", True),
        ([pair("a", 0.2), pair("b", 0.3, q=0.06)], "a", True),  # the larger one may be chance
        ([pair("a", 0.05), pair("b", 0.02)], "a", False),
        ([pair("a", 0.1), pair("b", math.nan)], "a", False),  # above, not at
        ([pair("a", math.nan), pair("b", 0.0)], "b", False),
        ([pair("a", 0.9, q=math.nan)], "a", False),
        ([pair("a", 0.9, q=0.05)], "a", True),
    ],
)
def test_the_best_pair_of_a_unit_is_found_and_named_above_the_bar(
    pairs: list[UnitConceptPair], name: str, named: bool
) -> None:
    best, found = best_pair(pairs, BAR)
    assert (best.concept, found) == (name, named)


def test_pairs_are_in_the_order_of_layers_units_and_concepts() -> None:
    concepts = [Concept("x", LabelValues((1,))), Concept("y", LabelValues((2,)), "organ")]
    keys = ("iou", "ceiling", "dice", "best_threshold_iou", "auroc", "information_quality")
    numbers = torch.arange(6.0, dtype=torch.float64).reshape(3, 2)
    measures = {name: numbers + place for place, name in enumerate((*keys, "p", "q"))}
    rows = pairs_of([("l", 2), ("m", 1)], concepts, measures)
    assert [(p.layer, p.unit, p.concept, p.iou, p.q) for row in rows for p in row] == [
        ("l", 0, "x", 0, 7),
        ("l", 0, "y", 1, 8),
        ("l", 1, "x", 2, 9),
        ("l", 1, "y", 3, 10),
        ("m", 0, "x", 4, 11),
        ("m", 0, "y", 5, 12),
    ]
    assert [p.category for p in rows[0]] == ["label", "organ"]


def test_detectors_by_concept_the_best_first() -> None:
    findings = [
        finding("a", 0.2, 0),
        finding("a", 0.6, 1),
        finding("b", 0.4, 2),
        finding("a", 0.9, 3, named=False),
    ]
    found = {
        name: [item.unit for item in items] for name, items in detectors(findings, "l").items()
    }
    assert found == {"a": [1, 0], "b": [2]}
    assert detectors(findings, "other") == {}
