"""`expected`: a prediction is compared with it, and where they differ everyone is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import affine_of
from tests.experiments import Lab, esegeta, noise, pointwise_lab, read_json, refused
from tests.workflow.predictions import dseg, expect, liver_lab, positive, without_maps

pytestmark = pytest.mark.usefixtures("quick")


def test_the_expected_segmentation_is_reproduced(tmp_path: Path) -> None:
    lab = liver_lab(tmp_path, cases=2)
    path = expect(lab, positive(0))
    result = lab.predict()
    assert result.exit_code == 0
    assert "your pipeline's prediction in 1 case" in result.stdout
    first, second = lab.record()["predictions"]
    assert first["dice"] == {"liver": 1.0}
    assert first["expected"]["file"] == str(path)
    assert second["dice"] is None
    assert str(path) in lab.record()["inputs_sha256"]
    sidecar = read_json(dseg(lab, ending="json"))
    assert sidecar["dice"] == {"liver": 1.0}
    assert sidecar["warnings"] == []
    assert sidecar["expected"]["sha256"] == lab.record()["inputs_sha256"][str(path)]


@pytest.mark.slow
def test_dice_is_that_of_numpy_label_by_label(tmp_path: Path) -> None:
    weight = [[0.0], [1.0], [2.0], [4.0], [0.0]]
    lab = pointwise_lab(tmp_path, weight, [0.0, 0.0, -0.5, -2.0, -90.0])
    lab.keys["labels"] = {1: "one", 2: "two", 3: "three", 4: "none"}
    lab.keys["targets"][0]["label"] = "one"
    lab.predict()
    ours = lab.segmentation("a")
    assert set(np.unique(ours)) == {0, 1, 2, 3}
    theirs = np.roll(ours, 1, axis=0)
    expect(lab, theirs)
    result = lab.predict()
    assert result.exit_code == 1
    found = {row["label"]: row for row in lab.predictions()}
    for integer, name in enumerate(("one", "two", "three"), start=1):
        p, e = ours == integer, theirs == integer
        dice = 2 * (p & e).sum() / (p.sum() + e.sum())
        assert float(found[name]["dice"]) == pytest.approx(dice)
        assert int(found[name]["num_voxels_expected"]) == e.sum()
        assert int(found[name]["num_voxels_predicted"]) == p.sum()
    assert float(found["none"]["dice"]) == 1.0  # neither has any
    assert "NOT your pipeline's prediction in 1 of 1 case" in result.stdout


@pytest.mark.slow
def test_a_dice_below_the_least_is_reported_in_terminal_record_and_sidecars(tmp_path: Path) -> None:
    lab = liver_lab(tmp_path, cases=2)
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    theirs = positive(0)
    theirs[:2] = 0
    expect(lab, theirs)
    p, e = positive(0), theirs
    dice = 2 * (p & e).sum() / (p.sum() + e.sum())
    result = lab.run()
    assert result.exit_code == 1
    text = f"liver {dice:.4f}"
    assert result.stdout.count(text) == 2
    units = {(unit["case"], unit["method"]): unit["warnings"] for unit in lab.record()["units"]}
    for method in ("saliency", "input_x_gradient"):
        assert len(units["a", method]) == 1
        assert text in units["a", method][0]
        assert units["b", method] == []
        assert text in lab.sidecar("a", "liver", method)["warnings"][0]
    assert lab.record()["predictions"][0]["dice"]["liver"] == pytest.approx(dice)
    assert text in read_json(dseg(lab, ending="json"))["warnings"][0]
    assert float(lab.predictions()[0]["dice"]) == pytest.approx(dice)
    again = lab.run("-q")
    assert again.exit_code == 1
    assert text in again.stderr


@pytest.mark.slow
def test_finished_maps_are_compared_with_a_new_expectation_and_kept(tmp_path: Path) -> None:
    lab = liver_lab(tmp_path)
    assert lab.run().exit_code == 0
    times = lab.maps()
    expect(lab, 1 - positive())
    assert lab.run().exit_code == 1
    assert lab.maps() == times
    assert lab.statuses() == {("a", "liver", "saliency"): "skipped"}
    assert "liver 0.0000" in lab.sidecar("a", "liver", "saliency")["warnings"][0]
    expect(lab, positive())
    assert lab.run().exit_code == 0
    assert lab.maps() == times
    assert lab.sidecar("a", "liver", "saliency")["warnings"] == []


@pytest.mark.parametrize("key", ["expected_dice", "prediction"])
@pytest.mark.slow
def test_the_least_dice_may_be_set_in_the_config(key: str, tmp_path: Path) -> None:
    lab = liver_lab(tmp_path)
    theirs = positive()
    theirs[:2] = 0
    expect(lab, theirs)
    assert lab.predict().exit_code == 1
    lab.keys[key] = 0.5 if key == "expected_dice" else {"expected_dice": 0.5}
    assert lab.predict().exit_code == 0
    assert lab.record()["predictions"][0]["expected"]["expected_dice"] == 0.5


def test_a_datalist_names_expected_segmentations(tmp_path: Path) -> None:
    lab = liver_lab(tmp_path)
    expect(lab, positive())
    (tmp_path / "list.json").write_text(json.dumps({"test": lab.keys["data"]["cases"]}))
    lab.keys["data"]["cases"] = "list.json"
    assert lab.predict().exit_code == 0
    assert lab.record()["predictions"][0]["dice"] == {"liver": 1.0}


def test_validate_lists_cases_with_an_expected_segmentation(tmp_path: Path) -> None:
    lab = liver_lab(tmp_path)
    assert "nothing proves" in lab.validate().stdout
    expect(lab, positive())
    result = lab.validate()
    assert "nothing proves" not in result.stdout
    assert "expected: a; Dice of at least 0.99" in result.stdout
    result = without_maps(lab).validate()
    assert result.exit_code == 0
    assert "valid for `esegeta predict`" in result.stdout
    assert not lab.root.exists()


def wrong_shape(lab: Lab) -> None:
    expect(lab, positive()[:-1])


def wrong_place(lab: Lab) -> None:
    affine = affine_of("anisotropic")
    affine[0, 3] += 1
    expect(lab, positive(), affine=affine)


def foreign(lab: Lab) -> None:
    expect(lab, 255 * positive())


def fractions(lab: Lab) -> None:
    expect(lab, noise())


def missing(lab: Lab) -> None:
    expect(lab, positive()).unlink()


def two_channels(lab: Lab) -> None:
    expect(lab, np.stack([positive(), positive()], axis=-1))


REFUSED = {
    wrong_shape: "different grids",
    wrong_place: "different grids",
    foreign: "holds 255; the labels are 0, 1",
    fractions: "must hold integers",
    missing: "check the path in `data.cases[1].expected`",
    two_channels: "has 2 channels",
}


@pytest.mark.parametrize("fault", REFUSED, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("command", ["predict", "run", "validate"])
def test_invalid_expected_segmentations_are_refused(
    command: str, fault: Any, tmp_path: Path
) -> None:
    lab = liver_lab(tmp_path, cases=2)
    fault(lab)  # on the first case; below it becomes the second
    cases = lab.keys["data"]["cases"]
    cases[0], cases[1] = {**cases[1]}, {**cases[0]}
    lab.write()
    result = esegeta(command, lab.config)
    place = f"{lab.config}:{lab.line_of('expected: ')}: "
    refused(result, lab, place, REFUSED[fault])


def test_channels_without_a_name_may_be_expected(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0], [-1.0]], [0.0, 0.0, 0.0])
    expect(lab, np.where(noise() > 0, 1, 2).astype(np.uint8))
    assert lab.predict().exit_code == 0  # integer 2 is channel 2's
