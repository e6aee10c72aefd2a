"""Jobs of a batch system that end before their worker has come; there is no batch system here."""

import asyncio
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from esegeta.errors import OutputError
from esegeta.workflow.spread.job_logs import logs_of
from esegeta.workflow.spread.supply import (
    LISTINGS,
    MOST_AT_FIRST,
    MOST_IN_A_ROW,
    AllocationSupply,
    BatchSupply,
    SchedulerSupply,
    listed_jobs,
)
from tests.workflow.spread.programs import program


class FakeJob:
    def __init__(self, number: int) -> None:
        self.job_id: str | None = f"{number}.server"
        self.refusal = ""
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


class RefusedJob(FakeJob):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.job_id, self.refusal = None, f"limit reached: {number}"


class FakeCluster:
    """Jobs that are submitted until there are enough, as Dask's are."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.submitted = 0
        self.workers: dict[str, FakeJob] = {}
        self.worker_spec: dict[str, Any] = {}
        self.kind: type[FakeJob] = FakeJob
        self.scheduler_info: dict[str, Any] = {"workers": {}}
        self.fill()

    def fill(self) -> None:
        while len(self.workers) < self.count:
            name = f"jobs-{self.submitted}"
            self.submitted += 1
            self.workers[name] = self.kind(self.submitted)
            self.worker_spec[name] = {}

    def sync(self, function: Any, *args: Any) -> None:
        asyncio.run(function(*args))
        self.fill()

    def arrive(self, name: str) -> None:
        self.scheduler_info["workers"][f"tls://{name}"] = {"name": name}

    def leave(self, name: str) -> None:
        del self.scheduler_info["workers"][f"tls://{name}"]


class Watched:
    """A supply whose clock goes on by an hour at each look, and what the batch system lists."""

    def __init__(self, logs: Path, count: int = 1) -> None:
        self.cluster = FakeCluster(count)
        self.listed: set[str] | None = set()
        self.num_asked = 0
        self.now = 0.0
        self.supply = BatchSupply(self.cluster, logs, self._list, lambda: self.now)

    def _list(self) -> set[str] | None:
        self.num_asked += 1
        return self.listed

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 3600
            self.supply.look()


def test_a_job_listed_by_the_batch_system_is_waited_for(tmp_path: Path) -> None:
    seen = Watched(tmp_path)
    seen.listed = {"1", "77"}
    seen.look(100)
    assert seen.cluster.submitted == 1


def test_no_job_is_given_up_while_the_batch_system_does_not_answer(tmp_path: Path) -> None:
    seen = Watched(tmp_path)
    seen.listed = None
    seen.look(100)
    assert seen.cluster.submitted == 1


def test_a_job_that_is_gone_twice_is_replaced_and_then_given_up(tmp_path: Path) -> None:
    seen = Watched(tmp_path)
    first = seen.cluster.workers["jobs-0"]
    seen.look()
    assert seen.cluster.submitted == 1, "it may just have been submitted"
    seen.look()
    assert seen.cluster.submitted == 2
    assert first.is_closed
    assert seen.cluster.worker_spec.keys() == {"jobs-1"}
    (tmp_path / "esegeta-3.err").write_text("one\nno such module\n\n")
    with pytest.raises(OutputError, match=r"3 jobs ended .* ends with: no such module") as raised:
        seen.look(2 * MOST_AT_FIRST)
    assert "on a shared disk" in str(raised.value)


def test_jobs_that_are_refused_are_given_up_in_the_words_of_the_batch_system(
    tmp_path: Path,
) -> None:
    seen = Watched(tmp_path)
    seen.cluster.kind = RefusedJob
    seen.look(2)  # the first was taken, and is gone
    assert seen.cluster.submitted == 2
    with pytest.raises(OutputError, match=r"refused jobs until none was left: limit reached: 3"):
        seen.look(MOST_AT_FIRST)


def test_a_job_that_is_refused_once_is_submitted_again(tmp_path: Path) -> None:
    seen = Watched(tmp_path)
    seen.cluster.kind = RefusedJob
    seen.look(2)
    seen.cluster.kind = FakeJob
    seen.look()
    assert seen.cluster.submitted == 3
    seen.listed = {"3"}
    seen.look(20)
    assert seen.cluster.submitted == 3


def test_a_job_that_dask_has_forgotten_meanwhile_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Watched(tmp_path)
    first = seen.cluster.workers["jobs-0"]
    sync = seen.cluster.sync

    def late_sync(function: Any, *args: Any) -> None:
        seen.cluster.workers.clear()
        sync(function, *args)

    monkeypatch.setattr(seen.cluster, "sync", late_sync)
    seen.look(2)
    assert not first.is_closed
    assert seen.cluster.submitted == 2


def test_a_job_without_a_log_names_the_folder_of_logs(tmp_path: Path) -> None:
    seen = Watched(tmp_path)
    with pytest.raises(OutputError, match=f"job 3.server left no log in {tmp_path}"):
        seen.look(2 * MOST_AT_FIRST)


def test_a_job_whose_logs_are_empty_is_said_to_have_printed_nothing(tmp_path: Path) -> None:
    for name in ("esegeta-3.err", "esegeta-3.out"):
        (tmp_path / name).touch()
    seen = Watched(tmp_path)
    with pytest.raises(OutputError, match=f"printed nothing into {tmp_path}/esegeta-3.err"):
        seen.look(2 * MOST_AT_FIRST)


def test_errors_are_quoted_before_what_a_job_printed(tmp_path: Path) -> None:
    (tmp_path / "esegeta-study-3.err").write_text("mkdir: missing operand\n")
    (tmp_path / "esegeta-study-3.out").touch()
    (tmp_path / "esegeta-study-13.out").write_text("of another job\n")
    (tmp_path / "esegeta-study-3-14.out").write_text("of a run whose name holds a number\n")
    seen = Watched(tmp_path)
    with pytest.raises(OutputError, match=r"study-3\.err ends with: mkdir: missing operand"):
        seen.look(2 * MOST_AT_FIRST)


LOGS = {
    "slurm": ("esegeta-a-6.err", "esegeta-a-6.out"),
    "lsf": ("LSFCluster-0-6.err", "LSFCluster-0-6.out"),
    "sge": ("esegeta-a.e6", "esegeta-a.o6"),
    "pbs": ("esegeta-a.e6", "esegeta-a.o6"),
    "pbs by number": ("6.server.domain.ER", "6.server.domain.OU"),
    "htcondor": ("worker-6.0.err", "worker-6.0.out"),
}
OF_OTHERS = (
    *("esegeta-a-16.err", "esegeta-6-1.out", "esegeta-a-6-7.err", "esegeta-a-60.out"),
    *("esegeta-a.o16", "esegeta-6.o1", "16.server.ER", "1.server6.OU", "worker-16.0.err"),
    *("worker-1.6.out", "srun-6.0.log", "controller.log", "esegeta-6.2-16.err"),
)


@pytest.mark.parametrize("kind", sorted(LOGS))
def test_the_logs_of_a_job_are_known_by_its_whole_number(kind: str, tmp_path: Path) -> None:
    for name in (*LOGS[kind], *OF_OTHERS):
        (tmp_path / name).touch()
    assert [path.name for path in logs_of(tmp_path, "6")] == list(LOGS[kind])
    assert logs_of(tmp_path / "nowhere", "6") == []


def test_a_lost_worker_that_had_connected_is_always_replaced(tmp_path: Path) -> None:
    seen = Watched(tmp_path, count=2)
    seen.listed = {"1", "2"}
    for name in ("jobs-0", "jobs-1"):
        seen.cluster.arrive(name)
    seen.look()
    assert seen.num_asked == 0, "nobody is missing"
    for number in range(2, 30):  # one node after the other is lost
        lost, new = f"jobs-{number - 1}", f"jobs-{number}"
        seen.cluster.leave(lost)
        seen.listed = {"1"}
        seen.look(2)
        assert new in seen.cluster.workers
        seen.cluster.arrive(new)
        seen.listed = {"1", str(number + 1)}
        seen.look()


def test_a_failing_node_gets_a_limited_number_of_jobs_while_others_work(tmp_path: Path) -> None:
    seen = Watched(tmp_path, count=2)
    seen.cluster.arrive("jobs-0")
    seen.look(5 * MOST_IN_A_ROW)
    assert seen.cluster.submitted == 1 + MOST_IN_A_ROW
    seen.cluster.leave("jobs-0")
    with pytest.raises(OutputError, match="jobs ended before"):
        seen.look()


def test_a_job_of_several_workers_counts_once_one_has_connected(tmp_path: Path) -> None:
    seen = Watched(tmp_path)
    seen.cluster.arrive("jobs-0-1")
    seen.look(10)
    assert seen.num_asked == 0


def test_the_batch_system_is_asked_less_and_less_often(tmp_path: Path) -> None:
    seen = Watched(tmp_path)
    seen.listed = {"1"}
    for _ in range(3600):
        seen.now += 1
        seen.supply.look()
    assert 60 <= seen.num_asked <= 65


ANSWERS = {
    "slurm": ["12", "13"],
    "pbs": ["12.server.domain", "13.server.domain"],
    "sge": [
        *("job-ID  prior   name", "-------", "  12 0.55 dask  me  r", "  13 0.55 dask  me  qw"),
        "  14 0.55 dask  me  Eqw",  # has failed to start, and stays until it is removed
    ],
    "lsf": ["12", "13"],
    "htcondor": ["12 0", "13 0"],
}


@pytest.mark.parametrize("kind", sorted(LISTINGS))
def test_jobs_are_read_from_what_each_batch_system_prints(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    name = LISTINGS[kind][0]
    program(tmp_path, name, ANSWERS[kind])
    assert listed_jobs(kind) == {"12", "13"}
    program(tmp_path, name, [])
    assert listed_jobs(kind) == set()
    program(tmp_path, name, [], 255, "No unfinished job found")
    assert listed_jobs(kind) == set()
    program(tmp_path, name, [], 1, "cannot connect to the server")
    assert listed_jobs(kind) is None


def test_a_missing_batch_system_lists_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert listed_jobs("slurm") is None


def test_an_allocation_whose_srun_has_ended_is_given_up(tmp_path: Path) -> None:
    with subprocess.Popen(["sh", "-c", "read line; exit 7"], stdin=subprocess.PIPE) as process:
        supply = AllocationSupply(process, tmp_path)
        supply.look()
        process.communicate(b"go\n")
        with pytest.raises(OutputError, match="srun ended with exit code 7"):
            supply.look()


def test_a_scheduler_that_has_gone_is_not_waited_for() -> None:
    client = SimpleNamespace(status="running")
    supply = SchedulerSupply(client, "tcp://node7:8786")
    for client.status in ("running", "connecting"):  # it may come back
        supply.look()
    client.status = "closed"
    with pytest.raises(OutputError, match="the Dask scheduler at tcp://node7:8786 stopped before"):
        supply.look()
