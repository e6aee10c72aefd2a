"""Runs over images of every format: the same maps, said notes, and nothing reused wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from tests.experiments import Lab, pointwise_lab, refused
from tests.volume.dicom_files import itk_volume, voxels, write_series
from tests.volume.test_one_image_in_every_format import WRITERS


def lab_of(folder: Path, channels: int = 1) -> Lab:
    """A voxel is liver where the first channel is above 100."""
    weights = [[0.0] * channels, [1.0] + [0.0] * (channels - 1)]
    lab = pointwise_lab(folder, weights, [0.0, -100.5])
    lab.keys["methods"] = ["input_x_gradient"]
    lab.keys["targets"][0]["over"] = "all"
    return lab


@pytest.mark.slow
def test_every_format_gives_the_same_maps(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    entries = []
    for number, (name, write) in enumerate(WRITERS.items()):
        (tmp_path / str(number)).mkdir()
        write(tmp_path / str(number) / name)
        entries.append({"name": f"c{number}", "image": f"{number}/{name}"})
    lab.keys["data"] = {"cases": entries}
    assert lab.run().exit_code == 0
    maps = [lab.map(entry["name"], "liver", "input_x_gradient") for entry in entries]
    np.testing.assert_allclose(maps[0], voxels(), atol=1e-4)
    for found in maps[1:]:
        assert found.tobytes() == maps[0].tobytes()
    for entry in entries:
        np.testing.assert_array_equal(lab.segmentation(entry["name"]), voxels() > 100)


@pytest.mark.slow
def test_choosing_another_series_makes_a_new_map(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    write_series(tmp_path / "scan", itk_volume(voxels()), series="1", description="t1")
    other = itk_volume(voxels(seed=1))
    write_series(tmp_path / "scan", other, series="2", description="t2", names="abcd")
    lab.keys["data"] = {"cases": [{"name": "a", "image": "scan"}]}
    refused(lab.validate(), lab, "holds 2 series", '"t1" (4 slices of 6x5)', "`series:`")
    for word, seed in (("t1", 0), ("t2", 1)):
        lab.keys["data"]["series"] = word
        assert lab.run().exit_code == 0
        found = lab.map("a", "liver", "input_x_gradient")
        np.testing.assert_allclose(found, voxels(seed=seed), atol=1e-4)


@pytest.mark.slow
def test_a_slice_that_changes_is_read_again(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    write_series(tmp_path / "scan", itk_volume(voxels()))
    lab.keys["data"] = {"cases": [{"name": "a", "image": "scan"}]}
    assert lab.run().exit_code == 0
    changed = voxels()
    changed[2, 2, 1] = 77
    write_series(tmp_path / "scan", itk_volume(changed))
    assert lab.run().exit_code == 0
    np.testing.assert_allclose(lab.map("a", "liver", "input_x_gradient"), changed, atol=1e-4)


@pytest.mark.parametrize("spacing", [None, (1.0, 2.0, 3.0)])
def test_the_spacing_of_an_npz_archive_must_be_given(spacing: Any, tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    np.savez(tmp_path / "a.npz", image=voxels())
    entry: dict[str, Any] = {"name": "a", "image": "a.npz"}
    lab.keys["data"] = {"cases": [entry]}
    if spacing is None:
        refused(lab.validate(), lab, "a.npz: it does not say how large its voxels are")
        return
    for lengths in (spacing, spacing[::-1]):
        entry["spacing_mm"] = list(lengths)
        assert lab.run().exit_code == 0
        path = next(lab.root.rglob("*input_x_gradient*.nii.gz"))
        np.testing.assert_allclose(nib.load(path).header.get_zooms(), lengths)


def test_a_spacing_for_a_file_with_its_own_is_refused(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    sitk.WriteImage(itk_volume(voxels()), str(tmp_path / "a.mha"))
    lab.keys["data"] = {"cases": [{"name": "a", "image": "a.mha", "spacing_mm": [1, 1, 1]}]}
    refused(lab.validate(), lab, "a: spacing_mm is for files that do not say", "not for a.mha")


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.slow
def test_the_axis_of_channels(axis: int, tmp_path: Path) -> None:
    lab = lab_of(tmp_path, channels=2)
    channels = np.stack([voxels(), voxels(seed=1)]).astype(np.float32)
    array = np.moveaxis(channels, 0, axis)
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii")
    lab.keys["data"] = {"cases": [{"name": "a", "image": "a.nii"}], "channels_axis": axis}
    assert lab.run().exit_code == 0
    np.testing.assert_array_equal(lab.segmentation("a"), voxels() > 100)


@pytest.mark.slow
def test_channels_on_other_grids_are_refused_or_resampled(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, channels=2)
    ramp = np.broadcast_to(np.arange(6.0)[:, None, None], (6, 5, 4)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels().astype(np.float32), np.eye(4)), tmp_path / "p_a.nii")
    shifted = np.eye(4)
    shifted[0, 3] = -0.5
    nib.save(nib.Nifti1Image(ramp, shifted), tmp_path / "p_b.nii")
    lab.keys["data"] = {"cases": "p_*.nii", "channels": ["b", "a"]}
    refused(lab.validate(), lab, "different grids", "data: {align: first}")
    lab.keys["data"]["align"] = "first"
    result = lab.run()
    assert result.exit_code == 0
    assert "p_a.nii was resampled onto the grid of" in result.output.replace("\n", " ")
    notes = " ".join(lab.record()["notes"])
    assert "linearly" in notes
    assert "lie beyond it" not in notes
