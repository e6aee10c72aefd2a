"""Networks of many outputs: the prediction, a target frozen on it and its map; bare windows.

The network is that of the maps' rows with more outputs. Of its untrained outputs each is the
largest somewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from benchmarks.job import LabelJob
from benchmarks.measure import Memory
from benchmarks.setting import SEED, build_network, forward_and_back
from esegeta.explain import Saliency
from esegeta.model import Labels, held_still
from esegeta.predict import Predictor, WindowPlan, Windows, spot
from esegeta.targets import BoxRegion, DiceTarget, Predicted, Region, Scene, Target, VoxelTarget
from esegeta.volume import volume_from_tensor

REGION = 0.25
"""Side of the box that a target is formed over, of the volume's."""


def build(job: LabelJob) -> nn.Module:
    torch.set_num_threads(job.threads)
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(SEED)
    network = build_network(job.outputs).to(job.device)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


def image_of(job: LabelJob, number: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    shape = (1, 1, *(job.side,) * 3)
    return torch.randn(shape, generator=generator).to(job.device)


def saliency(job: LabelJob, network: nn.Module, x: Tensor, memory: Memory) -> Tensor:
    """Return the first map; predictions and frozen targets are inside of what is measured."""
    names = {number: f"label {number}" for number in range(1, job.outputs)}
    labels = Labels(names, "softmax", job.outputs)
    plan = WindowPlan((job.window,) * 3, overlap=job.overlap, blend="gaussian")
    predictor = Predictor(network, plan, labels, batch_size=job.batch_size)
    first = None
    for number in range(job.cases):
        volume = volume_from_tensor((x if number == 0 else image_of(job, number))[0])
        scene = Scene(predictor, volume)
        frozen = [target.freeze(scene) for target in targets_of(job, scene)]
        memory.note(f"freeze {number}")  # explain() resets the process's high-water mark
        maps = Saliency().explain_together(predictor, volume, frozen)
        memory.note(f"map {number}")
        first = maps[0].data if first is None else first
    assert first is not None
    return first


def targets_of(job: LabelJob, scene: Scene) -> Sequence[Target]:
    """Return targets of the labels with the most voxels, each of as many labels as asked for."""
    low, high = (
        (job.side - int(REGION * job.side)) // 2 + end for end in (0, int(REGION * job.side))
    )
    box = BoxRegion((low,) * 3, (high,) * 3)
    over: Region = box if job.over == "box" else Predicted()
    wanted = job.labels * job.targets
    found = range(1, wanted + 1) if job.over == "box" else _largest(job, scene)[:wanted]

    def one(label: int) -> Target:
        return (
            DiceTarget(label, "predicted") if job.of == "dice" else VoxelTarget(label, job.of, over)
        )

    # Fewer labels than targets are explained more than once.
    labels = [found[place % len(found)] for place in range(wanted)]
    groups = [labels[start : start + job.labels] for start in range(0, wanted, job.labels)]
    return [reduce(add, map(one, group)) for group in groups]


def _largest(job: LabelJob, scene: Scene) -> list[int]:
    counts = {label: int(scene.predicted(label).sum()) for label in range(1, job.outputs)}
    return sorted((label for label in counts if counts[label]), key=lambda label: -counts[label])


def bare_window(job: LabelJob, network: nn.Module, x: Tensor, memory: Memory) -> None:
    """Run one window forward and back to its input."""
    with held_still(network):
        forward_and_back(network, x[spot(0, _windows(job).boxes[0])].clone()[None])


def bare_windows(job: LabelJob, network: nn.Module, x: Tensor, memory: Memory) -> None:
    """Run all windows forward, and those that the target touches forward and back."""
    windows = _windows(job)
    with held_still(network):
        if job.over == "predicted":
            with torch.no_grad():
                for box in windows.boxes:
                    network(x[spot(0, box)][None])
        for box in windows.boxes[: job.active]:
            forward_and_back(network, x[spot(0, box)].clone()[None])


def _windows(job: LabelJob) -> Windows:
    return WindowPlan((job.window,) * 3, overlap=job.overlap).lay((job.side,) * 3)
