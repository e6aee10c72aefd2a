"""Whom Dask is told to start, and that they end; nothing but its scheduler is started here."""

import os
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from esegeta.config.cluster import ClusterKeys
from esegeta.workflow.spread.folder import SharedFolder
from tests.experiments import Lab
from tests.workflow.spread.faulty import faulty_lab, journals, wait_for
from tests.workflow.spread.programs import program

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")

import dask
from distributed import SpecCluster

from esegeta.workflow.spread import controller, submitters
from esegeta.workflow.spread.tls import own_certificates
from tests.workflow.spread import fake_dask
from tests.workflow.spread.fake_dask import FakeClient, client

__all__ = ["client"]


class NotedCluster:
    """Starts nobody, and notes who was to be started."""

    made: ClassVar[list["NotedCluster"]] = []
    dashboard_link = "http://127.0.0.1:8787/status"

    def __init__(self, workers: dict[int, Any], **options: Any) -> None:
        self.workers = [workers[number]["options"] for number in sorted(workers)]
        self.options = options
        self.is_closed = False
        self.made.append(self)

    @property
    def __class__(self) -> type[SpecCluster]:
        """What `isinstance` takes it for."""
        return SpecCluster

    def close(self, timeout: float) -> None:
        self.is_closed = True


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[NotedCluster]:
    """The clusters that were made of workers of this machine."""
    monkeypatch.setattr(NotedCluster, "made", [])
    monkeypatch.setattr(submitters, "SpecCluster", NotedCluster)
    return NotedCluster.made


@pytest.fixture
def own_output() -> Iterator[None]:
    """What a worker of this process sends to its log comes back afterwards."""
    kept = [os.dup(1), os.dup(2)]
    yield
    for place, handle in enumerate(kept, start=1):
        os.dup2(handle, place)
        os.close(handle)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = faulty_lab(tmp_path, cases=2, pause_s=0.0)
    made.keys["scores"] = []
    return made


@pytest.mark.parametrize(
    ("workers", "gpus", "bokeh"),
    [("2", [], None), ("auto", ["4", "5"], ModuleSpec("bokeh", None))],
    ids=["two without GPUs", "one a GPU"],
)
@pytest.mark.slow
def test_workers_of_this_machine_have_a_gpu_and_a_log_each_and_end_with_the_run(
    lab: Lab,
    client: FakeClient,
    noted: list[NotedCluster],
    own_output: None,
    monkeypatch: pytest.MonkeyPatch,
    workers: str,
    gpus: list[str],
    bokeh: ModuleSpec | None,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
    monkeypatch.setattr(controller, "find_spec", lambda name: bokeh)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(gpus))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    result = lab.run("--workers", workers)
    assert result.exit_code == 0, result.output
    assert "2 done, 0 skipped, 0 failed" in result.stdout
    assert (NotedCluster.dashboard_link in result.stdout) == (bokeh is not None)
    (cluster,) = noted
    assert [worker["name"] for worker in cluster.workers] == ["1", "2"]
    own = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus] or [{}, {}]
    assert [worker["env"] for worker in cluster.workers] == [
        {"OMP_NUM_THREADS": "1", **one} for one in own
    ]
    assert cluster.is_closed
    assert cluster.options["security"].require_encryption
    hidden = SharedFolder(lab.root, "run")
    assert not (hidden.path / "tls").exists()
    (log,) = hidden.logs.iterdir()
    assert [read.head["log"] for read in journals(lab)] == [str(log)]


def test_an_allocation_starts_workers_by_srun_and_stops_when_srun_ends(
    lab: Lab, client: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tmp_path / "words"
    program(tmp_path, "srun", [], 7, first=f'echo "$@" > {words}')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    client.fates = [fake_dask.never, fake_dask.never]
    result = lab.run("--cluster", "allocation")
    assert result.exit_code == 2
    assert "srun ended with exit code 7 before all tasks were done" in result.stderr
    assert lab.record()["state"] == "stopped"
    hidden = SharedFolder(lab.root, "run")
    told = words.read_text()
    assert "-m esegeta.workflow.spread.pinned 1 tls://" in told
    assert f"--tls-key {hidden.path}/tls/tls_worker_key.pem" in told
    assert f"--output={hidden.logs}/srun-%j.%t.log" in told


def test_jobs_are_submitted_with_the_blocks_resources_and_cancelled_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm is two programs here."""
    submitted, cancelled = tmp_path / "submitted", tmp_path / "cancelled"
    program(tmp_path, "sbatch", ["Submitted batch job 12"], first=f'cat "$1" >> {submitted}')
    program(tmp_path, "scancel", [], first=f'echo "$@" > {cancelled}')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    keys = ClusterKeys(kind="slurm", workers=1, queue="gpu", prologue=["module load cuda"])
    folder = SharedFolder(tmp_path / "out", "run")
    with (
        dask.config.set({"distributed.adaptive.interval": "20ms"}),
        own_certificates(folder.path / "tls") as security,
        submitters.cluster_of(keys, security, folder, "study") as (cluster, supply),
    ):
        assert supply.brings_more
        wait_for(lambda: any(job.job_id for job in dict(cluster.workers).values()), "a job")
        assert not cancelled.exists()
    script = submitted.read_text().splitlines()
    assert {"#SBATCH -J esegeta-study", "#SBATCH -p gpu", "module load cuda"} <= set(script)
    assert cancelled.read_text() == "12\n"
