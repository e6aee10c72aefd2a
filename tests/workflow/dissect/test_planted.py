"""Networks whose units are the concepts: everything is as good as it can be, and is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.experiments import Lab, esegeta, read_json, save_image, voxels
from tests.workflow.dissect.planted import COUNT, noisy_lab, pairs, planted_lab, table

SETTINGS = {
    "2d": {"shape": (15, 9)},
    "3d": {"shape": (13, 8, 7)},
    "2d sigmoid": {"shape": (15, 9), "activation": "sigmoid"},
    "3d sigmoid": {"shape": (13, 8, 7), "activation": "sigmoid"},
    "slices": {"shape": (13, 8, 5), "ndim": 2},
    "3d channels": {"shape": (13, 8, 7), "num_channels": 2},
    "smaller than a window": {"shape": (13, 4, 3), "cases": 3},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_units_equal_to_the_concepts_have_iou_one(name: str, tmp_path: Path) -> None:
    options = SETTINGS[name]
    lab = planted_lab(tmp_path, **options)
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0, result.output
    found = pairs(lab)
    assert len(found) == COUNT * COUNT
    for (_, unit, concept), row in found.items():
        own = concept == f"c{unit + 1}"
        if own:
            for key in ("iou", "ceiling", "dice", "best_threshold_iou", "auroc"):
                assert row[key] == 1, key
            assert row["information_quality"] == pytest.approx(1)
            assert row["q"] <= 0.05
        else:
            assert row["iou"] == row["dice"] == row["best_threshold_iou"] == 0
            assert 0 < row["ceiling"] <= 1
            assert row["auroc"] < 0.5
    units = table(lab, "units.csv")
    assert [(row["unit"], row["concept"], row["named"]) for row in units] == [
        (str(unit), f"c{unit + 1}", "1") for unit in range(COUNT)
    ]
    assert all(row["category"] == "label" and row["threshold"] == "0.0" for row in units)
    assert all(row["dead"] == "0" and float(row["ties"]) > 1 for row in units)
    summary = read_json(lab.root / "dissection" / "summary.json")
    assert summary["layers"]["detector"]["unique_detectors"] == COUNT
    assert summary["layers"]["detector"]["detectors"] == {f"c{k + 1}": [k] for k in range(COUNT)}
    assert f"{COUNT} of {COUNT} units named" in result.stdout


def test_masks_of_units_lie_on_the_source_grid(tmp_path: Path) -> None:
    """Turned and resampled for the network, and back again."""
    lab = planted_lab(tmp_path)
    lab.keys["data"]["preprocess"] = {"orientation": "PLI"}
    lab.keys["dissection"]["figures"] = {"masks": ["b"]}
    assert esegeta("dissect", lab.write()).exit_code == 0
    folder = lab.root / "dissection" / "masks"
    assert len(list(folder.iterdir())) == COUNT
    truth = voxels(tmp_path / "b_label.nii.gz")
    for unit in range(COUNT):
        name = f"b_layer-detector_unit-{unit}_desc-c{unit + 1}_mask.nii.gz"
        np.testing.assert_array_equal(voxels(folder / name), truth == unit + 1)


@pytest.mark.parametrize(("asked", "count"), [("all", 6), ("none", 0), (None, 3)])
def test_masks_are_written_for_the_requested_cases(
    asked: str | None, count: int, tmp_path: Path
) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["figures"] = {"masks": asked}
    assert esegeta("dissect", lab.write()).exit_code == 0
    assert len(list((lab.root / "dissection").rglob("*_mask.nii.gz"))) == count


def test_a_coarser_layer_is_resampled(tmp_path: Path) -> None:
    """Means of two voxels along each axis: less than perfect, and the best of their layer."""
    lab = planted_lab(tmp_path, shape=(18, 12, 12))
    lab.keys["inference"]["window"] = [6, 6, 4]
    lab.keys["dissection"]["layers"] = ["detector", "pool"]
    lab.keys["dissection"]["quantile"] = 0.1
    assert esegeta("dissect", lab.write()).exit_code == 0
    found = pairs(lab)
    for unit in range(COUNT):
        ious = [found["pool", unit, f"c{k + 1}"]["iou"] for k in range(COUNT)]
        assert int(np.argmax(ious)) == unit
        assert 0.4 < max(ious) < 1


def test_a_unit_is_named_only_above_min_iou_and_below_q_value(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["min_iou"] = 1.0  # an IoU must be above
    esegeta("dissect", lab.write())
    assert [row["named"] for row in table(lab, "units.csv")] == ["0"] * COUNT
    lab.keys["dissection"].update(min_iou=0.04, chance={"samples": 9})  # p is 0.1 at the least
    result = esegeta("dissect", lab.write())
    assert [row["named"] for row in table(lab, "units.csv")] == ["0"] * COUNT
    assert "note: with 9 draws, p is at least 0.1" in result.stdout
    assert not list((lab.root / "dissection").rglob("*_mask.nii.gz"))


def test_a_single_case_has_no_cross_validated_threshold(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, cases=1)
    result = esegeta("dissect", lab.write())
    assert all(row["best_threshold_iou"] == "nan" for row in table(lab, "pairs.csv"))
    assert "needs two cases" in result.stdout


@pytest.mark.slow
def test_concepts_that_no_unit_can_be_named_for_are_noted(tmp_path: Path) -> None:
    """Masks of less than a tenth of the voxels, and a concept of nearly all of them."""
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["concepts"]["rest"] = {"not_of": "c1"}
    lab.keys["dissection"]["min_iou"] = 0.2
    result = esegeta("dissect", lab.write())
    (note,) = [line for line in result.stdout.splitlines() if "no unit can be named" in line]
    assert "with quantile 0.3 and min_iou 0.2 " in note and "c1" not in note
    assert "for rest (95 % of voxels, IoU at most 0.087)" in note
    lab.keys["dissection"]["min_iou"] = 0.02
    assert "no unit can be named" not in esegeta("dissect", lab.write()).stdout


def test_mask_share_is_the_share_of_voxels_in_the_mask(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    esegeta("dissect", lab.write())
    truths = [voxels(tmp_path / f"{name}_label.nii.gz") for name in "ab"]
    for unit, row in enumerate(table(lab, "units.csv")):
        share = np.mean([np.mean(truth == unit + 1) for truth in truths])
        assert float(row["mask_share"]) == pytest.approx(share)


def test_a_concept_that_no_case_contains_is_noted(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["concepts"]["ghost"] = 9
    result = esegeta("dissect", lab.write())
    assert "concepts that no case contains: ghost" in result.stdout
    row = pairs(lab)["detector", 0, "ghost"]
    assert row["iou"] == 0
    assert np.isnan([row["p"], row["q"], row["auroc"]]).all()


def test_dead_units_have_no_mask(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    for entry in lab.keys["data"]["cases"]:
        path = tmp_path / entry["image"][0]
        image = voxels(path).copy()
        image[image == 2] = 0
        save_image(path, image.astype(np.float32))
    result = esegeta("dissect", lab.write())
    row = table(lab, "units.csv")[1]
    assert (row["dead"], row["named"], row["iou"]) == ("1", "0", "0.0")
    assert row["concept"] == row["category"] == ""
    assert (row["minimum"], row["maximum"]) == ("0.0", "0.0")
    assert "units that never change, and have no mask: 1 of 3" in result.stdout


@pytest.mark.parametrize("threshold", ["dataset", "image"])
def test_dead_units_detect_nothing_in_any_image(threshold: str, tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    without(lab, 2, "ab", labels=False)
    lab.keys["dissection"]["per_image"] = {"threshold": threshold, "min_iou": 0.01}
    assert esegeta("dissect", lab.write()).exit_code == 0
    rows = [row for row in table(lab, "per_image.csv") if row["unit"] == "1"]
    assert {(row["iou"], row["detected"]) for row in rows} == {("0.0", "0")}
    assert table(lab, "units.csv")[1]["images_detected"] == "0.0"


def test_a_unit_that_is_constant_but_for_blends_is_dead(tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path)
    lab.keys["inference"].update(blend="gaussian", overlap=0.7)
    state = load_file(tmp_path / "w.safetensors")
    name = next(key for key in state if key.startswith("model.0") and key.endswith("conv.weight"))
    state[name][0] = 0.0  # what is left is the norm of a constant and its bias
    bias = name.replace("weight", "bias")
    state[bias][0] = 3.0
    save_file(state, tmp_path / "w.safetensors")
    lab.keys["dissection"]["layers"] = [name.removesuffix(".weight")]
    assert esegeta("dissect", lab.write()).exit_code == 0
    row = table(lab, "units.csv")[0]
    assert float(row["minimum"]) == pytest.approx(3, abs=1e-5)
    assert (row["dead"], row["named"], row["iou"], row["p"]) == ("1", "0", "0.0", "nan")


def without(lab: Lab, label: int, names: str, *, labels: bool = True) -> None:
    """Take a label out of the images of some cases, and out of their label maps."""
    for name in names:
        for ending in ("0", "label") if labels else ("0",):
            path = lab.folder / f"{name}_{ending}.nii.gz"
            array = voxels(path).copy()
            array[array == label] = 0
            save_image(path, array.astype(np.int16 if ending == "label" else np.float32))


@pytest.mark.parametrize("holders", ["ac", "bd", "ad", "abc"])
def test_thresholds_are_chosen_on_other_cases_that_hold_the_concept(
    holders: str, tmp_path: Path
) -> None:
    """For any two cases that hold it: folds alternate over the holders of each concept."""
    lab = planted_lab(tmp_path, cases=4)
    without(lab, 1, "".join(set("abcd") - set(holders)))
    assert esegeta("dissect", lab.write()).exit_code == 0
    found = pairs(lab)
    for label in range(COUNT):
        assert found["detector", label, f"c{label + 1}"]["best_threshold_iou"] == 1


def test_a_concept_in_a_single_case_has_no_cross_validated_threshold(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, cases=3)
    without(lab, 1, "ac")
    result = esegeta("dissect", lab.write())
    found = pairs(lab)
    for unit in range(COUNT):
        assert np.isnan(found["detector", unit, "c1"]["best_threshold_iou"])
    assert found["detector", 1, "c2"]["best_threshold_iou"] == 1
    assert "best_threshold_iou needs two cases with the concept: c1 has one" in result.stdout


@pytest.mark.parametrize("threshold", ["dataset", "image"])
def test_per_image_tables_follow_their_definition(threshold: str, tmp_path: Path) -> None:
    """With T at the smallest activation, of which all voxels have at least as much, M = {a > T}."""
    lab = planted_lab(tmp_path, cases=3)
    lab.keys["dissection"]["per_image"] = {"threshold": threshold, "min_iou": 0.1}
    assert esegeta("dissect", lab.write()).exit_code == 0
    rows = table(lab, "per_image.csv")
    assert len(rows) == 3 * COUNT * COUNT
    for row in rows:
        own = int(row["unit"]) + 1 == int(row["concept"][1:])
        assert float(row["iou"]) == own
        assert row["detected"] == str(int(own))
    for row in table(lab, "units.csv"):
        own = [
            item
            for item in rows
            if (item["unit"], item["concept"]) == (row["unit"], row["concept"])
        ]
        assert float(row["images"]) == 3
        assert float(row["images_detected"]) == sum(item["detected"] == "1" for item in own)


def test_switching_a_detector_off_loses_its_label(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["ablation"] = {"draws": 5}
    assert esegeta("dissect", lab.write()).exit_code == 0
    rows = table(lab, "ablation.csv")
    assert len(rows) == COUNT * COUNT
    for row in rows:
        own = row["concept"][1:] == row["label"][-1]
        assert float(row["dice"]) == 1
        assert float(row["change"]) == (-1 if own else 0)
        assert row["draws"] == "2"  # there are but two other units
        # Of the two others one is the label's own detector, unless the detector itself is off.
        assert float(row["random_change"]) == (0 if own else -0.5)
        assert float(row["effect"]) == (-1 if own else 0.5)
        assert float(row["low"]) <= float(row["effect"]) <= float(row["high"])


@pytest.mark.slow
def test_cases_without_a_label_take_no_part_in_its_ablation(tmp_path: Path) -> None:
    """Whatever is predicted there when random units are off."""
    lab = planted_lab(tmp_path, cases=3)
    without(lab, 1, "b")
    lab.keys["dissection"]["ablation"] = {"draws": 5}
    result = esegeta("dissect", lab.write())
    rows = table(lab, "ablation.csv")
    assert {(row["label"], row["cases"]) for row in rows} == {
        ("label1", "2"),
        ("label2", "3"),
        ("label3", "3"),
    }
    assert all(float(row["dice"]) == 1 for row in rows)
    assert "detector has 2 other sets of units, not 5 draws" in result.stdout


def test_ablation_to_the_mean_loses_the_label_of_the_unit(tmp_path: Path) -> None:
    """Held at its mean of a fifth, a unit does not reach the head's bar: the same loss."""
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["ablation"] = {"draws": 5, "to": "mean", "concepts": ["c2"]}
    assert esegeta("dissect", lab.write()).exit_code == 0
    rows = {row["label"]: float(row["change"]) for row in table(lab, "ablation.csv")}
    assert rows == {"label1": 0, "label2": -1, "label3": 0}


@pytest.mark.slow
@pytest.mark.parametrize(("cases", "told"), [(1, True), (6, False)])
def test_a_note_says_when_the_body_is_too_small_for_a_small_q(
    cases: int, told: bool, tmp_path: Path
) -> None:
    lab = planted_lab(tmp_path, shape=(15, 12), cases=cases)
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0, result.output
    (pair,) = [row for (_, *ends), row in pairs(lab).items() if ends == [0, "c1"]]
    assert pair["iou"] == 1
    note = f"q cannot be 0.05 for c1 (p at least {pair['p']:.2g})"
    assert (note in result.output) is told
    assert (pair["q"] > 0.05) is told
