"""The row about workers: forty tasks of two seconds on four of them; tasks only wait."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from benchmarks.run import BenchmarkRun
from benchmarks.table import Line
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.own_journal import lines_of

NUM_TASKS, NUM_WORKERS, TASK_S = 40, 4, 2.0
FEW_TASKS = 8
MOST_OVER_IDEAL, MOST_OVERHEAD_MS = 1.3, 50.0
NETWORK = '''\
"""A network that waits: a case is predicted by one pass and explained by another."""

import time

from torch import nn


class Waiting(nn.Module):
    def __init__(self, pause_s):
        super().__init__()
        self.head = nn.Conv3d(1, 2, 1)
        self.pause_s = pause_s

    def forward(self, x):
        if x.any():  # zeros are what it is tried out with
            time.sleep(self.pause_s)
        return self.head(x)
'''


def workers(bench: BenchmarkRun) -> Iterator[Line]:
    """Yield what forty tasks take on four workers: of this machine, and of Slurm if it is there."""
    kinds: dict[str, dict[str, object]] = {"local": {"kind": "local"}}
    if _is_up("sinfo"):
        asked = {"gpus_per_worker": 0, "memory_gb": 2, "walltime": "00:10:00"}
        kinds["slurm"] = {"kind": "slurm", **asked}
    count = FEW_TASKS if bench.quick else NUM_TASKS
    for kind, keys in kinds.items():
        yield from _measured(bench.folder / f"workers-{kind}", kind, keys, count)


def _is_up(program: str) -> bool:
    """Tell whether a program is there and its batch system answers."""
    if shutil.which(program) is None:
        return False
    return subprocess.run([program], capture_output=True, check=False).returncode == 0


def _measured(folder: Path, kind: str, keys: dict[str, object], count: int) -> Iterator[Line]:
    row = f"{count} tasks of {TASK_S:g} s on {NUM_WORKERS} workers, {kind}"
    config = _written(folder, keys, count)
    call = [sys.executable, "-c", "from esegeta.cli import main; main()", "run", str(config), "-q"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, check=False)
    wall_s = time.perf_counter() - start
    if done.returncode not in (0, 1):
        said = done.stderr.decode(errors="replace").strip().splitlines()
        yield Line(row, "wall", f"failed: {' '.join(said[-2:])}", must=MOST_OVER_IDEAL)
        return
    ideal_s = count * TASK_S / NUM_WORKERS
    ratio = wall_s / ideal_s
    yield Line(row, "wall / ideal", f"{wall_s:.1f} s", f"{ideal_s:.0f} s", ratio, MOST_OVER_IDEAL)
    at_work_s = sum(
        _seconds_at_work(path) for path in SharedFolder(folder / "out/w", "run").journals
    )
    overhead_ms = 1e3 * (at_work_s - count * TASK_S) / count
    figure = "overhead a task, from first to last"
    yield Line(row, figure, f"{overhead_ms:.0f} ms", "", overhead_ms, MOST_OVERHEAD_MS)


def _seconds_at_work(journal: Path) -> float:
    """Return the seconds from when a worker began its first task until it ended its last."""
    begun = [line["at"] for line in lines_of(journal) if "begin" in line]
    ended = [line["at"] for line in lines_of(journal) if "state" in line]
    return max(ended) - min(begun) if begun and ended else 0.0


def _written(folder: Path, cluster: dict[str, object], count: int) -> Path:
    """Write an experiment of as many cases, all of one small image, a map each."""
    folder.mkdir(parents=True)
    (folder / "waiting_network.py").write_text(NETWORK, encoding="utf-8")
    state = {"head.weight": torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1, 1)}
    save_file({**state, "head.bias": torch.zeros(2)}, folder / "w.safetensors")
    noise = np.random.default_rng(0).standard_normal((8, 8, 8)).astype(np.float32)
    nib.save(nib.Nifti1Image(noise, np.eye(4)), folder / "image.nii.gz")
    keys = {
        "version": 1,
        "name": "w",
        "output": str(folder / "out"),
        "device": "cpu",
        "model": {
            "kind": "module",
            "class": "waiting_network:Waiting",
            "args": {"pause_s": TASK_S / 2},
            "weights": "w.safetensors",
        },
        "labels": {1: "bright"},
        "data": {
            "cases": [{"name": f"n{k:02}", "image": "image.nii.gz"} for k in range(count)],
        },
        "inference": {"window": [8, 8, 8]},
        "targets": [{"name": "bright", "label": "bright"}],
        "methods": ["saliency"],
        "scores": [],
        "scene": False,
        "write": ["nifti"],
        "cluster": {**cluster, "workers": NUM_WORKERS, "cpus_per_worker": 1},
    }
    path = folder / "w.yaml"
    path.write_text(yaml.safe_dump(keys, sort_keys=False), encoding="utf-8")
    return path
