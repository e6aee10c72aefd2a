"""Which files are read, whatever they are called, and what is said of those that are not."""

import gzip
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from esegeta.errors import DataError, MissingFileError
from esegeta.volume import (
    Case,
    Preprocess,
    Reading,
    image_stem,
    is_image,
    members,
    read_case,
    write_map,
)
from esegeta.volume.formats import FOREIGN, how_to_convert
from tests.builders import affine_of
from tests.volume.files import geometry_bytes, noise, read, save_nifti

SHAPE = (6, 5, 4)


def pair(folder: Path, kind: type = nib.Nifti1Pair, name: str = "a") -> np.ndarray:
    """Write name.hdr and name.img and return their voxels."""
    array = noise(SHAPE)
    nib.save(kind(array, affine_of("anisotropic")), folder / f"{name}.img")
    return array


@pytest.mark.parametrize("suffix", [".hdr", ".img"])
@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_a_pair_is_read_by_either_name(kind: type, suffix: str, tmp_path: Path) -> None:
    array = pair(tmp_path, kind)
    volume = read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(volume.data[0].numpy(), array)
    np.testing.assert_allclose(volume.affine, affine_of("anisotropic"), rtol=1e-6)
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    np.testing.assert_allclose(nib.load(tmp_path / "map.nii.gz").affine, volume.affine, rtol=1e-6)
    if kind is nib.Nifti1Pair:
        assert geometry_bytes(tmp_path / "map.nii.gz") == geometry_bytes(tmp_path / "a.hdr")


def test_a_label_map_may_be_a_pair(tmp_path: Path) -> None:
    truth = np.arange(120, dtype=np.int16).reshape(SHAPE)
    nib.save(nib.Nifti1Pair(truth, affine_of("oblique")), tmp_path / "label.img")
    image = save_nifti(tmp_path / "a.nii.gz", noise(SHAPE))
    case = Case("a", (image,), tmp_path / "label.hdr")
    _, found = read_case(case, Preprocess(), Reading(1, 3))
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), truth)


@pytest.mark.parametrize("suffix", [".hdr", ".img"])
def test_half_of_a_pair_is_refused(suffix: str, tmp_path: Path) -> None:
    pair(tmp_path)
    kept = tmp_path / f"a{suffix}"
    gone = tmp_path / ("a.img" if suffix == ".hdr" else "a.hdr")
    gone.unlink()
    with pytest.raises(MissingFileError, match=rf"the other half of the pair, {gone.name}, is mis"):
        read(kept)


def test_a_torn_pair_is_refused(tmp_path: Path) -> None:
    pair(tmp_path)
    content = (tmp_path / "a.img").read_bytes()
    (tmp_path / "a.img").write_bytes(content[:100])
    with pytest.raises(DataError, match=r"a\.hdr: the file is damaged"):
        read(tmp_path / "a.hdr")


@pytest.mark.parametrize("kind", [nib.AnalyzeImage, nib.Spm99AnalyzeImage, nib.Spm2AnalyzeImage])
def test_analyze_has_no_sides_and_is_refused_by_name(kind: type, tmp_path: Path) -> None:
    nib.save(kind(noise(SHAPE), np.eye(4)), tmp_path / "a.img")
    (tmp_path / "a.mat").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"Analyze 7\.5 pair.* which side .* is left.*NIfTI"):
        read(tmp_path / "a.hdr")


