"""Names that do not fit into a file's name together are refused before any work."""

from pathlib import Path

from tests.experiments import pointwise_lab, quick, refused

__all__ = ["quick"]


def test_names_too_long_for_one_file_name_are_refused(quick: None, tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    target = lab.keys["targets"][0]
    target["name"] = "t" * 120
    lab.keys["methods"] = [{"name": "saliency", "id": "é" * 50}]
    refused(lab.run(), lab, "file systems allow 255", "target 120", "method 100")
    assert not lab.root.exists()
    lab.keys["methods"] = [{"name": "saliency", "id": "é" * 20}]
    assert lab.run().exit_code == 0
    assert len(list(lab.root.rglob("*_attrmap.nii.gz"))) == 1
