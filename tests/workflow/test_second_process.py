"""A second process on an output folder is told who holds it, whatever its command; it exits 2."""

import os
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.experiments import Lab, esegeta, unet_lab
from tests.workflow.dissect.planted import planted_lab
from tests.workflow.retrain.tasks import small_task
from tests.workflow.test_lock import leave

LABS: dict[str, Callable[[Path], Lab]] = {
    "run": unet_lab,
    "dissect": planted_lab,
    "retrain": small_task,
}


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", LABS)
def test_a_second_process_is_refused_naming_the_holder(command: str, tmp_path: Path) -> None:
    lab = LABS[command](tmp_path)
    config = lab.write()
    lab.root.mkdir(parents=True)
    leave(lab.root, pid=os.getppid())
    before = contents(lab.root)
    second = esegeta(command, config)
    assert second.exit_code == 2
    assert f"{lab.root}: process {os.getppid()} on {platform.node()} is working" in second.stderr
    assert "Traceback" not in second.output
    assert contents(lab.root) == before
