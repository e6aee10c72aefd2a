"""`write: [nifti, dicom]` in runs: which files, what is refused before, and resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.experiments import Lab, pointwise_lab, refused, save_image, voxels, written
from tests.volume import dicom_files
from tests.volume.dicom_files import itk_volume, write_series

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")


def series_lab(folder: Path, channels: int = 1) -> Lab:
    """A voxel is liver where the first channel is above 100."""
    weights = [[0.0] * channels, [1.0] + [0.5] * (channels - 1)]
    lab = pointwise_lab(folder, weights, [0.0, -100.5])
    lab.keys["methods"] = ["input_x_gradient"]
    lab.keys["targets"][0]["over"] = "all"
    lab.keys["write"] = ["nifti", "dicom"]
    names = ["t1", "t2"][:channels]
    for seed, name in enumerate(names):
        image = itk_volume(dicom_files.voxels(seed=seed))
        write_series(folder / name, image, series=str(seed + 1), names=list("dcba"))
    lab.keys["data"] = {"cases": [{"name": "a", "image": names}], "channels": names}
    return lab


def stored(path: Path) -> np.ndarray:
    content = pydicom.dcmread(path)
    frames = np.frombuffer(content.FloatPixelData, "<f4")
    return frames.reshape(int(content.NumberOfFrames), content.Rows, content.Columns).T


@pytest.mark.slow
def test_every_map_and_the_prediction_are_dicom_too(tmp_path: Path) -> None:
    lab = series_lab(tmp_path, channels=2)
    lab.keys["methods"] = [{"name": "kernel_shap", "features": {"kind": "blocks", "side_mm": 3},
                            "samples": 60, "spread": True}, "input_x_gradient"]  # fmt: skip
    result = lab.run()
    assert result.exit_code == 0, result.output
    maps = sorted((lab.root / "a").glob("*_attrmap.nii.gz"))
    names = {path.name.removeprefix("a_label-liver_") for path in maps}
    assert {"chan-t1_desc-input_x_gradient_attrmap.nii.gz",
            "desc-kernel_shap_stat-stderr_attrmap.nii.gz"} <= names  # fmt: skip
    for path in maps:
        found = stored(path.with_name(path.name.replace(".nii.gz", ".dcm")))
        assert found.tobytes() == voxels(path).tobytes(), path.name
    assert len(maps) == len(list((lab.root / "a").glob("*_attrmap.dcm")))
    sidecar = lab.sidecar("a", "liver", "input_x_gradient")
    assert sidecar["files"][-2:] == [
        "a_label-liver_desc-input_x_gradient_attrmap.dcm",
        "a_label-liver_desc-input_x_gradient_attrmap.nii.gz",
    ]
    content = pydicom.dcmread(lab.file("a", "liver", "input_x_gradient", "attrmap.dcm"))
    (mapping,) = content.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    assert mapping.MeasurementUnitsCodeSequence[0].CodeMeaning == sidecar["unit"]
    errors = pydicom.dcmread(lab.file("a", "liver", "kernel_shap", "stat-stderr_attrmap.dcm"))
    said = (content.ContentDescription, errors.ContentDescription)
    assert said == ("positive raises the target", "one standard error of the mean of the draws")
    labels = highdicom.seg.segread(lab.root / "a" / "a_desc-prediction_dseg.dcm")
    assert [segment.SegmentLabel for segment in labels.SegmentSequence] == ["liver"]
    np.testing.assert_array_equal(labels.pixel_array.T, lab.segmentation("a"))
    assert not lab.leftovers()


@pytest.mark.slow
def test_dicom_objects_hold_the_values_of_the_nifti_files(tmp_path: Path) -> None:
    lab = series_lab(tmp_path)
    lab.keys |= {"methods": ["saliency"], "dtype": "int16", "maps": {"by": "adjoint"},
                 "colors": {"liver": "#a01b2f"}}  # fmt: skip
    lab.keys["data"]["preprocess"] = {"spacing_mm": [1.1, 1.3, 2.7]}
    assert lab.run().exit_code == 0
    path, sidecar = lab.file("a", "liver", "saliency"), lab.sidecar("a", "liver", "saliency")
    error = np.abs(stored(path.with_name(path.name.replace(".nii.gz", ".dcm"))) - voxels(path))
    # The float32 values from before they were scaled to integers.
    assert error.max() == pytest.approx(sidecar["storage"]["largest_error"], rel=1e-2) != 0
    content = pydicom.dcmread(lab.file("a", "liver", "saliency", "attrmap.dcm"))
    (mapping,) = content.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    unit = mapping.MeasurementUnitsCodeSequence[0].CodeMeaning
    assert unit == sidecar["unit"] == sidecar["grid"]["units"]["file"]
    assert unit.endswith("/ grey value of the file")
    labels = highdicom.seg.segread(lab.root / "a" / "a_desc-prediction_dseg.dcm")
    found = labels.SegmentSequence[0].RecommendedDisplayCIELabValue
    expected = highdicom.color.CIELabColor.from_rgb(0xA0, 0x1B, 0x2F)
    assert tuple(found) == tuple(expected.value)


def test_overlapping_regions_are_separate_segments(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[1.0], [1.0]], [100.5, -300.5])
    write_series(tmp_path / "scan", itk_volume(dicom_files.voxels()))
    lab.keys |= {"labels": {"whole": [1, 4], "core": 4}, "activation": "sigmoid",
                 "write": ["nifti", "dicom"]}  # fmt: skip
    lab.keys["data"] = {"cases": [{"name": "a", "image": "scan"}]}
    assert lab.predict().exit_code == 0
    labels = highdicom.seg.segread(lab.root / "a" / "a_desc-prediction_dseg.dcm")
    found = labels.get_volume(combine_segments=False).array
    for name, number in (("whole", 1), ("core", 2)):
        (segment,) = (item for item in labels.SegmentSequence if item.SegmentLabel == name)
        assert segment.SegmentNumber == number
        mask = voxels(lab.root / "a" / f"a_label-{name}_desc-prediction_mask.nii.gz")
        own = found[..., number - 1]
        assert any(np.array_equal(turned.T, mask) for turned in (own, own[::-1]))


@pytest.mark.slow
def test_resuming_with_and_without_dicom(tmp_path: Path) -> None:
    lab = series_lab(tmp_path)
    lab.keys["write"] = ["nifti"]
    assert lab.run().exit_code == 0
    assert not list(lab.root.rglob("*.dcm"))
    task = ("a", "liver", "input_x_gradient")
    lab.keys["write"] = ["nifti", "dicom"]
    assert lab.run().exit_code == 0
    assert lab.statuses()[task] == "done"
    before, times = contents(lab), written(lab.root, "**/*.dcm")
    assert len(before) == 2
    lab.keys["write"] = ["dicom", "nifti"]
    assert lab.run().exit_code == 0
    assert lab.statuses()[task] == "skipped"
    assert written(lab.root, "**/*.dcm") == times
    for path in before:  # what is lost is made again, the same to the last byte
        path.unlink()
    assert lab.run().exit_code == 0
    assert lab.statuses()[task] == "done"
    assert contents(lab) == before
    lab.keys["write"] = ["nifti"]
    assert lab.run().exit_code == 0
    assert not list(lab.root.rglob("*.dcm"))


def contents(lab: Lab) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in lab.root.rglob("*.dcm")}


def test_a_case_that_is_no_series_is_refused_before_the_run(tmp_path: Path) -> None:
    lab = series_lab(tmp_path)
    save_image(tmp_path / "b.nii.gz", dicom_files.voxels().astype(np.float32))
    lab.keys["data"]["cases"].append({"name": "other", "image": "b.nii.gz"})
    for result in (lab.run(), lab.validate(), lab.predict()):
        place = f"tiny.yaml:{lab.line_of('write:')}: write: dicom: other: "
        refused(result, lab, place, "b.nii.gz: is not a DICOM series")
    assert not lab.root.exists()


def test_without_highdicom_it_is_refused_before_the_run(tmp_path: Path, monkeypatch: Any) -> None:
    lab = series_lab(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    refused(lab.run(), lab, "write: dicom: ", "only highdicom writes DICOM", "esegeta[dicom]")
    lab.keys["write"] = ["nifti"]
    assert lab.run().exit_code == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["dicom"], "it must contain nifti"),
        (["nifti", "nifti"], "nifti is listed twice"),
        (["nifti", "dicm"], "dicm"),
        ([], "write"),
    ],
)
def test_invalid_formats_are_refused(given: list[str], said: str, tmp_path: Path) -> None:
    lab = series_lab(tmp_path)
    lab.keys["write"] = given
    refused(lab.validate(), lab, "write", said)
