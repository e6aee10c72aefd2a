"""Workers that cannot be had are refused before anything is written; programs are fakes on PATH."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.experiments import Lab, esegeta, refused
from tests.workflow.spread.on_slurm import slurm_lab
from tests.workflow.spread.programs import ONLY_TESTED, program

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")

from esegeta.workflow.spread.submit import job_in


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return slurm_lab(tmp_path, cases=1, pause_s=0.0)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH for programs of a batch system."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_cluster_allocation_outside_of_an_allocation_is_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    result = lab.run("--cluster", "allocation")
    refused(result, lab, "--cluster allocation: this is not inside a Slurm allocation", "salloc")


def test_an_allocation_needs_the_program_that_starts_its_workers(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("PATH", str(lab.folder))
    refused(lab.run("--cluster", "allocation"), lab, "there is no `srun` on PATH")


@pytest.mark.parametrize("command", ["run", "submit"])
@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ("sbatch: error: invalid partition\nspecified: nosuch", "`sinfo` lists partitions"),
        ("Unable to contact slurm controller (connect failure)", "tells whether Slurm is up"),
    ],
)
def test_a_refusal_by_slurm_is_quoted_on_one_line(
    lab: Lab, programs: Path, command: str, error: str, hint: str
) -> None:
    program(programs, "sbatch", [], 1, error)
    words = f"cluster: Slurm refuses such a job: {' '.join(error.split())}; "
    refused(esegeta(command, lab.write()), lab, words, hint)


def test_jobs_cannot_write_to_a_folder_with_a_space(lab: Lab, programs: Path) -> None:
    program(programs, "sbatch", [])
    lab.keys["output"] = str(lab.folder / "my out")
    for command in ("run", "submit"):
        refused(esegeta(command, lab.write()), lab, "job scripts cannot name a folder with a space")
    assert not (lab.folder / "my out").exists()


@pytest.mark.slow
def test_a_controller_cannot_be_a_job_of_htcondor(lab: Lab) -> None:
    lab.keys["cluster"] = {"kind": "htcondor", "workers": 2}
    result = esegeta("submit", lab.write())
    refused(result, lab, "cluster.kind: htcondor: the controller cannot be a job there", "slurm")


@pytest.mark.parametrize(("kind", "name"), [("slurm", "sbatch"), ("pbs", "qsub")])
def test_a_controller_refused_after_its_test_is_reported_in_the_batch_systems_words(
    lab: Lab, programs: Path, kind: str, name: str
) -> None:
    program(programs, name, [], 1, "limit of jobs\nreached", first=ONLY_TESTED)
    lab.keys["cluster"] = {"kind": kind, "workers": 2}
    result = esegeta("submit", lab.write())
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert f"cluster: `{name}` refuses the controller's job: limit of jobs reached" in said
    assert "change queue, account or walltime" in said


def test_the_script_of_a_submitted_controller_holds_all_requested_resources(
    lab: Lab, programs: Path
) -> None:
    program(programs, "sbatch", ["Submitted batch job 7"])
    result = esegeta("submit", lab.write(), "--device", "cpu", "--fail-fast")
    assert result.exit_code == 0, result.output
    assert "Submitted batch job 7\n" in result.stdout
    assert f"esegeta status {lab.root}" in result.stdout
    script = (lab.root / ".cluster" / "run" / "controller.sh").read_text()
    assert script.splitlines()[-1].endswith(
        f"run {lab.config} -o {lab.folder}/out --device cpu --fail-fast"
    )


KEYS = {"command", "done", "failed", "running", "waiting", "per_hour", "left_s", "logs"}


@pytest.mark.parametrize(
    ("said", "words"),
    [("Submitted batch job 11", "submitted (job 11), nothing"), ("taken", "submitted, nothing")],
)
def test_status_knows_a_submitted_controller_that_has_begun_nothing(
    lab: Lab, programs: Path, said: str, words: str
) -> None:
    program(programs, "sbatch", [said])
    assert esegeta("submit", lab.write()).exit_code == 0
    log = lab.root / ".cluster" / "run" / "logs" / "controller.log"
    shown = esegeta("status", lab.root).stdout
    assert shown == f"run: {words} begun yet\n  log: {log}\n"
    (told,) = json.loads(esegeta("status", lab.root, "--json").stdout)
    assert told.keys() == KEYS
    assert told["command"] == "run"
    assert (told["done"], told["waiting"], told["logs"]) == (0, None, [str(log)])
    (log.parent.parent / "origin.json").write_text("{}")  # it has begun
    assert "run: 0 done" in esegeta("status", lab.root).stdout


def test_a_submission_that_cannot_be_read_is_still_known(lab: Lab, programs: Path) -> None:
    program(programs, "sbatch", ["Submitted batch job 11"])
    esegeta("submit", lab.write())
    (lab.root / ".cluster" / "run" / "submitted.json").write_text("[")
    assert esegeta("status", lab.root).stdout == "run: submitted, nothing begun yet\n"


@pytest.mark.parametrize(
    ("said", "job"),
    [
        ("Submitted batch job 11 on cluster a2", "11"),
        ("11.server7.domain", "11"),
        ('Your job 11 ("esegeta-2-controller") has been submitted', "11"),
        ("Job <11> is submitted to queue <gpu2>.", "11"),
        ("submitted", ""),
    ],
)
def test_the_number_of_a_job_is_read_from_what_each_batch_system_says(said: str, job: str) -> None:
    assert job_in(said) == job


@pytest.mark.parametrize("command", [("submit",), ("plan", "--sbatch")], ids=" ".join)
def test_a_prologue_may_use_variables_that_are_not_set(
    lab: Lab, programs: Path, command: tuple[str, ...]
) -> None:
    """Scripts of modules and of conda do, and workers' jobs let them."""
    program(programs, "sbatch", ["Submitted batch job 7"])
    program(programs, "srun", ["it goes on"])
    lab.keys["cluster"]["prologue"] = ["export X=$NOT_SET_ANYWHERE"]
    result = esegeta(command[0], lab.write(), *command[1:])
    assert result.exit_code == 0, result.output
    script = result.stdout
    if command == ("submit",):
        *before, _ = (lab.root / ".cluster" / "run" / "controller.sh").read_text().splitlines()
        script = "\n".join([*before, "srun"])
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=False)
    assert done.stdout == "it goes on\n", done.stderr


@pytest.mark.slow
def test_lsf_reads_the_script_of_a_controller_from_its_input(lab: Lab, programs: Path) -> None:
    taken = lab.folder / "taken"
    program(
        programs, "bsub", ["Job <7> is submitted"], first=f"cat > '{taken}'; echo $# >> {taken}"
    )
    path = lab.folder / "lsf.yaml"
    path.write_text("{kind: lsf, workers: 2, queue: gpu}")
    result = esegeta("submit", lab.write(), "--cluster", path)
    assert result.exit_code == 0, result.output
    assert "Job <7> is submitted" in result.stdout
    *script, words = taken.read_text().splitlines()
    assert words == "0"
    assert "#BSUB -q gpu" in script
    assert script[-1].endswith(f"--cluster {path}")
