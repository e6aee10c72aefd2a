"""Tables of surrogates, before they are fitted, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy import ndimage

from esegeta.workflow.examples.surrogates import _plain
from tests.experiments import Lab, esegeta, noise, read_json
from tests.workflow.examples.labs import examples_lab, image_of, set_case, table


def surrogate_lab(folder: Path, *, cases: int = 1, kind: str = "tree", **block: Any) -> Lab:
    """Return a study of nothing but a surrogate."""
    lab = examples_lab(folder, cases=cases)
    lab.keys["examples"] = {"surrogate": {"kind": kind, "least_fidelity": 0.0}, **block}
    return lab


def fit(lab: Lab) -> tuple[dict[str, str], list[str]]:
    """Run a study and return the row of its only label, and what is noted of it."""
    result = esegeta("examples", lab.write())
    assert result.exit_code == 0, result.output
    (row,) = table(lab, "surrogate")
    notes = read_json(lab.root / "examples" / "examples.json")["notes"]
    return row, [note for note in notes if note.startswith("surrogate of liver: ")]


def regions(lab: Lab, case: str) -> dict[str, Any]:
    return read_json(lab.root / "examples" / "units" / f"{case}_regions.json")["tables"]


@pytest.mark.parametrize("unit", ["mm", "px"])
def test_only_the_distance_to_the_label_itself_is_left_out(unit: str) -> None:
    names = [f"to_heart_{unit}", f"to_heart_myocardium_{unit}", "mean"]
    columns = {name: np.arange(2.0) for name in names}
    assert list(_plain(columns, [0.5, 1.0], "heart")["columns"]) == names[1:]


def test_the_dice_of_a_component_is_with_all_that_it_touches(tmp_path: Path) -> None:
    """Specks of noise: 1 is where they are found, 0.8 where they are; the last case has none."""
    lab = surrogate_lab(tmp_path, cases=3, kind="linear", of="component", min_voxels=2)
    everywhere = np.ones((3, 3, 3))
    for place in range(3):
        image = noise(seed=place) - (1.2 if place < 2 else 99.0)
        truth = image > -0.2
        set_case(lab, place, image, truth)
    row, notes = fit(lab)
    expected = {}
    for place, case in enumerate("abc"):
        image = noise(seed=place) - np.float32(1.2 if place < 2 else 99.0)
        found, count = ndimage.label(image > 0, structure=everywhere)
        truths, _ = ndimage.label(image > -0.2, structure=everywhere)
        dice = []
        for number in range(1, count + 1):
            own = found == number
            touched = np.isin(truths, np.setdiff1d(truths[own], 0))
            if own.sum() > 1:
                dice.append(2 * (own & touched).sum() / (own.sum() + touched.sum()))
        expected[case] = sorted(dice)
        answers = regions(lab, case)["liver"]["answers"]
        assert sorted(answers) == pytest.approx(expected[case])
    assert expected["c"] == regions(lab, "c")["liver"]["answers"] == []
    assert row["question"] == "dice"
    assert int(row["regions"]) == len(expected["a"]) + len(expected["b"])
    assert row["held_out"] == "2"
    assert not notes or "fidelity" in notes[0]


def _all_right(lab: Lab) -> None:
    image = noise() - np.float32(1.2)
    set_case(lab, 0, image, image > 0)


def _nowhere(lab: Lab) -> None:
    set_case(lab, 0, image_of(0) - 99, None)


TOO_LITTLE: dict[str, tuple[dict[str, Any], Any, str]] = {
    "few": ({"supervoxels": 9}, lambda lab: None, " regions are fewer than 20"),
    "right": ({"of": "component", "min_voxels": 1}, _all_right, "all Dice are the same"),
    "nowhere": ({"supervoxels": 40}, _nowhere, " regions, and 5 of each are needed"),
}


@pytest.mark.parametrize("kind", TOO_LITTLE)
def test_a_surrogate_that_cannot_be_learned_has_a_reason(kind: str, tmp_path: Path) -> None:
    block, change, what = TOO_LITTLE[kind]
    lab = surrogate_lab(tmp_path, **block)
    change(lab)
    row, notes = fit(lab)
    assert row["fidelity"] == ""
    assert row["drawn"] == "0"
    assert notes[-1].endswith(f"{what}; there is no figure")
    assert (row["regions"] in notes[-1]) == (kind != "right")
    assert not table(lab, "surrogate_features")
    assert not list((lab.root / "examples").glob("*.png"))


def test_parts_of_a_single_case_are_held_out_with_a_note(tmp_path: Path) -> None:
    row, notes = fit(surrogate_lab(tmp_path, supervoxels=60))
    assert row["held_out"] == "4"
    assert notes == [
        "surrogate of liver: a single case; parts of it along inferior_to_superior are held out, "
        "which are near neighbours, not new patients"
    ]
    assert row["drawn"] == "1"


@pytest.mark.slow
def test_distances_are_to_the_truth_and_without_one_to_the_prediction(tmp_path: Path) -> None:
    """A ground truth that is the prediction says what none says; another one does not."""
    predicted = (image_of(0) > 0).astype(np.uint8) + (image_of(0) > 1)
    tables = []
    for name, truth in (("same", predicted), ("none", None), ("other", predicted[::-1])):
        folder = tmp_path / name
        folder.mkdir()
        lab = surrogate_lab(folder, supervoxels=30)
        # The liver is where 2 x is the largest logit, bone where 4 x - 2 is.
        weight = torch.tensor([0.0, 2.0, 4.0])[:, None, None, None, None]
        state = {"head.weight": weight, "head.bias": torch.tensor([0.0, 0.0, -2.0])}
        save_file(state, folder / "w.safetensors")
        lab.keys["model"]["args"]["out_channels"] = 3
        lab.keys["labels"] = {1: "liver", 2: "bone"}
        set_case(lab, 0, image_of(0), truth)
        assert esegeta("examples", lab.write(), "-q").exit_code == 0
        tables.append(regions(lab, "a"))
    same, none, other = tables
    assert "to_bone_mm" in same["liver"]["columns"]
    assert same == none
    assert same["liver"]["answers"] == other["liver"]["answers"]
    assert same["liver"]["columns"]["to_bone_mm"] != other["liver"]["columns"]["to_bone_mm"]
