"""The cases of a retraining, read: volumes, ground truths, and the samples they are cut into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from esegeta.retraining.recipe import named_labels
from esegeta.retraining.samples import Sample, make_samples, slab_axis, slab_boxes, whole_box
from esegeta.volume import Volume, read_case
from esegeta.workflow.retrain.build import Retraining


@dataclass(frozen=True, eq=False)
class Material:
    """What a retraining works on, in the memory of the host.

    Args:
        volumes: of the cases.
        truths: their ground truths, `*S`.
        samples: the images of training and testing.
        names: of the samples.
        notes: what the user should know of them.
    """

    volumes: Sequence[Volume]
    truths: Sequence[Tensor]
    samples: Sequence[Sample]
    names: Sequence[str]
    notes: tuple[str, ...]

    def fold(self, fold: int, folds: int) -> tuple[list[Sample], list[Sample]]:
        """Return the samples that are trained on and those that are tested on."""
        train = [sample for sample in self.samples if sample.place % folds != fold]
        return train, [sample for sample in self.samples if sample.place % folds == fold]


def read_material(retraining: Retraining) -> Material:
    """Read all cases, and cut a single one into slabs.

    Raises:
        DataError: a case cannot be read.
        ConfigError: a single case is too thin for its folds.
    """
    experiment = retraining.experiment
    volumes, truths = [], []
    for case in experiment.cases:
        volume, truth = read_case(case, experiment.preprocess, experiment.reading)
        assert truth is not None  # every case has one; the retraining was checked
        volumes.append(volume)
        truths.append(truth)
    names, notes = [case.name for case in experiment.cases], []
    boxes = [[whole_box(volume.grid.shape)] for volume in volumes]
    if len(volumes) == 1:
        shape, folds = volumes[0].grid.shape, retraining.keys.folds
        axis = slab_axis(shape, experiment.predictor.plan)
        boxes = [slab_boxes(shape, axis, folds)]
        names = [f"{names[0]}, slab {place}" for place in range(folds)]
        notes.append(
            f"a single case: its {folds} folds are slabs along axis {axis} ({shape[axis]} voxels), "
            "each an image by itself; slabs that touch look alike, so Dice is measured on near "
            "neighbours, not on new patients"
        )
    labels = named_labels(experiment.predictor.labels)
    samples = make_samples(volumes, truths, retraining.baseline, labels, boxes)
    material = Material(volumes, truths, samples, names, ())
    return Material(volumes, truths, samples, names, (*notes, *_gaps(retraining, material)))


def _gaps(retraining: Retraining, material: Material) -> list[str]:
    """Say which labels a fold cannot learn, or cannot be tested for."""
    labels = retraining.experiment.predictor.labels
    found = []
    for fold in range(retraining.keys.folds):
        parts = zip(("training", "test"), material.fold(fold, retraining.keys.folds), strict=True)
        for word, samples in parts:
            there = {integer for sample in samples for integer in sample.pools}
            missing = [labels.names[i] for i in named_labels(labels) if i not in there]
            if missing:
                found.append(f"fold {fold}: no {word} image has {', '.join(missing)}")
    return found
