"""What a real Slurm cannot do, in its own words: queues, folders and jobs that come to nothing."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.experiments import esegeta, refused
from tests.processes import PATIENCE_S
from tests.slurm import Slurm
from tests.workflow.spread.faulty import wait_for
from tests.workflow.spread.on_slurm import slurm_lab

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")
pytestmark = pytest.mark.slow


def test_a_queue_that_does_not_exist_is_refused_in_the_words_of_slurm(
    slurm: Slurm, tmp_path: Path
) -> None:
    lab = slurm_lab(tmp_path, cases=1, queue="nosuch")
    refused(lab.run(), lab, "invalid partition specified: nosuch")
    refused(esegeta("submit", lab.config), lab, "invalid partition specified: nosuch")
    lab.keys["cluster"].update(queue="low", gpus_per_worker=5)
    refused(lab.run(), lab, "Slurm refuses such a job: ", "node configuration is not available")
    assert slurm.jobs() == []


def test_a_folder_that_jobs_do_not_see_is_named(slurm: Slurm, tmp_path: Path) -> None:
    """Results go to a disk that only the controller has mounted."""
    lab = slurm_lab(tmp_path, cases=1)
    own = tmp_path / "own_disk"
    own.mkdir()
    lab.keys["output"] = str(own)
    main = "from esegeta.cli import main; main()"
    mount = f"mount -t tmpfs tmpfs {shlex.quote(str(own))}"
    run = shlex.join([sys.executable, "-c", main, "run", str(lab.write())])
    call = ["unshare", "--mount", "sh", "-c", f"{mount} || exit 77; {run}"]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("a disk of its own may not be mounted here")
    assert done.returncode == 2, done.stderr
    assert "jobs ended before any of their workers connected" in done.stderr
    assert f"left no log in {own}" in done.stderr
    assert "give one on a shared disk" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    wait_for(lambda: not slurm.jobs(), "jobs end with the run", 60)


@pytest.mark.parametrize("stream", [1, 2])
def test_jobs_that_end_at_once_are_given_up_with_the_last_line_of_a_log(
    slurm: Slurm, tmp_path: Path, stream: int
) -> None:
    prologue = f"echo there is no module cuda >&{stream}; exit 1"
    lab = slurm_lab(tmp_path, cases=1, prologue=[prologue])
    done = lab.run()
    assert done.exit_code == 2, done.stderr
    assert "jobs ended before any of their workers connected" in done.stderr
    assert "ends with: there is no module cuda" in " ".join(done.stderr.split())
    assert lab.record()["state"] == "stopped"
    wait_for(lambda: not slurm.jobs(), "jobs end with the run", 60)


def test_jobs_work_where_the_variable_of_their_scratch_folder_is_not_set(
    slurm: Slurm, tmp_path: Path
) -> None:
    lab = slurm_lab(tmp_path, cases=1, workers=1, scratch="$SCRATCH_OF_NODE")
    done = lab.run()
    assert done.exit_code == 0, done.stderr


def test_status_names_the_log_of_a_controller_that_died_in_its_prologue(
    slurm: Slurm, tmp_path: Path
) -> None:
    lab = slurm_lab(tmp_path, cases=1, prologue=["echo there is no module cuda; exit 1"])
    said = esegeta("submit", lab.write()).stdout
    (job,) = re.findall(r"batch job (\d+)", said)
    wait_for(lambda: not slurm.jobs(), "it ends", 60)
    first, second = esegeta("status", lab.root).stdout.splitlines()
    assert first == f"run: submitted (job {job}), nothing begun yet"
    log = Path(second.removeprefix("  log: "))
    assert log.read_text() == "there is no module cuda\n"


OWN_SLURM = """\
import time
from tests.slurm import running_slurm
with running_slurm() as slurm:
    print(slurm.folder, flush=True)
    time.sleep(60)
"""


def test_the_daemons_of_a_slurm_end_with_the_process_that_started_it(slurm: Slurm) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_CONF"}
    call = [sys.executable, "-c", OWN_SLURM]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        folder = process.stdout.readline().strip()
        assert len(processes_of(folder)) == 3
        process.kill()
    wait_for(lambda: not processes_of(folder), "its daemons end", 30)
    shutil.rmtree(folder)


def processes_of(folder: str) -> list[Path]:
    """Return the processes whose command line names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [path] if folder in path.read_text(errors="replace") else []
    return found


REFUSING = """\
#!/bin/sh
for word in "$@"; do [ "$word" = --test-only ] && exec {sbatch} "$@"; done
echo "sbatch: error: AssocMaxSubmitJobLimit" >&2
exit 1
"""


def test_a_submission_refused_after_its_test_is_reported_in_slurms_words(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of jobs, say, which `--test-only` knows nothing of."""
    lab = slurm_lab(tmp_path, cases=1)
    program = tmp_path / "bin" / "sbatch"
    program.parent.mkdir()
    program.write_text(REFUSING.format(sbatch=shutil.which("sbatch")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    done = lab.run()
    assert done.exit_code == 2, done.stderr
    assert "sbatch: error: AssocMaxSubmitJobLimit" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert lab.record()["state"] == "stopped"


def test_a_folder_with_a_space_is_refused_for_jobs(slurm: Slurm, tmp_path: Path) -> None:
    lab = slurm_lab(tmp_path, cases=1)
    lab.keys["output"] = str(tmp_path / "my out")
    lab.write()
    for done in (lab.run(), esegeta("submit", lab.config)):
        assert done.exit_code == 2
        assert "a space in its path" in " ".join(done.stderr.split())
    assert not (tmp_path / "my out").exists()
