"""Commands that look into networks, in parts and by workers: they leave what one process leaves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.experiments import Lab, esegeta, refused
from tests.workflow.concepts.planted import planted_lab
from tests.workflow.dissect.planted import noisy_lab
from tests.workflow.examples.labs import examples_lab, with_influence
from tests.workflow.features.labs import feature_lab, inspect_lab
from tests.workflow.similarity.labs import other, similarity_lab

pytestmark = pytest.mark.usefixtures("quick")

LASTING = (".csv", ".gz", ".safetensors", ".png", ".graphml")
"""Files that say nothing of times; records do."""


def concepts(folder: Path) -> tuple[Lab, tuple[str, ...]]:
    lab = planted_lab(folder)
    lab.keys["concepts"]["randoms"] = 30
    return lab, ("concepts", str(lab.write()))


def similarity(folder: Path) -> tuple[Lab, tuple[str, ...]]:
    lab = similarity_lab(folder, cases=2)
    more = other(lab, "another", seed=7)
    return lab, ("similarity", str(lab.write()), str(folder / more))


def features(folder: Path) -> tuple[Lab, tuple[str, ...]]:
    lab = feature_lab(folder)
    lab.keys["features"]["prior"] = "expert"
    lab.keys["features"]["objectives"] = [{"layer": "model.0", "unit": unit} for unit in (0, 1)]
    return lab, ("features", str(lab.write()))


def inspect(folder: Path) -> tuple[Lab, tuple[str, ...]]:
    lab = inspect_lab(folder)
    return lab, ("inspect", str(lab.write()))


def examples(folder: Path) -> tuple[Lab, tuple[str, ...]]:
    lab = with_influence(examples_lab(folder, cases=2))
    return lab, ("examples", str(lab.write()))


def dissect(folder: Path) -> tuple[Lab, tuple[str, ...]]:
    lab = noisy_lab(folder, cases=3, shape=(8, 8, 8))
    return lab, ("dissect", str(lab.write()))


def dissect_by_bits(folder: Path) -> tuple[Lab, tuple[str, ...]]:
    """Three passes for thresholds, then overlaps, held-out ones and units switched off."""
    lab = noisy_lab(folder, cases=3, shape=(8, 8, 8))
    small = {"memory_mb": 0.02, "chance": {"samples": 1}, "min_iou": 0.0}
    lab.keys["dissection"].update(small, ablation={"draws": 2})
    return lab, ("dissect", str(lab.write()))


COMMANDS = (concepts, similarity, features, inspect, examples, dissect, dissect_by_bits)
IN_ROUNDS = (features, dissect)
"""What some of their places do stands on what others have done."""
ROUNDS = 8
"""What parts do stands on what others have done; gathering says whether anything is to come."""


def results(root: Path) -> dict[str, bytes]:
    """Return what lies in an output folder, but for hidden files and what stages keep."""
    found = {str(path.relative_to(root)): path for path in root.rglob("*")}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if path.suffix in LASTING and not any(part.startswith(".") for part in Path(name).parts)
    }


def alone(words: tuple[str, ...], lab: Lab) -> dict[str, bytes]:
    result = esegeta(*words, "-o", lab.folder / "alone")
    assert result.exit_code in (0, 1), result.output
    found = results(lab.folder / "alone" / "tiny")
    assert found
    return found


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.__name__)
def test_parts_give_the_results_of_one_process(
    command: Callable[[Path], tuple[Lab, tuple[str, ...]]], tmp_path: Path
) -> None:
    lab, words = command(tmp_path)
    one = alone(words, lab)
    for _ in range(ROUNDS):
        for number in (2, 1):
            result = esegeta(*words, "--part", f"{number}/2")
            assert result.exit_code in (0, 1), result.output
        gathered = esegeta("gather", lab.root)
        assert gathered.exit_code in (0, 1), gathered.output
        if "not done yet" not in gathered.output:
            break
    assert "not done yet" not in gathered.output
    assert results(lab.root) == one


@pytest.mark.slow
@pytest.mark.parametrize("command", IN_ROUNDS, ids=lambda one: one.__name__)
def test_workers_give_the_results_of_one_process(
    command: Callable[[Path], tuple[Lab, tuple[str, ...]]], tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("dask_jobqueue")
    lab, words = command(tmp_path)
    one = alone(words, lab)
    result = esegeta(*words, "--workers", "2")
    assert result.exit_code in (0, 1), result.output
    assert "skipped (already finished)" not in result.output
    assert not re.search(r"[1-9]\d* skipped", result.output)
    assert results(lab.root) == one
    if command is dissect:  # of a finished one nothing but the summary would be listed
        summary = lab.root / "dissection" / "summary.json"
        before = summary.stat().st_mtime_ns
        again = esegeta(*words, "--workers", "2", "--overwrite")
        assert again.exit_code == 0, again.output
        assert summary.stat().st_mtime_ns > before
        assert results(lab.root) == one


def test_overwrite_is_refused_for_a_part_of_a_dissection(tmp_path: Path) -> None:
    lab, words = dissect(tmp_path)
    refused(esegeta(*words, "--part", "1/2", "--overwrite"), lab, "--overwrite", "run the parts")
