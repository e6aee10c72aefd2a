"""Both sides of the row about dissection, against the forward passes alone.

The network is the shipped one for CT, its volumes are cubes of 64^3 of the shipped CT, one window
each; in 2D the shipped one for CT slices, and axial slices of 128^2.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import yaml

from benchmarks.job import DissectionJob
from esegeta.concepts import ByCase, Cav, Slopes, score_concept
from esegeta.config import load_config
from esegeta.explain import Objective, Saliency, layer_slopes
from esegeta.targets import Everywhere, FrozenTarget, Scene, VoxelTarget
from esegeta.volume import Volume
from esegeta.workflow import Silence
from esegeta.workflow.dissect import build_dissection
from esegeta.workflow.dissect.passes import held_out_iou
from esegeta.workflow.dissect.session import DissectionSession
from esegeta.workflow.dissect.tasks import first_tasks
from esegeta.workflow.task import Desk

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
TCAV_CONCEPTS, TCAV_LAYERS, TCAV_RANDOMS = 5, 3, 30
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


def write_experiment(job: DissectionJob, folder: Path) -> Path:
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


def build(job: DissectionJob, folder: Path) -> DissectionSession:
    """Build a dissection of 31 units."""
    dissection = build_dissection(load_config(write_experiment(job, folder)))
    counts = LAYERS[job.ndim]
    layers = tuple(replace(layer, num_units=counts[layer.name]) for layer in dissection.layers)
    return DissectionSession(replace(dissection, layers=layers), Silence())


def forward(session: DissectionSession) -> None:
    """Predict every case, which must be read for that."""
    for case in session.cases:
        session.dissection.basis.predictor.logits(session.reading(case).image())


def dissect(session: DissectionSession) -> None:
    """Find thresholds, and count overlaps."""
    do_tasks(session, "overlaps")


def dissect_all(session: DissectionSession) -> None:
    """Do all but tables and pictures."""
    desk = do_tasks(session, f"{session.cases[-1].name} / dissection / best thresholds")
    held_out_iou(desk)


def do_tasks(session: DissectionSession, last: str) -> Desk:
    """Do the tasks of a dissection one after the other, up to one."""
    desk = Desk(session, Silence())
    tasks = deque(first_tasks(desk))
    while tasks:
        task = tasks.popleft()
        content = task.kind.do(task, desk)
        if task.name == last:
            return desk
        if task.kind.follow is not None:
            tasks.extendleft(reversed(task.kind.follow(task, content, desk)))
    raise KeyError(last)


def bone_targets(session: DissectionSession) -> Iterator[tuple[Volume, FrozenTarget]]:
    """Yield each case with the sum of its bone logits, for which all of it goes back."""
    basis = session.dissection.basis
    for case in session.cases:
        volume, _ = basis.read(case)
        target = VoxelTarget("bone", over=Everywhere())
        yield volume, target.freeze(Scene(basis.predictor, volume))


def saliency(session: DissectionSession) -> None:
    """Make one saliency a case."""
    for volume, target in bone_targets(session):
        Saliency().explain(session.dissection.basis.predictor, volume, target)


def tcav(session: DissectionSession) -> None:
    """Test five concepts in three layers, whose vectors are there already."""
    layers = session.dissection.layers[:TCAV_LAYERS]
    names = [layer.name for layer in layers]
    predictor = session.dissection.basis.predictor
    found = [
        layer_slopes([Objective.of(predictor, target, volume)], names)[0]
        for volume, target in bone_targets(session)
    ]
    generator = np.random.default_rng(0)
    for layer in layers:
        values = np.stack([slopes[layer.name].numpy() for slopes in found])
        slopes = Slopes(values, np.arange(len(found)))
        shape = (TCAV_CONCEPTS, 2, TCAV_RANDOMS, values.shape[1])
        for own, null in generator.standard_normal(shape):
            cavs = [Cav(step, 0.0, step) for step in own]
            randoms = [Cav(step, 0.0, step) for step in null]
            by_case = generator.standard_normal((len(found), values.shape[1]))
            steps = ByCase(by_case, np.ones(len(found), dtype=int))
            score_concept(cavs, randoms, slopes, steps=steps, seed=0)


DISSECTIONS: dict[str, Callable[[DissectionSession], None]] = {
    "forward": forward,
    "saliency": saliency,
    "tcav": tcav,
    "dissect": dissect,
    "dissect_all": dissect_all,
}
