"""Killed in the middle: no torn file is left, and the next run goes on where this one was."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.experiments import Lab, unet_lab

COMMAND = [sys.executable, "-c", "from esegeta.cli import main; main()", "run"]
PATIENCE_S = 120


def wait_for_maps(lab: Lab, process: subprocess.Popen, count: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while len(lab.maps()) < count:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
def test_a_killed_run_leaves_no_torn_file_and_is_finished_by_the_next(
    count: int, tmp_path: Path
) -> None:
    lab = unet_lab(tmp_path, cases=2)
    smooth = {"name": "smoothgrad", "samples": 2}
    lab.keys["methods"] = [{**smooth, "id": f"smooth{place}", "seed": place} for place in range(8)]
    command = [*COMMAND, str(lab.write())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for_maps(lab, process, count)
        process.send_signal(signal.SIGKILL)
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

    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = lab.maps()
    assert len(after) == 16
    assert {name: after[name] for name in before} == before
    statuses = list(lab.statuses().values())
    assert statuses.count("skipped") == len(before)
    assert statuses.count("done") == 16 - len(before)
    assert lab.record()["state"] == "complete"
