"""Retrainings and predictions in parts leave what one process leaves."""

from pathlib import Path

import pytest

from tests.experiments import Lab, esegeta, unet_lab
from tests.workflow.retrain.tasks import small_task

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]


def tables(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.csv")}
    assert found
    return found


def alone(lab: Lab, command: str) -> Path:
    result = esegeta(command, lab.write(), "-o", lab.folder / "alone")
    assert result.exit_code in (0, 1), result.output
    return lab.folder / "alone" / "tiny"


def in_two(lab: Lab, command: str) -> None:
    for number in (1, 2):
        result = esegeta(command, lab.write(), "--part", f"{number}/2")
        assert result.exit_code in (0, 1), result.output


def test_networks_are_retrained_in_parts(tmp_path: Path) -> None:
    lab = small_task(tmp_path)
    one = alone(lab, "retrain")
    in_two(lab, "retrain")
    assert not list((lab.root / "retrain").glob("*.csv"))
    assert esegeta("gather", lab.root).exit_code in (0, 1)
    assert tables(lab.root / "retrain") == tables(one / "retrain")


def test_cases_are_predicted_in_parts(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, cases=2, shape=(8, 8, 8))
    one = alone(lab, "predict")
    in_two(lab, "predict")
    assert esegeta("gather", lab.root).exit_code == 0
    assert tables(lab.root) == tables(one)
    assert lab.record()["state"] == "complete"
