"""The row about workers: forty tasks of two seconds on four of them; tasks only wait."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
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
    """Yield figures of one run; its network sleeps, but what else a case takes is work.

    Three things are told apart. Start-up: from the call until each worker has done its first case,
    with all that it imports and builds; it is paid once a worker, and left out of the ratio. A
    case's own work: reading, checking and writing, as one process alone does it too. The rest: the
    time of a worker between two tasks, which is what sharing the work costs.
    """
    row = f"{count} tasks of {TASK_S:g} s on {NUM_WORKERS} workers, {kind}"
    config = _written(folder, keys, count)
    call = [sys.executable, "-c", "from esegeta.cli import main; main()", "run", str(config), "-q"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.time()
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, check=False)
    wall_s = time.time() - start
    if done.returncode not in (0, 1):
        said = done.stderr.decode(errors="replace").strip().splitlines()
        yield Line(row, "wall", f"failed: {' '.join(said[-2:])}", must=MOST_OVER_IDEAL)
        return
    shifts = [
        shift
        for path in SharedFolder(folder / "out/w", "run").journals
        if (shift := Shift.of(path)) is not None
    ]
    warm_s = max(shift.warm for shift in shifts) - start
    yield Line(row, "wall, start-up and all", f"{wall_s:.1f} s")
    yield Line(row, "start-up: until all have done one", f"{warm_s:.1f} s")
    num_rest = sum(shift.num_rest for shift in shifts)
    rest_s, ideal_s = sum(shift.rest_s for shift in shifts), num_rest * TASK_S
    took, ideal = f"{rest_s:.1f} s of workers", f"{ideal_s:.0f} s"
    yield Line(row, "after that / ideal", took, ideal, rest_s / ideal_s, MOST_OVER_IDEAL)
    own_ms = 1e3 * (sum(shift.at_tasks_s for shift in shifts) - ideal_s) / num_rest
    yield Line(row, "a case's own work", f"{own_ms:.0f} ms")
    between_ms = 1e3 * sum(shift.between_s for shift in shifts) / num_rest
    figure = "overhead a task, between tasks"
    yield Line(row, figure, f"{between_ms:.0f} ms", "", between_ms, MOST_OVERHEAD_MS)


@dataclass(frozen=True)
class Shift:
    """What a worker's journal says of its time after its first case.

    Args:
        warm: when it had done its first case, in seconds since 1970.
        ended: when it had done its last.
        at_tasks_s: seconds that its tasks took since the first case.
        num_rest: how many cases it did since.
    """

    warm: float
    ended: float
    at_tasks_s: float
    num_rest: int

    @classmethod
    def of(cls, journal: Path) -> Shift | None:
        """Read a journal; None of a worker that came too late for any case."""
        lines = list(lines_of(journal))
        cases = [at for at, line in enumerate(lines) if "state" in line]  # a line each
        if not cases:
            return None
        took_s = sum(line.get("seconds", 0.0) for line in lines[cases[0] :])
        return cls(lines[cases[0]]["at"], lines[cases[-1]]["at"], took_s, len(cases) - 1)

    @property
    def rest_s(self) -> float:
        """Seconds from its first case to the end of its last."""
        return self.ended - self.warm

    @property
    def between_s(self) -> float:
        """Seconds of these in which it was at no task."""
        return self.rest_s - self.at_tasks_s


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
        "write": ["scores"],
        "cluster": {**cluster, "workers": NUM_WORKERS, "cpus_per_worker": 1},
    }
    path = folder / "w.yaml"
    path.write_text(yaml.safe_dump(keys, sort_keys=False), encoding="utf-8")
    return path
