"""The block `cluster`: what is refused, what a batch system is asked for, who gets which GPU."""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from esegeta.config.cluster import ClusterKeys
from esegeta.errors import ConfigError
from esegeta.workflow.spread import asked
from esegeta.workflow.spread.own_gpus import num_workers_of
from tests.experiments import Lab, esegeta, refused, unet_lab
from tests.slurm import free_ports


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return unet_lab(tmp_path, shape=(8, 8, 8))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"kind": "slrum"}, "cluster.kind"),
        ({"kind": "local", "wrokers": 2}, 'did you mean "workers"?'),
        ({"kind": "local", "workers": 0}, "at least 1, or auto (found 0)"),
        ({"kind": "local", "workers": "x"}, "at least 1, or auto (found 'x')"),
        ({"kind": "local", "workers": 1.5}, "at least 1, or auto (found 1.5)"),
        ({"kind": "local", "workers": True}, "at least 1, or auto (found True)"),
        ({"kind": "slurm"}, "needs `workers`"),
        ({"kind": "slurm", "workers": 1, "walltime": "4 hours"}, '"4 hours" is not a time'),
        ({"kind": "slurm", "workers": 1, "walltime": "00:00:00"}, "is not a time"),
        ({"kind": "slurm", "workers": 1, "walltime": "01:75:00"}, "is not a time"),
        ({"kind": "slurm", "workers": 1, "walltime": 14400}, "give it in quotes"),
        ({"kind": "local", "address": "tcp://a:1"}, "belongs to kind: address"),
        ({"kind": "address"}, "needs `address`"),
        ({"kind": "local", "gpus_per_worker": -1}, "cluster.gpus_per_worker"),
        ({"kind": "local", "memory_gb": 0}, "cluster.memory_gb"),
        ({"kind": "slurm", "workers": 1, "walltime": "4:00"}, '"4:00" is not a time'),
        ({"kind": "slurm", "workers": 1, "walltime": -1}, "-1 is not a time"),
        ({"kind": "slurm", "workers": 1, "queue": ""}, "cluster.queue"),
        ({"kind": "slurm", "workers": 1, "options": "--x"}, "should be a list"),
        ({"address": "node7:8786"}, '"node7:8786" is not an address'),
        ({"address": "tcp://node7"}, '"tcp://node7" is not an address'),
        ({"kind": "local", "workers": 10**11}, "must be at most 10000"),
        ({"kind": "slurm", "workers": 1, "tasks_per_gpu": 10**10}, "cluster.tasks_per_gpu"),
        ({"kind": "slurm", "workers": 1, "memory_gb": 1e-10}, "cluster.memory_gb"),
        ({"kind": "slurm", "workers": 1, "scratch": "$(touch /tmp/x)/tmp"}, "is not a path"),
        ({"kind": "slurm", "workers": 1, "scratch": "/tmp/my files"}, "is not a path"),
        ({"kind": "slurm", "workers": 1, "scratch": "-rf"}, "is not a path"),
        ({"kind": "slurm", "workers": 1, "scratch": "/tmp/$1"}, "is not a path"),
    ],
    ids=str,
)
def test_invalid_keys_are_refused(lab: Lab, keys: dict[str, Any], words: str) -> None:
    lab.keys["cluster"] = keys
    refused(lab.run(), lab, "tiny.yaml:", words)


def test_an_address_implies_its_kind_and_walltimes_may_have_days() -> None:
    assert ClusterKeys(address="tcp://node7:8786").kind == "address"
    assert ClusterKeys(walltime="2-00:00:00").walltime == "2-00:00:00"


