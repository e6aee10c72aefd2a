"""What a run leaves: names, record, sidecars, tables and segmentation, as they are promised."""

import hashlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from esegeta import __version__
from tests.builders import affine_of
from tests.experiments import Lab, noise, pointwise_lab, read_json, save_image, unet_lab, voxels

VOXEL_ML = 0.7 * 1.9 * 3.1 / 1000


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def lab_of(folder: Path, num_channels: int = 1, cases: int = 1) -> Lab:
    weight = [[0.0] * num_channels, [float(channel + 1) for channel in range(num_channels)]]
    return pointwise_lab(folder, weight, [0.0, 0.0], cases=cases)


def test_the_files_of_a_run(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.keys["methods"].append({"name": "saliency", "id": "magnitude", "absolute": True})
    assert lab.run().exit_code == 0
    top = {
        "run.json",
        "scores.csv",
        "dataset_description.json",
        ".bidsignore",
        ".journal.jsonl",
        ".experiment.json",
    }
    endings = ("nii.gz", "tsv", "json", "label", "lut", "ctbl")
    prediction = {f"a/a_desc-prediction_dseg.{ending}" for ending in endings}
    tasks = {
        f"a/a_label-liver_desc-{method}_{ending}"
        for method in ("saliency", "magnitude")
        for ending in ("attrmap.nii.gz", "attrmap.json", "overlay.png")
    }
    assert files(lab.root) == top | prediction | tasks | {"a/a_liver.mrb"}


@pytest.mark.slow
def test_each_channel_has_its_own_map_beside_the_sum(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, num_channels=2)
    save_image(tmp_path / "t1.nii.gz", noise(seed=1))
    save_image(tmp_path / "t2.nii.gz", noise(seed=2))
    lab.keys["data"] = {
        "cases": [{"name": "a", "image": ["t1.nii.gz", "t2.nii.gz"]}],
        "channels": ["t1", "t2"],
    }
    lab.keys["targets"][0]["over"] = "all"
    assert lab.run().exit_code == 0
    names = {path.name for path in (lab.root / "a").glob("*attrmap*")}
    assert names == {
        "a_label-liver_desc-saliency_attrmap.nii.gz",
        "a_label-liver_desc-saliency_attrmap.json",
        "a_label-liver_chan-t1_desc-saliency_attrmap.nii.gz",
        "a_label-liver_chan-t2_desc-saliency_attrmap.nii.gz",
    }
    for name, expected in (("_chan-t1", 1.0), ("_chan-t2", 2.0), ("", 3.0)):
        path = lab.root / "a" / f"a_label-liver{name}_desc-saliency_attrmap.nii.gz"
        assert nib.load(path).shape == (12, 11, 9)
        np.testing.assert_allclose(voxels(path), expected, atol=1e-5)
    assert lab.sidecar("a", "liver", "saliency")["channels"] == ["t1", "t2"]


@pytest.mark.slow
def test_trailing_channels_are_numbered(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, num_channels=3)
    save_image(tmp_path / "a.nii.gz", noise((12, 11, 9, 3)))
    lab.keys["targets"][0]["over"] = "all"
    assert lab.run().exit_code == 0
    for channel in range(3):
        path = lab.root / "a" / f"a_label-liver_chan-{channel}_desc-saliency_attrmap.nii.gz"
        np.testing.assert_allclose(voxels(path), channel + 1.0, atol=1e-5)


def test_each_component_is_a_target_with_volume_and_centre(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    array = np.full((12, 11, 9), -1.0, np.float32)
    array[1:4, 1:4, 1:3] = 2.0
    array[8:10, 7:9, 5:8] = 3.0
    array[11, 0, 0] = 3.0
    save_image(tmp_path / "a.nii.gz", array)
    component = {"component": "each", "min_volume_ml": 2 * VOXEL_ML}
    lab.keys["targets"] = [{"label": "liver", **component}]
    assert lab.run().exit_code == 0
    assert set(lab.statuses()) == {("a", f"liver#{rank}", "saliency") for rank in (1, 2)}
    boxes = {
        "liver#1": (np.s_[1:4, 1:4, 1:3], 18, (2.0, 2.0, 1.5)),
        "liver#2": (np.s_[8:10, 7:9, 5:8], 12, (8.5, 7.5, 6.0)),
    }
    for name, (box, count, centre) in boxes.items():
        expected = np.zeros_like(array)
        expected[box] = 1.0
        np.testing.assert_allclose(lab.map("a", name, "saliency"), expected, atol=1e-6)
        facts = lab.sidecar("a", name, "saliency")["target_facts"]
        assert facts["volume_ml"] == pytest.approx(count * VOXEL_ML)
        assert facts["voxels"] == count
        centre_mm = (affine_of("anisotropic") @ (*centre, 1))[:3]
        np.testing.assert_allclose(facts["centre_mm"], centre_mm, atol=1e-4)


@pytest.mark.slow
def test_the_record_holds_versions_config_and_units(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, cases=2)
    lab.keys["methods"] = [{"name": "integrated_gradients", "steps": 3}]
    lab.run()
    record = lab.record()
    assert record["esegeta"] == record["versions"].get("esegeta", __version__)
    for package in ("torch", "monai", "nibabel", "numpy", "SimpleITK"):
        assert record["versions"][package] == metadata.version(package)
    assert record["seed"] == 3
    assert record["device"]["type"] == "cpu"
    assert record["weights_sha256"] == sha256(tmp_path / "w.safetensors")
    images = [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"]
    assert record["inputs_sha256"] == {str(path): sha256(path) for path in images}
    assert record["config_file"] == str(lab.config)
    config = record["config"]
    assert config["inference"]["overlap"] == 0.5
    assert config["inference"]["precision"] == "fp32"  # a default that no file holds
    assert config["targets"][0]["reduce"] == "sum"
    assert config["model"]["class"] == "tiny_networks:Pointwise"
    assert record["methods"]["integrated_gradients"]["steps"] == 3
    assert record["methods"]["integrated_gradients"]["tolerance"] == 0.05
    assert record["state"] == "complete"
    assert 0 < record["seconds"] < 60
    assert any("is code" in note for note in record["notes"])
    assert [task["status"] for task in record["units"]] == ["done", "done"]
    assert all(task["seconds"] > 0 for task in record["units"])


@pytest.mark.slow
def test_the_record_holds_changes_from_the_command_line(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.keys["device"] = "auto"
    lab.run("--set", "seed=9", "--device", "cpu", "-o", tmp_path / "elsewhere")
    record = read_json(tmp_path / "elsewhere" / "tiny" / "run.json")
    assert (record["config"]["seed"], record["seed"]) == (9, 9)
    assert record["config"]["device"] == "cpu"
    assert record["config"]["output"] == str(tmp_path / "elsewhere")
    assert not lab.root.exists()


def test_a_sidecar_describes_its_map(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.keys["methods"] = [{"name": "smoothgrad", "samples": 2, "id": "noisy"}]
    lab.run()
    sidecar = lab.sidecar("a", "liver", "noisy")
    assert (sidecar["case"], sidecar["target_name"], sidecar["method_id"]) == (
        "a",
        "liver",
        "noisy",
    )
    assert sidecar["method"] == "smoothgrad"
    assert sidecar["parameters"]["samples"] == 2
    assert sidecar["parameters"]["seed"] == 3  # the run's
    assert sidecar["facts"]["seed"] == 3
    assert sidecar["target"] == "sum of logit of liver over predicted"
    assert sidecar["target_facts"]["voxels"] == int((noise() > 0).sum())
    assert sidecar["unit"] == "logit x voxels / input unit"
    assert "raise" in sidecar["sign"]
    assert sidecar["inputs_sha256"] == {str(tmp_path / "a.nii.gz"): sha256(tmp_path / "a.nii.gz")}
    assert sidecar["weights_sha256"] == sha256(tmp_path / "w.safetensors")
    assert sidecar["esegeta"] == __version__
    assert sidecar["facts"]["num_windows"] == sidecar["facts"]["active_windows"] == 8
    assert sidecar["warnings"] == []


@pytest.mark.slow
def test_scores_have_one_value_a_line(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, cases=2)
    lab.keys["methods"].append("input_x_gradient")
    lab.keys["scores"] = [
        {"name": "infidelity", "samples": 3},
        {"name": "sensitivity_max", "samples": 1, "id": "steady"},
    ]
    assert lab.run().exit_code == 0
    first = (lab.root / "scores.csv").read_text().splitlines()[0]
    assert first == "case,target,method,score,value,better"
    rows = lab.scores()
    names = ["infidelity", "infidelity_beta", "infidelity_relative", "steady.sensitivity_max"]
    assert [(row["case"], row["method"], row["score"]) for row in rows] == [
        (case, method, name)
        for case in "ab"
        for method in ("saliency", "input_x_gradient")
        for name in names
    ]
    assert {row["better"] for row in rows} == {"lower"}
    values = {(row["method"], row["score"]): float(row["value"]) for row in rows}
    # The network is linear: its gradient foretells every change, and never changes itself.
    assert values["saliency", "infidelity"] == pytest.approx(0, abs=1e-6)
    assert values["saliency", "infidelity_relative"] == pytest.approx(0, abs=1e-6)
    assert values["saliency", "steady.sensitivity_max"] == pytest.approx(0, abs=1e-6)
    # Squares are set to a value, whose difference both slopes and contributions know.
    assert values["input_x_gradient", "infidelity"] == pytest.approx(0, abs=1e-6)
    assert values["input_x_gradient", "steady.sensitivity_max"] > 1e-3
    sidecar = lab.sidecar("a", "liver", "saliency")
    assert [row["score"] for row in sidecar["scores"]] == names


def test_the_folder_is_a_bids_derivative(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.run()
    description = read_json(lab.root / "dataset_description.json")
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"] == [{"Name": "esegeta", "Version": __version__}]
    ignored = (lab.root / ".bidsignore").read_text().split()
    assert {"run.json", "scores.csv", "*_attrmap.*", "*_overlay.png"} <= set(ignored)


@pytest.mark.slow
def test_the_segmentation_holds_the_integers_of_the_config(tmp_path: Path) -> None:
    bounds = [0.0, -2.0, -6.0]  # argmax of (0, x, 2x - 2, 4x - 8 + 2) steps at 0, 2, 2
    weight = [[0.0], [1.0], [2.0], [4.0]]
    lab = pointwise_lab(tmp_path, weight, [0.0, *bounds])
    array = np.full((12, 11, 9), -1.0, np.float32)
    array[0:3], array[3:5], array[5:9] = 1.0, 2.5, 7.0
    save_image(tmp_path / "a.nii.gz", array)
    lab.keys["labels"] = {1: "core", 2: "oedema", 4: "enhancing"}
    lab.keys["targets"] = [{"label": 4, "over": "all"}]
    assert lab.run().exit_code == 0
    scores = np.array([[0.0 * x, x, 2 * x - 2, 4 * x - 6] for x in (1.0, 2.5, 7.0)])
    expected = np.zeros(array.shape)
    for place, rows in enumerate((np.s_[0:3], np.s_[3:5], np.s_[5:9])):
        expected[rows] = [0, 1, 2, 4][int(scores[place].argmax())]
    assert set(np.unique(expected)) == {0, 1, 4}
    path = lab.root / "a" / "a_desc-prediction_dseg.nii.gz"
    np.testing.assert_array_equal(voxels(path), expected)
    assert voxels(path).dtype == np.uint8
    assert nib.load(path).header.get_intent()[0] == "label"
    table = path.with_name("a_desc-prediction_dseg.tsv").read_text().splitlines()
    assert table[0].split("\t") == ["index", "name", "color"]
    rows = [line.split("\t") for line in table[1:]]
    assert [row[:2] for row in rows] == [
        ["0", "background"],
        ["1", "core"],
        ["2", "oedema"],
        ["4", "enhancing"],
    ]
    assert len({row[2] for row in rows}) == 4
    assert all(len(row[2]) == 7 and row[2].startswith("#") for row in rows)
    volume = read_json(path.with_name("a_desc-prediction_dseg.json"))["volume_ml"]
    assert volume["enhancing"] == pytest.approx(int((expected == 4).sum()) * VOXEL_ML)
    np.testing.assert_allclose(lab.map("a", "4", "saliency"), 4.0, atol=1e-5)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_maps(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    bump = {"name": "smoothgrad", "samples": 2, "base": "input_x_gradient"}
    lab.keys["methods"] = [{**bump, "id": "one"}, {**bump, "id": "two", "seed": 4}]
    lab.run()
    first = lab.map("a", "liver", "one")
    assert not np.array_equal(first, lab.map("a", "liver", "two"))
    lab.run("--overwrite")
    np.testing.assert_array_equal(lab.map("a", "liver", "one"), first)


@pytest.mark.slow
def test_random_weights_are_noted_and_reproducible(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    del lab.keys["model"]["weights"]
    lab.keys["targets"][0]["over"] = "all"
    assert "the network has random weights" in lab.run().stdout
    first = lab.map("a", "liver", "saliency")
    lab.run("--overwrite")
    np.testing.assert_array_equal(lab.map("a", "liver", "saliency"), first)
    assert set(lab.statuses().values()) == {"done"}
    lab.run()
    assert set(lab.statuses().values()) == {"skipped"}
    lab.run("--set", "seed=4")
    assert set(lab.statuses().values()) == {"done"}
    assert not np.array_equal(lab.map("a", "liver", "saliency"), first)


@pytest.mark.slow
def test_the_installed_command_runs_an_experiment(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    command = [str(Path(sys.executable).with_name("esegeta")), "run", str(lab.write())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 done, 0 skipped, 0 failed" in done.stdout
    assert (lab.file("a", "liver", "saliency", "overlay.png")).stat().st_size > 5000
