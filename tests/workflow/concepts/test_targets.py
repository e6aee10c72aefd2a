"""Targets that some cases lack, or that slabs of one case do."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.experiments import Lab, esegeta, read_json, save_image, voxels
from tests.workflow.concepts.planted import DRIVES, IDLE, SHAPE, planted_lab, table

EVERYWHERE = {"name": "everywhere", "label": "label", "over": "all"}


def rows(lab: Lab) -> dict[tuple[str, str], dict[str, str]]:
    listed = table(lab.root / "concepts" / "tcav.csv")
    return {(row["concept"], row["target"]): row for row in listed}


@pytest.fixture(scope="module")
def lacking(tmp_path_factory: pytest.TempPathFactory, quick_concepts: None) -> tuple[Lab, str]:
    """Case b predicts nothing, and only a holds the label in truth; with what the command says."""
    folder = tmp_path_factory.mktemp("lacking")
    lab = planted_lab(folder)
    del lab.keys["data"]["cases"][3:]
    save_image(folder / "b_0.nii.gz", voxels(folder / "b_0.nii.gz") - 50, np.eye(4))
    for case in lab.keys["data"]["cases"][1:]:
        save_image(folder / case["label"], np.zeros(SHAPE, dtype=np.int16), np.eye(4))
    lab.keys["targets"] = [
        {"name": "there", "label": "label"},
        {"name": "sum", "combine": {"there": 2}},
    ]
    lab.keys["concepts"] |= {
        "concepts": {DRIVES: {"masks": f"masks/{{case}}_{DRIVES}.nii.gz"}},
        "targets": [
            "there",
            "sum",
            EVERYWHERE,
            {"name": "true", "label": "label", "over": "label"},
            {"name": "fortieth", "label": "label", "component": 40},
        ],
        "level": 0.5,
        "maps": "all",
        "shap": {"positions": 100, "samples": 1},
    }
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    return lab, result.output


@pytest.mark.slow
def test_a_target_is_tested_on_the_cases_that_have_it(lacking: tuple[Lab, str]) -> None:
    lab, output = lacking
    found = rows(lab)
    assert [found[DRIVES, name]["cases"] for name in ("everywhere", "there", "sum")] == [
        "3",
        "2",
        "2",
    ]
    assert float(found[DRIVES, "sum"]["size"]) == pytest.approx(
        2 * float(found[DRIVES, "there"]["size"])
    )
    told = " ".join(output.split())
    assert 'left out: b: no voxel of label "label" over: predicted' in told


@pytest.mark.parametrize(
    ("target", "cases", "why"),
    [
        ("true", "1", "only one case has the target: nothing is tested on one case"),
        ("fortieth", "0", "no case has the target"),
    ],
)
@pytest.mark.slow
def test_a_target_of_too_few_cases_has_no_figure(
    target: str, cases: str, why: str, lacking: tuple[Lab, str]
) -> None:
    row = rows(lacking[0])[DRIVES, target]
    assert row["refused"] == why and row["cases"] == cases
    assert row["tcav"] == row["p_holm"] == "nan" and row["significant"] == "0"


def test_a_case_without_a_target_has_no_map_of_it(lacking: tuple[Lab, str]) -> None:
    lab = lacking[0]
    maps = {
        name: [case for case in "abc" if lab.file(case, name, f"concept-{DRIVES}-units").exists()]
        for name in ("everywhere", "there", "sum", "true", "fortieth")
    }
    assert maps == {
        "everywhere": ["a", "b", "c"],
        "there": ["a", "c"],
        "sum": ["a", "c"],
        "true": [],
        "fortieth": [],
    }


def test_a_sum_of_targets_has_no_label_to_recover(lacking: tuple[Lab, str]) -> None:
    listed = table(lacking[0].root / "concepts" / "shap.csv")
    assert {row["target"] for row in listed} == {"everywhere", "there", "true", "fortieth"}


def test_results_of_an_earlier_run_are_replaced(lacking: tuple[Lab, str], tmp_path: Path) -> None:
    folder = shutil.copytree(lacking[0].folder, tmp_path / "copy")
    lab = Lab(folder, copy.deepcopy(lacking[0].keys) | {"output": str(folder / "out")})
    lab.keys["concepts"] |= {"maps": "none", "shap": False, "targets": [EVERYWHERE]}
    assert list(lab.root.glob("*/*_attrmap*"))
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    folder = lab.root / "concepts"
    said = f"the results in {folder} are replaced once the new ones are ready"
    assert said in " ".join(result.output.split())
    assert not list(lab.root.glob("*/*_attrmap*")) and not (folder / "shap.csv").exists()
    assert read_json(folder / "concepts.json")["targets"] == ["everywhere"]


def slab_lab(folder: Path) -> Lab:
    """Return one case in six slabs of four columns, with its label in the first alone."""
    lab = planted_lab(folder)
    del lab.keys["data"]["cases"][1:]
    generator = np.random.default_rng(0)
    image = 0.3 * generator.normal(size=(6, *SHAPE)).astype(np.float32)
    image[0] -= 5
    image[0, 3:6, :3] += 12
    image[0, 18:21, :3] += 12
    idle = np.zeros(SHAPE, dtype=np.int16)
    idle[:] = np.arange(24) % 4 < 2
    image[1] += 4 * idle
    case = lab.keys["data"]["cases"][0]
    for path, channel in zip(case["image"], image, strict=True):
        save_image(folder / path, channel, np.eye(4))
    save_image(folder / "masks" / f"a_{IDLE}.nii.gz", idle, np.eye(4))
    del case["label"]
    lab.keys["concepts"] |= {
        "concepts": {IDLE: {"masks": f"masks/{{case}}_{IDLE}.nii.gz"}},
        "targets": [
            EVERYWHERE,
            {"name": "each", "label": "label", "component": "each"},
            {"name": "there", "label": "label"},
        ],
        "slabs": 6,
        "counters": "anywhere",
        "maps": "none",
        "pieces": 2,
        "shap": {"positions": 100, "samples": 1},
    }
    return lab


def test_slabs_stand_for_cases(tmp_path: Path, quick_concepts: None) -> None:
    lab = slab_lab(tmp_path)
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    found = rows(lab)
    assert {
        target: (found[IDLE, target]["tested_on"], found[IDLE, target]["cases"])
        for target in ("everywhere", "each", "there")
    } == {"everywhere": ("6", "6"), "each": ("2", "1"), "there": ("1", "1")}
    assert found[IDLE, "everywhere"]["concept_cases"] == "6"
    assert found[IDLE, "everywhere"]["refused"] == ""
    assert "only one case has the target" in found[IDLE, "each"]["refused"]
    record = read_json(lab.root / "concepts" / "concepts.json")
    assert record["cases"] == [f"a slab {number}" for number in range(1, 7)]
    notes = "\n".join(record["notes"])
    assert "cases are 6 slabs of each scan" in notes and "counters: anywhere" in notes
    assert "intervals over so few" not in notes and "as deep in the body" not in notes
    refused = {row["refused"] for row in table(lab.root / "concepts" / "shap.csv")}
    assert refused == {"fewer than two cases are predicted to hold the label"}
    assert not (lab.root / "concepts" / "shap.png").exists()


def test_a_volume_is_not_cut_into_slabs(tmp_path: Path, quick_concepts: None) -> None:
    lab = slab_lab(tmp_path)
    lab.keys["concepts"]["targets"] = [{"name": "ml", "label": "label", "of": "volume_ml"}]
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 2
    assert 'concepts.slabs: the target "ml" cannot be cut into slabs' in " ".join(
        result.output.split()
    )
    assert not (lab.root / "concepts" / "concepts.json").exists()
