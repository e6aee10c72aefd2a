"""Results as DICOM: where the series lies, bit for bit, and the same file each time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from esegeta.errors import DataError
from esegeta.volume import (
    Case,
    DicomSegment,
    MapNote,
    Preprocess,
    Reading,
    load_volume,
    read_case,
    require_dicom_output,
    write_dicom_map,
    write_dicom_segmentation,
    write_map,
)
from tests.volume.dicom_files import UID, itk_volume, voxels, write_series
from tests.volume.test_dicom import TURNS
from tests.volume.test_dicom_frames import framed, grey

highdicom = pytest.importorskip("highdicom")
import pydicom  # noqa: E402

NOTE = MapNote("logit / input unit", "positive raises the target", "integrated_gradients")
SEGMENTS = [DicomSegment("liver", 1, "#e69f00"), DicomSegment("Läsion", 4, "#56b4e9")]


def drawn(shape: tuple[int, ...] = (6, 5, 4), seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def painted() -> np.ndarray:
    numbers = np.zeros((6, 5, 4), np.uint16)
    numbers[1:3, 2:4, 1:3] = 1
    numbers[4, 1, 2] = 2
    return numbers


def scan(folder: Path, kind: str = "axial", **given: Any) -> Any:
    write_series(folder, itk_volume(voxels(), TURNS[kind]), **given)
    return load_volume(folder)


@pytest.mark.parametrize("kind", TURNS)
@pytest.mark.parametrize("names", ["abcd", "dcba"])
def test_a_dicom_map_equals_its_nifti_bit_for_bit(kind: str, names: str, tmp_path: Path) -> None:
    import torch

    volume = scan(tmp_path / "scan", kind, names=list(names))
    array = drawn()
    write_map(tmp_path / "m.nii.gz", torch.from_numpy(array), volume)
    write_dicom_map(tmp_path / "m.dcm", array, volume.source, NOTE)
    nifti = sitk.ReadImage(str(tmp_path / "m.nii.gz"))
    content = pydicom.dcmread(tmp_path / "m.dcm")
    stored = np.frombuffer(content.FloatPixelData, "<f4").reshape(4, 5, 6)
    assert stored.tobytes() == sitk.GetArrayFromImage(nifti).tobytes()
    for number, frame in enumerate(content.PerFrameFunctionalGroupsSequence):
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        expected = nifti.TransformIndexToPhysicalPoint((0, 0, number))
        np.testing.assert_allclose([float(value) for value in place], expected, atol=1e-5)
        assert frame.FrameContentSequence[0].DimensionIndexValues == number + 1
    # Any reader, through the geometry that it finds: index to millimetres and back.
    found = highdicom.imread(tmp_path / "m.dcm").get_volume()
    for index in np.ndindex(6, 5, 4):
        place = np.array([*nifti.TransformIndexToPhysicalPoint(index), 1.0])
        at = np.linalg.inv(found.affine) @ place
        np.testing.assert_allclose(at, np.rint(at), atol=1e-4)
        assert found.array[tuple(np.rint(at[:3]).astype(int))] == nifti[index]


def test_a_map_says_what_it_is_and_refers_to_its_slices(tmp_path: Path) -> None:
    tags = {"0020|0052": "1.2.3.4", "0010|0020": "P7", "0008|0050": "A1", "0008|0020": "20200229"}
    volume = scan(tmp_path / "scan", names=list("dbca"), tags=tags)
    write_dicom_map(tmp_path / "a_label-x_desc-y_attrmap.dcm", drawn(), volume.source, NOTE)
    content = pydicom.dcmread(tmp_path / "a_label-x_desc-y_attrmap.dcm")
    assert content.file_meta.MediaStorageSOPClassUID.name == "Parametric Map Storage"
    assert (content.PatientID, content.AccessionNumber) == ("P7", "A1")
    assert (content.StudyInstanceUID, content.FrameOfReferenceUID) == (f"{UID}.0", "1.2.3.4")
    assert content.SeriesInstanceUID not in (f"{UID}.1", content.SOPInstanceUID)
    assert (content.StudyDate, content.ContentDate) == ("20200229", "20200229")
    assert content.SeriesDescription == "a_label-x_desc-y_attrmap"
    (mapping,) = content.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    (unit,) = mapping.MeasurementUnitsCodeSequence
    assert (unit.CodingSchemeDesignator, unit.CodeMeaning) == ("UCUM", "logit / input unit")
    assert unit.LongCodeValue == "{logit_/_input_unit}"
    assert mapping.DoubleFloatRealWorldValueFirstValueMapped == drawn().min()
    for number, frame in enumerate(content.PerFrameFunctionalGroupsSequence):
        (made_from,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert made_from.ReferencedSOPInstanceUID == f"{UID}.1.{number + 1}"


def test_equal_results_are_written_as_equal_files(tmp_path: Path) -> None:
    volume = scan(tmp_path / "scan")
    once, again, other = (tmp_path / name / "m.dcm" for name in ("1", "2", "3"))
    write_dicom_map(once, drawn(), volume.source, NOTE)
    write_dicom_map(again, drawn(), volume.source, NOTE)
    write_dicom_map(other, drawn(seed=4), volume.source, NOTE)
    assert once.read_bytes() == again.read_bytes()
    one, two = pydicom.dcmread(once), pydicom.dcmread(other)
    assert one.SeriesInstanceUID != two.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    for path in (once, again):
        write_dicom_segmentation(path, SEGMENTS, painted(), volume.source)
    assert once.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("kind", ["axial", "oblique", "feet first"])
def test_labels_are_segments_with_names_colours_and_integers(kind: str, tmp_path: Path) -> None:
    volume = scan(tmp_path / "scan", kind, names=list("dcba"))
    path = tmp_path / "a_dseg.dcm"
    write_dicom_segmentation(path, SEGMENTS, painted(), volume.source)
    content = highdicom.seg.segread(path)
    assert [segment.SegmentLabel for segment in content.SegmentSequence] == ["liver", "Läsion"]
    colours = [
        highdicom.color.CIELabColor.from_dicom_value(
            tuple(segment.RecommendedDisplayCIELabValue)
        ).to_rgb()
        for segment in content.SegmentSequence
    ]
    assert colours == [(0xE6, 0x9F, 0x00), (0x56, 0xB4, 0xE9)]
    frames = content.PerFrameFunctionalGroupsSequence
    segments = [
        int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber) for frame in frames
    ]
    assert segments == [1, 1, 2]  # slices 1 and 2 of the first, slice 2 of the second
    shown = zip((1, 2, 2), segments, frames, content.pixel_array, strict=True)
    for number, segment, frame, bits in shown:
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        left, back, up = (float(value) for value in place)
        expected = volume.source.grid.to_mm((0, 0, number))
        np.testing.assert_allclose((-left, -back, up), expected, atol=1e-5)
        np.testing.assert_array_equal(bits, segment == painted()[:, :, number].T)
    # Read as a ground truth, it is the label map that was written, integers and all.
    _, truth = read_case(Case("a", (tmp_path / "scan",), path), Preprocess(), Reading(1, 3))
    assert truth is not None
    np.testing.assert_array_equal(truth.numpy(), np.array([0, 1, 4])[painted()])


@pytest.mark.parametrize("kind", ["axial", "oblique", "feet first"])
def test_a_single_label_is_placed_correctly_by_itk_too(kind: str, tmp_path: Path) -> None:
    shape = (8, 6, 4)  # whole bytes: GDCM makes up the bits of half a one
    write_series(tmp_path / "scan", itk_volume(voxels(shape), TURNS[kind]))
    volume = load_volume(tmp_path / "scan")
    path, numbers = tmp_path / "a.dcm", np.zeros(shape, np.uint16)
    numbers[1:3, 2:4, 1:3] = numbers[4, 1, 2] = 1
    write_dicom_segmentation(path, SEGMENTS[1:], numbers, volume.source)
    assert len(highdicom.seg.segread(path).SegmentSequence) == 1
    # ITK takes frames in the order of their storage.
    found = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found).T > 0, numbers[:, :, 1:3])
    for index in ((0, 0, 0), (7, 5, 1)):
        left, back, up = found.TransformIndexToPhysicalPoint(index)
        expected = volume.grid.to_mm((index[0], index[1], index[2] + 1))
        np.testing.assert_allclose((-left, -back, up), expected, atol=1e-5)
    _, truth = read_case(Case("a", (tmp_path / "scan",), path), Preprocess(), Reading(1, 3))
    assert truth is not None
    np.testing.assert_array_equal(truth.numpy(), 4 * numbers)


def test_overlapping_and_empty_labels_are_written(tmp_path: Path) -> None:
    volume = scan(tmp_path / "scan")
    masks = np.zeros((6, 5, 4, 2), bool)
    masks[1:5, 1:4, 1:3, 0] = masks[2:4, 2:4, 2:, 1] = True
    write_dicom_segmentation(tmp_path / "a.dcm", SEGMENTS, masks, volume.source)
    found = highdicom.seg.segread(tmp_path / "a.dcm").get_volume(combine_segments=False)
    assert found.array.shape == (3, 5, 6, 2)  # slices 1 to 3
    first = volume.source.grid.to_mm((0, 0, 1 if found.affine[2, 0] > 0 else 3))
    np.testing.assert_allclose(found.affine[:3, 3] * (-1, -1, 1), first, atol=1e-6)
    stored = found.array if found.affine[2, 0] > 0 else found.array[::-1]
    np.testing.assert_array_equal(stored, masks[:, :, 1:].transpose(2, 1, 0, 3))
    write_dicom_segmentation(tmp_path / "b.dcm", SEGMENTS, 0 * painted(), volume.source)
    empty = highdicom.seg.segread(tmp_path / "b.dcm")
    assert len(empty.SegmentSequence) == 2
    assert not empty.pixel_array.any()


@pytest.mark.parametrize("said", ["once", "of each frame"])
def test_frames_of_a_multi_frame_file_are_referenced_in_order(said: str, tmp_path: Path) -> None:
    framed(tmp_path / "a.dcm", grey(), (2, 0, 3, 1))
    content = pydicom.dcmread(tmp_path / "a.dcm")
    if said == "of each frame":
        (shared,) = content.SharedFunctionalGroupsSequence
        for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            for frame in content.PerFrameFunctionalGroupsSequence:
                frame[name] = shared[name]
            del shared[name]
    content.StudyInstanceUID, content.FrameOfReferenceUID = "1.2.5", "1.2.6"
    content.save_as(tmp_path / "a.dcm")
    volume = load_volume(tmp_path / "a.dcm")
    require_dicom_output(tmp_path / "a.dcm")
    write_dicom_map(tmp_path / "m.dcm", drawn(), volume.source, NOTE)
    found = pydicom.dcmread(tmp_path / "m.dcm")
    stored = np.frombuffer(found.FloatPixelData, "<f4").reshape(4, 5, 6)
    np.testing.assert_array_equal(stored, drawn().T)
    for number, frame in enumerate(found.PerFrameFunctionalGroupsSequence):
        (made_from,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert made_from.ReferencedFrameNumber == (2, 0, 3, 1).index(number) + 1


def test_a_patient_name_with_umlauts_is_kept(tmp_path: Path) -> None:
    volume = scan(tmp_path / "scan")
    for path in (tmp_path / "scan").iterdir():
        content = pydicom.dcmread(path)
        content.SpecificCharacterSet, content.PatientName = "ISO_IR 100", "Müller^Jörg"
        content.PatientSex = "U"
        content.save_as(path)
    write_dicom_map(tmp_path / "m.dcm", drawn(), volume.source, NOTE)
    found = pydicom.dcmread(tmp_path / "m.dcm")
    assert (str(found.PatientName), found.PatientSex) == ("Müller^Jörg", "")


def odd_texts(content: Any, number: int) -> None:
    content.PatientBirthDate, content.StudyTime = "1.1.1970", "25:61"
    content.PatientID, content.PatientSex = "x" * 80, "female"


def several_places(content: Any, number: int) -> None:
    content.FrameOfReferenceUID, content.StudyInstanceUID = f"1.2.{number + 1}", f"1.3.{number + 1}"


def wrong_distances(content: Any, number: int) -> None:
    content.SpacingBetweenSlices, content.SliceThickness = "7.5", "99"


def rounded_directions(content: Any, number: int) -> None:
    content.ImageOrientationPatient = [1, 0.00001 * number, 0, 0, 1, 0]
    del content.SliceThickness


@pytest.mark.filterwarnings("ignore:Invalid value:UserWarning")
@pytest.mark.filterwarnings("ignore:The value length:UserWarning")
@pytest.mark.parametrize("edit", [odd_texts, several_places, wrong_distances, rounded_directions])
def test_unusual_attributes_of_a_series_are_accepted(edit: Any, tmp_path: Path) -> None:
    for number, path in enumerate(write_series(tmp_path / "scan", itk_volume(voxels()))):
        content = pydicom.dcmread(path)
        edit(content, number)
        content.save_as(path)
    volume = load_volume(tmp_path / "scan")
    require_dicom_output(tmp_path / "scan")
    write_dicom_map(tmp_path / "m.dcm", drawn(), volume.source, NOTE)
    found = highdicom.imread(tmp_path / "m.dcm").get_volume()
    np.testing.assert_allclose(np.linalg.norm(found.affine[:3, :3], axis=0), (2.5, 1.5, 0.75))
    stored = np.frombuffer(pydicom.dcmread(tmp_path / "m.dcm").FloatPixelData, "<f4")
    np.testing.assert_array_equal(stored, drawn().T.ravel())


@pytest.mark.parametrize("shape", [(6, 5, 4), (16, 6, 4), (4, 6, 4)])
def test_segmentations_of_any_frame_size_are_read_back(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    write_series(tmp_path / "scan", itk_volume(voxels(shape)))
    volume = load_volume(tmp_path / "scan")
    numbers = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint16)
    write_dicom_segmentation(tmp_path / "s.dcm", SEGMENTS, numbers, volume.source)
    case = Case("a", (tmp_path / "scan",), tmp_path / "s.dcm")
    _, truth = read_case(case, Preprocess(), Reading(1, 3))
    assert truth is not None
    np.testing.assert_array_equal(truth.numpy(), np.array([0, 1, 4])[numbers])


def test_maps_and_segments_beside_the_slices_are_passed_over(tmp_path: Path) -> None:
    volume = scan(tmp_path / "scan")
    write_dicom_map(tmp_path / "scan" / "m.dcm", drawn(), volume.source, NOTE)
    write_dicom_segmentation(tmp_path / "scan" / "s.dcm", SEGMENTS, painted(), volume.source)
    np.testing.assert_array_equal(load_volume(tmp_path / "scan").data[0].numpy(), voxels())


def test_a_result_on_another_grid_is_refused(tmp_path: Path) -> None:
    volume = scan(tmp_path / "scan")
    with pytest.raises(DataError, match=r"a result of shape \(4, 5, 6\) for a grid of \(6, 5, 4\)"):
        write_dicom_map(tmp_path / "m.dcm", drawn((4, 5, 6)), volume.source, NOTE)
    assert not (tmp_path / "m.dcm").exists()


def test_slices_that_cannot_be_referenced_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    scan(tmp_path / "scan")
    require_dicom_output(tmp_path / "scan")
    path = tmp_path / "scan" / "IM0000.dcm"
    content = pydicom.dcmread(path)
    del content.StudyInstanceUID
    content.save_as(path)
    with pytest.raises(DataError, match=r"IM0000\.dcm: has no StudyInstanceUID"):
        require_dicom_output(path)
    content.StudyInstanceUID = "1.2.3"
    del content.ImagePositionPatient
    content.save_as(path)
    with pytest.raises(DataError, match=r"IM0000\.dcm does not say the position of its frames"):
        require_dicom_output(tmp_path / "scan")
    shutil.rmtree(tmp_path / "scan")
    scan(tmp_path / "scan")
    sitk.WriteImage(itk_volume(voxels()), str(tmp_path / "a.nrrd"))
    with pytest.raises(DataError, match=r"a\.nrrd: is not a DICOM series"):
        require_dicom_output(tmp_path / "a.nrrd")
    monkeypatch.setattr(highdicom, "__version__", "0.27.1")
    with pytest.raises(DataError, match=r"highdicom 0\.27\.1 is too old .*; pip install .esegeta"):
        require_dicom_output(tmp_path / "scan")
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    with pytest.raises(DataError, match=r"only highdicom writes DICOM; pip install .esegeta\[dico"):
        require_dicom_output(tmp_path / "scan")
