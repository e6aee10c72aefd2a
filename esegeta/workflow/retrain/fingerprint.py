"""What decides the Dice of a training: a result with another fingerprint is done again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from esegeta.retraining import Training
from esegeta.retraining.removal import EMPTY, UNTOUCHED
from esegeta.workflow.cache import fingerprint
from esegeta.workflow.fingerprint import map_parts, prediction_parts
from esegeta.workflow.retrain.build import Retraining


class Fingerprints:
    """Fingerprints of the trainings of a retraining.

    Untouched and empty images owe nothing to the trained network, its target and its methods:
    when those change, the references stay.

    Args:
        retraining: whose.
        inputs: SHA-256 of every file of each case, by case and path.
    """

    def __init__(self, retraining: Retraining, inputs: Mapping[str, dict[str, str]]) -> None:
        self._retraining = retraining
        self._inputs = inputs
        self._maps: dict[str, str] = {}

    def of(self, training: Training) -> str:
        """Return the fingerprint of one training."""
        removal = training.removal
        parts = {"images": self._images, "seed": training.seed, "fold": training.fold}
        if removal != UNTOUCHED:
            parts["baseline"] = self._retraining.keys.baseline.model_dump(mode="json")
        if removal not in (UNTOUCHED, EMPTY):
            parts["removal"] = {"mode": removal.mode, "fraction": removal.fraction}
            parts["maps"] = self._of_maps(removal.method)
        return fingerprint(parts)

    @cached_property
    def _images(self) -> str:
        """What decides network, images and recipe of every training."""
        experiment = self._retraining.experiment
        model = experiment.config.keys.model.model_dump(mode="json", exclude={"weights"})
        cases = [prediction_parts(experiment, inputs) for inputs in self._inputs.values()]
        return fingerprint(
            {
                "model": {**model, "code": experiment.code_sha256},
                "cases": [{**case, "model": None} for case in cases],
                "recipe": self._retraining.recipe.describe(),
                "folds": self._retraining.keys.folds,
            }
        )

    def _of_maps(self, method: str) -> str:
        if method not in self._maps:
            retraining, experiment = self._retraining, self._retraining.experiment
            explainer = retraining.methods[method]
            maps = [
                map_parts(experiment, case, retraining.target, explainer, self._inputs[case.name])
                for case in experiment.cases
            ]
            self._maps[method] = fingerprint({"maps": maps, "rank_by": retraining.keys.rank_by})
        return self._maps[method]
