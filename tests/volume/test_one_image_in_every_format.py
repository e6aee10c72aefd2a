"""The same volume in every format: bit for bit one array, one grid, one map on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from esegeta.volume import Case, Preprocess, Reading, read_case, write_map
from tests.volume.dicom_files import itk_volume, voxels, write_series
from tests.volume.files import geometry_bytes

AFFINE = np.array([[-0.75, 0, 0, 10.5], [0, -1.5, 0, 40.25], [0, 0, 2.5, -7], [0, 0, 0, 1]])
"""Axes to the left, to the back and up, as scanners store them."""
VOXELS = voxels()


def with_nibabel(path: Path) -> None:
    kind = nib.Nifti1Pair if path.suffix == ".hdr" else nib.Nifti1Image
    image = kind(VOXELS, AFFINE)
    image.set_sform(AFFINE, 1)
    image.set_qform(AFFINE, 1)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def with_itk(path: Path) -> None:
    sitk.WriteImage(itk_volume(VOXELS), str(path))


def with_numpy(path: Path) -> None:
    np.savez(path, image=VOXELS, affine=AFFINE)


def as_slices(path: Path) -> None:
    write_series(path, itk_volume(VOXELS))


WRITERS: dict[str, Callable[[Path], None]] = {
    "a.nii": with_nibabel,
    "a.nii.gz": with_nibabel,
    "a.hdr": with_nibabel,
    "a.nrrd": with_itk,
    "a.nhdr": with_itk,
    "a.mha": with_itk,
    "a.mhd": with_itk,
    "a.npz": with_numpy,
    "a": as_slices,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("orientation", [None, "RAS", "SPL"])
def test_every_format_gives_the_same_array_grid_and_map(
    name: str, orientation: str | None, tmp_path: Path
) -> None:
    WRITERS[name](tmp_path / name)
    case = Case("a", (tmp_path / name,))
    plain, _ = read_case(case, Preprocess(), Reading(1, 3))
    np.testing.assert_array_equal(plain.data[0].numpy(), VOXELS)
    assert plain.affine.tobytes() == (AFFINE + 0.0).tobytes()
    volume, _ = read_case(case, Preprocess(orientation), Reading(1, 3))
    write_map(tmp_path / "map.nii", volume.data[0] ** 2, volume)
    with_nibabel(tmp_path / "known.nii")
    known, _ = read_case(
        Case("a", (tmp_path / "known.nii",)), Preprocess(orientation), Reading(1, 3)
    )
    write_map(tmp_path / "other.nii", known.data[0] ** 2, known)
    assert volume.data.numpy().tobytes() == known.data.numpy().tobytes()
    assert geometry_bytes(tmp_path / "map.nii") == geometry_bytes(tmp_path / "other.nii")
    assert (tmp_path / "map.nii").read_bytes() == (tmp_path / "other.nii").read_bytes()
