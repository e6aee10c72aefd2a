"""Names of files, which are a contract."""

from pathlib import Path

from esegeta.report import PredictionFiles, TaskFiles


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
