"""A real Slurm of one node: jobs that are killed, cancelled and preempted, and what is left."""

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.experiments import Lab, esegeta
from tests.processes import PATIENCE_S, started
from tests.slurm import NoSlurmError, Slurm, running_slurm
from tests.workflow.spread.faulty import (
    alone,
    assert_same_results,
    at_work,
    failures,
    faulty_lab,
    journals,
    poison,
    wait_for,
)

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")
pytestmark = pytest.mark.slow

TWO_JOBS = {
    "kind": "slurm",
    "workers": 2,
    "gpus_per_worker": 1,
    "cpus_per_worker": 1,
    "memory_gb": 4,
    "walltime": "00:30:00",
    "queue": "low",
    "options": ["--requeue"],
}


@pytest.fixture(scope="module")
def one_node() -> Iterator[Slurm]:
    """A Slurm for all tests of this file."""
    try:
        with running_slurm() as slurm:
            yield slurm
    except NoSlurmError as error:
        pytest.skip(f"no Slurm here: {error}")


@pytest.fixture
def slurm(one_node: Slurm) -> Iterator[Slurm]:
    """The same without a job."""
    yield one_node
    one_node.cancel_all()


def slurm_lab(folder: Path, cases: int, pause_s: float = 0.1, **changes: object) -> Lab:
    lab = faulty_lab(folder, cases=cases, pause_s=pause_s)
    lab.keys["cluster"] = {**TWO_JOBS, **changes}
    return lab


def test_jobs_leave_what_one_process_leaves_though_one_is_cancelled(
    slurm: Slurm, tmp_path: Path
) -> None:
    lab = slurm_lab(tmp_path, cases=4)
    one = alone(lab)
    with started("run", lab.write()) as process:
        wait_for(lambda: at_work(lab), "a job is at work")
        slurm.call("scancel", slurm.jobs("RUNNING")[0])
        said, wrong = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, 1), wrong
    assert "4 done" in said
    assert_same_results(lab, one)
    wait_for(lambda: not slurm.jobs(), "jobs end with the run", 30)
    listed = {one["job"] for one in lab.record()["processes"]}
    assert listed == {read.head["job"] for read in journals(lab) if read.head}
    assert listed  # one job may do all before the other has begun


def test_a_case_that_kills_three_jobs_is_failed_by_name(slurm: Slurm, tmp_path: Path) -> None:
    lab = slurm_lab(tmp_path, cases=3, pause_s=0.0)
    poison(lab, "a")
    with started("run", lab.write()) as process:
        said, wrong = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, wrong
    assert "2 done, 0 skipped, 1 failed" in said
    assert [case for case, _ in failures(lab)] == ["a"]


def test_jobs_of_a_killed_controller_end_and_the_next_run_goes_on(
    slurm: Slurm, tmp_path: Path
) -> None:
    lab = slurm_lab(tmp_path, cases=4, pause_s=0.2)
    one = alone(lab)
    config = lab.write()
    with started("run", config) as process:
        wait_for(lambda: at_work(lab) and lab.maps(), "a job has done something")
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not slurm.jobs(), "jobs end without their controller", 60)
    finished = {name[0] for name in lab.maps()}
    with started("run", config) as process:
        said, wrong = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, 1), wrong
    assert f"{len(finished)} skipped" in said
    assert_same_results(lab, one)


def test_a_preempted_job_comes_back_and_nothing_is_lost(slurm: Slurm, tmp_path: Path) -> None:
    lab = slurm_lab(tmp_path, cases=4, pause_s=0.2)
    one = alone(lab)
    with started("run", lab.write()) as process:
        wait_for(lambda: at_work(lab), "a job is at work")
        urgent = ("-p", "high", "-n1", "--mem=100M", f"--gres=gpu:{4}", "--wrap", "sleep 3")
        slurm.call("sbatch", "-o", "/dev/null", *urgent)
        wait_for(lambda: slurm.call("squeue", "-h", "-p", "high", "-t", "R"), "it was preempted")
        _, wrong = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, 1), wrong
    assert_same_results(lab, one)


