"""Some of what could be done: layers to ablate, cases to mask, labels with trails, first stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esegeta.config import load_config
from esegeta.errors import DataError
from esegeta.workflow.dissect import build_dissection
from tests.experiments import esegeta, read_json, refused, save_image, voxels
from tests.workflow.dissect.causal import causal_lab
from tests.workflow.dissect.planted import COUNT, label_map, noisy_lab, pairs, planted_lab, table
from tests.workflow.dissect.test_trails import trails_of

SHAPE = (15, 9)


def test_ablation_may_be_limited_to_some_layers(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, shape=SHAPE)
    lab.keys["dissection"] |= {
        "layers": ["stem", "detector", "head"],
        "ablation": {"draws": 2, "layers": ["detector"]},
        "q_value": 1.0,
        "min_iou": 0.0,
    }
    assert esegeta("dissect", lab.write()).exit_code == 0
    assert {row["layer"] for row in table(lab, "units.csv")} == {"stem", "detector", "head"}
    assert {row["layer"] for row in table(lab, "ablation.csv")} == {"detector"}


@pytest.mark.parametrize(
    ("ablated", "asked", "left"),
    [
        (["detector", "head"], ["head"], ["head"]),
        (["detector"], ["head"], None),
        ("all", ["head"], "all"),
        (["detector"], [], ["detector"]),
    ],
)
def test_layers_of_the_command_line_leave_out_the_ablation_of_others(
    ablated: Any, asked: list[str], left: Any, tmp_path: Path
) -> None:
    lab = planted_lab(tmp_path, shape=SHAPE)
    lab.keys["dissection"] |= {
        "layers": ["detector", "head"],
        "ablation": {"draws": 2, "layers": ablated},
    }
    found = build_dissection(load_config(lab.write()), layers=asked)
    assert [layer.name for layer in found.layers] == (asked or ["detector", "head"])
    assert (found.keys.ablation and found.keys.ablation.layers) == left


def test_an_ablation_of_a_case_without_ground_truth_is_refused(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, shape=SHAPE)
    lab.keys["dissection"] |= {"concepts": {"rim": {"edges": 0.2}}, "ablation": {"draws": 2}}
    del lab.keys["data"]["cases"][1]["label"]
    result = lab.validate()
    line = lab.line_of("ablation:")
    refused(result, lab, f"{lab.config}:{line}: ", "case b has none", "leave `ablation` out")


def test_masks_are_written_for_cases_without_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []

    def draw_unit(path: Path, title: str, names: Any, panels: list[Any]) -> None:
        rows.append(len(panels))
        path.touch()

    monkeypatch.setattr("esegeta.workflow.dissect.pictures.draw_unit", draw_unit)
    lab = planted_lab(tmp_path, shape=SHAPE)
    lab.keys["dissection"]["figures"] = {"images": 1, "masks": "all"}
    assert esegeta("dissect", lab.write()).exit_code == 0
    assert rows == [1] * COUNT
    for case in "ab":
        truth = voxels(tmp_path / f"{case}_label.nii.gz")
        for unit in range(COUNT):
            name = f"{case}_layer-detector_unit-{unit}_desc-c{unit + 1}_mask.nii.gz"
            found = voxels(lab.root / "dissection" / "masks" / name)
            np.testing.assert_array_equal(found, truth == unit + 1)


def test_voxels_that_are_to_be_ignored_count_for_no_concept(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, shape=SHAPE)
    count = 0
    for case in "ab":
        path = tmp_path / f"{case}_label.nii.gz"
        truth = voxels(path).copy()
        truth[:, :3] = 255
        save_image(path, truth)
        count += int(((truth != 255) & (truth != 1)).sum())
    lab.keys["ignore_label"] = 255
    lab.keys["dissection"]["concepts"]["rest"] = {"not_of": "c1"}
    assert esegeta("dissect", lab.write()).exit_code == 0
    found = {row["concept"]: int(row["voxels"]) for row in table(lab, "concepts.csv")}
    assert found["rest"] == count


def test_exchanged_label_maps_of_other_grids_are_fitted_to_the_body(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, shape=SHAPE, cases=5)
    for place, case in enumerate("abcde"):
        truth = label_map((15 + place, 9), place)
        save_image(tmp_path / f"{case}_0.nii.gz", truth.astype(np.float32))
        save_image(tmp_path / f"{case}_label.nii.gz", truth)
    lab.keys["dissection"]["chance"] = "exchange"
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0, result.output
    found = pairs(lab)
    for unit in range(COUNT):
        own, *others = sorted(
            (found["detector", unit, f"c{label + 1}"]["p"] for label in range(COUNT)),
        )
        assert own == found["detector", unit, f"c{unit + 1}"]["p"] <= 0.1
        assert min(others) > own


@pytest.mark.parametrize(
    ("permutations", "said"),
    [
        (9, "trails: with 9 permutations, p is at least 0.1"),
        (19, "trails: with 19 permutations, q reaches 0.05 only if "),
    ],
)
def test_too_few_permutations_are_noted(permutations: int, said: str, tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path, shape=(9, 8), ndim=2)
    trails = {"samples": 100, "permutations": permutations, "windows": 4, "q_value": 0.05}
    lab.keys["dissection"] |= {
        "layers": ["model.0", "model.2"],
        "concepts": {"one": 1},
        "trails": trails,
        "chance": {"samples": 9},
    }
    trails_of(lab)
    notes = read_json(lab.root / "dissection" / "summary.json")["notes"]
    assert any(note.startswith(said) for note in notes), notes


def test_trails_lead_only_to_the_requested_labels(tmp_path: Path) -> None:
    lab = causal_lab(tmp_path, shape=(18, 15))
    trails = {"samples": 200, "permutations": 19, "windows": 8, "labels": ["label2"]}
    lab.keys["dissection"]["trails"] = trails
    found = trails_of(lab)
    assert [node["concept"] for node in found["nodes"] if node["kind"] == "label"] == ["label2"]


FAILING = {
    "overlaps": ("passes.count_case", "n0 / dissection / overlaps", "best thresholds"),
    "held-out": ("passes.thresholds_of_case", "n0 / dissection / best thresholds", "bars"),
    "results": ("results.write_units", "summary", "bars"),
    "nodes": ("influences.Influences.sample", "n0 / dissection / trails, samples", "influences"),
}


@pytest.mark.parametrize("stage", FAILING)
def test_stages_that_need_a_failed_stage_are_not_tried(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **keys: Any) -> Any:
        raise DataError("it is gone")

    where, first, later = FAILING[stage]
    monkeypatch.setattr(f"esegeta.workflow.dissect.{where}", fail)
    lab = causal_lab(tmp_path, shape=(12, 10))
    lab.keys["dissection"]["trails"] = {"samples": 100, "permutations": 9, "windows": 4}
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 2
    failures = [line.strip() for line in result.stderr.splitlines()]
    assert failures[0] == "failures:"
    assert failures[1].startswith(f"{first}: it is gone")
    assert failures[-1].startswith("summary: ") and "it is gone" in failures[-1]
    assert later not in result.stdout
    assert not (lab.root / "dissection" / "summary.json").exists()
