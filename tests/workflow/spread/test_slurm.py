"""A real Slurm of one node: jobs that are killed, cancelled and preempted, and what is left."""

import random
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.own_journal import lines_of
from tests.experiments import Lab, esegeta
from tests.processes import PATIENCE_S, started
from tests.slurm import Slurm
from tests.workflow.spread.faulty import (
    alone,
    assert_same_maps,
    assert_same_results,
    at_work,
    failures,
    journals,
    kill,
    poison,
    starve,
    wait_for,
)
from tests.workflow.spread.on_slurm import slurm_lab

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")
pytestmark = pytest.mark.slow


def test_one_run_outlives_every_fault_of_its_workers(slurm: Slurm, tmp_path: Path) -> None:
    """A case that kills, one that has not memory enough, a full disk, a cancelled job, a rival."""
    lab = slurm_lab(tmp_path, cases=7)
    poison(lab, "b")
    starved = starve(lab, "c")
    one = alone(lab, without="bc")
    lab.keys["model"]["args"]["full"] = str(tmp_path / "full")
    with started("run", lab.write()) as process:
        wait_for(lambda: at_work(lab), "a job is at work")
        rival = lab.run()
        assert rival.exit_code == 2
        assert f"process {process.pid}" in rival.stderr
        slurm.call("scancel", slurm.jobs("RUNNING")[0])
        said, wrong = process.communicate(timeout=2 * PATIENCE_S)
    assert process.returncode == 1, wrong
    assert "5 done, 0 skipped, 2 failed" in said
    told = dict(failures(lab))
    assert told.keys() == {"b", "c"}
    assert "the process that worked on it died 3 times" in told["b"]
    assert "out of memory" in told["c"]
    assert len(starved.read_text()) >= 2, "it is tried again with half the batch"
    assert (tmp_path / "full").exists()
    assert_same_maps(lab, one)
    wait_for(lambda: not slurm.jobs(), "jobs end with the run", 30)
    listed = {one["job"] for one in lab.record()["processes"]}
    assert listed >= {read.head["job"] for read in journals(lab) if read.head}
    assert len(listed) >= 2, "a cancelled job was replaced"


def test_the_only_job_is_replaced_where_its_disk_is_full(slurm: Slurm, tmp_path: Path) -> None:
    """For a while there is no worker at all."""
    lab = slurm_lab(tmp_path, cases=3, workers=1)
    one = alone(lab)
    lab.keys["model"]["args"]["full"] = str(tmp_path / "full")
    result = lab.run()
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "full").exists()
    assert_same_maps(lab, one)
    assert len({read.head["job"] for read in journals(lab)}) == 2


def test_the_first_failure_ends_all_jobs_under_fail_fast(slurm: Slurm, tmp_path: Path) -> None:
    lab = slurm_lab(tmp_path, cases=8, pause_s=0.5, workers=2)
    starve(lab, "d")
    result = lab.run("--fail-fast")
    assert result.exit_code == 1
    assert "d / liver / saliency: out of memory" in result.stderr
    wait_for(lambda: not slurm.jobs(), "jobs end with the run", 30)
    assert len({name[0] for name in lab.maps()}) < 7
    assert lab.record()["state"] == "incomplete"
    assert not list(lab.root.rglob(".*.tmp*")), "what was being written is swept"


NUM_TASKS, NUM_WORKERS, NUM_KILLS = 40, 4, 10
MOST_OF_ONE = 2
"""Whoever is killed three times is taken for a killer, and rightly so."""


def forty_cases(folder: Path) -> Lab:
    """Return a lab of forty cases with four images, a map each, for four jobs of a GPU each."""
    lab = slurm_lab(folder, cases=4, pause_s=0.15, workers=NUM_WORKERS)
    lab.keys["scores"] = []
    lab.keys["data"]["cases"] = [
        {"name": f"n{number:02}", "image": f"{'abcd'[number % 4]}.nii.gz"}
        for number in range(NUM_TASKS)
    ]
    return lab


