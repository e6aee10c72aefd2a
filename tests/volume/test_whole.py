"""Images that are torn or not finite are refused before a run, whatever their format."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from esegeta.errors import DataError
from esegeta.volume import Case, Reading, check_whole

SHAPE = (5, 4, 6)
READING = Reading(1, 3)


def written(folder: Path, name: str, array: np.ndarray) -> Path:
    """Write an image, and return the file of its voxels."""
    path = folder / name
    if name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    elif name.endswith("a.hdr"):
        nib.save(nib.Nifti1Pair(array, np.eye(4)), path)
    elif name.endswith(".npz"):
        np.savez(path, image=array, affine=np.eye(4))
    else:
        sitk.WriteImage(sitk.GetImageFromArray(array), str(path), name.startswith("packed"))
    others = [one for one in folder.iterdir() if one != path]
    return others[0] if others else path


FORMATS = ("a.nii", "a.nii.gz", "a.hdr", "a.nrrd", "packed.nrrd", "a.nhdr", "a.mha", "a.mhd")
PACKED = ("packed.mha", "packed.mhd", "a.npz")


@pytest.mark.parametrize("name", (*FORMATS, *PACKED))
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_truncated_image_is_refused(name: str, dtype: type, tmp_path: Path) -> None:
    body = written(tmp_path, name, np.arange(120).reshape(SHAPE).astype(dtype))
    case = Case("a", (tmp_path / name,))
    assert check_whole(case, READING, most_bytes=1 << 20) < 1 << 20
    body.write_bytes(body.read_bytes()[:-20])
    with pytest.raises(DataError, match=str(tmp_path)):
        check_whole(case, READING, most_bytes=1 << 20)


def test_a_gzip_file_with_too_few_voxels_is_refused(tmp_path: Path) -> None:
    body = written(tmp_path, "a.nii", np.arange(120).reshape(SHAPE).astype(np.int16))
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(body.read_bytes()[:-20]))
    with pytest.raises(DataError, match=r"b\.nii\.gz: .*it unpacks to 572 of 592 bytes"):
        check_whole(Case("b", (tmp_path / "b.nii.gz",)), READING, most_bytes=1 << 20)


def test_a_picture_beyond_the_limit_is_not_checked_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[:-6] + content[-2:])
    case = Case("a", (tmp_path / "a.jpg",))
    with pytest.raises(DataError, match="damaged"):
        check_whole(case, Reading(1, 2), most_bytes=1 << 20)
    monkeypatch.setattr("esegeta.volume.files.SMALL_PICTURE", 100)
    check_whole(case, Reading(1, 2), most_bytes=1 << 20)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.npz"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_non_finite_image_is_refused(name: str, value: float, tmp_path: Path) -> None:
    array = np.zeros(SHAPE, np.float32)
    array[1, 2, 3] = value
    written(tmp_path, name, array)
    case = Case("a", (tmp_path / name,))
    with pytest.raises(DataError, match="1 voxels are NaN or Inf"):
        check_whole(case, READING, most_bytes=1 << 20)
    check_whole(case, Reading(1, 3, nan_to_zero=True), most_bytes=1 << 20)
    assert check_whole(case, READING, most_bytes=10) == 10  # it is longer, and its turn will come
