"""`esegeta predict`: the same prediction as a run's, compared with the one that is expected."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.builders import affine_of
from tests.experiments import (
    Lab,
    esegeta,
    noise,
    pointwise_lab,
    read_json,
    refused,
    save_image,
    unet_lab,
    voxels,
)

pytestmark = pytest.mark.usefixtures("quick")

FILES = ("dseg.nii.gz", "dseg.tsv", "dseg.json")


def dseg(lab: Lab, case: str = "a", ending: str = "nii.gz") -> Path:
    return lab.root / case / f"{case}_desc-prediction_dseg.{ending}"


def expect(lab: Lab, array: np.ndarray, case: int = 0, **options: Any) -> Path:
    """Give a case an expected segmentation."""
    name = f"expected_{case}.nii.gz"
    path = save_image(lab.folder / name, array, **options)
    lab.keys["data"]["cases"][case]["expected"] = name
    return path


def positive(seed: int = 0) -> np.ndarray:
    """What `liver_lab` predicts of a case: where the image is above 0."""
    return (noise(seed=seed) > 0).astype(np.uint8)


def liver_lab(folder: Path, cases: int = 1) -> Lab:
    return pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0], cases=cases)


def without_maps(lab: Lab) -> Lab:
    for key in ("targets", "methods", "scores"):
        del lab.keys[key]
    return lab


def test_a_prediction_without_targets_and_methods(tmp_path: Path) -> None:
    lab = without_maps(liver_lab(tmp_path, cases=2))
    result = lab.predict()
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(lab.segmentation("a"), positive(0))
    np.testing.assert_array_equal(lab.segmentation("b"), positive(1))
    found = {str(path.relative_to(lab.root)) for path in lab.root.rglob("*") if path.is_file()}
    assert found == {
        *("run.json", "predictions.csv", "dataset_description.json", ".bidsignore"),
        ".predict.journal.jsonl",
        *(f"{case}/{case}_desc-prediction_{ending}" for case in "ab" for ending in FILES),
    }
    record = lab.record()
    assert (record["command"], record["state"], record["units"]) == ("predict", "complete", [])
    assert [one["status"] for one in record["predictions"]] == ["done", "done"]
    assert record["config"]["prediction"] == {"resample": "logits", "expected_dice": None}
    assert "nothing proves" in result.stdout
    assert "2 done, 0 skipped, 0 failed" in result.stdout
    assert lab.predictions()[0] == {
        "case": "a",
        "label": "liver",
        "dice": "",
        "num_voxels_expected": "",
        "num_voxels_predicted": str(positive(0).sum()),
    }


def test_predictions_equal_those_of_a_run_bit_for_bit(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["data"]["preprocess"] = {"orientation": "SPL", "spacing_mm": [1.1, 1.3, 2.0]}
    lab.keys["targets"][0]["over"] = "all"
    assert lab.run().exit_code == 0
    of_run = {ending: dseg(lab, ending=ending).read_bytes() for ending in ("nii.gz", "tsv", "json")}
    assert lab.predict("-o", tmp_path / "other").exit_code == 0
    lab.keys["output"] = str(tmp_path / "other")
    other = Lab(tmp_path / "x", lab.keys)
    for ending, content in of_run.items():
        path = tmp_path / "other" / "tiny" / "a" / dseg(lab, ending=ending).name
        if ending == "nii.gz":
            np.testing.assert_array_equal(voxels(path), lab.segmentation("a"))
            assert nib.load(path).header == nib.load(dseg(lab)).header
        else:
            assert path.read_bytes() == content
    assert 0 < lab.segmentation("a").mean() < 1
    assert not other.folder.exists()


def test_a_run_goes_on_from_predictions_and_predict_from_a_run(tmp_path: Path) -> None:
    lab = liver_lab(tmp_path, cases=2)
    expect(lab, positive(0))
    assert lab.predict().exit_code == 0
    times = [dseg(lab, case).stat().st_mtime_ns for case in "ab"]
    run = lab.run()
    assert run.exit_code == 0
    assert [dseg(lab, case).stat().st_mtime_ns for case in "ab"] == times
    assert [one["status"] for one in lab.record()["predictions"]] == ["skipped", "skipped"]
    result = lab.predict()
    assert "0 done, 2 skipped, 0 failed" in result.stdout
    assert [dseg(lab, case).stat().st_mtime_ns for case in "ab"] == times
    assert "1.0000" in result.stdout  # what was found before is shown again
    fresh = tmp_path / "fresh"
    assert lab.run("-o", fresh).exit_code == 0
    assert "0 done, 2 skipped" in lab.predict("-o", fresh).stdout


def test_predict_keeps_the_record_of_a_run(tmp_path: Path) -> None:
    lab = liver_lab(tmp_path)
    lab.run()
    before, scores = lab.record(), (lab.root / "scores.csv").read_bytes()
    journal = (lab.root / ".journal.jsonl").read_bytes()
    expect(lab, 1 - positive())
    assert lab.predict().exit_code == 1
    after = lab.record()
    assert after.pop("predictions")[0]["dice"] == {"liver": 0.0}
    before.pop("predictions")
    assert after == before
    assert (lab.root / "scores.csv").read_bytes() == scores
    assert (lab.root / ".journal.jsonl").read_bytes() == journal


def test_the_expected_segmentation_is_found_again(tmp_path: Path) -> None:
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


def test_a_dice_below_reaches_terminal_record_and_sidecars_of_every_map(tmp_path: Path) -> None:
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


def test_finished_maps_learn_of_what_is_expected_and_are_not_made_again(tmp_path: Path) -> None:
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
def test_the_least_dice_is_the_configs(key: str, tmp_path: Path) -> None:
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


CHANGES = {
    "resample": lambda lab: lab.keys.update(prediction={"resample": "labels"}),
    "expected": lambda lab: expect(lab, 1 - positive()),
    "expected_dice": lambda lab: lab.keys.update(expected_dice=0.7),
    "weights": lambda lab: save_file(
        {name: 2 * value for name, value in load_file(lab.folder / "w.safetensors").items()},
        lab.folder / "w.safetensors",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_decides_a_prediction_makes_it_anew(change: str, tmp_path: Path) -> None:
    lab = liver_lab(tmp_path)
    expect(lab, positive())
    lab.predict()
    assert "0 done, 1 skipped" in lab.predict().stdout
    CHANGES[change](lab)
    assert "1 done, 0 skipped" in lab.predict().stdout
    assert "1 done, 0 skipped" in lab.predict("--overwrite").stdout


def test_probabilities_lie_beside_the_segmentation(tmp_path: Path) -> None:
    weight = [[0.0], [1.0], [-2.0]]
    lab = pointwise_lab(tmp_path, weight, [0.0, 0.0, 0.5])
    lab.keys["labels"] = {1: "liver", 2: "left kidney"}
    assert lab.predict("--probabilities").exit_code == 0
    logits = np.stack([w[0] * noise() + b for w, b in zip(weight, (0, 0, 0.5), strict=True)])
    expected = np.exp(logits) / np.exp(logits).sum(axis=0)
    for place, name in ((1, "liver"), (2, "left-kidney")):
        path = lab.root / "a" / f"a_label-{name}_desc-prediction_probseg.nii.gz"
        assert voxels(path).dtype == np.float32
        np.testing.assert_allclose(voxels(path), expected[place], atol=1e-6)
        np.testing.assert_array_equal(nib.load(path).affine, nib.load(dseg(lab)).affine)
    assert len(read_json(dseg(lab, ending="json"))["files"]) == 2
    assert "0 done, 1 skipped" in lab.predict().stdout
    assert "0 done, 1 skipped" in lab.predict("--probabilities").stdout
    path.unlink()
    assert "1 done, 0 skipped" in lab.predict("--probabilities").stdout
    assert path.is_file()
    assert "1 done" in lab.predict("--overwrite").stdout
    assert list(lab.root.rglob("*probseg*")) == []  # they were of another prediction


@pytest.mark.parametrize("rule", ["logits", "probabilities", "labels", "nnunet", "monai"])
def test_the_sidecars_say_on_which_grid_what_was_decided(rule: str, tmp_path: Path) -> None:
    lab = liver_lab(tmp_path)
    lab.keys["data"]["preprocess"] = {"spacing_mm": [1.4, 1.4, 1.4]}
    lab.keys["prediction"] = rule if rule in ("nnunet", "monai") else {"resample": rule}
    assert lab.run().exit_code == 0
    sidecar = read_json(dseg(lab, ending="json"))
    meant = {"nnunet": "logits", "monai": "probabilities"}.get(rule, rule)
    assert sidecar["resample"] == lab.record()["config"]["prediction"]["resample"] == meant
    assert sidecar["grid"]["network"] != sidecar["grid"]["source"]
    words = {"logits": "logits", "probabilities": "probabilities", "labels": "nearest"}
    assert words[meant] in sidecar["grid"]["resampling"]
    assert "network's grid" in lab.sidecar("a", "liver", "saliency")["grid"]["targets"]
    ml = (lab.segmentation("a") == 1).sum() * abs(np.linalg.det(affine_of("anisotropic"))) / 1000
    assert sidecar["volume_ml"]["liver"] == pytest.approx(ml)


def test_the_rules_differ_where_the_grids_do(tmp_path: Path) -> None:
    found = {}
    for rule in ("logits", "labels"):
        folder = tmp_path / rule
        folder.mkdir()
        lab = liver_lab(folder)
        lab.keys["data"]["preprocess"] = {"spacing_mm": [1.4, 3.8, 6.2]}
        lab.keys["prediction"] = {"resample": rule}
        lab.predict()
        found[rule] = lab.segmentation("a")
    assert 0.5 < (found["logits"] == found["labels"]).mean() < 1


def test_validate_says_what_proves_the_pipeline(tmp_path: Path) -> None:
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
def test_what_cannot_be_expected(command: str, fault: Any, tmp_path: Path) -> None:
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


def test_a_case_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    lab = liver_lab(tmp_path, cases=2)
    array = noise()
    array[0, 0, 0] = np.nan
    save_image(tmp_path / "a.nii.gz", array)
    result = lab.predict()
    assert result.exit_code == 1
    assert [one["status"] for one in lab.record()["predictions"]] == ["failed", "done"]
    assert "NaN" in lab.record()["predictions"][0]["message"]
    assert lab.record()["state"] == "incomplete"
    assert [row["case"] for row in lab.predictions()] == ["b"]
