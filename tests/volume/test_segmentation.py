"""DICOM segmentations: every segment lies on its slices, and the slices left out are background."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from esegeta.errors import DataError, GridError
from esegeta.volume import Case, Preprocess, Reading, check_case, read_case, write_segments
from esegeta.volume.grid import Grid
from esegeta.volume.segmentation import embed, place_in
from tests.builders import rotation
from tests.volume.dicom_files import itk_volume, voxels, write_series
from tests.volume.files import save_nifti

OBLIQUE = rotation(11, -7, 17)


def truth_of(shape: tuple[int, ...] = (6, 5, 4)) -> np.ndarray:
    truth = np.zeros(shape, np.uint8)
    truth[1:3, 2:4, 1:3] = 1
    truth[4, 1, 2] = 2
    return truth


def segmentation(path: Path, slices: list[Path], array: np.ndarray, kind: str = "BINARY") -> Path:
    """Write a segmentation of slices, from arrays x, y, z or x, y, z, segments."""
    highdicom = pytest.importorskip("highdicom")
    import pydicom

    source = [described(pydicom.dcmread(file)) for file in slices]
    code = highdicom.sr.CodedConcept("1", "99X", "tissue")
    manual = highdicom.sr.CodedConcept("123109", "DCM", "Manual Processing")
    how = highdicom.AlgorithmIdentificationSequence("x", manual, "1")
    segments = [
        highdicom.seg.SegmentDescription(number, f"s{number}", code, code, "AUTOMATIC", how)
        for number in (1, 2)
    ]
    pixels = array.transpose(2, 1, 0, *range(3, array.ndim))
    uid = highdicom.UID
    made = highdicom.seg.Segmentation(
        source, pixels, kind, segments, uid(), 1, uid(), 1, "m", "m", "1", "1"
    )
    made.save_as(path)
    return path


def described(content: Any) -> Any:
    """Fill in what segmentations ask of their images and ITK does not write."""
    for name in ("AccessionNumber", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"):
        setattr(content, name, "")
    content.PatientID, content.PatientName, content.StudyID = "1", "a^b", "1"
    content.StudyDate, content.StudyTime = "20200101", "000000"
    content.FrameOfReferenceUID, content.SeriesNumber = "1.2.3", 1
    content.PositionReferenceIndicator, content.Manufacturer = "", ""
    content.SpacingBetweenSlices = content.SliceThickness
    return content


@pytest.mark.parametrize("turn", [np.eye(3), OBLIQUE], ids=["axial", "oblique"])
def test_segments_are_labels_of_their_image(turn: np.ndarray, tmp_path: Path) -> None:
    slices = write_series(tmp_path / "scan", itk_volume(voxels(), turn))
    path = segmentation(tmp_path / "seg.dcm", slices[::-1], truth_of()[:, :, ::-1])
    case = Case("a", (tmp_path / "scan",), path)
    check_case(case, Reading(1, 3))
    for preprocess in (Preprocess(), Preprocess("RAS")):
        volume, found = read_case(case, preprocess, Reading(1, 3))
        assert found is not None
        expected = truth_of()
        if preprocess.orientation:
            order, flips = _turn_of(volume.affine, turn)
            expected = np.flip(expected.transpose(order), flips)
        np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_a_folder_with_a_dicom_segmentation_is_read_as_it(kind: str, tmp_path: Path) -> None:
    slices = write_series(tmp_path / "scan", itk_volume(voxels()))
    (tmp_path / "truth").mkdir()
    path = segmentation(tmp_path / "truth" / "seg", slices, truth_of(), kind)
    (tmp_path / "truth" / "notes.txt").write_text("no image")
    for label in (path, tmp_path / "truth"):
        case = Case("a", (tmp_path / "scan",), label)
        _, found = read_case(case, Preprocess(), Reading(1, 3))
        assert found is not None
        np.testing.assert_array_equal(found.numpy(), truth_of())
    path.with_name("other").write_bytes(path.read_bytes())
    with pytest.raises(
        DataError, match="truth: holds 2 segmentations: other, seg; name the right file"
    ):
        check_case(Case("a", (tmp_path / "scan",), tmp_path / "truth"), Reading(1, 3))


def _turn_of(affine: np.ndarray, turn: np.ndarray) -> tuple[list[int], list[int]]:
    """Return how axes of the files come to those of a volume, by directions alone."""
    ras = np.diag([-1.0, -1.0, 1.0]) @ turn
    cosines = ras.T @ (affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    order = [int(axis) for axis in np.abs(cosines).argmax(axis=0)]
    return order, [axis for axis in range(3) if cosines[order[axis], axis] < 0]


def test_a_segmentation_of_a_converted_series_is_read(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "scan", itk_volume(voxels(), OBLIQUE))
    path = segmentation(tmp_path / "seg.dcm", slices, truth_of())
    case = Case("a", (tmp_path / "scan",))
    volume, _ = read_case(case, Preprocess(), Reading(1, 3))
    image = save_nifti(tmp_path / "a.nii", voxels(), sform=volume.affine)
    _, found = read_case(Case("a", (image,), path), Preprocess(), Reading(1, 3))
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), truth_of())


def test_a_segmentation_of_another_image_is_refused(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "scan", itk_volume(voxels()))
    path = segmentation(tmp_path / "seg.dcm", slices, truth_of())
    write_series(tmp_path / "other", itk_volume(voxels(), OBLIQUE))
    with pytest.raises(GridError, match=r"different grids: .*other .*seg\.dcm"):
        check_case(Case("a", (tmp_path / "other",), path), Reading(1, 3))


def test_overlapping_and_fractional_segments_are_refused(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "scan", itk_volume(voxels()))
    both = np.ones((6, 5, 4, 2), np.uint8)
    path = segmentation(tmp_path / "both.dcm", slices, both)
    with pytest.raises(DataError, match=r"both\.dcm: .*cannot be read \([^;]*overlap"):
        check_case(Case("a", (tmp_path / "scan",), path), Reading(1, 3))
    path = segmentation(tmp_path / "part.dcm", slices, both / 4.0, "FRACTIONAL")
    with pytest.raises(DataError, match=r"part\.dcm: its segments are fractions"):
        check_case(Case("a", (tmp_path / "scan",), path), Reading(1, 3))


def test_a_segmentation_is_no_image_and_needs_highdicom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slices = write_series(tmp_path / "scan", itk_volume(voxels()))
    path = segmentation(tmp_path / "scan" / "seg.dcm", slices, truth_of())
    with pytest.raises(DataError, match=r"seg\.dcm: .*without an image \(a segmentation"):
        check_case(Case("a", (path,)), Reading(1, 3))
    case = Case("a", (tmp_path / "scan",), path)
    assert check_case(case, Reading(1, 3)).shape == (6, 5, 4)
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    with pytest.raises(DataError, match=r"only highdicom reads; pip install 'esegeta\[dicom\]'"):
        check_case(case, Reading(1, 3))


def test_grids_off_the_voxels_of_the_image_cannot_be_embedded() -> None:
    onto = Grid((6, 5, 4), np.eye(4))
    coarse = Grid((3, 2, 2), np.diag([2.0, 2.0, 2.0, 1.0]))
    plane = Grid((6, 5), np.eye(4))
    assert place_in(coarse, onto) is None
    assert place_in(onto, plane) is None
    with pytest.raises(ValueError, match=r"3x2x2 voxels of 2x2x2 mm.* is not a part of 6x5x4 vox"):
        embed(np.ones((3, 2, 2)), coarse, onto)


def test_segments_of_planes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds volumes, but the grid has 2 axes; write the label"):
        write_segments(tmp_path / "a.seg.nrrd", [], Grid((6, 5), np.eye(4)))
    assert not (tmp_path / "a.seg.nrrd").exists()


def test_parts_are_embedded_by_turns_and_shifts() -> None:
    whole = np.arange(6 * 5 * 4).reshape(6, 5, 4) + 1
    onto = Grid((6, 5, 4), np.diag([0.7, 1.5, 2.5, 1.0]))
    # Axes z, x, y, of which x is counted from above; from (4, 1, 2) on.
    turn = np.array([[0, -1, 0, 4], [0, 0, 1, 1], [1, 0, 0, 2], [0, 0, 0, 1.0]])
    part = Grid((2, 3, 4), onto.affine @ turn)
    array = whole[2:5, 1:5, 2:4][::-1].transpose(2, 0, 1)
    placed = embed(array, part, onto)
    expected = np.zeros_like(whole)
    expected[2:5, 1:5, 2:4] = whole[2:5, 1:5, 2:4]
    np.testing.assert_array_equal(placed, expected)
    half = turn.copy()
    half[0, 3] += 0.5
    assert place_in(Grid((2, 3, 4), onto.affine @ half), onto) is None
    beyond = turn.copy()
    beyond[2, 3] = 3
    assert place_in(Grid((2, 3, 4), onto.affine @ beyond), onto) is None


@pytest.mark.parametrize("name", ["l.seg.nrrd", "l.nrrd"])
def test_cropped_segmentations_of_slicer_are_embedded_in_the_image(
    name: str, tmp_path: Path
) -> None:
    sitk.WriteImage(itk_volume(voxels(), OBLIQUE), str(tmp_path / "a.nrrd"))
    part = itk_volume(truth_of().astype(np.int16), OBLIQUE)[1:5, 1:4, 1:3]
    sitk.WriteImage(part, str(tmp_path / name))
    case = Case("a", (tmp_path / "a.nrrd",), tmp_path / name)
    if name == "l.nrrd":
        with pytest.raises(GridError, match="4x3x2 voxels"):
            check_case(case, Reading(1, 3))
        return
    check_case(case, Reading(1, 3))
    _, found = read_case(case, Preprocess(), Reading(1, 3))
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), truth_of())
