"""What `bench.py` measures of dissection, against the forward passes alone.

The network is the shipped one for CT, its volumes are cubes of 64^3 of the shipped CT, one window
each; in 2D the shipped one for CT slices, and axial slices of 128^2.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml
from bench_memory import Memory

from esegeta.config import load_config
from esegeta.dissection.all_counts import Counts
from esegeta.workflow import Silence
from esegeta.workflow.dissect import build_dissection
from esegeta.workflow.dissect.session import Session

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "data_samples"
SHARED = {"num_res_units": 1, "act": "RELU", "norm": "BATCH", "in_channels": 1, "out_channels": 5}
ARGS: dict[int, dict[str, Any]] = {
    3: {"spatial_dims": 3, "channels": [8, 16, 32, 64], "strides": [2, 2, 2], **SHARED},
    2: {"spatial_dims": 2, "channels": [16, 32, 64, 64], "strides": [2, 2, 2], **SHARED},
}
LAYERS = {
    3: {
        "model.0": 8,
        "model.1.submodule.1.submodule.2": 16,
        "model.1.submodule.2": 2,
        "model.2": 5,
    },
    2: {"model.0": 16, "model.1.submodule.2": 10, "model.2": 5},
}
"""Layers from the first to the last of the network, and how many of their units are taken."""

SIDES = {3: 64, 2: 128}
NUM_UNITS = 31
CONCEPTS: dict[str, Any] = {
    "spleen": 1,
    "kidneys": 2,
    "liver": 3,
    "bone": 4,
    "organs": [1, 2, 3],
    "kidneys_and_spleen": [1, 2],
    "rest": {"not_of": "anything"},
    "anything": [1, 2, 3, 4],
}


def crops(ndim: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pieces of the shipped CT and its labels, at random places."""
    image = np.asarray(nib.load(SAMPLES / "ct_torso/ct_torso.nii.gz").dataobj)
    labels = np.asarray(nib.load(SAMPLES / "ct_torso/ct_torso_labels.nii.gz").dataobj)
    generator = np.random.default_rng(0)
    side = SIDES[ndim]
    for _ in range(count):
        if ndim == 3:
            start = [int(generator.integers(n - side + 1)) for n in image.shape]
            box = tuple(slice(first, first + side) for first in start)
            yield image[box], labels[box]
            continue
        level = int(generator.integers(image.shape[2]))
        wide = [((side - n) // 2, side - n - (side - n) // 2) for n in image.shape[:2]]
        yield (
            np.pad(image[..., level], wide, constant_values=-1000),
            np.pad(labels[..., level], wide),
        )


@dataclass(frozen=True)
class DissectJob:
    """One side of a row at one setting.

    Args:
        contender: `forward`, `dissect` (thresholds and overlaps), or `dissect_all` (with the
            draws of chance and the thresholds of other cases, too).
        ndim: 2 or 3.
        cases: number of volumes or images.
        threads: of torch.
    """

    contender: str
    ndim: int
    cases: int
    threads: int = 2


def write_experiment(job: DissectJob, folder: Path) -> Path:
    """Write images, labels and the config of a job."""
    cases = []
    for number, (image, labels) in enumerate(crops(job.ndim, job.cases)):
        affine = np.diag([3.0, 3.0, 3.0, 1.0])
        names = {"name": str(number)}
        for key, array in (("image", image), ("label", labels)):
            names[key] = f"{number}_{key}.nii"
            nib.save(nib.Nifti1Image(np.ascontiguousarray(array), affine), folder / names[key])
        cases.append(names)
    keys = {
        "version": 1,
        "name": "bench",
        "output": str(folder),
        "device": "cpu",
        "model": {
            "kind": "monai",
            "network": "UNet",
            "args": ARGS[job.ndim],
            "weights": str(SAMPLES / "models" / f"ct_unet{job.ndim}d.safetensors"),
        },
        "labels": {1: "spleen", 2: "kidneys", 3: "liver", 4: "bone"},
        "data": {"cases": cases, "preprocess": {"intensity": {"window": [-250, 400]}}},
        "inference": {"window": [SIDES[job.ndim]] * job.ndim, "batch_size": 1},
        "dissection": {
            "layers": list(LAYERS[job.ndim]),
            "concepts": CONCEPTS,
            "chance": {"samples": 1000 if job.contender == "dissect_all" else 1},
        },
    }
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(keys))
    return path


def build(job: DissectJob, folder: Path) -> Session:
    """Build a dissection of 31 units."""
    dissection = build_dissection(load_config(write_experiment(job, folder)))
    counts = LAYERS[job.ndim]
    layers = tuple(replace(layer, num_units=counts[layer.name]) for layer in dissection.layers)
    return Session(replace(dissection, layers=layers), Silence())


def forward(session: Session) -> None:
    """Predict every case, which must be read for that."""
    for case in session.cases:
        session.dissection.basis.predictor.predict(session.reading(case).image())


def dissect(session: Session) -> None:
    """Find thresholds, and count overlaps."""
    Counts.of(session.counts(session.unit_thresholds()))


def dissect_all(session: Session) -> None:
    """Do all but tables and pictures."""
    unit_thresholds = session.unit_thresholds()
    all_counts = Counts.of(session.counts(unit_thresholds))
    session.held_out_iou(all_counts, unit_thresholds)


CONTENDERS: dict[str, Callable[[Session], None]] = {
    "forward": forward,
    "dissect": dissect,
    "dissect_all": dissect_all,
}


def work_dissection(job: DissectJob) -> None:
    """Run one side and print what it took, as `bench_work.work` does."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(job.threads)
    memory = Memory(torch.device("cpu"))
    with TemporaryDirectory() as folder:
        session = build(job, Path(folder))
        case = session.cases[0]
        session.dissection.basis.predictor.predict(session.reading(case).image())
        base_mb = memory.now()
        memory.reset()
        start, cpu_start = time.perf_counter(), time.process_time()
        CONTENDERS[job.contender](session)
        took = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu_start,
            "base_mb": base_mb,
        }
        memory.note("work")
    print(json.dumps({**took, "peak_mb": memory.peaks["work"], "peaks": memory.peaks}))
