"""How a run looks: plain lines in a log, bars with time left on a terminal, nothing when quiet."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.experiments import Lab, noise, pointwise_lab, save_image

COMMAND = [sys.executable, "-c", "from esegeta.cli import main; main()", "run"]


def lab_of(folder: Path) -> Lab:
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0], cases=2)
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    return lab


def test_plain_lines_where_no_terminal_is(tmp_path: Path) -> None:
    result = lab_of(tmp_path).run()
    assert "\x1b" not in result.output
    assert "\r" not in result.output
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].startswith("note: model.class tiny_networks:Pointwise is code")
    ends = [line for line in lines if "done in" in line]
    assert [line.split(":")[0] for line in ends] == [
        "[1/4] a / liver / saliency",
        "[2/4] a / liver / input_x_gradient",
        "[3/4] b / liver / saliency",
        "[4/4] b / liver / input_x_gradient",
    ]
    assert lines[-1].startswith("4 done, 0 skipped, 0 failed in ")
    assert lines[-1].endswith(f"results in {tmp_path / 'out' / 'tiny'}")


def test_units_are_counted_when_components_are_found(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    array = np.full((12, 11, 9), -1.0, np.float32)
    array[0:2, 0:2, 0:2] = array[5:7, 5:7, 5:7] = array[10, 10, 8] = 1.0
    save_image(tmp_path / "a.nii.gz", array)
    lab.keys["data"]["cases"].pop()
    lab.keys["targets"] = [{"label": "liver", "component": "each"}]
    result = lab.run()
    assert "[6/6] a / liver#3 / input_x_gradient: done" in result.stdout


def test_quiet_is_silent_when_all_is_well(tmp_path: Path) -> None:
    assert lab_of(tmp_path).run("-q").output == ""


@pytest.mark.slow
def test_bars_on_a_terminal(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    save_image(tmp_path / "b.nii.gz", -1 - np.abs(noise()))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    command = [*COMMAND, str(lab.write())]
    with subprocess.Popen(
        command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment
    ) as process:
        os.close(theirs)
        chunks = []
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:
                break
            if not chunk:
                break
            chunks.append(chunk)
    os.close(ours)
    text = b"".join(chunks).decode()
    assert process.returncode == 1, text
    assert "\x1b[" in text
    assert "4/4" in text
    assert "━" in text
    assert "0:00:0" in text
    assert "failures" in text
    assert "input_x_gradient" in text
    assert "2 done, 0 skipped, 2 failed" in text
