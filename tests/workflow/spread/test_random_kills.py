"""Forty tasks on four workers of this machine, which are killed at ten random moments."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.own_journal import lines_of
from tests.experiments import Lab
from tests.processes import PATIENCE_S, started
from tests.workflow.spread.faulty import alone, assert_same_results, faulty_lab, journals, kill

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")
pytestmark = pytest.mark.slow

NUM_TASKS, NUM_WORKERS, NUM_KILLS = 40, 4, 10
MOST_OF_ONE = 2
"""Whoever is killed three times is taken for a killer, and rightly so."""


def forty_cases(folder: Path) -> Lab:
    """Return a lab of forty cases with four images, a map each."""
    lab = faulty_lab(folder, cases=4, pause_s=0.15)
    lab.keys["scores"] = []
    lab.keys["data"]["cases"] = [
        {"name": f"n{number:02}", "image": f"{'abcd'[number % 4]}.nii.gz"}
        for number in range(NUM_TASKS)
    ]
    lab.keys["cluster"] = {"kind": "local", "workers": NUM_WORKERS, "cpus_per_worker": 1}
    return lab


def test_nothing_finished_is_lost_and_only_what_was_in_flight_is_done_again(
    tmp_path: Path,
) -> None:
    lab = forty_cases(tmp_path)
    one = alone(lab)
    dice = random.Random(3)
    killed: Counter[str] = Counter()
    with started("run", lab.write()) as process:
        end = time.monotonic() + 2 * PATIENCE_S
        while killed.total() < NUM_KILLS and process.poll() is None:
            assert time.monotonic() < end, f"killed only {killed.total()}"
            time.sleep(dice.uniform(0.05, 0.6))
            busy = [read for read in journals(lab) if read.begun and not read.state]
            busy = [
                read
                for read in busy
                if Path(f"/proc/{read.head['pid']}").exists()
                and all(killed[_case(name)] < MOST_OF_ONE for name in read.begun)
            ]
            if busy:
                victim = dice.choice(busy)
                kill(int(victim.head["pid"]))
                killed[_case(victim.begun[0])] += 1
        said, wrong = process.communicate(timeout=2 * PATIENCE_S)
    assert process.returncode in (0, 1), wrong
    assert "0 failed" in said, said
    assert killed.total() == NUM_KILLS
    assert_same_results(lab, one)
    begun: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for path in SharedFolder(lab.root, "run").journals:
        for line in lines_of(path):
            begun.update(line.get("begin", ()))
            done.update([line["task"]] if line.get("status") == "done" else [])
    assert len(done) == 2 * NUM_TASKS  # of each case its prediction and its map
    assert set(done.values()) == {1}, "what was finished is done once"
    assert begun.total() <= 2 * NUM_TASKS + NUM_KILLS, "at most what was in flight is begun again"


def _case(task: str) -> str:
    return task.split(" / ")[0]