def test_surfaces_in_a_nifti_file_are_refused_by_name(tmp_path: Path) -> None:
    brain = nib.cifti2.BrainModelAxis.from_mask(np.ones((2, 2, 2), bool), affine=np.eye(4))
    axes = nib.cifti2.SeriesAxis(0, 1, 2), brain
    nib.save(nib.Cifti2Image(np.zeros((2, 8), np.float32), axes), tmp_path / "a.dtseries.nii")
    with pytest.raises(DataError, match=r"a\.dtseries\.nii: a Cifti2Image, not NIfTI; convert it"):
        read(tmp_path / "a.dtseries.nii")


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_gzip_called_nii_and_plain_called_nii_gz_are_read(
    kind: type, byteorder: str, tmp_path: Path
) -> None:
    array = noise(SHAPE)
    packed = save_nifti(tmp_path / "a.nii.gz", array, kind=kind, byteorder=byteorder)
    plain = save_nifti(tmp_path / "b.nii", array, kind=kind, byteorder=byteorder)
    packed.rename(tmp_path / "packed.nii")
    plain.rename(tmp_path / "plain.nii.gz")
    for name in ("packed.nii", "plain.nii.gz"):
        volume = read(tmp_path / name)
        np.testing.assert_array_equal(volume.data[0].numpy(), array)
        np.testing.assert_allclose(volume.affine, affine_of("oblique"), atol=1e-5)


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.98])
def test_torn_files_with_the_other_suffix_are_refused(kept: float, tmp_path: Path) -> None:
    for name, other in (("a.nii.gz", "b.nii"), ("c.nii", "d.nii.gz")):
        content = save_nifti(tmp_path / name, noise(SHAPE)).read_bytes()
        (tmp_path / other).write_bytes(content[: int(kept * len(content))])
        with pytest.raises(DataError, match=rf"{other}.*(damaged|not a NIfTI)"):
            read(tmp_path / other)


@pytest.mark.parametrize("name", ["A.NII", "a.Nii.GZ", "a.NII.gz"])
def test_suffixes_may_be_in_any_case(name: str, tmp_path: Path) -> None:
    array = noise(SHAPE)
    plain = save_nifti(tmp_path / "x.nii", array)
    if name.lower().endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(plain.read_bytes()))
    else:
        shutil.copy(plain, tmp_path / name)
    np.testing.assert_array_equal(read(tmp_path / name).data[0].numpy(), array)
    assert is_image(name)
    assert image_stem(name).lower() == "a"


def test_a_pair_with_upper_case_suffixes_is_read(tmp_path: Path) -> None:
    array = pair(tmp_path)
    for suffix in (".hdr", ".img"):
        (tmp_path / f"a{suffix}").rename(tmp_path / f"A{suffix.upper()}")
    np.testing.assert_array_equal(read(tmp_path / "A.HDR").data[0].numpy(), array)
    assert members(tmp_path / "A.HDR") == (tmp_path / "A.HDR", tmp_path / "A.IMG")


def test_the_hint_for_unsupported_pictures_names_the_supported_ones() -> None:
    words = "convert it to PNG, JPEG or TIFF with any picture program"
    assert how_to_convert(".bmp") == how_to_convert(".gif") == words


@pytest.mark.parametrize("suffix", [*FOREIGN, ".MGZ", ".seg.h5"])
def test_other_formats_are_called_by_name(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(b"whatever it holds")
    known = suffix.lower().removeprefix(".seg")
    with pytest.raises(DataError, match=rf"scan{suffix}: \{known} is not supported; convert it to"):
        read(path)


def test_a_zarr_folder_is_refused_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "scan.zarr").mkdir()
    with pytest.raises(DataError, match=r"\.zarr is not supported"):
        read(tmp_path / "scan.zarr")
    with pytest.raises(MissingFileError, match=r"none\.vtk: no such file"):
        read(tmp_path / "none.vtk")
    (tmp_path / "series").mkdir()
    with pytest.raises(DataError, match=r"series: the folder holds no DICOM image"):
        read(tmp_path / "series")


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_dicom_and_nrrd_files_are_recognised_by_content(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(bytes(128) + b"DICM" + bytes(600))
    with pytest.raises(DataError, match=r"a DICOM file, not NIfTI; rename it to \.dcm"):
        read(tmp_path / name)
    (tmp_path / name).write_bytes(b"NRRD0004\ntype: float\n" + bytes(600))
    with pytest.raises(DataError, match=r"an NRRD file, not NIfTI; rename it to \.nrrd"):
        read(tmp_path / name)
