"""Real patches of the cases: how many, of what, and what is said where there is too little."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from esegeta.config import load_config
from esegeta.workflow.features.build import build_features
from esegeta.workflow.features.material import Material, collect
from tests.builders import affine_of
from tests.experiments import Lab, noise, read_json, save_image, voxels
from tests.workflow.features.labs import feature_lab, features
from tests.workflow.features.test_features import UNIT

SHAPE = (14, 12)


def material_of(lab: Lab) -> Material:
    """Return what is known of the cases of a config."""
    return collect(build_features(load_config(lab.write())))


def test_constant_patches_are_taken_only_where_there_are_no_others(tmp_path: Path) -> None:
    """Two are taken of a case of air; of another as many as requested, all of tissue."""
    lab = feature_lab(tmp_path, 2)
    save_image(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.float32))
    real = material_of(lab).real
    assert Counter(case for case, _ in real.places) == {"a": 2, "b": 4}
    assert real.data[:2].abs().max() == 0
    assert (real.data[2:].flatten(1).std(1) > 0).all()


@pytest.mark.slow
def test_constant_cases_have_no_typical_total_variation(tmp_path: Path) -> None:
    lab = feature_lab(tmp_path, 2)
    for name in "ab":
        save_image(tmp_path / f"{name}.nii.gz", np.full(SHAPE, 3.0, np.float32))
    assert features(lab, "-q").exit_code == 0
    told = read_json(lab.root / "features" / UNIT / "picture.json")
    assert told["total_variation"] is None
    assert told["high_frequency_real"] == 0
    assert (lab.root / "features" / f"{UNIT}.png").is_file()


def test_more_patches_than_memory_has_room_for_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    four = 4 * 8 * 8 * 4 / 2**20  # patches of 8 x 8 float32
    monkeypatch.setattr("esegeta.workflow.features.material.MOST_MB", four)
    material = material_of(feature_lab(tmp_path, 2))
    assert len(material.real.data) == 4
    (note,) = material.notes
    assert note.startswith("features: 4 real patches instead of 8: more would take up more than ")


def test_the_class_mean_is_of_the_cases_that_have_the_class(tmp_path: Path) -> None:
    """About the single voxel of the label there is a single patch, which is its own mean."""
    lab = feature_lab(tmp_path, 2, start="class_mean", start_label="liver")
    one = np.zeros(SHAPE, np.uint8)
    save_image(tmp_path / "a_label.nii.gz", one)
    one[6, 5] = 1
    save_image(tmp_path / "b_label.nii.gz", one)
    means = material_of(lab).class_means
    assert list(means) == ["liver"]
    patch = voxels(tmp_path / "b.nii.gz")[2:10, 1:9]
    assert torch.equal(means["liver"][0], torch.from_numpy(patch))
    assert features(lab, "-q").exit_code == 0
    told = read_json(lab.root / "features" / UNIT / "picture.json")
    assert (told["start"], told["start_label"]) == ("class_mean", "liver")


def test_the_class_mean_of_a_class_in_no_case_is_refused(tmp_path: Path) -> None:
    lab = feature_lab(tmp_path, 2, start="class_mean")
    for name in "ab":
        save_image(tmp_path / f"{name}_label.nii.gz", np.zeros(SHAPE, np.uint8))
    result = features(lab)
    assert result.exit_code == 2
    words = " ".join(result.output.split())
    assert 'no case has a voxel of "liver", whose mean patch pictures start from' in words
    assert "name another label with features.start_label" in words
    assert "Traceback" not in result.output


def test_voxels_of_unlike_size_are_noted(tmp_path: Path) -> None:
    lab = feature_lab(tmp_path, 2)
    told = "features: the voxels of the cases differ in size; pictures have 0.7x1.9 mm, as the firs"
    job = build_features(load_config(lab.write()))
    assert not [note for note in job.basis.notes if note.startswith(told)]
    affine = affine_of("anisotropic", 2) @ np.diag([2, 1, 1, 1])
    save_image(tmp_path / "b.nii.gz", noise(SHAPE), affine)
    save_image(tmp_path / "b_label.nii.gz", np.zeros(SHAPE, np.uint8), affine)
    job = build_features(load_config(lab.write()))
    (note,) = (note for note in job.basis.notes if note.startswith(told))
    assert note.endswith("give preprocess.spacing_mm")
