"""Null competitors join a run whose scores compare maps with random ones, and no other run."""

from __future__ import annotations

from pathlib import Path

import pytest

from esegeta.config import load_config
from esegeta.explain import RandomMap
from esegeta.workflow.build import join_null_competitors
from tests.experiments import Lab, refused, unet_lab

BASE = {"name": "infidelity", "samples": 3}
BASELINE = {"name": "random_map_baseline", "base": BASE, "samples": 3}
NOTE = "random_map_baseline: random_map and edge_map added to the methods, as maps to beat"
FIGURES = ["random_map_baseline", "random_map_baseline_z", "random_map_baseline_edges"]


def methods_of(lab: Lab) -> list[str]:
    return list(join_null_competitors(load_config(lab.write()))[0])


@pytest.mark.slow
def test_null_competitors_are_added_and_scored_like_other_methods(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["scores"] = ["infidelity", BASELINE]
    result = lab.run()
    assert result.exit_code == 0, result.output
    assert NOTE in result.output
    assert lab.record()["notes"] == [NOTE]
    methods = ["saliency", "random_map", "edge_map"]
    assert set(lab.statuses()) == {("a", "liver", method) for method in methods}
    rows = {(row["method"], row["score"]): row for row in lab.scores()}
    for method in methods:
        assert {row["score"] for key, row in rows.items() if key[0] == method} >= set(FIGURES)
    assert float(rows["edge_map", "random_map_baseline_edges"]["value"]) == 0
    assert lab.record()["methods"]["random_map"] == {"sigma_mm": 0.0, "seed": 3}
    parameters = lab.sidecar("a", "liver", "saliency")["score_parameters"]["random_map_baseline"]
    expected = {"name": "infidelity", "samples": 3, "noise": 0.1, "seed": 3}
    assert parameters["base"].items() >= expected.items()


def test_validate_lists_null_competitors(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["scores"] = [BASELINE]
    output = lab.validate().output
    assert "methods: saliency, random_map, edge_map\n" in output
    assert "3 tasks" in output
    assert (
        "note: random_map_baseline: random_map and edge_map added to the methods, as maps to beat"
        in output
    )


@pytest.mark.parametrize("scores", [[], ["infidelity"]])
def test_null_competitors_are_added_only_if_a_score_needs_them(
    scores: list[str], tmp_path: Path
) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["scores"] = scores
    methods, notes = join_null_competitors(load_config(lab.write()))
    assert list(methods) == ["saliency"]
    assert notes == ()


def test_null_competitors_in_the_config_stay_as_they_are(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["scores"] = [{**BASELINE, "id": "lot"}]
    lab.keys["methods"] = [{"name": "random_map", "id": "smooth", "sigma_mm": 5}, "saliency"]
    methods, notes = join_null_competitors(load_config(lab.write()))
    assert list(methods) == ["smooth", "saliency", "edge_map"]
    assert methods["smooth"] == RandomMap(5, seed=3)
    assert notes == ("random_map_baseline: edge_map added to the methods, as maps to beat",)
    lab.keys["methods"].append("edge_map")
    methods, notes = join_null_competitors(load_config(lab.write()))
    assert list(methods) == ["smooth", "saliency", "edge_map"]
    assert notes == ()


def test_another_method_with_the_id_of_a_null_competitor_is_refused(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["scores"] = [BASELINE]
    lab.keys["methods"].append({"name": "smoothgrad", "id": "edge_map"})
    for result in (lab.run(), lab.validate()):
        refused(result, lab, f"tiny.yaml:{lab.line_of('smoothgrad')}: methods[1]", '"edge_map"')
    lab.keys["scores"] = []
    assert methods_of(lab) == ["saliency", "edge_map"]


@pytest.mark.slow
def test_another_base_score_recomputes_the_result(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["methods"] = ["random_map", "edge_map"]
    lab.keys["scores"] = [BASELINE]
    assert lab.run().exit_code == 0
    assert lab.run().exit_code == 0
    assert set(lab.statuses().values()) == {"skipped"}
    lab.keys["scores"] = [{**BASELINE, "base": {"name": "sensitivity_max", "samples": 3}}]
    assert lab.run().exit_code == 0
    assert set(lab.statuses().values()) == {"done"}
