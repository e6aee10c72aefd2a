"""A worker of an allocation takes GPUs for itself, and becomes Dask's."""

import os
import runpy
import sys
from collections.abc import Sequence

import pytest

from esegeta.workflow.spread import pinned


@pytest.mark.parametrize(("place", "own"), [("1", "6,7"), (None, "4,5,6,7")])
def test_a_worker_starts_dask_with_its_share_of_gpus(
    monkeypatch: pytest.MonkeyPatch, place: str | None, own: str
) -> None:
    """Without a place it was not started by `srun`, and nothing is chosen."""
    became: list[Sequence[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, words: became.append([path, *words]))
    monkeypatch.setattr(sys, "argv", ["pinned.py", "tls://node7:4711", "--nthreads", "1"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    if place is not None:
        monkeypatch.setenv("SLURM_LOCALID", place)
        monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2(x3)")
    runpy.run_path(pinned.__file__, run_name="__main__")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == own
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "tls://node7:4711"]
    assert became == [[sys.executable, *worker, "--nthreads", "1"]]
