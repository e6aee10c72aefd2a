"""Commands by several processes, from the command line: what parts, workers and jobs say."""

from pathlib import Path

import pytest

from tests.experiments import Lab, esegeta, pointwise_lab
from tests.workflow.predictions import liver_lab, without_maps

SHAPE = (8, 8, 8)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Two cases of one window each."""
    return pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0], cases=2, shape=SHAPE)


@pytest.mark.slow
def test_a_part_names_the_gather_command_which_counts_waiting_tasks(lab: Lab) -> None:
    part = lab.run("--part", "1/2")
    assert part.exit_code == 0, part.output
    last = f"this was part 1/2; when all have ended, run: esegeta gather {lab.root}"
    assert part.stdout.splitlines()[-1] == last
    gathered = esegeta("gather", lab.root)
    assert gathered.exit_code == 1
    assert "run: 1 task not done yet" in gathered.stdout
    assert lab.run("--part", "2/2", "-q").output == ""
    gathered = esegeta("gather", lab.root)
    assert gathered.exit_code == 0 and "not done yet" not in gathered.stdout
    assert set(lab.statuses().values()) == {"done"}


def test_a_part_of_predictions_writes_no_table(tmp_path: Path) -> None:
    lab = without_maps(liver_lab(tmp_path))
    assert lab.predict("--part", "1/1", "-q").exit_code == 0
    assert lab.segmentation("a").any() and not (lab.root / "predictions.csv").exists()
    assert esegeta("gather", lab.root).exit_code == 0
    assert [row["case"] for row in lab.predictions()] == ["a"]


def test_a_part_writes_no_report(lab: Lab) -> None:
    lab.keys["report"] = True
    assert lab.run("--part", "1/1", "-q").exit_code == 0
    assert not (lab.root / "report").exists()


def test_gather_without_parts_is_refused(tmp_path: Path) -> None:
    result = esegeta("gather", tmp_path)
    assert result.exit_code == 2
    assert f"{tmp_path}: holds no parts of a command" in result.stderr


@pytest.mark.slow
def test_workers_write_the_report_and_move_stale_results(lab: Lab) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("dask_jobqueue")
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    assert lab.run("-q").exit_code == 0
    lab.keys["methods"].pop()
    lab.keys["report"] = True
    result = lab.run("--workers", "1", "--prune")  # all is there: no worker has anything to do
    assert result.exit_code == 0, result.output
    assert "2 skipped" in result.stdout
    assert f"report: {lab.root / 'report' / 'index.html'}" in result.stdout.replace("\n", "")
    assert f"of earlier configs moved to {lab.root / 'stale'}" in result.stdout


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that would have been submitted."""
    pytest.importorskip("distributed")
    pytest.importorskip("dask_jobqueue")
    found: list[str] = []

    def submit(origin: object, loaded: object, *rest: object) -> str:
        found.append(str(origin))
        return "job 7"

    monkeypatch.setattr("esegeta.workflow.spread.submit.submit", submit)
    return found


def test_a_config_without_a_cluster_is_not_submitted(lab: Lab, submitted: list[str]) -> None:
    result = esegeta("submit", lab.write())
    assert result.exit_code == 2
    assert f"{lab.config}: the config has no `cluster` block" in result.stderr
    assert "--cluster FILE" in result.stderr and not submitted


def test_a_job_is_submitted_only_if_its_command_is_valid(lab: Lab, submitted: list[str]) -> None:
    lab.keys["cluster"] = {"kind": "slurm", "workers": 2}
    lab.keys["device"] = "cuda"  # which this machine need not have
    done = esegeta("submit", lab.write())
    assert done.exit_code == 0, done.output
    assert done.stdout == f"job 7\nto see its progress: esegeta status {lab.root}\n"
    lab.keys["data"]["cases"][0]["image"] = "gone.nii.gz"
    result = esegeta("submit", lab.write())
    assert result.exit_code == 2 and "gone.nii.gz" in result.stderr
    assert len(submitted) == 1
