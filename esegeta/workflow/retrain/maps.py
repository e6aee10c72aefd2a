"""What a method says of every case: the maps of the trained network, by which voxels are ranked."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from esegeta.explain import Explainer, RandomMap
from esegeta.predict import Predictor
from esegeta.retraining.removal import importance_of
from esegeta.targets import FrozenTarget, Scene, UnitScene
from esegeta.workflow import Listener
from esegeta.workflow.outlook import expected_windows
from esegeta.workflow.prepared import with_files, with_patterns
from esegeta.workflow.retrain.build import Retraining
from esegeta.workflow.retrain.material import Material


def map_cases(
    retraining: Retraining, method: str, material: Material, listener: Listener
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
    """Give noise a seed a case: one for all would take the same voxels out of every image."""
    if isinstance(explainer, RandomMap):
        return replace(explainer, seed=explainer.seed + place)
    return explainer


def _freeze(
    retraining: Retraining, predictor: Predictor, place: int, material: Material
) -> FrozenTarget:
    experiment = retraining.experiment
    volume = material.volumes[place].to(experiment.device)
    scene = Scene(predictor, volume, material.truths[place])
    targets = retraining.target.targets(scene, experiment.cases[place], experiment.preprocess)
    return targets[retraining.target.name].freeze(scene)


def _windows(explainer: Explainer, target: FrozenTarget, predictor: Predictor) -> int | None:
    windows = predictor.windows(target.scene.volume.batch)
    return expected_windows(explainer, [target], windows)