def test_a_cluster_file_holds_the_keys_at_the_top_or_below_cluster(tmp_path: Path) -> None:
    path = tmp_path / "slurm.yaml"
    path.write_text("{kind: slurm, workers: 3}")
    assert asked.cluster_in(path).num_workers == 3
    path.write_text("cluster:\n  kind: slurm\n  workers: 4\n")
    assert asked.cluster_in(path).num_workers == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{kind: slurm, wrokers: 3}", 'slurm.yaml:1: wrokers: unknown key; did you mean "workers"'),
        ("cluster:\n  kind: slurm\n  workers: -1", "slurm.yaml:3: cluster.workers: must be"),
        ("- kind: slurm", "slurm.yaml:1: should be keys with values"),
        ("", "slurm.yaml: the file is empty"),
        ("cluster:\n", "slurm.yaml:1: there are no keys of `cluster`"),
        ('kind: slurm\nqueue: "low\\ntouch x"', "slurm.yaml:2: queue: must be plain text"),
        (None, "--cluster: there is no file"),
    ],
    ids=["a key that is none", "below its name", "a list", "empty", "no keys", "lines", "no file"],
)
def test_an_invalid_cluster_file_is_refused(lab: Lab, text: str | None, words: str) -> None:
    path = lab.folder / "slurm.yaml"
    if text is not None:
        path.write_text(text)
    refused(lab.run("--cluster", path), lab, words)


def test_many_more_workers_than_the_machine_has_cpus_are_refused(lab: Lab) -> None:
    pytest.importorskip("dask_jobqueue")
    refused(lab.run("--workers", "9999"), lab, "workers: 9999 on a machine with", "give at most")


def test_a_kind_in_place_of_a_file_is_refused(lab: Lab) -> None:
    refused(lab.run("--cluster", "slurm"), lab, 'there is no file "slurm"', "kind: slurm")
    refused(lab.run("--cluster", ""), lab, 'there is no file ""')
    refused(lab.run("--workers", "\N{SUPERSCRIPT TWO}"), lab, "must be at least 1, or auto")


def test_scratch_may_contain_environment_variables() -> None:
    for scratch in ("$TMPDIR", "/local/${SLURM_JOB_ID}/x", "~/scratch-2"):
        assert ClusterKeys(scratch=scratch).scratch == scratch


def test_workers_and_cluster_together_are_refused(lab: Lab) -> None:
    refused(lab.run("--workers", "2", "--cluster", "x.yaml"), lab, "give one of them")


def test_without_dask_the_error_names_the_install_command(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "find_spec", lambda name: None)
    refused(lab.run("--workers", "2"), lab, "pip install 'esegeta[cluster]'", "--part")


