"""A comparison as a list of tasks: resumed, replaced, going on past failures."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from esegeta.config import load_config
from esegeta.workflow import engine
from esegeta.workflow.journal import NAME
from esegeta.workflow.similarity import build_comparison, results, run_comparison
from esegeta.workflow.task import Task
from tests.experiments import Lab, esegeta, read_json
from tests.workflow.similarity.labs import rows_of, similarity_lab
from tests.workflow.tasks import journal_lines


def statuses(lab: Lab) -> dict[str, str]:
    lines = journal_lines(lab.root / "similarity" / NAME)
    return {line["task"]: line["status"] for line in lines}


def broken(*arguments: Any) -> Any:
    raise ZeroDivisionError("a bug")


def test_every_task_can_be_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Task] = []
    plain = engine.finished

    def noted(task: Task, *check: str) -> Any:
        seen.append(task)
        return plain(task, *check)

    monkeypatch.setattr(engine, "finished", noted)
    lab = similarity_lab(tmp_path, cases=2, samples=100)
    compared = run_comparison(build_comparison(load_config(lab.write())))
    assert compared.exit_code == 0 and compared.record["cases"] == ["a", "b"]
    assert [task.name for task in seen] == ["a / similarity", "b / similarity", "results"]
    assert [pickle.loads(pickle.dumps(task)) for task in seen] == seen


@pytest.mark.slow
def test_finished_cases_are_kept_when_the_result_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = similarity_lab(tmp_path, cases=2, samples=100)
    with monkeypatch.context() as patch:
        patch.setattr(results, "case_rows", broken)
        assert esegeta("similarity", lab.write(), "-q").exit_code == 1
    assert not (lab.root / "similarity" / "similarity.json").exists()
    assert esegeta("similarity", lab.config).exit_code == 0
    assert statuses(lab) == {
        "a / similarity": "skipped",
        "b / similarity": "skipped",
        "results": "done",
    }
    assert not (lab.root / "similarity" / "work").exists()
    before = (lab.root / "similarity" / "similarity.csv").stat().st_mtime_ns
    result = esegeta("similarity", lab.config)
    assert result.exit_code == 0 and "already finished" in result.stdout
    assert (lab.root / "similarity" / "similarity.csv").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_changed_comparison_is_done_again(tmp_path: Path) -> None:
    lab = similarity_lab(tmp_path, cases=2, samples=100, methods=["cka", "pca"])
    folder = lab.root / "similarity"
    assert esegeta("similarity", lab.write(), "-q").exit_code == 0
    first = read_json(folder / "similarity.json")["fingerprint"]
    assert (folder / "pca_tiny.png").is_file() and (folder / "pca.csv").is_file()
    lab.keys["similarity"]["methods"] = ["cca"]
    assert esegeta("similarity", lab.write(), "-q").exit_code == 0
    assert read_json(folder / "similarity.json")["fingerprint"] != first
    assert not (folder / "pca_tiny.png").exists() and not (folder / "cka.png").exists()
    assert rows_of(lab, method="cca") and not rows_of(lab)


@pytest.mark.slow
def test_a_failure_is_reported_once(tmp_path: Path) -> None:
    lab = similarity_lab(tmp_path, cases=3, samples=100)
    path = tmp_path / "b.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    result = esegeta("similarity", lab.write())
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[1].startswith("  b / similarity: ") and "damaged" in lines[1]
    assert lines[2].startswith("  results: ") and len(lines) == 3
    path.write_bytes(whole)
    assert esegeta("similarity", lab.config).exit_code == 0
    assert (
        statuses(lab)["a / similarity"] == "skipped" and statuses(lab)["b / similarity"] == "done"
    )


@pytest.mark.slow
def test_the_order_of_cases_plays_no_part(tmp_path: Path) -> None:
    """Everything is sampled, so that each order has the same positions."""
    lab = similarity_lab(tmp_path, cases=3)
    assert esegeta("similarity", lab.write(), "-q").exit_code == 0
    before = rows_of(lab)
    lab.keys["data"]["cases"].reverse()
    assert esegeta("similarity", lab.write(), "-q").exit_code == 0
    for pair, row in rows_of(lab).items():
        assert float(row["value"]) == pytest.approx(float(before[pair]["value"]), abs=1e-9)
