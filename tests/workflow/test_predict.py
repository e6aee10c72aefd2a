"""`esegeta predict`: the same prediction as a run's, its files, and when it is made anew."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.builders import affine_of
from tests.experiments import Lab, noise, pointwise_lab, read_json, save_image, unet_lab, voxels
from tests.workflow.predictions import dseg, expect, liver_lab, positive, without_maps

pytestmark = pytest.mark.usefixtures("quick")

FILES = tuple(f"dseg.{ending}" for ending in ("nii.gz", "tsv", "json", "label", "lut", "ctbl"))


def test_a_prediction_without_targets_and_methods(tmp_path: Path) -> None:
    lab = without_maps(liver_lab(tmp_path, cases=2))
    result = lab.predict()
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(lab.segmentation("a"), positive(0))
    np.testing.assert_array_equal(lab.segmentation("b"), positive(1))
    found = {str(path.relative_to(lab.root)) for path in lab.root.rglob("*") if path.is_file()}
    assert found == {
        *(
            "run.json",
            "predictions.csv",
            "dataset_description.json",
            ".bidsignore",
            ".experiment.json",
        ),
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
@pytest.mark.slow
def test_a_change_that_decides_a_prediction_makes_it_again(change: str, tmp_path: Path) -> None:
    lab = liver_lab(tmp_path)
    expect(lab, positive())
    lab.predict()
    assert "0 done, 1 skipped" in lab.predict().stdout
    CHANGES[change](lab)
    assert "1 done, 0 skipped" in lab.predict().stdout
    assert "1 done, 0 skipped" in lab.predict("--overwrite").stdout


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["logits", "probabilities", "labels", "nnunet", "monai"])
def test_sidecars_record_the_resampling_rule_of_the_prediction(rule: str, tmp_path: Path) -> None:
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


@pytest.mark.slow
def test_resampling_rules_differ_if_grids_differ(tmp_path: Path) -> None:
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
