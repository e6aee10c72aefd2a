"""`esegeta features` from a config to files: what is there, what is kept, what is told."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.experiments import (
    Lab,
    esegeta,
    noise,
    read_json,
    refused,
    save_image,
    voxels,
    weighted_lab,
    written,
)
from tests.workflow.features.labs import SIZE, feature_lab, features

UNIT = "model-0-1"


def rows(lab: Lab) -> list[dict[str, str]]:
    with (lab.root / "features" / "features.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_a_picture_is_written_and_kept(tmp_path: Path) -> None:
    lab = feature_lab(tmp_path)
    result = features(lab)
    assert result.exit_code == 0, result.output
    folder = lab.root / "features"
    image = nib.load(folder / UNIT / "picture.nii.gz")
    assert list(image.shape) == SIZE
    spacing = nib.load(tmp_path / "a.nii.gz").header.get_zooms()
    assert np.allclose(image.header.get_zooms(), spacing)
    kept = load_file(folder / UNIT / "picture.safetensors")
    assert sorted(kept) == ["seed0", "seed1"]
    assert np.array_equal(voxels(folder / UNIT / "picture.nii.gz"), kept["seed0"][0, 0].numpy())
    told = read_json(folder / UNIT / "picture.json")
    assert told["objective"] == "unit 1 of model.0 (mean)"
    for name in ("percentile", "high_frequency", "total_variation", "distance", "stability"):
        assert told[name] is not None
    assert len(told["activations"]) == 2
    assert (folder / f"{UNIT}.png").is_file()
    assert (folder / UNIT / "picture_planes.png").is_file()
    (row,) = rows(lab)
    assert float(row["activation"]) == pytest.approx(told["activation"])
    before = written(folder, "**/*")
    again = features(lab)
    assert again.exit_code == 0
    assert "1 skipped" in again.output
    after = written(folder, "**/*.nii.gz")
    assert all(before[path] == when for path, when in after.items())
    lab.keys["features"]["rate"] = 0.1
    assert "1 done" in features(lab).output
    record = read_json(folder / "features.json")
    assert record["state"] == "complete"
    assert record["units"][0]["status"] == "done"


@pytest.mark.slow
def test_compare_makes_a_picture_in_each_of_the_four_ways(tmp_path: Path) -> None:
    lab = feature_lab(tmp_path, 2, compare=True, objectives=[{"label": "liver"}])
    result = features(lab, "-q")
    assert result.exit_code == 0, result.output
    names = [row["picture"] for row in rows(lab)]
    assert names == ["picture", "simple_mean", "simple_class_mean", "density", "code"]
    assert [row["prior"] for row in rows(lab)] == ["none", "l2", "l2", "expert", "code"]
    folder = lab.root / "features"
    for name in names:
        assert voxels_of(folder / "liver" / f"{name}.png").shape[:2] == (8, 8)
    lab.keys["features"]["compare"] = False
    assert "1 skipped" in features(lab).output


def voxels_of(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path))


@pytest.mark.slow
def test_fit_learns_and_makes_no_picture(tmp_path: Path) -> None:
    lab = feature_lab(tmp_path, 2, compare="density")
    result = esegeta("features", "fit", lab.write())
    assert result.exit_code == 0, result.output
    folder = lab.root / "features"
    assert sorted(path.name for path in (folder / "fit").iterdir() if path.suffix != ".jsonl") == [
        "expert_mixture.json",
        "expert_mixture.safetensors",
        "fit.json",
        "generator_pca.json",
        "generator_pca.safetensors",
    ]
    assert read_json(folder / "fit" / "generator_pca.json")["explained"] > 0.1
    assert not list(folder.rglob("*.png"))
    assert "1 skipped" in features(lab).output  # the expert


@pytest.mark.parametrize("parametrisation", ["voxels", "multiscale", "code"])
def test_every_parametrisation_works_with_learned_priors(
    parametrisation: str, tmp_path: Path
) -> None:
    keys = {
        "parametrisation": parametrisation,
        "start": {"voxels": "noise", "multiscale": "case", "code": "mean"}[parametrisation],
        "prior": "expert" if parametrisation == "code" else "tv",
        "expert": {"kind": "denoiser", "iterations": 2},
        "generator": {"kind": "vae", "codes": 3, "iterations": 2},
        "jitter_voxels": 1,
        "rotate_degrees": 5,
        "scale": 0.1,
        "blur": {"sigma_mm": 1},
        "alpha_norm": True,
        "diversity": {"layer": "model.0", "images": 2},
    }
    lab = feature_lab(tmp_path, 2, **keys)
    result = features(lab, "-q")
    assert result.exit_code == 0, result.output
    assert len(read_json(lab.root / "features" / UNIT / "picture.json")["images"]) == 2


def test_objectives_combine_and_read_directions(tmp_path: Path) -> None:
    save_file({"direction": torch.tensor([1.0, 0, 0, 0])}, tmp_path / "cav.safetensors")
    objectives = [
        {"name": "one", "layer": "model.0", "unit": 0},
        {"label": "liver", "at": "centre"},
        {"name": "toward", "layer": "model.0", "direction": "cav.safetensors"},
        {"name": "less", "combine": {"one": 2, "toward": -1}},
        {"name": "dream", "layer": "model.0"},
    ]
    lab = feature_lab(tmp_path, 2, objectives=objectives, steps=1, seeds=1)
    result = features(lab, "-q")
    assert result.exit_code == 0, result.output
    found = {row["objective"]: float(row["activation"]) for row in rows(lab)}
    # The direction is unit 0 itself, so that one of it is left.
    assert found["less"] == pytest.approx(found["one"], rel=1e-4)
    assert found["toward"] == pytest.approx(found["one"], rel=1e-4)


@pytest.mark.slow
def test_a_concept_of_another_command_is_a_direction(tmp_path: Path) -> None:
    vectors = {"fat": torch.eye(4)[2], "fat/draws": torch.eye(4)[:2], "bone": torch.eye(4)[3]}
    tensors = {f"model.0/{name}": vector for name, vector in vectors.items()}
    save_file({**tensors, "model.1/fat": torch.ones(8)}, tmp_path / "cavs.safetensors")
    fat = {"layer": "model.0", "direction": "cavs.safetensors", "concept": "fat"}
    unit = {"name": "unit", "layer": "model.0", "unit": 2}
    lab = feature_lab(tmp_path, 2, objectives=[fat, unit], steps=1, seeds=1)
    assert features(lab, "-q").exit_code == 0
    found = {row["objective"]: row["activation"] for row in rows(lab)}
    assert list(found) == ["model.0-fat", "unit"]
    assert float(found["model.0-fat"]) == pytest.approx(float(found["unit"]), rel=1e-5)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"concept": "fatt"}, ('no concept "fatt" in layer "model.0"', '"fat"')),
        ({"concept": "fat", "layer": "model.1"}, ('in layer "model.1"', "its layers are model.0")),
        ({}, ("cavs.safetensors: holds 2 vectors", "`concept`")),
        ({"concept": "fat", "direction": [1, 0, 0, 0]}, ("`direction` must be that file",)),
    ],
)
def test_an_unknown_concept_is_named(
    keys: dict[str, object], words: tuple[str, ...], tmp_path: Path
) -> None:
    tensors = {"model.0/fat": torch.ones(4), "model.0/fat/draws": torch.ones(2, 4)}
    save_file(tensors, tmp_path / "cavs.safetensors")
    objective = {"layer": "model.0", "direction": "cavs.safetensors", **keys}
    lab = feature_lab(tmp_path, 2, objectives=[objective])
    refused(features(lab), lab, f"{lab.config}:{lab.line_of('- layer:')}: ", *words)


def test_a_dream_lies_on_the_grid_of_its_image(tmp_path: Path) -> None:
    lab = feature_lab(tmp_path, dream={"layer": "model.0", "octaves": 2, "steps": 1, "case": "b"})
    assert features(lab, "-q").exit_code == 0
    folder = lab.root / "features" / "dream"
    one, other = nib.load(folder / "b_dream.nii.gz"), nib.load(tmp_path / "b.nii.gz")
    assert one.shape == other.shape
    assert np.allclose(one.affine, other.affine)
    assert not np.allclose(one.get_fdata(), other.get_fdata(), atol=1e-3)


def test_a_dream_of_a_2d_network_changes_one_slice_of_a_scan(tmp_path: Path) -> None:
    lab = feature_lab(tmp_path, 2, dream={"layer": "model.0", "octaves": 1, "steps": 1})
    shape = (14, 12, 5)
    for case in lab.keys["data"]["cases"]:
        save_image(tmp_path / case["image"], noise(shape))
        del case["label"]
    lab.keys["inference"]["slice_axis"] = 2
    assert features(lab, "-q").exit_code == 0
    before, after = (
        voxels(path) for path in (tmp_path / "a.nii.gz", lab.root / "features/dream/a_dream.nii.gz")
    )
    changed = np.abs(after - before).max((0, 1)) > 1e-3
    assert changed.tolist() == [False, False, True, False, False]


@pytest.mark.slow
def test_the_picture_of_a_linear_unit_is_exact_for_scans_far_from_zero(tmp_path: Path) -> None:
    """Under |x| = 1 the picture is w / |w|, whatever is typical of the cases."""
    w = torch.randn(2, 1, 6, 5)
    lab = weighted_lab(tmp_path, w, shape=(14, 12))
    save_image(tmp_path / "a.nii.gz", 40 * noise((14, 12)) + 200)
    del lab.keys["targets"], lab.keys["methods"]
    block = {"objectives": [{"label": "liver"}], "size": [6, 5], "norm": 1, "seeds": 1}
    for decorrelate in (True, False):
        lab.keys["features"] = {**block, "decorrelate": decorrelate, "steps": 100, "rate": 0.1}
        assert features(lab, "-q").exit_code == 0
        found = load_file(lab.root / "features/liver/picture.safetensors")["seed0"][0, 0]
        assert float((found * w[1, 0]).sum() / w[1].norm()) > 0.999


def test_a_code_finds_a_linear_unit_of_scans_far_from_zero(tmp_path: Path) -> None:
    """As many components as voxels have every direction."""
    w = torch.randn(2, 1, 4, 3)
    lab = weighted_lab(tmp_path, w, shape=(14, 12))
    save_image(tmp_path / "a.nii.gz", noise((14, 12)) + 4)
    del lab.keys["targets"], lab.keys["methods"]
    lab.keys["features"] = {
        **{"objectives": [{"label": "liver"}], "size": [4, 3], "norm": 1, "seeds": 1},
        **{"parametrisation": "code", "patches": 60, "steps": 100, "rate": 0.1},
    }
    assert features(lab, "-q").exit_code == 0
    found = load_file(lab.root / "features/liver/picture.safetensors")["seed0"][0, 0]
    assert float((found * w[1, 0]).sum() / w[1].norm()) > 0.999


def test_a_code_moves_away_from_the_mean_patch_to_activate_a_unit(tmp_path: Path) -> None:
    """The length of a typical code weighs as one spread of the objective, not as many."""
    lab = feature_lab(tmp_path, 2, prior="code", seeds=1, steps=60, rate=0.1, patches=40)
    assert features(lab, "-q").exit_code == 0
    told = read_json(lab.root / "features" / UNIT / "picture.json")
    assert told["activation"] > told["largest_real"] or told["percentile"] > 95


@pytest.mark.slow
def test_learned_priors_make_pictures_nearer_to_the_data(tmp_path: Path) -> None:
    """On smooth cases: density and code come nearer to real patches than simple AM."""
    lab = feature_lab(tmp_path, 2, compare=True, steps=40, seeds=1, patches=64, rate=0.1)
    places = np.indices((14, 12)).sum(0) / 4
    for number, case in enumerate(lab.keys["data"]["cases"]):
        image = np.sin(places + number).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / case["image"])
        label = (image > 0).astype(np.uint8)
        nib.save(nib.Nifti1Image(label, np.eye(4)), tmp_path / case["label"])
    assert features(lab, "-q").exit_code == 0
    found = {row["picture"]: row for row in rows(lab)}
    for name in ("density", "code"):
        for simple in ("simple_mean", "simple_class_mean"):
            assert float(found[name]["distance"]) < float(found[simple]["distance"])
            assert float(found[name]["high_frequency"]) < float(found[simple]["high_frequency"])


@pytest.mark.slow
def test_a_second_device_makes_the_same_pictures(tmp_path: Path, second: torch.device) -> None:
    lab = feature_lab(tmp_path, 2, compare=True, seeds=1)
    kept = []
    for name in ("cpu", "testdevice"):
        lab.keys |= {"device": name, "output": str(tmp_path / name)}
        assert features(lab, "-q").exit_code == 0
        folder = tmp_path / name / "tiny" / "features" / UNIT
        kept.append({path.name: load_file(path) for path in folder.glob("*.safetensors")})
    for name, tensors in kept[0].items():
        assert torch.allclose(tensors["seed0"], kept[1][name]["seed0"], atol=1e-5), name


@pytest.mark.slow
def test_figures_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for ndim in (2, 3):
        folder = tmp_path / str(ndim)
        folder.mkdir()
        lab = feature_lab(folder, ndim, dream={"layer": "model.0", "octaves": 1, "steps": 1})
        assert features(lab, "-q").exit_code == 0
        for name in (f"{UNIT}.png", "dream/a_dream.png"):
            assert len(np.unique(voxels_of(lab.root / "features" / name))) > 20
        result = esegeta("report", lab.root, "-q")
        assert result.exit_code == 0, result.output
        page = (lab.root / "report" / "index.html").read_text(encoding="utf-8")
        assert "Features" in page
        assert "features.csv" in page