def test_importing_dask_jobqueue_keeps_the_handler_of_ctrl_c(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("dask_jobqueue")
    for name in [name for name in sys.modules if name.split(".")[0] == "dask_jobqueue"]:
        monkeypatch.delitem(sys.modules, name)
    before = signal.getsignal(signal.SIGINT)
    asked.require_dask()
    assert signal.getsignal(signal.SIGINT) is before


def test_dask_can_be_required_outside_the_main_thread() -> None:
    """Other threads have no handler of Ctrl-C that would have to be restored."""
    pytest.importorskip("dask_jobqueue")
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asked.require_dask).result()


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_an_address_without_a_scheduler_is_refused(
    protocol: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setattr("esegeta.workflow.spread.able.PATIENCE_S", 0.2)
    (port,) = free_ports(1)
    address = f"{protocol}://127.0.0.1:{port}"
    lab.keys["cluster"] = {"address": address}
    refused(lab.run(), lab, f"no Dask scheduler answers at {address}", "dask scheduler")


def test_submitting_needs_a_cluster(lab: Lab) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("dask_jobqueue")
    result = esegeta("submit", lab.write())
    refused(result, lab, "has no `cluster` block")


UNEVEN = {"SLURM_NTASKS": "10", "SLURM_TASKS_PER_NODE": "3(x3),1"}
"""An allocation whose last node has fewer tasks."""


class TestSubmitters:
    """With Dask there, and no batch system."""

    @pytest.fixture(autouse=True)
    def _dask(self) -> None:
        pytest.importorskip("distributed")
        pytest.importorskip("dask_jobqueue")

    @pytest.mark.parametrize("kind", ["slurm", "pbs", "sge", "lsf", "htcondor"])
    def test_a_batch_system_that_is_not_on_path_is_refused(
        self, lab: Lab, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from esegeta.workflow.spread import able

        monkeypatch.setattr(able.shutil, "which", lambda name: None)
        with pytest.raises(ConfigError, match=f"kind: {kind}: there is no `"):
            able.require_program(kind, able.SUBMITTERS[kind][1])

    def test_each_local_worker_has_gpus_of_its_own(self) -> None:
        from esegeta.workflow.spread.own_gpus import gpus_of, num_local_workers

        keys = ClusterKeys(kind="local")
        gpus = ["0", "1", "2", "3"]
        assert num_local_workers(keys, 4, 16) == 4
        assert [gpus_of(number, keys, gpus) for number in range(4)] == gpus
        with pytest.raises(ConfigError, match="worker 5 has no GPU of its own"):
            gpus_of(4, keys, gpus)
        pairs = ClusterKeys(kind="local", gpus_per_worker=2)
        assert [gpus_of(k, pairs, gpus) for k in range(num_local_workers(pairs, 4, 16))] == [
            "0,1",
            "2,3",
        ]
        shared = ClusterKeys(kind="local", tasks_per_gpu=2)
        assert num_local_workers(shared, 4, 16) == 8
        assert [gpus_of(k, shared, gpus) for k in range(8)] == [g for g in gpus for _ in "ab"]
        assert num_local_workers(keys, 0, 16) == 4
        assert num_local_workers(keys, 0, 2) == 1
        assert gpus_of(0, keys, []) is None

    @pytest.mark.parametrize(
        ("keys", "told", "count"),
        [
            ({"kind": "allocation"}, {"SLURM_NTASKS": "3", "SLURM_NNODES": "2"}, 3),
            ({"kind": "allocation"}, {"SLURM_NNODES": "2"}, 2),
            ({"kind": "allocation"}, {}, 1),
            ({"kind": "allocation"}, {"SLURM_NTASKS": "2", "SLURM_GPUS_ON_NODE": "1"}, 1),
            ({"kind": "allocation"}, {"SLURM_NTASKS": "2", "SLURM_GPUS_ON_NODE": "0"}, 2),
            ({"kind": "allocation"}, {**UNEVEN, "SLURM_GPUS_ON_NODE": "2"}, 7),
            ({"kind": "allocation", "tasks_per_gpu": 2}, {**UNEVEN, "SLURM_GPUS_ON_NODE": "1"}, 7),
            ({"kind": "slurm", "workers": 3, "tasks_per_gpu": 2}, {"SLURM_NTASKS": "1"}, 6),
            ({"kind": "local", "workers": 2}, {"SLURM_NTASKS": "1"}, 2),
        ],
        ids=str,
    )
    def test_the_number_of_workers_follows_from_keys_and_allocation(
        self,
        keys: dict[str, Any],
        told: dict[str, str],
        count: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name in ("NTASKS", "NNODES", "GPUS_ON_NODE", "TASKS_PER_NODE", "NTASKS_PER_GPU"):
            monkeypatch.delenv(f"SLURM_{name}", raising=False)
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        assert num_workers_of(ClusterKeys(**keys)) == count

    @pytest.mark.parametrize("kind", ["slurm", "pbs", "sge", "lsf"])
    def test_a_controller_has_a_script_for_each_batch_system(self, lab: Lab, kind: str) -> None:
        from esegeta.workflow.spread.origin import Origin
        from esegeta.workflow.spread.submit import controller_script

        given = {"queue": "gpu", "prologue": ["module load cuda"], "walltime": "2-00:00:00"}
        keys = ClusterKeys(kind=kind, workers=2, **given)
        origin = Origin.of("run", lab.write(), ["seed=4"])
        script = controller_script(origin, origin.load(), keys, lab.folder / "c.yaml")
        assert "{" not in script
        assert ("2-00:00:00" if kind == "slurm" else "48:00") in script
        assert "gpu" in script and "None" not in script
        assert "module load cuda" in script.splitlines()
        last = script.splitlines()[-1]
        assert f"run {lab.config} -o {lab.folder}/out --set seed=4" in last
        assert last.endswith(f"--cluster {lab.folder}/c.yaml")

    def test_certificates_are_readable_by_their_owner_only_and_deleted_afterwards(
        self, tmp_path: Path
    ) -> None:
        from esegeta.workflow.spread.tls import own_certificates

        with own_certificates(tmp_path / "tls") as security:
            assert security.require_encryption
            files = list((tmp_path / "tls").iterdir())
            assert len(files) == 7
            assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
            assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
        assert not (tmp_path / "tls").exists()
