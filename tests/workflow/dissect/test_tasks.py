"""A dissection as a list of tasks: pickled, locked, stopped by a signal, going on past failures."""

from __future__ import annotations

import json
import os
import pickle
import platform
import signal
from pathlib import Path
from typing import Any

import pytest

from esegeta.config import load_config
from esegeta.errors import DataError
from esegeta.workflow import engine, lock
from esegeta.workflow.dissect import ablate, build_dissection, passes, run_dissection, source
from esegeta.workflow.journal import NAME
from esegeta.workflow.task import Task
from tests.experiments import Lab, esegeta
from tests.processes import started, stop_once
from tests.workflow.dissect.causal import causal_lab
from tests.workflow.dissect.planted import noisy_lab
from tests.workflow.tasks import journal_lines


def full_lab(folder: Path) -> Lab:
    """Return a dissection with ablation and trails, whose units are all named."""
    lab = causal_lab(folder)
    lab.keys["dissection"].update(min_iou=0.0, q_value=1.0, ablation={"draws": 2})
    return lab


def tear(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def broken(*arguments: Any) -> Any:
    raise ZeroDivisionError("a bug")


def lines_of(lab: Lab) -> list[dict[str, Any]]:
    return journal_lines(lab.root / "dissection" / NAME)


@pytest.mark.slow
def test_every_task_can_be_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Task] = []
    plain = engine.finished

    def noted(task: Task, *check: str) -> Any:
        seen.append(task)
        return plain(task, *check)

    monkeypatch.setattr(engine, "finished", noted)
    dissected = run_dissection(build_dissection(load_config(full_lab(tmp_path).write())))
    assert dissected.exit_code == 0 and dissected.summary["trails"]
    names = [task.name for task in seen]
    assert len(names) == len(set(names))
    steps = ("thresholds", "overlaps", "held-out overlaps", "results", "bars", "figures")
    steps += ("ablation", "nodes", "trails")
    assert tuple(task.name for task in seen if task.is_step) == steps
    assert names[-1] == "summary"
    assert [pickle.loads(pickle.dumps(task)) for task in seen] == seen


def test_a_second_process_is_refused_and_told_which_process_works(tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path)
    lab.root.mkdir(parents=True)
    holder = {"host": platform.node(), "pid": os.getppid(), "since": "noon"}
    (lab.root / lock.NAME).write_text(json.dumps(holder))
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 2
    who = f"process {os.getppid()} on {platform.node()} is working on this folder since noon"
    assert f"error: {lab.root}: {who}" in result.stderr
    assert not (lab.root / "dissection").exists()


