"""The files of a run: their names, which are a contract; its record, written and read back."""

import json
from pathlib import Path
from typing import Any

import pytest

from esegeta.errors import RunError
from esegeta.report import (
    CurveFiles,
    PredictionFiles,
    TaskFiles,
    read_record,
    read_sidecar,
    write_dataset_files,
    write_record,
)
from esegeta.report.file_names import distinct_parts
from esegeta.report.files import dicom_beside, read_record_head


def test_names_that_would_be_one_file_are_numbered() -> None:
    names = ["a.b", "a-b", "A b", "a-b-2", "c", "d/e", "d//e"]
    found = distinct_parts({name: name for name in names})
    assert found == {
        "a.b": "a-b",
        "a-b": "a-b-3",  # `a-b-2` is somebody's own name
        "A b": "A-b-4",
        "a-b-2": "a-b-2",
        "c": "c",
        "d/e": "d-e",
        "d//e": "d-e-2",
    }


def test_names_of_a_task(tmp_path: Path) -> None:
    files = TaskFiles(tmp_path, "torso", "liver#1", "ig")
    assert files.map == tmp_path / "torso" / "torso_label-liver#1_desc-ig_attrmap.nii.gz"
    assert files.sidecar.name == "torso_label-liver#1_desc-ig_attrmap.json"
    assert files.overlay.name == "torso_label-liver#1_desc-ig_overlay.png"
    assert files.channel_map("t1").name == "torso_label-liver#1_chan-t1_desc-ig_attrmap.nii.gz"


def test_dicom_files_lie_beside_each_map_and_belong_to_the_task(tmp_path: Path) -> None:
    files = TaskFiles(tmp_path, "torso", "liver", "ig")
    assert files.dicom.name == "torso_label-liver_desc-ig_attrmap.dcm"
    maps = [files.map, files.channel_map("t1"), files.channel_standard_error("t1"), files.spread]
    for path in (*maps, files.member_map(2)):
        name = dicom_beside(path).name
        assert name == path.name.replace(".nii.gz", ".dcm")
        assert files.owns(name)
    assert not files.owns("torso_label-liver_desc-other_attrmap.dcm")
    assert not files.owns("torso_label-liver_desc-ig_scan.dcm")


def test_names_of_a_prediction(tmp_path: Path) -> None:
    files = PredictionFiles(tmp_path, "torso")
    assert files.segmentation == tmp_path / "torso" / "torso_desc-prediction_dseg.nii.gz"
    assert files.dicom.name == "torso_desc-prediction_dseg.dcm"
    assert files.table.name == "torso_desc-prediction_dseg.tsv"
    assert files.sidecar.name == "torso_desc-prediction_dseg.json"


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "\x00"])
def test_a_sidecar_that_cannot_be_read_counts_as_missing(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    assert read_sidecar(path) is None


def test_a_record_is_json_without_nan(tmp_path: Path) -> None:
    write_record(tmp_path, {"a": float("nan"), "b": {"c": [float("inf"), 1.5]}, "d": Path("x")})
    text = (tmp_path / "run.json").read_text()
    assert json.loads(text) == {"a": None, "b": {"c": [None, 1.5]}, "d": "x"}
    write_record(tmp_path, {"naïve": "ß"})
    assert "naïve" in (tmp_path / "run.json").read_text(encoding="utf-8")


def test_dataset_files(tmp_path: Path) -> None:
    write_dataset_files(tmp_path, "liver")
    content = json.loads((tmp_path / "dataset_description.json").read_text())
    assert content["Name"] == "liver"
    assert content["BIDSVersion"]
    assert {path.name for path in tmp_path.iterdir()} == {"dataset_description.json", ".bidsignore"}


def test_a_record_comes_back(tmp_path: Path) -> None:
    write_record(tmp_path, {"state": "complete", "units": []})
    assert read_record(tmp_path) == {"state": "complete", "units": []}


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "liver").mkdir()
    with pytest.raises(RunError, match='livr: no such folder; did you mean "liver"'):
        read_record(tmp_path / "livr")
    with pytest.raises(RunError, match="no such folder"):
        read_record(tmp_path / "far" / "away")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run \(run.json is missing\); `esegeta run`"):
        read_record(tmp_path)
    (tmp_path / "liver").mkdir()
    write_record(tmp_path / "liver", {})
    with pytest.raises(RunError, match=f"it contains runs: {tmp_path / 'liver'}"):
        read_record(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_record_that_is_not_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run.json: cannot be read as JSON"):
        read_record(tmp_path)


def test_a_record_of_predictions_alone(tmp_path: Path) -> None:
    write_record(tmp_path, {"command": "predict", "units": []})
    with pytest.raises(RunError, match="contains predictions but no maps; `esegeta run`"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("record", "head"),
    [
        ({"state": "complete", "units": [{"case": "a"}], "predictions": []}, {"state": "complete"}),
        ({"notes": ["x"], "num_tasks": 3, "units": []}, {"notes": ["x"], "num_tasks": 3}),
        ({"units": [1]}, {}),
        ({"state": "complete", "nested": {"units": [1]}}, None),
        ({}, None),
    ],
)
def test_the_head_of_a_record_holds_the_keys_before_its_tasks(
    record: dict[str, Any], head: dict[str, Any] | None, tmp_path: Path
) -> None:
    assert read_record_head(tmp_path) == {}
    write_record(tmp_path, record)
    assert read_record_head(tmp_path) == (record if head is None else head)


@pytest.mark.parametrize("text", ["[1]", '{"state": ', "\u0000", ""])
def test_the_head_of_a_damaged_record_is_empty(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    assert read_record_head(tmp_path) == {}


def test_only_curves_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    files = CurveFiles(tmp_path, "torso", "liver")
    kept, gone = files.of_score("deletion"), files.of_score("road")
    others = [CurveFiles(tmp_path, "torso", "liver_2").of_score("road")]
    others += [gone.with_name("torso_label-liver_desc-ig_overlay.png"), gone.with_suffix(".csv")]
    gone.parent.mkdir()
    for path in (kept, gone, *others):
        path.touch()
    files.remove_others(["deletion"])
    assert not gone.exists()
    assert all(path.exists() for path in (kept, *others))