def submit_array(slurm: Slurm, lab: Lab) -> str:
    """Submit the script that `plan` prints; return the number of the array."""
    folder = lab.folder
    caller = folder / "esegeta"
    main = "from esegeta.cli import main; main()"
    caller.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{main}" "$@"\n')
    caller.chmod(0o755)
    text = esegeta("plan", lab.write(), "--sbatch").stdout
    script = folder / "array.sh"
    script.write_text(text.replace("srun esegeta", f"srun {caller}"))  # none is installed
    return slurm.call("sbatch", "--parsable", "--chdir", str(folder), str(script))


def test_an_array_of_parts_needs_no_controller(slurm: Slurm, tmp_path: Path) -> None:
    lab = slurm_lab(tmp_path, cases=4)
    one = alone(lab)
    submit_array(slurm, lab)
    wait_for(lambda: not slurm.jobs(), "the array ends")
    assert not (lab.root / "scores.csv").exists()
    assert esegeta("gather", lab.root).exit_code in (0, 1)
    assert_same_results(lab, one)


def test_a_part_that_reaches_its_walltime_goes_on_when_it_is_requeued(
    slurm: Slurm, tmp_path: Path
) -> None:
    lab = slurm_lab(tmp_path, cases=9, pause_s=3.0, workers=1)
    lab.keys["scores"] = []
    lab.keys["model"]["args"]["hurry"] = str(tmp_path / "hurry")
    one = alone(lab)
    array = submit_array(slurm, lab)
    wait_for(lambda: at_work(lab) and lab.maps(), "a part has done something")
    # Limits are looked at every half minute; what `--signal` asks for comes with the first look.
    slurm.call("scontrol", "update", f"JobId={array}_1", "EndTime=now")
    wait_for(lambda: not slurm.jobs(), "the part ends")
    assert "JobState=TIMEOUT" in slurm.call("scontrol", "show", "job", f"{array}_1")
    (read,) = journals(lab)
    assert (read.state, dict(read.deaths)) == ("stopped", {})
    finished = {name[0] for name in lab.maps()}
    assert 0 < len(finished) < 9
    (tmp_path / "hurry").touch()
    slurm.call("scontrol", "requeue", f"{array}_1")
    slurm.call("scontrol", "update", f"JobId={array}_1", "TimeLimit=30")  # it was cut as well
    wait_for(lambda: slurm.jobs(), "it is requeued")
    wait_for(lambda: not slurm.jobs(), "it ends")
    skipped = {line["task"] for line in journals(lab)[0].lines if line["status"] == "skipped"}
    # A case of which no more than the prediction was finished may be among them.
    assert {name[0] for name in skipped if " / " in name} == finished
    assert esegeta("gather", lab.root).exit_code in (0, 1)
    assert_same_results(lab, one)


def test_a_controller_that_is_a_job_itself(slurm: Slurm, tmp_path: Path) -> None:
    lab = slurm_lab(tmp_path, cases=2)
    one = alone(lab)
    said = esegeta("submit", lab.write()).stdout
    assert re.search(r"Submitted batch job \d+", said)
    wait_for(lambda: not slurm.jobs(), "the controller and its jobs end")
    log = (lab.root / ".cluster" / "run" / "logs" / "controller.log").read_text()
    assert "2 done" in log, log
    assert_same_results(lab, one)


def test_the_nodes_of_an_allocation_are_the_workers(slurm: Slurm, tmp_path: Path) -> None:
    lab = slurm_lab(tmp_path, cases=3)
    one = alone(lab)
    del lab.keys["cluster"]
    main = "from esegeta.cli import main; main()"
    call = f"{sys.executable} -c '{main}' run {lab.write()} --cluster allocation"
    slurm.call("sbatch", "-n2", "--mem-per-cpu=4G", "-o", f"{tmp_path}/log", "--wrap", call)
    wait_for(lambda: not slurm.jobs(), "the allocation ends")
    assert "3 done" in (tmp_path / "log").read_text(), (tmp_path / "log").read_text()
    assert_same_results(lab, one)


def test_a_queue_that_does_not_exist_is_refused_in_the_words_of_slurm(
    slurm: Slurm, tmp_path: Path
) -> None:
    lab = slurm_lab(tmp_path, cases=1, queue="nosuch")
    result = lab.run()
    assert result.exit_code == 2
    assert "invalid partition specified: nosuch" in result.stderr
    assert slurm.jobs() == []