@pytest.mark.slow
def test_a_run_stopped_by_sigterm_is_continued_by_the_next(tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path, cases=8)
    lab.keys["dissection"]["chance"] = {"samples": 300}
    counts = lab.root / "dissection" / "work" / "counts"
    with started("dissect", lab.write()) as process:
        told = stop_once((counts / "b.safetensors").exists, process, signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; run the same command again to continue from here" in told
    assert not (lab.root / lock.NAME).exists()
    assert not (lab.root / "dissection" / "summary.json").exists()
    assert lab.leftovers() == []
    kept = {path.stem for path in counts.iterdir()}
    assert {"a", "b"} <= kept < set("abcdefgh")
    done = {line["task"] for line in lines_of(lab) if line["status"] == "done"}
    assert {f"{name} / dissection / thresholds" for name in "abcdefgh"} < done

    result = esegeta("dissect", lab.config)
    assert result.exit_code == 0
    statuses = {line["task"]: line["status"] for line in lines_of(lab)}
    for name in "abcdefgh":
        assert statuses[f"{name} / dissection / thresholds"] == "skipped"
        expected = "skipped" if name in kept else "done"
        assert statuses[f"{name} / dissection / overlaps"] == expected


@pytest.mark.slow
def test_progress_of_a_continued_run_counts_finished_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With three passes for thresholds, as where memory is scarce."""
    lab = noisy_lab(tmp_path)
    lab.keys["dissection"].update(memory_mb=0.02, chance={"samples": 1}, min_iou=1.0)
    with monkeypatch.context() as patch:
        patch.setattr(passes, "count_case", broken)
        assert esegeta("dissect", lab.write()).exit_code == 1
    lines = esegeta("dissect", lab.write()).stdout.splitlines()
    for name in "ab":
        for turn in (1, 2, 3):
            skipped = f"{name} / dissection / thresholds, pass {turn}: skipped (already finished)"
            assert sum(line.endswith(skipped) for line in lines) == 1
    last = [line for line in lines if line.startswith("[")][-1]
    done, total = last.split("]")[0][1:].split("/")
    assert done == total and "summary: done" in last


@pytest.mark.parametrize("num_passes", [1, 3])
def test_a_failure_is_reported_once_and_other_cases_continue(
    num_passes: int, tmp_path: Path
) -> None:
    lab = noisy_lab(tmp_path, cases=3)
    name = "thresholds"
    if num_passes == 3:
        lab.keys["dissection"].update(memory_mb=0.02, chance={"samples": 1})
        name = "thresholds, pass 1"
    tear(tmp_path / "b.nii.gz")
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 2
    table = result.stderr.splitlines()
    assert table[0] == "failures:"
    assert table[1].startswith(f"  b / dissection / {name}: ") and "damaged" in table[1]
    assert table[2].startswith("  summary: ") and "b.nii.gz" in table[2]
    assert len(table) == 3
    assert f"c / dissection / {name}: done" in result.stdout
    assert "2 done, 0 skipped, 2 failed" in result.stdout
    assert "overlaps" not in result.stdout and "units named" not in result.stdout


def test_fail_fast_stops_at_the_first_failure(tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path, cases=3)
    tear(tmp_path / "b.nii.gz")
    result = esegeta("dissect", lab.write(), "--fail-fast")
    assert result.exit_code == 2
    assert "b / dissection / thresholds: FAILED" in result.stdout
    assert "c / dissection" not in result.stdout


def test_quiet_prints_failures_only(tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path)
    tear(tmp_path / "b.nii.gz")
    result = esegeta("dissect", lab.write(), "-q")
    assert result.exit_code == 2 and result.stdout == ""
    assert "b.nii.gz" in result.stderr


def test_a_bug_is_shown_with_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "count_case", broken)
    result = esegeta("dissect", noisy_lab(tmp_path).write())
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "a / dissection / overlaps: ZeroDivisionError: a bug" in result.stderr


def test_out_of_memory_is_a_user_error_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def large(*arguments: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(passes, "count_case", large)
    result = esegeta("dissect", noisy_lab(tmp_path).write())
    assert result.exit_code == 2
    words = "out of memory; lower inference.batch_size, inference.window or dissection.memory_mb"
    assert f"a / dissection / overlaps: {words}" in result.stderr


def test_a_file_deleted_after_the_check_fails_its_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(case: Any) -> Any:
        raise DataError("a: it is gone")

    monkeypatch.setattr(source, "hash_inputs", gone)
    lab = noisy_lab(tmp_path)
    for options in ((), ("--overwrite",)):
        result = esegeta("dissect", lab.write(), *options)
        assert result.exit_code == 2
        assert result.stderr.splitlines() == ["failures:", "  summary: a: it is gone"]


@pytest.mark.slow
def test_stages_that_do_not_need_a_failed_stage_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the ablation there is no summary, and the next run has nothing else to do."""
    lab = full_lab(tmp_path)

    def unlike(*arguments: Any, **keys: Any) -> Any:
        raise DataError("the truth is of another grid")

    with monkeypatch.context() as patch:
        patch.setattr(ablate, "label_dice", unlike)
        result = esegeta("dissect", lab.write())
    assert result.exit_code == 2
    assert "n0 / dissection / ablation: the truth is of another grid" in result.stderr
    assert "n0 / dissection / trails, influences: done" in result.stdout
    folder = lab.root / "dissection"
    assert (folder / "trails.json").is_file() and not (folder / "summary.json").exists()
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0
    assert "n0 / dissection / ablation: done" in result.stdout
    assert "n0 / dissection / trails, influences: skipped" in result.stdout
    assert (folder / "summary.json").is_file() and not (folder / "work").exists()