def test_ten_random_kills_lose_nothing_and_each_job_has_its_own_gpu(
    slurm: Slurm, tmp_path: Path
) -> None:
    lab = forty_cases(tmp_path)
    one = alone(lab)
    dice = random.Random(3)
    killed: Counter[str] = Counter()
    most = 0
    with started("run", lab.write()) as process:
        end = time.monotonic() + 2 * PATIENCE_S
        while killed.total() < NUM_KILLS and process.poll() is None:
            assert time.monotonic() < end, f"killed only {killed.total()}"
            time.sleep(dice.uniform(0.05, 0.4))
            alive = [
                read
                for read in journals(lab)
                if read.begun and not read.state and Path(f"/proc/{read.head['pid']}").exists()
            ]
            gpus = {read.head["job"]: read.head["gpu"] for read in alive}
            assert len(set(gpus.values())) == len(gpus), "no two jobs at work have one GPU"
            most = max(most, len(gpus))
            busy = [
                read
                for read in alive
                if all(killed[case_of(name)] < MOST_OF_ONE for name in read.begun)
            ]
            if busy:
                victim = dice.choice(busy)
                kill(int(victim.head["pid"]))
                killed[case_of(victim.begun[0])] += 1
        said, wrong = process.communicate(timeout=2 * PATIENCE_S)
    assert process.returncode in (0, 1), wrong
    assert "0 failed" in said, said
    assert killed.total() == NUM_KILLS
    assert_same_results(lab, one)
    begun: Counter[str] = Counter()
    ended: dict[str, Counter[str]] = {"done": Counter(), "skipped": Counter()}
    for path in SharedFolder(lab.root, "run").journals:
        for line in lines_of(path):
            begun.update(line.get("begin", ()))
            if "task" in line:
                ended[line["status"]][line["task"]] += 1
    done, skipped = ended["done"], ended["skipped"]
    assert set(done.values()) == {1}, "what was finished is done once"
    assert len(done | skipped) == 2 * NUM_TASKS  # of each case its prediction and its map
    # Whoever is killed between a task's record and its own line leaves it to others to skip.
    cut_off = {name for read in journals(lab) for name in read.begun}
    assert skipped.keys() - done.keys() <= cut_off, "nothing is skipped that nobody did"
    assert begun.total() <= 2 * NUM_TASKS + NUM_KILLS, "at most what was in flight is begun again"
    assert most > 1
    pairs = {(read.head["job"], read.head["gpu"]) for read in journals(lab)}
    assert len(pairs) == len({job for job, _ in pairs}), "a job keeps its GPU"
    assert {gpu for _, gpu in pairs} <= set("0123")


def case_of(task: str) -> str:
    return task.split(" / ")[0]


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


def test_a_worker_that_reaches_its_walltime_is_replaced(slurm: Slurm, tmp_path: Path) -> None:
    lab = slurm_lab(tmp_path, cases=9, pause_s=3.0, workers=1)
    lab.keys["scores"] = []
    lab.keys["model"]["args"]["hurry"] = str(tmp_path / "hurry")
    one = alone(lab)
    with started("run", lab.write()) as process:
        wait_for(lambda: at_work(lab) and lab.maps(), "a job has done something")
        (job,) = slurm.jobs("RUNNING")
        slurm.call("scontrol", "update", f"JobId={job}", "EndTime=now")  # seen within half a minute
        wait_for(lambda: job not in slurm.jobs(), "its time is over")
        assert "JobState=TIMEOUT" in slurm.call("scontrol", "show", "job", job)
        (tmp_path / "hurry").touch()
        said, wrong = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, 1), wrong
    assert "0 failed" in said, said
    assert_same_results(lab, one)
    assert len({read.head["job"] for read in journals(lab)}) == 2


