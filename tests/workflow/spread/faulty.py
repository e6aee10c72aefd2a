"""Experiments whose network takes its time, and kills whoever shows it a certain image."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.own_journal import JournalRead, read_journal
from tests.experiments import Lab, esegeta, noise, pointwise_lab, save_image
from tests.processes import PATIENCE_S

SHAPE = (8, 8, 8)
DEADLY = '''\
"""A network that is slow, and that some images kill."""

import os
import resource
import signal
import time
from pathlib import Path

import torch
from torch import nn


class Deadly(nn.Module):
    def __init__(self, pause_s=0.0, full=None, hurry=None, starved=None):
        super().__init__()
        self.head = nn.Conv3d(1, 2, 1)
        self.pause_s = pause_s
        self.full = full
        self.hurry = hurry
        self.starved = starved

    def forward(self, x):
        if not self.hurry or not Path(self.hurry).exists():
            time.sleep(self.pause_s)
        # Zeros are what whoever builds it tries it out with: the controller among them.
        if self.full and x.any() and not Path(self.full).exists():
            Path(self.full).touch()
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file of this process may grow
        if x.min() < -100:
            with open(self.starved, "a") as file:
                file.write("x")  # a letter each time
            raise torch.OutOfMemoryError("out of memory")
        if x.max() > 100:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.head(x)
'''


def faulty_lab(folder: Path, *, cases: int, pause_s: float = 0.05) -> Lab:
    """Return an experiment with a scored map a case, each of which takes a while."""
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0], cases=cases, shape=SHAPE)
    (folder / "deadly_networks.py").write_text(DEADLY, encoding="utf-8")
    state = {"head.weight": torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1, 1)}
    save_file({**state, "head.bias": torch.zeros(2)}, folder / "w.safetensors")
    lab.keys["model"] = {
        "kind": "module",
        "class": "deadly_networks:Deadly",
        "args": {"pause_s": pause_s},
        "weights": "w.safetensors",
    }
    lab.keys["scores"] = [{"name": "infidelity", "samples": 2}]
    lab.keys["scene"] = False
    return lab


def poison(lab: Lab, case: str) -> None:
    """Let the image of a case kill whoever predicts it."""
    save_image(lab.folder / f"{case}.nii.gz", noise(SHAPE) + 1000)


def starve(lab: Lab, case: str) -> Path:
    """Let memory run out whenever the image of a case is shown; return where that is noted."""
    save_image(lab.folder / f"{case}.nii.gz", noise(SHAPE) - 1000)
    lab.keys["model"]["args"]["starved"] = str(lab.folder / "starved")
    lab.keys["inference"]["batch_size"] = 2
    return lab.folder / "starved"


def journals(lab: Lab) -> list[JournalRead]:
    """Return what workers' journals say."""
    return [read_journal(path) for path in SharedFolder(lab.root, "run").journals]


def pids(lab: Lab) -> list[int]:
    """Return the processes that have begun to work."""
    return [int(read.head["pid"]) for read in journals(lab) if read.head]


def at_work(lab: Lab) -> list[int]:
    """Return the processes that are at a task just now."""
    return [int(read.head["pid"]) for read in journals(lab) if read.head and read.begun]


def wait_for(there: Callable[[], object], why: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    end = time.monotonic() + patience_s
    while not there():
        assert time.monotonic() < end, f"it did not come about: {why}"
        time.sleep(0.05)


def kill(pid: int) -> None:
    """Kill a process, unless it has ended by itself meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def alone(lab: Lab, without: Collection[str] = ()) -> Path:
    """Run the same by one process, without a pause, into another folder; return that.

    Args:
        lab: the experiment.
        without: cases that are left out.
    """
    config = lab.folder / "alone.yaml"
    keys = {name: value for name, value in lab.keys.items() if name != "cluster"}
    cases = [case for case in keys["data"]["cases"] if case["name"] not in without]
    keys["data"] = {**keys["data"], "cases": cases}
    keys["model"] = {**keys["model"], "args": {"pause_s": 0.0}}
    config.write_text(yaml.safe_dump(keys, sort_keys=False), encoding="utf-8")
    assert esegeta("run", config, "-o", lab.folder / "alone").exit_code in (0, 1)
    return lab.folder / "alone" / "tiny"


def assert_same_results(lab: Lab, alone: Path) -> None:
    """Assert that tables, maps and state are those of one process, byte for byte."""
    assert_same_maps(lab, alone)
    theirs = json.loads((alone / "run.json").read_text())
    assert lab.record()["state"] == theirs["state"]


def assert_same_maps(lab: Lab, alone: Path) -> None:
    """Assert that tables and maps are those of one process, byte for byte."""
    for name in ("scores.csv", "curves.csv"):
        if (alone / name).exists():
            assert (lab.root / name).read_bytes() == (alone / name).read_bytes()
    maps = list(alone.glob("*/*_attrmap.nii.gz"))
    assert maps
    for path in maps:
        assert (lab.root / path.relative_to(alone)).read_bytes() == path.read_bytes()
    assert lab.leftovers() == []


def failures(lab: Lab) -> Iterator[tuple[str, str]]:
    """Yield case and message of what failed."""
    for unit in lab.record()["units"]:
        if unit["status"] == "failed":
            yield unit["case"], unit["message"]
