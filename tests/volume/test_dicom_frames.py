"""Files of several frames: each frame lies where it says, whatever the order of storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esegeta.errors import DataError
from esegeta.volume import load_volume
from tests.builders import rotation
from tests.volume.dicom_files import itk_volume, voxels, write_frames

pydicom = pytest.importorskip("pydicom")

OBLIQUE = rotation(11, -7, 17)
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"


def framed(path: Path, array: np.ndarray, order: tuple[int, ...] = (0, 1, 2, 3)) -> Any:
    """Write a volume as frames in any order, as enhanced MR, and return what was written."""
    write_frames(path, itk_volume(array, OBLIQUE))
    content = pydicom.dcmread(path)
    content.SOPClassUID = content.file_meta.MediaStorageSOPClassUID = ENHANCED_MR
    each = content.PerFrameFunctionalGroupsSequence
    content.PerFrameFunctionalGroupsSequence = pydicom.Sequence([each[index] for index in order])
    content.PixelData = array.transpose(2, 1, 0)[list(order)].tobytes()
    content.save_as(path)
    return content


def grey() -> np.ndarray:
    return (voxels() % 250).astype(np.uint8)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_frames_in_any_order_are_sorted_by_position(order: tuple[int, ...], tmp_path: Path) -> None:
    framed(tmp_path / "a.dcm", grey(), order)
    volume = load_volume(tmp_path / "a.dcm")
    np.testing.assert_array_equal(volume.data[0].numpy(), grey())
    image = itk_volume(grey(), OBLIQUE)
    for index in ((0, 0, 0), (5, 4, 3)):
        left, back, up = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(volume.grid.to_mm(index), (-left, -back, up), atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_slopes_of_frames_are_applied(shared: bool, tmp_path: Path) -> None:
    content = framed(tmp_path / "a.dcm", grey(), (2, 0, 3, 1))
    del content.RescaleSlope, content.RescaleIntercept
    slopes = np.array([0.5, 0.5, 0.5, 0.5] if shared else [1.0, 0.5, 2.0, 0.25])
    groups = (
        content.SharedFunctionalGroupsSequence
        if shared
        else content.PerFrameFunctionalGroupsSequence
    )
    for group, slope in zip(groups, slopes[[0] if shared else [2, 0, 3, 1]], strict=True):
        scale = pydicom.Dataset()
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = str(slope), "-3", "US"
        group.PixelValueTransformationSequence = pydicom.Sequence([scale])
    content.save_as(tmp_path / "a.dcm")
    found = load_volume(tmp_path / "a.dcm").data[0].numpy()
    np.testing.assert_allclose(found, grey() * slopes - 3)


def test_duplicate_and_missing_frames_are_refused(tmp_path: Path) -> None:
    content = framed(tmp_path / "a.dcm", grey())
    each = content.PerFrameFunctionalGroupsSequence
    each[2].PlanePositionSequence = each[1].PlanePositionSequence
    content.save_as(tmp_path / "a.dcm")
    with pytest.raises(DataError, match=r"at the position of another: frame 1 and frame 2"):
        load_volume(tmp_path / "a.dcm")
    content = framed(tmp_path / "b.dcm", grey())
    each = content.PerFrameFunctionalGroupsSequence
    content.PerFrameFunctionalGroupsSequence = pydicom.Sequence([each[0], each[1], each[3]])
    content.NumberOfFrames = 3
    content.PixelData = content.PixelData[: 3 * 30]
    content.save_as(tmp_path / "b.dcm")
    with pytest.raises(DataError, match=r"1 slice is missing: frame 1 and frame 2 are 5 mm apart"):
        load_volume(tmp_path / "b.dcm")


def silent(each: Any) -> None:
    del each[2].PlanePositionSequence


def skewed(each: Any) -> None:
    for frame in each:
        turn = pydicom.Dataset()
        turn.ImageOrientationPatient = [1, 0, 0, 0.6, 0.8, 0]
        frame.PlaneOrientationSequence = pydicom.Sequence([turn])


REFUSED = {
    silent: r"a\.dcm: frame 2 does not say its position",
    skewed: r"a\.dcm: its rows and columns are not at right angles",
}


@pytest.mark.parametrize("edit", REFUSED, ids=lambda edit: edit.__name__)
def test_a_frame_without_a_position_is_refused(edit: Any, tmp_path: Path) -> None:
    content = framed(tmp_path / "a.dcm", grey())
    edit(content.PerFrameFunctionalGroupsSequence)
    content.save_as(tmp_path / "a.dcm")
    with pytest.raises(DataError, match=REFUSED[edit]):
        load_volume(tmp_path / "a.dcm")


def test_several_multi_frame_files_are_not_one_series(tmp_path: Path) -> None:
    framed(tmp_path / "a.dcm", grey())
    (tmp_path / "b.dcm").write_bytes((tmp_path / "a.dcm").read_bytes())
    with pytest.raises(DataError, match=r"2 files of several frames in one series: a\.dcm, b\.dcm"):
        load_volume(tmp_path)


@pytest.mark.parametrize("what", ["no groups", "no pydicom"])
def test_frames_of_a_secondary_capture_keep_their_order(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_frames(tmp_path / "a.dcm", itk_volume(grey()))
    if what == "no groups":
        content = pydicom.dcmread(tmp_path / "a.dcm")
        del content.PerFrameFunctionalGroupsSequence
        content.save_as(tmp_path / "a.dcm")
    else:
        monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    np.testing.assert_array_equal(load_volume(tmp_path / "a.dcm").data[0].numpy(), grey())


def test_a_time_series_of_frames_is_refused_as_a_volume(tmp_path: Path) -> None:
    content = framed(tmp_path / "a.dcm", grey())
    del content.PerFrameFunctionalGroupsSequence
    content.save_as(tmp_path / "a.dcm")
    with pytest.raises(DataError, match="4 frames that do not say their position"):
        load_volume(tmp_path / "a.dcm")


def test_multi_frame_files_need_pydicom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    framed(tmp_path / "a.dcm", grey())
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(
        DataError, match=r"4 frames, whose order only pydicom can read; pip install"
    ):
        load_volume(tmp_path / "a.dcm")
