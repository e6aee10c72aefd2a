"""`esegeta run --workers`: workers of this machine, and what becomes of them."""

import signal
from pathlib import Path

import pytest

from esegeta.volume import is_alive
from tests.experiments import noise, refused, save_image
from tests.processes import PATIENCE_S, started, stop_once
from tests.workflow.spread.faulty import (
    SHAPE,
    alone,
    assert_same_results,
    at_work,
    faulty_lab,
    kill,
    pids,
    wait_for,
)

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")
pytestmark = pytest.mark.slow

TWO = {"kind": "local", "workers": 2, "cpus_per_worker": 1}


def test_a_task_that_fails_when_workers_redo_it_has_failed(tmp_path: Path) -> None:
    lab = faulty_lab(tmp_path, cases=2)
    assert lab.run("--workers", "2").exit_code in (0, 1)
    lab.keys["model"]["args"]["starved"] = str(tmp_path / "starved")
    lab.keys["inference"]["batch_size"] = 1
    lab.write()
    save_image(tmp_path / "b.nii.gz", noise(SHAPE) - 1000)
    result = lab.run("--workers", "2", "--overwrite")
    assert result.exit_code == 1, result.output
    assert "1 failed" in result.stdout
    assert "[1/2]" in result.stdout and "skipped" not in result.stdout.split("done,")[0]


def test_workers_give_the_results_of_one_process_though_one_is_killed(tmp_path: Path) -> None:
    lab = faulty_lab(tmp_path, cases=4)
    one = alone(lab)
    lab.keys["cluster"] = TWO
    with started("run", lab.write()) as process:
        wait_for(lambda: at_work(lab), "a worker is at work")
        kill(at_work(lab)[0])
        said, wrong = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, 1), wrong
    assert "4 done" in said
    assert_same_results(lab, one)


def test_workers_end_with_their_controller_and_the_next_run_continues(
    tmp_path: Path,
) -> None:
    lab = faulty_lab(tmp_path, cases=4, pause_s=0.2)
    one = alone(lab)
    lab.keys["cluster"] = TWO
    config = lab.write()
    with started("run", config) as process:
        wait_for(lambda: at_work(lab), "a worker is at work")
        second = lab.run()
        assert second.exit_code == 2
        assert f"process {process.pid}" in second.stderr
        said = stop_once(lambda: bool(lab.maps()), process, signal.SIGTERM)
    assert process.returncode == 143, said
    assert lab.record()["state"] == "stopped"
    finished = set(lab.maps())
    with started("run", config) as process:
        wait_for(lambda: at_work(lab), "a worker is at work")
        workers = pids(lab)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: not any(is_alive(pid) for pid in workers), "workers end", 60)
    with started("run", config) as process:
        said, wrong = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, 1), wrong
    assert {name[0] for name in finished} <= {
        case for (case, _, _), status in lab.statuses().items() if status == "skipped"
    }
    assert_same_results(lab, one)


def test_fail_fast_stops_all_workers_at_the_first_failure(tmp_path: Path) -> None:
    lab = faulty_lab(tmp_path, cases=4, pause_s=0.2)
    save_image(tmp_path / "a.nii.gz", -1 - abs(noise(SHAPE)))  # there is no liver in it
    result = lab.run("--workers", "1", "--fail-fast")
    assert result.exit_code != 0
    assert "1 failed" in result.stdout
    assert len(lab.maps()) < 3


@pytest.mark.parametrize(
    ("option", "words"),
    [(("--workers", "0"), "at least 1"), (("--workers", "many"), "at least 1, or auto")],
)
def test_an_invalid_number_of_workers_is_refused(
    tmp_path: Path, option: tuple[str, ...], words: str
) -> None:
    lab = faulty_lab(tmp_path, cases=1)
    refused(lab.run(*option), lab, words)
