"""A worker of an allocation takes GPUs for itself, and becomes Dask's."""

import os
import runpy
import sys
from collections import Counter
from collections.abc import Sequence

import pytest

from esegeta.workflow.spread import pinned


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "STEP_TASKS_PER_NODE",
        "NTASKS",
        "LOCALID",
        "NODEID",
        "GPUS_ON_NODE",
        "NTASKS_PER_GPU",
    ):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)


@pytest.mark.parametrize(("place", "own"), [("1", "6,7"), (None, "4,5,6,7")])
def test_a_worker_starts_dask_with_its_share_of_gpus(
    monkeypatch: pytest.MonkeyPatch, place: str | None, own: str
) -> None:
    """Without a place it was not started by `srun`, and nothing is chosen."""
    became: list[Sequence[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, words: became.append([path, *words]))
    monkeypatch.setattr(sys, "argv", ["pinned.py", "1", "tls://node7:4711", "--nthreads", "1"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    forget(monkeypatch)
    if place is not None:
        monkeypatch.setenv("SLURM_LOCALID", place)
        monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2(x3)")
    runpy.run_path(pinned.__file__, run_name="__main__")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == own
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "tls://node7:4711"]
    assert became == [[sys.executable, *worker, "--nthreads", "1"]]


def test_a_task_without_a_gpu_ends_quietly_and_says_what_to_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forget(monkeypatch)
    monkeypatch.setattr(os, "execv", lambda path, words: pytest.fail("it became a worker"))
    monkeypatch.setattr(sys, "argv", ["pinned.py", "1", "tls://node7:4711"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SLURM_LOCALID", "1")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2")
    runpy.run_path(pinned.__file__, run_name="__main__")
    said = capsys.readouterr().err
    assert "this node has 2 tasks for its GPUs 0, and tasks_per_gpu is 1" in said
    assert "fewer tasks, more GPUs, or a higher tasks_per_gpu" in said


@pytest.mark.parametrize(
    ("visible", "place", "tasks", "own"),
    [
        ("0,1,2,3", 1, "2", "2,3"),
        ("0,1,2,3", 3, "4(x2)", "3"),
        ("0,1,2", 1, "2", "1"),
        ("4,5", 0, "1", None),
        ("4", 0, "2", "4"),
        ("4", 1, "2", ""),
        ("4,5", 1, "4", "5"),
        ("4,5", 2, "4", ""),
        ("GPU-a,GPU-b", 1, "2", "GPU-b"),
        ("", 0, "2", None),
        ("NoDevFiles", 1, "2", None),
    ],
)
def test_workers_of_an_allocation_take_their_share_of_gpus(
    visible: str, place: int, tasks: str, own: str | None
) -> None:
    told = {"CUDA_VISIBLE_DEVICES": visible, "SLURM_LOCALID": str(place)}
    assert pinned.own_gpus({**told, "SLURM_STEP_TASKS_PER_NODE": tasks}) == own


@pytest.mark.parametrize("count", range(1, 10))
@pytest.mark.parametrize("sharing", [1, 2, 3])
def test_no_gpu_has_more_tasks_than_may_share_it(count: int, sharing: int) -> None:
    told = {"CUDA_VISIBLE_DEVICES": "4,5", "SLURM_STEP_TASKS_PER_NODE": f"{count},7"}
    found = [
        pinned.own_gpus({**told, "SLURM_LOCALID": str(place)}, sharing) for place in range(count)
    ]
    taken = Counter(gpu for own in found for gpu in ("4,5" if own is None else own).split(","))
    assert taken.pop("", 0) == max(0, count - 2 * sharing)
    assert max(taken.values()) <= sharing
    assert max(taken.values()) - min(taken.values()) <= 1


@pytest.mark.parametrize(("node", "own"), [("0", "0"), ("2", "0"), ("3", "0,1,2,3")])
def test_the_share_counts_the_tasks_of_ones_own_node(node: str, own: str) -> None:
    told = {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_STEP_TASKS_PER_NODE": "4(x3),1"}
    given = pinned.own_gpus({**told, "SLURM_NODEID": node})
    assert (given or "0,1,2,3") == own


@pytest.mark.parametrize("place", ["0", "1"])
def test_gpus_that_slurm_has_bound_to_tasks_are_left_alone(place: str) -> None:
    told = {"CUDA_VISIBLE_DEVICES": "0", "SLURM_LOCALID": place, "SLURM_GPUS_ON_NODE": "2"}
    assert pinned.own_gpus({**told, "SLURM_STEP_TASKS_PER_NODE": "2"}) is None


def test_slurm_may_have_been_asked_to_let_tasks_share_a_gpu() -> None:
    told = {"CUDA_VISIBLE_DEVICES": "0", "SLURM_LOCALID": "1", "SLURM_NTASKS_PER_GPU": "2"}
    assert pinned.own_gpus({**told, "SLURM_STEP_TASKS_PER_NODE": "2"}) == "0"
