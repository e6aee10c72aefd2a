"""Ctrl-C and SIGTERM: what is finished is kept, nothing is torn, and the next run finishes it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from esegeta.workflow import lock
from tests.experiments import Lab, esegeta, pointwise_lab, read_json, unet_lab, written
from tests.processes import PATIENCE_S, started, stop_once
from tests.workflow.dissect.planted import noisy_lab
from tests.workflow.retrain.tasks import small_task

WORDS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
SIGNALS = pytest.mark.parametrize("number", WORDS, ids=lambda number: number.name)


def maps_lab(folder: Path) -> Lab:
    lab = unet_lab(folder, cases=2)
    smooth = {"name": "smoothgrad", "samples": 2}
    lab.keys["methods"] = [{**smooth, "id": f"smooth{place}", "seed": place} for place in range(8)]
    return lab


def trainings_lab(folder: Path) -> Lab:
    return small_task(folder, iterations=60, seeds=list(range(5)))


def dissection_lab(folder: Path) -> Lab:
    return noisy_lab(folder, cases=12)


@dataclass(frozen=True)
class Kept:
    """What a command keeps of its finished tasks, and its record, from the output folder on."""

    lab: Callable[[Path], Lab]
    results: str
    record: str


COMMANDS = {
    "run": Kept(maps_lab, "*/*_attrmap.nii.gz", "run.json"),
    "retrain": Kept(trainings_lab, "retrain/units/*.json", "retrain/retrain.json"),
    "dissect": Kept(dissection_lab, "dissection/work/*/*", ""),
}


def assert_whole(folder: Path) -> None:
    """Every file can be read to its end, and none says that somebody is at work."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert path.name != lock.NAME and not path.name.startswith(".tmp-")
        if path.name.endswith(".nii.gz"):
            assert np.isfinite(np.asarray(nib.load(path).dataobj)).all()
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".jsonl":
            assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.slow
@SIGNALS
@pytest.mark.parametrize("command", COMMANDS)
def test_a_stopped_command_is_finished_by_the_next(
    command: str, number: signal.Signals, tmp_path: Path
) -> None:
    kept = COMMANDS[command]
    lab = kept.lab(tmp_path)
    config = lab.write()

    def results() -> dict[Path, int]:
        return written(lab.root, kept.results)

    with started(command, config) as process:
        said = stop_once(lambda: bool(results()), process, number)
    assert process.returncode == 128 + number
    assert said.splitlines()[-1] == (
        f"stopped by {WORDS[number]}; run the same command again to continue from here"
    )
    assert "Traceback" not in said
    assert_whole(lab.root)
    before = results()
    if kept.record:
        assert read_json(lab.root / kept.record)["state"] == "stopped"

    assert esegeta(command, config).exit_code == 0
    assert_whole(lab.root)
    if kept.record:
        record = read_json(lab.root / kept.record)
        assert record["state"] == "complete"
        statuses = [unit["status"] for unit in record["units"]]
        assert 0 < statuses.count("skipped") == len(before) < len(statuses)
        assert before.items() <= results().items()


@pytest.mark.slow
@SIGNALS
@pytest.mark.parametrize("command", ["run", "validate"])
def test_stopped_while_the_network_is_built(
    command: str, number: signal.Signals, tmp_path: Path
) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    code, begun = tmp_path / "tiny_networks.py", tmp_path / "begun"
    wait = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep({PATIENCE_S})\n"
    code.write_text(wait + code.read_text())
    with started(command, lab.write()) as process:
        said = stop_once(begun.exists, process, number)
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    assert f"stopped by {WORDS[number]}" in said
    assert not (tmp_path / "out").exists()
