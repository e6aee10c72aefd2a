"""What decides the Dice of a training: a result with another fingerprint is done again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from esegeta.retrain.removal import EMPTY, UNTOUCHED
from esegeta.retrain.study import Study
from esegeta.retrain.training import Training
from esegeta.run.fingerprint import digest, map_parts, prediction_parts


class Fingerprints:
    """Fingerprints of the trainings of a study.

    Untouched and empty images owe nothing to the trained network, its target and its methods:
    when those change, the references stay.

    Args:
        study: whose.
        inputs: SHA-256 of every file of each case, by case and path.
    """

    def __init__(self, study: Study, inputs: Mapping[str, dict[str, str]]) -> None:
        self._study = study
        self._inputs = inputs
        self._maps: dict[str, str] = {}

    def of(self, training: Training) -> str:
        """Return the fingerprint of one training."""
        removal = training.removal
        parts = {"images": self._images, "seed": training.seed, "fold": training.fold}
        if removal != UNTOUCHED:
            parts["baseline"] = self._study.keys.baseline.model_dump(mode="json")
        if removal not in (UNTOUCHED, EMPTY):
            parts["removal"] = {"mode": removal.mode, "fraction": removal.fraction}
            parts["maps"] = self._of_maps(removal.method)
        return digest(parts)

    @cached_property
    def _images(self) -> str:
        """What decides network, images and recipe of every training."""
        experiment = self._study.experiment
        model = experiment.config.keys.model.model_dump(mode="json", exclude={"weights"})
        cases = [prediction_parts(experiment, inputs) for inputs in self._inputs.values()]
        return digest(
            {
                "model": {**model, "code": experiment.code_sha256},
                "cases": [{**case, "model": None} for case in cases],
                "recipe": self._study.recipe.describe(),
                "folds": self._study.keys.folds,
            }
        )

    def _of_maps(self, method: str) -> str:
        if method not in self._maps:
            study, experiment = self._study, self._study.experiment
            explainer = study.methods[method]
            maps = [
                map_parts(experiment, case, study.target, explainer, self._inputs[case.name])
                for case in experiment.cases
            ]
            self._maps[method] = digest({"maps": maps, "rank_by": study.keys.rank_by})
        return self._maps[method]
