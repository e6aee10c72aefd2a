"""Killed in the middle: no torn file is left, and the next run goes on where this one was."""

import json
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.experiments import esegeta, unet_lab
from tests.processes import started, stop_once


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
def test_a_killed_run_leaves_no_torn_file_and_is_finished_by_the_next(
    count: int, tmp_path: Path
) -> None:
    lab = unet_lab(tmp_path, cases=2)
    smooth = {"name": "smoothgrad", "samples": 2}
    lab.keys["methods"] = [{**smooth, "id": f"smooth{place}", "seed": place} for place in range(8)]
    config = lab.write()
    with started("run", config) as process:
        stop_once(lambda: len(lab.maps()) >= count, process, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = lab.maps()
    assert count <= len(before) < 16
    files = [path for path in lab.root.rglob("*") if path.is_file()]
    for path in files:
        if path.name.startswith(".tmp-"):
            continue
        if path.name.endswith(".nii.gz"):
            assert np.isfinite(np.asarray(nib.load(path).dataobj)).all()
        if path.suffix == ".json":
            json.loads(path.read_text())
    for name in before:
        assert (lab.root / name[0] / name.replace(".nii.gz", ".json")).is_file()
    assert lab.record()["state"] == "running"

    assert esegeta("run", config).exit_code == 0
    after = lab.maps()
    assert len(after) == 16
    assert {name: after[name] for name in before} == before
    statuses = list(lab.statuses().values())
    assert statuses.count("skipped") == len(before)
    assert statuses.count("done") == 16 - len(before)
    assert lab.record()["state"] == "complete"