def test_tasks_of_a_lost_node_are_done_when_it_is_back(slurm: Slurm, tmp_path: Path) -> None:
    lab = slurm_lab(tmp_path, cases=4, pause_s=0.3)
    one = alone(lab)
    (node,) = slurm.call("sinfo", "-h", "-o", "%n").split()
    with started("run", lab.write()) as process:
        wait_for(lambda: at_work(lab) and lab.maps(), "a job has done something")
        try:
            for pid in at_work(lab):  # nobody on a lost node says good-bye
                kill(pid)
            slurm.call("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")
            wait_for(lambda: not slurm.jobs("RUNNING", "COMPLETING"), "its jobs are given up")
            lost = journals(lab)
        finally:
            # It may be back already: its daemon has only to be heard of again.
            slurm.call("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
        said, wrong = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, 1), wrong
    assert "0 failed" in said, said
    assert any(read.begun and not read.state for read in lost), "something was lost in midst of it"
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
    lab = slurm_lab(tmp_path, cases=4, memory_gb=1.5)
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
    skipped = {line["task"] for line in lines_of(read.path) if line.get("status") == "skipped"}
    # A case of which no more than the prediction was finished may be among them.
    assert {name[0] for name in skipped if " / " in name} == finished
    assert esegeta("gather", lab.root).exit_code in (0, 1)
    assert_same_results(lab, one)


def test_a_submitted_controller_runs_two_workers_on_one_gpu(slurm: Slurm, tmp_path: Path) -> None:
    lab = slurm_lab(tmp_path, cases=4, pause_s=0.3, workers=1, tasks_per_gpu=2)
    one = alone(lab)
    said = esegeta("submit", lab.write()).stdout
    assert re.search(r"Submitted batch job \d+", said)
    wait_for(lambda: not slurm.jobs(), "the controller and its jobs end")
    log = (lab.root / ".cluster" / "run" / "logs" / "controller.log").read_text()
    assert "4 done" in log, log
    assert_same_results(lab, one)
    workers = lab.record()["processes"]
    assert len(workers) <= 2
    (gpu,) = {worker["gpu"] for worker in workers}
    assert gpu in set("0123"), "both share the one GPU of their job"


def run_in_allocation(slurm: Slurm, lab: Lab, *wanted: str) -> str:
    """Run an experiment on the tasks of an allocation; return what it prints."""
    log = lab.folder / "log"
    main = "from esegeta.cli import main; main()"
    call = f"{sys.executable} -c '{main}' run {lab.write()} --cluster allocation"
    slurm.call("sbatch", *wanted, "--mem-per-cpu=4G", "-o", str(log), "--wrap", call)
    wait_for(lambda: not slurm.jobs(), "the allocation ends")
    return log.read_text()


def test_the_nodes_of_an_allocation_are_the_workers(slurm: Slurm, tmp_path: Path) -> None:
    lab = slurm_lab(tmp_path, cases=3)
    one = alone(lab)
    del lab.keys["cluster"]
    said = run_in_allocation(slurm, lab, "-n2")
    assert "3 done" in said, said
    assert "srun: error" not in said, "workers that have done their work end without an error"
    assert_same_results(lab, one)


@pytest.mark.parametrize(
    "wanted",
    [("-n4", "--gres=gpu:2"), ("-n2", "--gpus-per-task=1")],
    ids=" ".join,
)
def test_no_two_tasks_of_an_allocation_have_the_same_gpu(
    slurm: Slurm, tmp_path: Path, wanted: tuple[str, ...]
) -> None:
    lab = slurm_lab(tmp_path, cases=6, pause_s=0.5)
    del lab.keys["cluster"]
    said = run_in_allocation(slurm, lab, *wanted)
    assert "6 done" in said, said
    assert "srun: error" not in said
    workers = lab.record()["processes"]
    assert sorted(worker["gpu"] for worker in workers) == ["0", "1"]
    logs = SharedFolder(lab.root, "run").logs
    idle = [path for path in logs.glob("srun-*.log") if "no worker here" in path.read_text()]
    assert len(idle) == int(wanted[0][2:]) - 2
