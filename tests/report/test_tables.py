"""Names, tables and records as files."""

import csv
import json
from pathlib import Path

import pytest

from esegeta.report import (
    PredictionFiles,
    ScoreRow,
    TaskFiles,
    read_sidecar,
    write_dataset_files,
    write_record,
    write_scores,
)


def test_names_of_a_unit(tmp_path: Path) -> None:
    files = TaskFiles(tmp_path, "torso", "liver#1", "ig")
    assert files.map == tmp_path / "torso" / "torso_label-liver#1_desc-ig_attrmap.nii.gz"
    assert files.sidecar.name == "torso_label-liver#1_desc-ig_attrmap.json"
    assert files.overlay.name == "torso_label-liver#1_desc-ig_overlay.png"
    assert files.channel_map("t1").name == "torso_label-liver#1_chan-t1_desc-ig_attrmap.nii.gz"


def test_names_of_a_prediction(tmp_path: Path) -> None:
    files = PredictionFiles(tmp_path, "torso")
    assert files.segmentation == tmp_path / "torso" / "torso_desc-prediction_dseg.nii.gz"
    assert files.table.name == "torso_desc-prediction_dseg.tsv"
    assert files.sidecar.name == "torso_desc-prediction_dseg.json"


ROWS = [
    ScoreRow("a", "liver", "saliency", "infidelity", 0.1 + 0.2, "lower"),
    ScoreRow("a", "liver", "saliency", "tiny", 5e-324, "lower"),
    ScoreRow("a", "liver, left", 'the "best"', "infidelity", -1e300, "higher"),
    ScoreRow("b", "liver", "saliency", "infidelity", None, "lower"),
]


def test_scores_come_back_as_they_were(tmp_path: Path) -> None:
    write_scores(tmp_path, ROWS)
    with (tmp_path / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = [
        ScoreRow(**{**row, "value": None if row["value"] == "nan" else float(row["value"])})
        for row in rows
    ]
    assert found == ROWS


def test_no_scores_are_a_table_without_rows(tmp_path: Path) -> None:
    write_scores(tmp_path, [])
    assert (tmp_path / "scores.csv").read_text() == "case,target,method,score,value,better\n"


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "\x00"])
def test_a_sidecar_that_cannot_be_read_is_none(text: str | None, tmp_path: Path) -> None:
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
