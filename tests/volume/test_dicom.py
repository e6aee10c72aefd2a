"""DICOM: slices in any order lie where ITK puts them, and what is no volume is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from esegeta.errors import DataError
from esegeta.volume import Case, Preprocess, Reading, load_volume, members, read_case, write_map
from tests.builders import rotation
from tests.volume.dicom_files import UID, itk_volume, voxels, write_frames, write_series
from tests.volume.files import array_of, header_of

OBLIQUE = rotation(11, -7, 17)
TURNS = {
    "axial": np.eye(3),
    "oblique": OBLIQUE,
    "sagittal": np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=float),
    "coronal": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=float),
    "feet first": np.diag([-1.0, 1.0, -1.0]),
}


@pytest.mark.parametrize("kind", TURNS)
@pytest.mark.parametrize("order", ["named upwards", "named downwards", "named at random"])
def test_slices_are_ordered_and_placed_as_by_itk(
    kind: str, order: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    array = voxels()
    image = itk_volume(array, TURNS[kind])
    numbers = {"up": [0, 1, 2, 3], "down": [3, 2, 1, 0], "random": [2, 0, 3, 1]}
    names = [f"IM{number:04d}" for number in numbers[order.split()[-1].removesuffix("wards")]]
    write_series(tmp_path / "scan", image, names=names)
    volume = load_volume(tmp_path / "scan")
    np.testing.assert_array_equal(volume.data[0].numpy(), array)
    for index in ((0, 0, 0), (5, 0, 0), (0, 4, 0), (2, 3, 3)):
        left, back, up = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(volume.grid.to_mm(index), (-left, -back, up), atol=1e-6)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "scan")))
    found = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found).T, array)
    for index in ((0, 0, 0), (5, 4, 3)):
        left, back, up = found.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(volume.grid.to_mm(index), (-left, -back, up), atol=1e-6)
    assert capfd.readouterr() == ("", "")


def test_maps_are_nifti_on_the_grid_of_the_series(tmp_path: Path) -> None:
    image = itk_volume(voxels(), OBLIQUE)
    write_series(tmp_path / "scan", image)
    volume = load_volume(tmp_path / "scan", orientation="RAS")
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    found = sitk.ReadImage(str(tmp_path / "map.nii.gz"))
    for name in ("Size", "Spacing", "Origin", "Direction"):
        expected = getattr(image, f"Get{name}")()
        np.testing.assert_allclose(getattr(found, f"Get{name}")(), expected, atol=1e-5)
    np.testing.assert_array_equal(array_of(tmp_path / "map.nii.gz"), voxels())
    assert int(header_of(tmp_path / "map.nii.gz")["sform_code"]) == 1


@pytest.mark.parametrize(("slope", "intercept"), [("1", "-1024"), ("0.25", "3.5"), ("2", "0")])
def test_slope_and_intercept_are_applied(slope: str, intercept: str, tmp_path: Path) -> None:
    stored = voxels()
    values = stored * float(slope) + float(intercept)
    image = itk_volume(stored)
    paths = write_series(tmp_path / "scan", image)
    for path in paths:
        edit(path, RescaleSlope=slope, RescaleIntercept=intercept)
    np.testing.assert_array_equal(load_volume(tmp_path / "scan").data[0].numpy(), values)


def test_each_slice_has_a_slope_of_its_own(tmp_path: Path) -> None:
    stored = voxels()
    paths = write_series(tmp_path / "scan", itk_volume(stored))
    slopes = [1, 0.5, 2, 0.125]
    for path, slope in zip(paths, slopes, strict=True):
        edit(path, RescaleSlope=str(slope), RescaleIntercept="0")
    expected = stored * np.array(slopes)
    np.testing.assert_array_equal(load_volume(tmp_path / "scan").data[0].numpy(), expected)


def edit(path: Path, **values: object) -> None:
    """Change tags of a file."""
    pydicom = pytest.importorskip("pydicom")
    content = pydicom.dcmread(path)
    for name, value in values.items():
        setattr(content, name, value)
    content.save_as(path)


def test_a_series_and_its_label_map_are_read_and_list_their_members(tmp_path: Path) -> None:
    truth = (voxels() > 0).astype(np.int16)
    write_series(tmp_path / "scan", itk_volume(voxels()))
    write_series(tmp_path / "truth", itk_volume(truth))
    (tmp_path / "scan" / "notes.txt").write_text("no image")
    case = Case("a", (tmp_path / "scan",), tmp_path / "truth")
    _, found = read_case(case, Preprocess(), Reading(1, 3))
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), truth)
    assert [path.name for path in members(tmp_path / "scan")] == [
        *(f"IM{number:04d}.dcm" for number in range(4)),
        "notes.txt",
    ]
    lone = load_volume(tmp_path / "scan" / "IM0002.dcm")
    np.testing.assert_array_equal(lone.data[0, ..., 0].numpy(), voxels()[..., 2])
    np.testing.assert_allclose(lone.grid.to_mm((0, 0, 0)), (10.5, 40.25, -2.0))


def two_series(folder: Path) -> Path:
    write_series(folder, itk_volume(voxels()), series="1", description="arterial")
    write_series(
        folder,
        itk_volume(voxels(seed=1)[:, :, :3]),
        series="2",
        description="Venous",
        names=["a", "b", "c"],
    )
    return folder


def test_several_series_are_named_and_one_is_chosen(tmp_path: Path) -> None:
    folder = two_series(tmp_path / "scan")
    with pytest.raises(DataError) as error:
        load_volume(folder)
    text = str(error.value)
    assert f'holds 2 series: {UID}.1 "arterial" (4 slices of 6x5)' in text
    assert f'{UID}.2 "Venous" (3 slices of 6x5)' in text
    assert "`series:`" in text
    for name, seed in ((f"{UID}.1", 0), ("arterial", 0), (f"{UID}.2", 1), ("venous", 1)):
        expected = voxels(seed=seed)[:, :, : 4 - seed]
        np.testing.assert_array_equal(load_volume(folder, series=name).data[0].numpy(), expected)
    write_series(folder, itk_volume(voxels()), series="3", description="Arterial", names="efgh")
    named_alike = rf'2 series are called "arterial": {UID}\.1 .*; {UID}\.3 .*name the right one by'
    with pytest.raises(DataError, match=named_alike):
        load_volume(folder, series="arterial")
    with pytest.raises(DataError, match=r'no series "arteriel"; .*did you mean "?arterial'):
        load_volume(folder, series="arteriel")


def test_series_of_one_folder_as_channels(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    write_series(folder, itk_volume(voxels()), series="1", description="t1")
    write_series(folder, itk_volume(voxels(seed=1)), series="2", description="t2", names="abcd")
    volume = load_volume([folder, folder], series=["t2", "t1"])
    np.testing.assert_array_equal(volume.data[0].numpy(), voxels(seed=1))
    np.testing.assert_array_equal(volume.data[1].numpy(), voxels())
    with pytest.raises(DataError, match="3 series for 2 images"):
        load_volume([folder, folder], series=["t2", "t1", "t1"])


def missing(folder: Path) -> None:
    for path in write_series(folder, itk_volume(voxels((6, 5, 9))))[3:5]:
        path.unlink()


def duplicate(folder: Path) -> None:
    paths = write_series(folder, itk_volume(voxels()))
    shutil.copy(paths[2], folder / "copy.dcm")


def phases(folder: Path) -> None:
    write_series(folder, itk_volume(voxels()))
    write_series(folder, itk_volume(voxels(seed=1)), names="abcd")


def mixed(folder: Path) -> None:
    write_series(folder, itk_volume(voxels()))
    write_series(folder, itk_volume(voxels(), TURNS["coronal"]), names="abcd")


def sizes(folder: Path) -> None:
    write_series(folder, itk_volume(voxels()))
    write_series(folder, itk_volume(voxels((7, 5, 4))), names="abcd")


def tilted(folder: Path) -> None:
    # Scanners move the table horizontally under a gantry that leans.
    lean = rotation(12, 0, 0)
    along = lean[:, 2]
    shifts = [2.5 * number * (np.array([0, 0, 1.0]) / along[2] - along) for number in range(4)]
    write_series(folder, itk_volume(voxels(), lean), shift_mm=shifts)


def uneven(folder: Path) -> None:
    shifts = [(0, 0, height) for height in (0, 0, 0.8, 0)]
    write_series(folder, itk_volume(voxels()), shift_mm=shifts)


def shifted(folder: Path) -> None:
    shifts = [(0, height, 0) for height in (0, 2, 0, 0)]
    write_series(folder, itk_volume(voxels()), shift_mm=shifts)


def torn(folder: Path) -> None:
    path = write_series(folder, itk_volume(voxels((60, 50, 4))))[1]
    path.write_bytes(path.read_bytes()[:-3000])


def no_position(folder: Path) -> None:
    edit(write_series(folder, itk_volume(voxels()))[2], ImagePositionPatient=None)


def skewed(folder: Path) -> None:
    for path in write_series(folder, itk_volume(voxels(), OBLIQUE)):
        edit(path, ImageOrientationPatient=[1, 0, 0, 0.6, 0, 0.8])


def no_numbers(folder: Path) -> None:
    for path in write_series(folder, itk_volume(voxels())):
        content = path.read_bytes()
        path.write_bytes(content.replace(rb"1\0\0\0\1\0", rb"1\0\0\0\x\0"))


def pixel_sizes(folder: Path) -> None:
    edit(write_series(folder, itk_volume(voxels()))[1], PixelSpacing=[1.5, 0.76])


def colours(folder: Path) -> None:
    paths = write_series(folder, itk_volume(voxels()))
    pixels = np.zeros((*voxels().T.shape, 3), np.uint8)
    image = sitk.GetImageFromArray(pixels, isVector=True)
    image.CopyInformation(itk_volume(voxels()))
    shutil.copy(write_series(folder.parent / "coloured", image)[2], paths[2])


def no_dicom(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("no image")


def other_content(folder: Path) -> None:
    write_series(folder, itk_volume(voxels()))
    (folder / "x.dcm").write_bytes(b"this is no DICOM" * 100)


REFUSED = {
    missing: r"2 slices are missing: IM0002\.dcm and IM0005\.dcm are 7\.5 mm apart, .* 2\.5 mm",
    duplicate: r"1 slice is at the position of another: .*IM0002\.dcm.* at -2\.00 mm",
    phases: r"4 slices are at the position of another.*points in time",
    mixed: r"mixed orientation: 4 of axial \(0, 0, 1\), 4 of coronal \(0, -1, 0\)",
    sizes: r"slices of 2 sizes: 4 of 6x5, 4 of 7x5",
    tilted: r"are tilted by 12 degrees \(gantry tilt\)",
    uneven: r"not evenly spaced: 1\.7 to 3\.3 mm",
    shifted: r"shifted against each other by up to 2 mm",
    no_position: r"1 of 4 slices do not say their position, such as IM0002\.dcm; photographs",
    skewed: r"IM0000\.dcm: its rows and columns are not at right angles; .* dcm2niix",
    no_numbers: r"IM0000\.dcm: its rows and columns are not at right angles",
    pixel_sizes: r"slices with pixels of several sizes: .*0\.76x1\.5.* mm",
    colours: "slices in colour mixed with grey ones; give the case `series:`",
    torn: r"IM0001\.dcm: cannot be read",
    no_dicom: r"the folder holds no DICOM image",
    other_content: r"x\.dcm: cannot be read",
}


@pytest.mark.parametrize("write", REFUSED, ids=lambda write: write.__name__)
def test_invalid_series_are_refused_by_name(
    write, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "scan")
    capfd.readouterr()
    with pytest.raises(DataError, match=REFUSED[write]) as error:
        load_volume(tmp_path / "scan")
    assert error.value.hint
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_a_multi_frame_file_is_read_as_a_volume(tmp_path: Path) -> None:
    array = (voxels() % 250).astype(np.uint8)
    image = itk_volume(array, OBLIQUE)
    write_frames(tmp_path / "a.dcm", image)
    for path in (tmp_path / "a.dcm", tmp_path):
        volume = load_volume(path)
        np.testing.assert_array_equal(volume.data[0].numpy(), array)
        for index in ((0, 0, 0), (5, 4, 3)):
            left, back, up = image.TransformIndexToPhysicalPoint(index)
            np.testing.assert_allclose(volume.grid.to_mm(index), (-left, -back, up), atol=1e-5)


ROUNDED = {
    "exact": [0.8, 0.6, 0, -0.6, 0.8, 0],
    "1e-4 off": [0.80008, 0.59994, 0, -0.60006, 0.79996, 0],
    "two digits": [0.71, 0.71, 0, -0.71, 0.71, 0],
    "two other digits": [0.84, 0.54, 0, -0.54, 0.84, 0],
    "short": [0.998, 0, 0, 0, 0.998, 0],
}


@pytest.mark.parametrize("cosines", ROUNDED.values(), ids=ROUNDED)
@pytest.mark.parametrize("count", [1, 4])
def test_rounded_direction_cosines_are_accepted(
    cosines: list[float], count: int, tmp_path: Path
) -> None:
    axes = np.array(cosines).reshape(2, 3)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    turn = np.stack([*axes, np.cross(*axes)], axis=1)
    for path in write_series(tmp_path / "scan", itk_volume(voxels(), turn))[count:]:
        path.unlink()
    for path in (tmp_path / "scan").iterdir():
        edit(path, ImageOrientationPatient=cosines)
    affine = load_volume(tmp_path / "scan").grid.affine
    found = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    np.testing.assert_allclose(found, np.diag([-1, -1, 1]) @ turn[:, :2], atol=1e-3)


@pytest.mark.parametrize("cosines", [[1, 0, 0, 0.5, 0.866, 0], [2, 0, 0, 0, 2, 0]], ids=str)
def test_a_slice_with_invalid_direction_cosines_is_refused(
    cosines: list[float], tmp_path: Path
) -> None:
    """The slice would be placed along the axes of the patient."""
    path, *others = write_series(tmp_path / "scan", itk_volume(voxels()))
    for other in others:
        other.unlink()
    edit(path, ImageOrientationPatient=cosines)
    for given in (path, path.parent):
        with pytest.raises(DataError, match="rows and columns are not at right angles"):
            load_volume(given)


def test_a_slice_without_a_class_counts_as_an_image(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    path = write_series(tmp_path / "scan", itk_volume(voxels()))[1]
    content = pydicom.dcmread(path)
    del content.file_meta.MediaStorageSOPClassUID
    content.save_as(path, enforce_file_format=False)
    np.testing.assert_array_equal(load_volume(tmp_path / "scan").data[0].numpy(), voxels())


def test_files_without_an_image_are_ignored(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "scan", itk_volume(voxels()))
    report = (
        paths[0]
        .read_bytes()
        .replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.88.11"[:26], 1)
    )
    (tmp_path / "scan" / "DICOMDIR").write_bytes(report[:2000])
    np.testing.assert_array_equal(load_volume(tmp_path / "scan").data[0].numpy(), voxels())
