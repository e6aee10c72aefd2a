"""`esegeta run --part`: parts, their tables, and how they stand."""

import json
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esegeta.config import load_config
from esegeta.workflow.attribute import experiment_command
from esegeta.workflow.build import build_experiment
from esegeta.workflow.command import RUNNING
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.gather import gather_held
from esegeta.workflow.spread.own_journal import lines_of, read_journal
from esegeta.workflow.task import Silence
from tests.experiments import Lab, esegeta, refused, save_image, unet_lab

pytestmark = pytest.mark.usefixtures("quick")


NOBODY = 2**22 + 1
"""No process of Linux has a number as large."""


def small_lab(folder: Path, cases: int = 2) -> Lab:
    return unet_lab(folder, cases=cases, shape=(8, 8, 8))


@pytest.mark.slow
def test_parts_give_the_tables_of_one_process(tmp_path: Path) -> None:
    lab = small_lab(tmp_path, cases=3)
    lab.keys["scores"] = [{"name": "infidelity", "samples": 2}]
    lab.keys["targets"].append(
        {"name": "parts", "label": "liver", "over": "component", "component": "each"}
    )
    one = esegeta("run", lab.write(), "-o", tmp_path / "one")
    for number in (2, 1):
        assert lab.run("--part", f"{number}/2").exit_code == one.exit_code
    alone = tmp_path / "one" / "tiny"
    assert not (lab.root / "scores.csv").exists()
    assert esegeta("gather", lab.root).exit_code == one.exit_code
    assert (lab.root / "scores.csv").read_bytes() == (alone / "scores.csv").read_bytes()
    for path in alone.glob("*/*_attrmap.nii.gz"):
        assert (lab.root / path.relative_to(alone)).read_bytes() == path.read_bytes()
    theirs = json.loads((alone / "run.json").read_text())
    assert lab.record()["state"] == theirs["state"]
    (standing,) = json.loads(esegeta("status", lab.root, "--json").stdout)
    assert (standing["done"], standing["waiting"]) == (len(theirs["units"]), 0)
    assert not standing["running"] and not standing["failed"]
    assert "skipped" in lab.run().stdout


@pytest.mark.slow
def test_a_case_larger_than_a_part_is_split_by_target(tmp_path: Path) -> None:
    lab = split_lab(small_lab(tmp_path, cases=1))
    one = esegeta("run", lab.write(), "-o", tmp_path / "one")
    alone = tmp_path / "one" / "tiny"
    for number in (3, 1, 3, 2):  # one of them twice
        assert lab.run("--part", f"{number}/3").exit_code == one.exit_code
        done = {path.name for path in (lab.root / "a").glob("*_attrmap.nii.gz")}
        assert len(done) > 0
    heads = [read_journal(path).head for path in SharedFolder(lab.root, "run").journals]
    assert [head["num_tasks"] for head in heads] == [2, 2, 2]
    shares = [
        {line["task"] for line in lines_of(path) if "task" in line and not line.get("step")}
        for path in SharedFolder(lab.root, "run").journals
    ]
    assert sum(map(len, shares)) == len(set.union(*shares)) and all(shares)
    assert esegeta("gather", lab.root).exit_code == one.exit_code
    same_results(lab, alone)


def split_lab(lab: Lab) -> Lab:
    """Return an experiment whose case has three targets, one of which has components."""
    lab.keys["methods"] = ["saliency", "occlusion"]
    lab.keys["scores"] = [{"name": "infidelity", "samples": 2}]
    lab.keys["targets"] += [
        {"name": "parts", "label": "liver", "over": "component", "component": "each"},
        {"name": "corner", "label": "liver", "box": [[0, 0, 0], [4, 4, 4]]},
    ]
    return lab


def same_results(lab: Lab, alone: Path) -> None:
    """Assert that all that is left is what one process leaves, byte for byte."""
    assert (lab.root / "scores.csv").read_bytes() == (alone / "scores.csv").read_bytes()
    maps = list(alone.glob("*/*.nii.gz"))
    assert len(maps) > 6
    for path in maps:
        assert (lab.root / path.relative_to(alone)).read_bytes() == path.read_bytes()
    assert [unit["target"] for unit in lab.record()["units"]] == [
        unit["target"] for unit in json.loads((alone / "run.json").read_text())["units"]
    ]


