"""Every file of a command is in the list of a record, or it is written anew each time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from esegeta.report.contents import CONTENTS, is_sealed, sealed
from esegeta.workflow.cache import finished, header_of_tensors, keep_json, keep_tensors
from esegeta.workflow.task import Desk, Kind, Task
from tests.experiments import Lab, esegeta, pointwise_lab, quick
from tests.workflow.concepts.planted import planted_lab
from tests.workflow.dissect.planted import noisy_lab
from tests.workflow.examples.labs import examples_lab
from tests.workflow.features.labs import feature_lab, inspect_lab
from tests.workflow.retrain.tasks import small_task
from tests.workflow.similarity.labs import similarity_lab

__all__ = ["quick"]


def records(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every record with a seal, and the headers of those of tensors."""
    for path in root.rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if CONTENTS in content:
            assert is_sealed(content), path
            yield path, content
    for path in root.rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            header = header_of_tensors(file.metadata())
        if CONTENTS in header:
            yield path, header


def unlisted(root: Path) -> set[Path]:
    """Return the files that no record speaks of, and that are no such record."""
    told = {
        (path.parent / name).resolve()
        for path, content in records(root)
        for name in content[CONTENTS]
    }
    told |= {path.resolve() for path, _ in records(root)}
    files = (path for path in root.resolve().rglob("*") if path.is_file())
    return {path for path in files if path not in told and not path.name.startswith(".")}


COMMANDS: dict[str, Callable[[Path], Lab]] = {
    "run": lambda folder: pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0]),
    "dissect": noisy_lab,
    "features": feature_lab,
    "inspect": inspect_lab,
    "similarity": lambda folder: similarity_lab(folder, cases=2, samples=100),
    "examples": lambda folder: examples_lab(folder, cases=4),
    "retrain": small_task,
    "concepts": planted_lab,
}
HEAVY = ("dissect", "features", "inspect", "similarity", "examples", "retrain", "concepts")
EACH = [pytest.param(one, marks=pytest.mark.slow if one in HEAVY else ()) for one in COMMANDS]


@pytest.mark.parametrize("command", EACH)
@pytest.mark.slow
def test_an_emptied_file_is_made_again(command: str, quick: None, tmp_path: Path) -> None:
    lab = COMMANDS[command](tmp_path)
    assert esegeta(command, lab.write(), "-q").exit_code == 0
    root = lab.root
    first = {path for path in root.rglob("*") if path.is_file()}
    written_each_time = unlisted(root)
    for path in written_each_time:  # they have no record, so nothing but these is done again
        path.write_bytes(b"")
    assert esegeta(command, lab.config, "-q").exit_code == 0
    assert [path for path in written_each_time if not path.stat().st_size] == []
    named = [path.parent / name for path, told in records(root) for name in told[CONTENTS]]
    beside = next((path for path in named if path.stat().st_size), None)
    assert (beside is None) == (command == "retrain")  # it leaves records alone
    if beside is not None:
        whole = beside.read_bytes()
        os.utime(beside, (1, 1))
        beside.write_bytes(whole[:-1])
        assert esegeta(command, lab.config, "-q").exit_code == 0
        assert beside.stat().st_size == len(whole)
    assert {path for path in root.rglob("*") if path.is_file()} == first


@pytest.mark.slow
def test_tables_of_labels_beside_a_prediction_are_made_again(quick: None, tmp_path: Path) -> None:
    lab = COMMANDS["run"](tmp_path)
    assert lab.run().exit_code == 0
    tables = [path for path in (lab.root / "a").glob("*_dseg.*") if path.suffix not in (".json",)]
    assert len(tables) == 5
    before = {path: path.read_bytes() for path in tables}
    for path in tables:
        path.write_bytes(before[path][:-1])
        assert lab.run().exit_code == 0
        assert path.read_bytes() == before[path]
    assert set(lab.statuses().values()) == {"skipped"}


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no contents": lambda told: told.pop("contents"),
    "empty contents": lambda told: told.update(contents={}),
    "no files": lambda told: told.update(contents={}, files=[]),
    "another length": lambda told: next(iter(told["contents"].values())).update(bytes=0),
    "warnings": lambda told: told.update(warnings=None),
    "curves": lambda told: told.update(curves=5),
    "a value": lambda told: told.update(unit="none"),
    "no seal": lambda told: told.pop("seal"),
}


def nothing(task: Task, desk: Desk) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_record_does_not_count_as_finished(change: str, tmp_path: Path) -> None:
    image, record = tmp_path / "map.nii.gz", tmp_path / "map.json"
    image.write_bytes(b"voxels")
    task = Task(name="t", kind=Kind(nothing), key="k", record=record, files=(image,))
    content = {"warnings": [], "curves": [], "unit": "logit", "files": [image.name]}
    keep_json(record, "k", content, [image])
    told = finished(task)
    assert told is not None
    CHANGES[change](told)
    record.write_text(json.dumps(told))
    assert finished(task) is None
    if "seal" in told:  # nor with a seal that fits, where a file is missing from it
        record.write_text(json.dumps(sealed(told)))
        is_told = change in ("warnings", "curves", "a value")
        assert (finished(task) is not None) == is_told


def test_a_record_without_files_counts_as_finished(tmp_path: Path) -> None:
    task = Task(name="t", kind=Kind(nothing), key="k", record=tmp_path / "a.json")
    keep_json(tmp_path / "a.json", "k", {"value": 0.1})
    assert finished(task) is not None


def test_files_beside_tensors_must_be_intact(tmp_path: Path) -> None:
    record, beside = tmp_path / "a.safetensors", tmp_path / "a.json"
    beside.write_text("{}")
    keep_tensors(record, "k", {"x": torch.zeros(1)}, [beside])
    task = Task(name="t", kind=Kind(nothing), key="k", record=record, files=(beside,))
    assert finished(task) == {}
    beside.write_text("")
    assert finished(task) is None


@pytest.mark.slow
@pytest.mark.parametrize("change", ["empty contents", "warnings", "curves"])
def test_results_of_a_changed_record_are_made_again(
    change: str, quick: None, tmp_path: Path
) -> None:
    lab = COMMANDS["run"](tmp_path)
    assert lab.run().exit_code == 0
    for sidecar in (lab.root / "a").glob("*.json"):
        whole, told = (json.loads(sidecar.read_text()) for _ in range(2))
        CHANGES[change](told)
        sidecar.write_text(json.dumps(told))
        assert lab.run().exit_code == 0
        assert json.loads(sidecar.read_text())["contents"] == whole["contents"]
