"""Concepts of a config: the rule that each block stands for, and where its masks are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from esegeta.config import load_config
from esegeta.config.dissection import ConceptBlock
from esegeta.dissection import (
    Boxes,
    Bright,
    ConceptRule,
    Distance,
    LabelValues,
    MaskFile,
    Points,
    Textured,
    Together,
)
from esegeta.workflow.dissect import build_dissection
from esegeta.workflow.dissect.concept_plan import rule_of
from tests.experiments import esegeta, refused
from tests.workflow.dissect.planted import planted_lab, table

RULES: dict[str, tuple[dict[str, Any], ConceptRule]] = {
    "labels": ({"labels": [1, 2]}, LabelValues((1, 2))),
    "distance": ({"distance_to": "a", "mm": (1, 3)}, Distance("a", 1, 3)),
    "any of": ({"any_of": ["a", "b"]}, Together(("a", "b"), every=False)),
    "all of": ({"all_of": ["a", "b"]}, Together(("a", "b"), every=True)),
    "bright": ({"bright": 0.2, "channel": 1}, Bright(0.2, 1)),
    "textured": ({"textured": 0.2, "sigma_mm": 2, "channel": 1}, Textured(0.2, 2, 1)),
    "boxes": (
        {"boxes": {"a": [((0, 1), (2, 3))]}},
        Boxes({"a": (((0, 1), (2, 3)),)}),
    ),
    "points": ({"points": {"a": [(0, 1)]}, "radius_mm": 2}, Points({"a": ((0.0, 1.0),)}, 2)),
    "mask": ({"mask": "m.nii", "values": [3]}, MaskFile((3,))),
}


@pytest.mark.parametrize("kind", RULES)
def test_every_block_of_a_concept_builds_its_rule(kind: str) -> None:
    keys, rule = RULES[kind]
    assert rule_of(ConceptBlock.model_validate(keys)) == rule


def test_drawn_concepts_follow_the_axes_of_the_images(tmp_path: Path) -> None:
    """Two of three cases, so that the third is counted without them."""
    lab = planted_lab(tmp_path, shape=(13, 8), cases=3)
    lab.keys["dissection"] |= {
        "concepts": {
            "c1": 1,
            "drawn": {"boxes": {"a": [[[0, 0], [2, 3]]], "b": [[[1, 1], [3, 8]]]}},
        },
        "chance": {"samples": 1},
        "figures": {"units": 0},
        "per_image": True,
    }
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0, result.output
    rows = table(lab, "concepts.csv")
    share = {row["concept"]: float(row["share"]) for row in rows}["drawn"]
    assert share == pytest.approx((6 + 14) / (3 * 13 * 8))
    held = {(row["case"], row["concept"]) for row in table(lab, "per_image.csv")}
    assert held == {(case, "c1") for case in "abc"} | {(case, "drawn") for case in "ab"}


def test_a_folder_of_masks_is_searched_by_case_name(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, shape=(13, 8))
    folder = tmp_path / "masks"
    folder.mkdir()
    lab.keys["dissection"]["concepts"] = {"m": {"mask": "masks", "values": [2]}}
    refused(lab.validate(), lab, "a.nii.gz: no such file")
    for name in "ab":
        (tmp_path / f"{name}_label.nii.gz").rename(folder / f"{name}.nii.gz")
        del lab.keys["data"]["cases"]["ab".index(name)]["label"]
    (folder / "a.txt").write_text("no image")
    dissection = build_dissection(load_config(lab.write()))
    found = [dissection.concepts.mask_file("m", case) for case in dissection.basis.cases]
    assert found == [folder / "a.nii.gz", folder / "b.nii.gz"]


def test_a_circular_definition_names_the_concepts_within_the_circle(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, shape=(13, 8))
    lab.keys["dissection"]["concepts"] = {
        "x": {"not_of": "y"},
        "y": {"not_of": "z"},
        "z": {"not_of": "y"},
    }
    refused(lab.validate(), lab, "concepts.y: it is defined by itself (y of z of y)")


def test_halves_of_volumes_are_allowed(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, cases=1)
    lab.keys["dissection"]["concepts"]["left"] = {"half": "left", "of": "c1"}
    assert lab.validate().exit_code == 0
