"""What a command prints at its end is the same from one process, from parts and from workers."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.experiments import Lab, esegeta, pointwise_lab
from tests.workflow.concepts.planted import planted_lab
from tests.workflow.dissect.planted import noisy_lab
from tests.workflow.examples.labs import examples_lab
from tests.workflow.features.labs import feature_lab
from tests.workflow.predictions import expect, liver_lab, positive, without_maps
from tests.workflow.similarity.labs import similarity_lab

pytestmark = pytest.mark.usefixtures("quick")

ROUNDS = 8


def predict(folder: Path) -> Lab:
    """Two cases with another pipeline's segmentation."""
    lab = without_maps(liver_lab(folder, cases=2))
    for case in range(2):
        expect(lab, 1 - positive(case), case=case)
    return lab


def concepts(folder: Path) -> Lab:
    lab = planted_lab(folder)
    lab.keys["concepts"]["randoms"] = 30
    return lab


def similarity(folder: Path) -> Lab:
    return similarity_lab(folder, cases=2)


def features(folder: Path) -> Lab:
    lab = feature_lab(folder)
    lab.keys["features"]["objectives"] = [{"layer": "model.0", "unit": unit} for unit in (0, 1)]
    return lab


def dissect(folder: Path) -> Lab:
    return noisy_lab(folder, cases=2, shape=(8, 8, 8))


def examples(folder: Path) -> Lab:
    return examples_lab(folder, cases=2)


COMMANDS = (predict, concepts, similarity, features, dissect, examples)


def end_of(stdout: str) -> list[str]:
    """Return the lines behind those of progress, without times and folders."""
    lines = stdout.splitlines()
    last = max((number for number, line in enumerate(lines) if line.startswith("[")), default=-1)
    found = [line for line in lines[last + 1 :] if not line.startswith(("    ", "note: "))]
    # What parts have done is counted as done, and what was done before as skipped.
    return [re.sub(r"in \d.*|results in .*|already finished.*", "", line) for line in found]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.__name__)
def test_gather_prints_what_one_process_prints(
    command: Callable[[Path], Lab], tmp_path: Path
) -> None:
    lab = command(tmp_path)
    words = (command.__name__, lab.write())
    one = esegeta(*words, "-o", tmp_path / "alone")
    shown = end_of(one.stdout)
    assert len(shown) > 1
    for _ in range(ROUNDS):
        for number in (1, 2):
            esegeta(*words, "--part", f"{number}/2")
        gathered = esegeta("gather", lab.root)
        if "not done yet" not in gathered.output:
            break
        assert len(end_of(gathered.stdout)) == 2  # counts, and what is still to come
    assert end_of(gathered.stdout) == shown
    assert gathered.exit_code == one.exit_code


@pytest.mark.slow
@pytest.mark.parametrize("command", (predict, dissect), ids=lambda one: one.__name__)
def test_workers_print_what_one_process_prints(
    command: Callable[[Path], Lab], tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("dask_jobqueue")
    lab = command(tmp_path)
    words = (command.__name__, lab.write())
    one = esegeta(*words, "-o", tmp_path / "alone")
    shared = esegeta(*words, "--workers", "1")
    assert end_of(shared.stdout) == end_of(one.stdout)
    assert shared.exit_code == one.exit_code
    assert "named, already finished" not in shared.stdout
    again = esegeta(*words, "--workers", "1")
    assert ("named, already finished" in again.stdout) == (command is dissect)


def test_gathered_predictions_without_a_proof_are_said_to_have_none(tmp_path: Path) -> None:
    lab = without_maps(liver_lab(tmp_path))
    assert lab.predict("--part", "1/1", "-q").exit_code == 0
    assert "no case has `expected`" in esegeta("gather", lab.root).stdout


def test_gather_writes_the_report_once_nothing_is_waiting(tmp_path: Path) -> None:
    shape = (8, 8, 8)
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0], cases=2, shape=shape)
    lab.keys["report"] = True
    page = lab.root / "report" / "index.html"
    assert lab.run("--part", "1/2", "-q").exit_code == 0
    assert esegeta("gather", lab.root).exit_code == 1
    assert not page.exists()
    assert lab.run("--part", "2/2", "-q").exit_code == 0
    gathered = esegeta("gather", lab.root)
    assert gathered.exit_code == 0, gathered.output
    assert page.is_file() and f"report: {page}" in gathered.stdout.replace("\n", "")
