"""The prediction before the maps: what there is to explain, its size, and how long it takes."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from esegeta.errors import EsegetaError, TargetError
from esegeta.targets import Scene
from esegeta.volume import ReadingWarning
from esegeta.workflow.build import Basis, Experiment
from esegeta.workflow.maps import expected_windows
from esegeta.workflow.task import Listener, Silence

BACKWARD = 2.0
"""How many forward passes a backward pass takes, about."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What is predicted in one case.

    Args:
        scene: the case with its prediction.
        sizes: number of voxels of each label on the grid of the image's file.
        voxel_ml: volume of one voxel; NaN where unknown.
        seconds: time that the prediction took.
    """

    scene: Scene
    sizes: Mapping[str, int]
    voxel_ml: float
    seconds: float

    @property
    def case(self) -> str:
        """The case's name."""
        return self.scene.volume.name

    @property
    def largest(self) -> str:
        """The label with the most voxels; the first where there are several."""
        return max(self.sizes, key=lambda name: self.sizes[name])

    @property
    def known_logits(self) -> dict[str, Tensor]:
        """The prediction, so that it need not be made again; none where it is too large to hold."""
        prediction = self.scene.prediction
        return {self.case: prediction.logits} if prediction.is_held else {}

    def size_words(self, label: str) -> str:
        """Return the size of a label in words: ml, or voxels of what has no size."""
        count = self.sizes[label]
        if math.isnan(self.voxel_ml):
            return f"{count} voxels"
        return f"{count * self.voxel_ml:.4g} ml, {count} voxels"

    def require(self, label: str) -> None:
        """Refuse a label that is predicted nowhere.

        Raises:
            TargetError: says what is predicted instead.
        """
        if self.sizes[label]:
            return
        found = [f"{name} ({self.size_words(name)})" for name, size in self.sizes.items() if size]
        raise TargetError(
            f'--label: "{label}" is not predicted anywhere in {self.case}',
            hint=f"predicted labels: {', '.join(found)}" if found else NOTHING,
        )


NOTHING = (
    "only background is predicted: are preprocessing and channels those of training? "
    "--over all or --over voxel:x,y,z explains a label anyway"
)


def survey(basis: Basis, listener: Listener | None = None) -> Survey:
    """Predict the first case in which there is anything, or the last one.

    Raises:
        EsegetaError: a case cannot be read, or its logits are not finite.
    """
    listener = listener or Silence()
    predictor = replace(basis.predictor, on_windows=listener.advance)
    found = None
    for case in basis.cases:
        # What is said of files as they are read is said again by the run.
        with warnings.catch_warnings(action="ignore", category=ReadingWarning):
            volume, _ = basis.read(case)
        volume = volume.to(basis.device)
        scene = Scene(predictor, volume)
        listener.expect(1)
        listener.begin(f"{case.name}: prediction", 1, len(predictor.windows(volume.batch)))
        start = time.perf_counter()
        source = scene.on_source(basis.config.keys.prediction.resample)
        labels, label_map = source.labels, source.label_map
        sizes = {name: int(labels.shown(label_map, name).sum()) for name in labels.foreground}
        seconds = time.perf_counter() - start
        found = Survey(scene, sizes, volume.source.voxel_volume_ml, seconds)
        if any(sizes.values()):
            break
    assert found is not None  # no cases are refused before
    return found


def expected_seconds(found: Survey, experiment: Experiment) -> dict[str, float | None]:
    """Return about how long each method takes on the surveyed case; None where unknown.

    A window's share of the prediction's time, times the windows of each pass; a backward pass
    counts as two forward passes.
    """
    case = next(case for case in experiment.cases if case.name == found.case)
    windows = experiment.predictor.windows(found.scene.volume.batch)
    try:
        frozen = [
            target.freeze(found.scene)
            for plan in experiment.targets
            for target in plan.targets(found.scene, case, experiment.preprocess).values()
        ]
    except EsegetaError:  # whatever it is, the run says it, case by case
        return dict.fromkeys(experiment.methods)
    expected: dict[str, float | None] = {}
    for name, method in experiment.methods.items():
        count = expected_windows(method, frozen, experiment.predictor, found.scene.volume.batch)
        forwards = sum(one.forwards for one in method.cost.passes)
        backwards = sum(one.backwards for one in method.cost.passes)
        factor = 1 + BACKWARD * backwards / max(forwards, 1)
        share = found.seconds / max(len(windows), 1)
        expected[name] = None if count is None else count * factor * share
    return expected