@pytest.mark.slow
def test_workers_split_a_case_only_where_cases_are_fewer(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("dask_jobqueue")
    lab = split_lab(small_lab(tmp_path, cases=1))
    one = esegeta("run", lab.write(), "-o", tmp_path / "one")
    assert lab.run("--workers", "2").exit_code == one.exit_code
    same_results(lab, tmp_path / "one" / "tiny")
    begun = [
        {name for line in lines_of(path) for name in line.get("begin", ()) if " / " in name}
        for path in SharedFolder(lab.root, "run").journals
    ]
    assert len(begun) == 2 and all(begun) and not set.intersection(*begun)


@pytest.mark.slow
def test_a_part_reads_no_header_but_its_own_cases(tmp_path: Path) -> None:
    lab = small_lab(tmp_path)
    assert lab.run("--part", "1/2").exit_code == 0
    done = [case for case in "ab" if (lab.root / case).is_dir()]
    (tmp_path / f"{done[0]}.nii.gz").write_bytes(b"not a header any more")
    assert lab.run("--part", "2/2").exit_code == 0


@pytest.mark.slow
def test_write_scores_keeps_no_map_and_gives_the_same_figures(tmp_path: Path) -> None:
    lab = small_lab(tmp_path, cases=1)
    lab.keys["scores"] = [{"name": "infidelity", "samples": 2}]
    assert lab.run().exit_code == 0
    kept = lab.scores()
    lab.keys["write"] = "scores"
    lab.keys["report"] = True
    assert lab.run().exit_code == 0
    assert lab.scores() == kept
    assert list(lab.root.rglob("*attrmap.nii.gz")) == list(lab.root.rglob("*overlay.png")) == []
    assert lab.sidecar("a", "liver", "saliency")["map"].startswith("not written")
    assert "1 skipped" in lab.run().stdout
    lab.keys["write"] = ["nifti"]
    assert "1 done" in lab.run().stdout
    assert lab.map("a", "liver", "saliency").any()


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    lab = small_lab(tmp_path, cases=1)
    said = esegeta("plan", lab.write(), "--parts", "2").stdout
    # By hand: one window of the whole image forward for the prediction, one forth and back.
    assert "1 task on 1 case\n" in said
    assert "2 windows forward and 1 backward" in said
    assert "hours: about" in said
    assert not lab.root.exists()


def test_a_script_for_slurm_asks_for_what_the_block_says(tmp_path: Path) -> None:
    lab = small_lab(tmp_path, cases=1)
    lab.keys["cluster"] = {
        "kind": "slurm",
        "workers": 3,
        "gpus_per_worker": 2,
        "queue": "gpu",
        "options": ["--constraint=a100"],
        "prologue": ["module load cuda"],
    }
    script = esegeta("plan", lab.write(), "--sbatch", "--set", "seed=4").stdout
    for line in (
        "#SBATCH --array=1-3",
        "#SBATCH --gres=gpu:2",
        "#SBATCH --partition=gpu",
        "#SBATCH --constraint=a100",
        "#SBATCH --time=04:00:00",
        "module load cuda",
        f"srun esegeta run {lab.config} --set seed=4 -o {tmp_path}/out "
        '--part "$SLURM_ARRAY_TASK_ID/3"',
    ):
        assert line in script.splitlines()
    assert not lab.root.exists()


def test_scripts_and_plans_are_for_any_command_that_parts_can_do(tmp_path: Path) -> None:
    lab = small_lab(tmp_path, cases=1)
    script = esegeta("plan", lab.write(), "--sbatch", "--command", "predict").stdout
    assert f"srun esegeta predict {lab.config} -o" in script
    assert f"`esegeta plan {lab.config} --sbatch --command predict`" in script
    said = esegeta("plan", lab.write(), "--command", "predict", "--parts", "2").stdout
    assert "1 tasks known in advance" in said and "1 places" in said
    assert "2 parts: the most expensive part has 100 % of the work" in said
    assert not lab.root.exists()


@pytest.mark.parametrize("command", ["plan", "submit"])
def test_an_unknown_command_is_refused(tmp_path: Path, command: str) -> None:
    lab = small_lab(tmp_path, cases=1)
    refused(esegeta(command, lab.write(), "--command", "disect"), lab, 'did you mean "dissect"')


@pytest.mark.parametrize(
    ("command", "words"),
    [("gather", "holds no parts of a command"), ("status", "nothing was run here")],
)
def test_a_folder_without_parts_is_refused(tmp_path: Path, command: str, words: str) -> None:
    result = esegeta(command, tmp_path)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize("part", ["0/2", "3/2", "half"])
def test_an_invalid_part_is_refused(tmp_path: Path, part: str) -> None:
    lab = small_lab(tmp_path, cases=1)
    refused(lab.run("--part", part), lab, "--part")


@pytest.mark.parametrize("other", ["--workers", "--cluster"])
def test_a_part_with_workers_is_refused(tmp_path: Path, other: str) -> None:
    lab = small_lab(tmp_path, cases=1)
    refused(lab.run("--part", "1/2", other, "2"), lab, f"--part and {other}: give one of them")


def test_status_reports_a_run_by_one_process_too(tmp_path: Path) -> None:
    journal = tmp_path / ".journal.jsonl"
    line = {"task": "a", "key": "k", "status": "done", "seconds": 1, "warnings": [], "content": {}}
    fault = {"message": "it is wrong; mend it"}
    bad = {**line, "task": "b", "status": "failed", "fault": fault}
    journal.write_text(f"{json.dumps(line)}\n{json.dumps(bad)}\n" + '{"task": "torn', "utf-8")
    (tmp_path / "run.json").write_text('{"num_tasks": 5}', "utf-8")
    (one,) = json.loads(esegeta("status", tmp_path, "--json").stdout)
    assert (one["done"], one["waiting"]) == (1, 3)
    assert one["failed"][0]["message"] == "it is wrong; mend it"


def test_gathering_a_renamed_folder_is_refused(tmp_path: Path) -> None:
    lab = small_lab(tmp_path)
    assert lab.run("--part", "1/2").exit_code == 0
    moved = lab.root.rename(lab.root.parent / "other")
    done = esegeta("gather", moved)
    assert done.exit_code == 2
    assert "was started for" in done.stderr
    assert not lab.root.exists()


def test_an_array_is_checked_before_its_script_is_printed(tmp_path: Path) -> None:
    lab = small_lab(tmp_path)
    lab.write()
    done = esegeta("plan", lab.config, "--command", "concepts", "--sbatch")
    assert done.exit_code == 2
    assert "concepts" in done.stderr
    lab.keys["cluster"] = {"kind": "pbs", "workers": 2, "queue": "workq"}
    lab.write()
    done = esegeta("plan", lab.config, "--sbatch")
    assert done.exit_code == 2
    assert "cluster.kind: pbs: the array script is for Slurm" in " ".join(done.stderr.split())
    assert not lab.root.exists()


def test_gathering_with_a_changed_config_is_refused(tmp_path: Path) -> None:
    lab = small_lab(tmp_path)
    assert lab.run("--part", "1/2").exit_code == 0
    lab.keys["seed"] = 5
    lab.write()
    done = esegeta("gather", lab.root)
    assert done.exit_code == 2
    assert f"{lab.config}: was removed or changed since the command was started" in done.stderr
    lab.config.unlink()
    assert "was removed or changed" in esegeta("gather", lab.root).stderr


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.slow
def test_a_part_sweeps_only_folders_of_cases_that_no_other_part_has(
    tmp_path: Path, targets: int
) -> None:
    """With two targets of a case in two parts, the other part may be writing in its folder."""
    lab = small_lab(tmp_path, cases=1)
    corner = {"name": "corner", "label": "liver", "box": [[0, 0, 0], [4, 4, 4]]}
    lab.keys["targets"] += [corner][: targets - 1]
    left = lab.root / "a" / f".tmp-{platform.node()}-{NOBODY}-x.nii.gz"
    left.parent.mkdir(parents=True)
    left.touch()
    for number in (1, 2):
        assert lab.run("--part", f"{number}/2").exit_code == 0
    assert left.exists() == (targets == 2)
    assert len(lab.maps()) == targets


def test_a_plan_names_methods_whose_windows_are_not_known_beforehand(tmp_path: Path) -> None:
    lab = small_lab(tmp_path, cases=1)
    lab.keys["methods"] = ["saliency", "occlusion"]
    said = esegeta("plan", lab.write()).stdout
    assert "2 windows forward and 1 backward, at most, besides those of occlusion" in said
    assert "parts:" not in said
    others = esegeta("plan", lab.write(), "--command", "predict").stdout
    assert others.splitlines() == [
        "1 tasks known in advance",
        "1 places, each done by one process",
    ]


def test_gathering_again_never_empties_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a controller does: a reader who looks in between sees what was finished before."""
    lab = small_lab(tmp_path)
    lab.keys["scores"] = [{"name": "infidelity", "samples": 2}]
    assert lab.run().exit_code == 0
    before = (lab.root / "scores.csv").read_bytes()
    command = experiment_command(build_experiment(load_config(lab.write())), Silence())
    folder = SharedFolder(lab.root, "run")
    written: list[bytes] = []
    write = command.write

    def note(*given: Any) -> None:
        write(*given)
        written.append((lab.root / "scores.csv").read_bytes())

    command = replace(command, write=note)
    for _ in range(2):
        gather_held(command, folder, Silence(), state=RUNNING)
    assert len(written) >= 4
    assert {sorted_lines(one) for one in written} == {sorted_lines(before)}


@pytest.mark.parametrize("options", [("--part", "1/2"), ("--workers", "1", "--fail-fast")])
def test_rows_of_cases_that_are_still_to_come_stay(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    lab = small_lab(tmp_path)
    lab.keys["methods"] = ["saliency"]
    lab.keys["scores"] = [{"name": "infidelity", "samples": 2}]
    assert lab.run().exit_code == 0
    before = scored_cases(lab)
    lab.keys["scores"] = [{"name": "infidelity", "samples": 3}]
    if "--fail-fast" in options:  # the first of the two, so that the other is not come to
        save_image(tmp_path / "a.nii.gz", np.zeros((8, 8, 8), np.float32) + np.nan)
    lab.run(*options)
    if "--part" in options:
        esegeta("gather", lab.root)
    record = lab.record()
    assert record["state"] == "incomplete"
    assert record["stale"] == []
    assert scored_cases(lab) == before - ({"a"} if "--fail-fast" in options else set())
    assert ("stopped at the first failure" in record["notes"]) == ("--fail-fast" in options)


def scored_cases(lab: Lab) -> set[str]:
    return {row["case"] for row in lab.scores()}


def sorted_lines(table: bytes) -> tuple[bytes, ...]:
    return tuple(sorted(table.splitlines()))
