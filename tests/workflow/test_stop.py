"""Stopped in the middle: what was finished is recorded, one line says how to go on, and it does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from esegeta.workflow.lock import locked
from tests.experiments import unet_lab
from tests.workflow.test_kill import wait_for_maps

COMMAND = [sys.executable, "-c", "from esegeta.cli import main; main()", "run"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "text"),
    [(signal.SIGINT, 130, "stopped by Ctrl-C"), (signal.SIGTERM, 143, "stopped by SIGTERM")],
)
def test_a_stopped_run_says_how_to_go_on_and_does(
    number: int, code: int, text: str, tmp_path: Path
) -> None:
    lab = unet_lab(tmp_path, cases=2)
    smooth = {"name": "smoothgrad", "samples": 2}
    lab.keys["methods"] = [{**smooth, "id": f"smooth{place}", "seed": place} for place in range(8)]
    command = [*COMMAND, str(lab.write())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for_maps(lab, process, 2)
        process.send_signal(number)
        _, stderr = process.communicate()
    assert process.returncode == code
    assert stderr.decode().splitlines() == [f"{text}; the same command again goes on from here"]
    before = lab.maps()
    assert 2 <= len(before) < 16
    record = lab.record()
    assert record["state"] == "stopped"
    assert len(record["units"]) in (len(before), len(before) - 1)
    assert not (lab.root / ".lock").exists()
    assert lab.leftovers() == []

    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = lab.maps()
    assert len(after) == 16
    assert {name: after[name] for name in before} == before
    assert lab.record()["state"] == "complete"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "dissect"])
def test_a_second_command_is_told_who_is_at_work(command: str, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, cases=1)
    lab.keys["dissection"] = {"layers": "all", "concepts": {"edge": {"edges": 0.5}}}
    second = [*COMMAND[:-1], command, str(lab.write())]
    with locked(lab.root):
        before = {path: path.stat().st_mtime_ns for path in lab.root.rglob("*")}
        refused = subprocess.run(second, capture_output=True, text=True, check=False)
        assert {path: path.stat().st_mtime_ns for path in lab.root.rglob("*")} == before
    assert refused.returncode == 2
    assert f"error: {lab.root}: process {os.getpid()} on" in refused.stderr
    assert "Traceback" not in refused.stderr
