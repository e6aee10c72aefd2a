"""Labels in YAML: two forms, and what decides about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from esegeta.errors import ConfigError
from tests.config.short import keys_of

REGIONS = {"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({1: "liver", 2: "spleen"}, {1: "liver", 2: "spleen"}),
        ({"1": "liver"}, {1: "liver"}),
        (REGIONS, {"whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,)}),
        ({"liver": 1}, {"liver": (1,)}),
        ({"left kidney": 312782546}, {"left kidney": (312782546,)}),
    ],
)
def test_labels_may_be_keyed_by_integer_or_by_name(
    tmp_path: Path, given: dict, expected: dict
) -> None:
    assert keys_of(tmp_path, labels=given).labels == expected


def test_labels_from_yaml_equal_labels_from_python(tmp_path: Path) -> None:
    from esegeta.model import Labels

    decisions: dict[str, Any] = {
        "region_order": [{"whole": 2}, "core", "enhancing"],
        "ignore_label": 255,
        "threshold": {"core": 0.4},
        "postprocessing": {"keep_largest": True, "min_volume_ml": 0.1, "fill_holes": ["core"]},
    }
    keys = keys_of(tmp_path, labels=REGIONS, activation="sigmoid", **decisions)
    assert keys.labels_over(3) == Labels.of(REGIONS, "sigmoid", 3, **decisions)


def test_the_region_order_may_be_nnunets_integers(tmp_path: Path) -> None:
    keys = keys_of(tmp_path, labels=REGIONS, activation="sigmoid", region_order=[2, 1, 4])
    labels = keys.labels_over(3)
    assert labels.order == ("whole", "core", "enhancing")
    assert labels.names == {2: "whole", 1: "core", 4: "enhancing"}


def test_fingerprints_tell_the_order_of_labels_and_every_decision(tmp_path: Path) -> None:
    variants: list[dict[str, Any]] = [
        {"labels": REGIONS},
        {"labels": dict(reversed(REGIONS.items()))},
        {"labels": REGIONS, "activation": "sigmoid", "threshold": 0.4},
        {"labels": REGIONS, "activation": "sigmoid", "threshold": {"core": 0.4}},
        {"labels": REGIONS, "region_order": ["core", "whole", "enhancing"]},
        {"labels": REGIONS, "ignore_label": 255},
        {"labels": REGIONS, "postprocessing": {"fill_holes": True}},
    ]
    from esegeta.workflow.cache import fingerprint

    prints = {fingerprint(keys_of(tmp_path, **one).decision_parts()) for one in variants}
    assert len(prints) == len(variants)


@pytest.mark.parametrize("value", [True, "0.4", ["core"]])
def test_an_invalid_threshold_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml:\d+: threshold"):
        keys_of(tmp_path, labels=REGIONS, activation="sigmoid", threshold=value)


@pytest.mark.parametrize("value", [True, "1 ml", [1.0]])
def test_an_invalid_volume_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml:\d+: postprocessing\.min_volume_ml"):
        keys_of(tmp_path, labels=REGIONS, postprocessing={"min_volume_ml": value})
