"""The cases of a retraining: read, cut into samples, and explained, so that voxels have ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from esegeta.explain import Explainer, RandomMap
from esegeta.predict import Predictor
from esegeta.retraining.samples import (
    Sample,
    importance_of,
    make_samples,
    slab_axis,
    slab_boxes,
    whole_box,
)
from esegeta.targets import FrozenTarget, Scene, UnitScene
from esegeta.volume import Volume
from esegeta.workflow import Listener
from esegeta.workflow.cases import check_truth
from esegeta.workflow.maps import expected_windows
from esegeta.workflow.prepared import with_files, with_patterns
from esegeta.workflow.retrain.build import Retraining


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a retraining works on, in the memory of the host.

    Args:
        volumes: images of the cases.
        truths: ground truths of the cases, `*S`.
        samples: images for training and testing.
        names: names of the samples.
        notes: what the user should know about them.
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


def read_material(retraining: Retraining) -> TrainingData:
    """Read all cases, and cut a single one into slabs.

    Raises:
        DataError: a case cannot be read.
        ConfigError: a single case is too thin for its folds.
    """
    experiment = retraining.experiment
    volumes, truths = [], []
    notes: list[str] = []
    for case in experiment.cases:
        volume, truth = experiment.read(case)
        assert truth is not None  # every case has one; the retraining was checked
        notes += check_truth(truth, experiment, case)
        # All are held at a time, and no map of them goes back to a file.
        volumes.append(replace(volume, origin=None))
        truths.append(truth)
    names = [case.name for case in experiment.cases]
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
    labels = experiment.predictor.labels
    samples = make_samples(volumes, truths, retraining.baseline, labels, boxes)
    material = TrainingData(volumes, truths, samples, names, ())
    return TrainingData(volumes, truths, samples, names, (*notes, *_gaps(retraining, material)))


def _gaps(retraining: Retraining, material: TrainingData) -> list[str]:
    """Say which labels a fold cannot learn, or cannot be tested for."""
    labels = retraining.experiment.predictor.labels
    found = []
    for fold in range(retraining.keys.folds):
        parts = zip(("training", "test"), material.fold(fold, retraining.keys.folds), strict=True)
        for word, samples in parts:
            there = {name for sample in samples for name in sample.pools}
            missing = [name for name in labels.foreground if name not in there]
            if missing:
                found.append(f"fold {fold}: no {word} image has {', '.join(missing)}")
    return found


def map_cases(
    retraining: Retraining, method: str, material: TrainingData, listener: Listener
) -> list[Tensor]:
    """Return how much each voxel of each case matters to a method, in the host's memory.

    Raises:
        EsegetaError: the target has no voxel in a case, or the method cannot explain it.
    """
    experiment = retraining.experiment
    predictor = replace(experiment.predictor, on_windows=listener.advance)
    found = []
    for place, case in enumerate(experiment.cases):
        volume = material.volumes[place].to(experiment.device)
        explainer = with_files(
            _for_case(retraining.methods[method], place), case, experiment, volume
        )
        listener.begin(f"{method} / map of {case.name}")
        target = _freeze(retraining, predictor, place, material)
        if not isinstance(target.scene, UnitScene):  # its network is another
            explainer = with_patterns(explainer, experiment)
        listener.begin(f"{method} / map of {case.name}", 0, _windows(explainer, target, predictor))
        attribution = explainer.explain(predictor, volume, target)
        found.append(importance_of(attribution, retraining.keys.rank_by).cpu())
    return found


def _for_case(explainer: Explainer, place: int) -> Explainer:
    """Give noise a seed per case: a shared one would take the same voxels out of every image."""
    if isinstance(explainer, RandomMap):
        return replace(explainer, seed=explainer.seed + place)
    return explainer


def _freeze(
    retraining: Retraining, predictor: Predictor, place: int, material: TrainingData
) -> FrozenTarget:
    experiment = retraining.experiment
    volume = material.volumes[place].to(experiment.device)
    scene = Scene(predictor, volume, material.truths[place])
    targets = retraining.target.targets(scene, experiment.cases[place], experiment.preprocess)
    return targets[retraining.target.name].freeze(scene)


def _windows(explainer: Explainer, target: FrozenTarget, predictor: Predictor) -> int | None:
    return expected_windows(explainer, [target], predictor, target.scene.volume.batch)
