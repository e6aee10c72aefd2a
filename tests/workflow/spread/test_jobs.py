"""What each batch system is asked for, in its own words; none of them is there."""

from pathlib import Path

import pytest

from esegeta.config.cluster import ClusterKeys
from esegeta.workflow.spread.jobs import SUBMITTERS, job_options, job_settings, walltime_of

pytest.importorskip("distributed")
dask_jobqueue = pytest.importorskip("dask_jobqueue")


def test_a_batch_system_is_asked_in_its_own_words() -> None:
    given = {
        "workers": 2,
        "gpus_per_worker": 2,
        "cpus_per_worker": 4,
        "memory_gb": 32,
        "queue": "gpu",
        "account": "lab",
        "walltime": "1-02:30:00",
    }
    found = {kind: job_options(ClusterKeys(kind=kind, **given)) for kind in SUBMITTERS}
    assert found["slurm"]["job_extra_directives"] == ["--gres=gpu:2"]
    assert found["slurm"]["account"] == "lab"
    assert found["pbs"]["resource_spec"] == "select=1:ncpus=4:ngpus=2:mem=32768mb"
    assert found["sge"]["project"] == "lab"
    assert found["slurm"]["walltime"] == "1-02:30:00"
    assert found["pbs"]["walltime"] == found["sge"]["walltime"] == "26:30:00"
    assert found["lsf"]["walltime"] == "26:30"
    assert found["htcondor"]["job_extra_directives"]["request_gpus"] == "2"


def test_memory_is_asked_for_in_whole_mb() -> None:
    found = {
        kind: job_options(ClusterKeys(kind=kind, workers=1, memory_gb=1.3)) for kind in SUBMITTERS
    }
    assert found["slurm"]["job_mem"] == "1332M"
    assert found["pbs"]["resource_spec"].endswith(":mem=1332mb")
    assert found["sge"]["resource_spec"].startswith("h_vmem=1332M")
    assert found["lsf"]["mem"] == 1332 * 2**20


@pytest.mark.parametrize(
    ("given", "lsf", "others"),
    [
        ("00:00:30", "00:01", "00:00:30"),
        ("00:59:01", "01:00", "00:59:01"),
        ("2-00:00:00", "48:00", "48:00:00"),
        ("120:05:00", "120:05", "120:05:00"),
    ],
)
def test_walltimes_are_never_cut(given: str, lsf: str, others: str) -> None:
    for kind, said in (("slurm", given), ("lsf", lsf), ("pbs", others), ("sge", others)):
        assert walltime_of(ClusterKeys(kind=kind, workers=1, walltime=given)) == said


def test_a_job_script_holds_the_options_of_each_batch_system(tmp_path: Path) -> None:
    """These jobs were written by dask-jobqueue; none but Slurm can be asked whether it runs."""
    given = {
        "workers": 2,
        "gpus_per_worker": 2,
        "cpus_per_worker": 4,
        "memory_gb": 32,
        "queue": "gpu",
        "account": "lab",
        "options": ["+x=1"],
        "prologue": ["module load cuda"],
        "scratch": "$TMPDIR",
    }
    words = {
        "slurm": (
            "#SBATCH -p gpu",
            "#SBATCH -A lab",
            "#SBATCH --cpus-per-task=4",
            "#SBATCH --mem=32768M",
            "#SBATCH -t 04:00:00",
            "#SBATCH --gres=gpu:2",
        ),
        "pbs": (
            "#PBS -q gpu",
            "#PBS -A lab",
            "#PBS -l walltime=04:00:00",
            "#PBS -l select=1:ncpus=4:ngpus=2:mem=32768mb",
        ),
        "sge": ("#$ -q gpu", "#$ -P lab", "#$ -l h_vmem=32768M,gpu=2", "#$ -l h_rt=04:00:00"),
        "lsf": (
            "#BSUB -q gpu",
            '#BSUB -P "lab"',
            "#BSUB -n 4",
            "#BSUB -W 04:00",
            "#BSUB -gpu num=2",
        ),
        "htcondor": ("request_gpus = 2", "accounting_group = lab"),
    }
    for kind, (class_name, _) in SUBMITTERS.items():
        keys = ClusterKeys(kind=kind, **given)
        job = getattr(dask_jobqueue, class_name).job_cls(
            "tcp://127.0.0.1:1",
            name="worker",
            **job_settings(keys, tmp_path, "study"),
            **job_options(keys),
        )
        script = job.job_script()
        for line in (*words[kind], "module load cuda", "export OMP_NUM_THREADS=4"):
            assert line in script, (kind, line, script)
        assert (
            "--nthreads 1" in script
            and '--local-directory "$ESEGETA_SCRATCH"' in script.replace('""', '"')
        )
        assert "x=1" in script.replace("x = 1", "x=1")
