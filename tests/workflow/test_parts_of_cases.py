"""Parts of a run or a prediction, by themselves: cases of their own, or targets of one case."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiments import Lab
from tests.workflow.predictions import dseg, liver_lab

TARGETS = ("whole", "corner", "parts")


def targets_lab(folder: Path) -> Lab:
    lab = liver_lab(folder)
    lab.keys["targets"] = [
        {"name": "whole", "label": "liver", "over": "all"},
        {"name": "corner", "label": "liver", "box": [[0, 0, 0], [2, 2, 2]]},
        {
            "name": "parts",
            "label": "liver",
            "over": "component",
            "component": "each",
            "min_volume_ml": 9e9,
        },
    ]
    return lab


@pytest.mark.slow
def test_the_parts_of_one_case_make_a_target_each(tmp_path: Path) -> None:
    """Of which one cannot be formed: its part alone tells of that."""
    lab = targets_lab(tmp_path)
    codes, made = [], []
    for number in (1, 2, 3):
        before = set(lab.maps())
        codes.append(lab.run("--part", f"{number}/3").exit_code)
        made.append({name.split("label-")[1].split("_")[0] for name in set(lab.maps()) - before})
    assert sorted(map(sorted, made)) == [[], ["corner"], ["whole"]]
    assert codes == [0 if names else 2 for names in made]
    assert not (lab.root / "run.json").exists()
    assert not (lab.root / "dataset_description.json").exists()  # written by who gathers


@pytest.mark.slow
def test_a_target_without_components_fails_alone_and_says_why(tmp_path: Path) -> None:
    lab = targets_lab(tmp_path)
    assert lab.run().exit_code == 1
    assert lab.statuses() == {
        ("a", name, "saliency"): "failed" if name == "parts" else "done" for name in TARGETS
    }
    (failed,) = (unit for unit in lab.record()["units"] if unit["status"] == "failed")
    assert "lower min_volume_ml" in failed["message"]


@pytest.mark.slow
def test_parts_of_a_run_take_different_cases(tmp_path: Path) -> None:
    lab = liver_lab(tmp_path, cases=2)
    assert lab.run("--part", "1/2").exit_code == 0
    (first,) = lab.maps()
    assert lab.run("--part", "2/2").exit_code == 0
    (second,) = lab.maps().keys() - {first}
    assert sorted((first[0], second[0])) == ["a", "b"]


@pytest.mark.slow
def test_parts_of_a_prediction_take_different_cases(tmp_path: Path) -> None:
    lab = liver_lab(tmp_path, cases=2)
    assert lab.predict("--part", "1/2").exit_code == 0
    assert sum(dseg(lab, case).exists() for case in "ab") == 1
    assert lab.predict("--part", "2/2").exit_code == 0
    assert dseg(lab, "a").exists() and dseg(lab, "b").exists()
    assert not (lab.root / "predictions.csv").exists()
    assert not (lab.root / "dataset_description.json").exists()
