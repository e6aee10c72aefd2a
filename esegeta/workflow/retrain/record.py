"""retrain.json: what was trained, how, on what, and how each training ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from esegeta.explain import parameters_of
from esegeta.report import read_sidecar
from esegeta.volume import write_json
from esegeta.workflow.record import describe_experiment
from esegeta.workflow.retrain.build import Retraining
from esegeta.workflow.retrain.training import TrainingResult


class RetrainingRecorder:
    """Writes retrain.json again and again while a retraining goes on, each time whole.

    Args:
        retraining: what is run.
        inputs: SHA-256 of every file, by case and path.
    """

    def __init__(self, retraining: Retraining, inputs: Mapping[str, Mapping[str, str]]) -> None:
        self.notes: list[str] = []
        self._path = retraining.root / "retrain.json"
        self._start = time.perf_counter()
        keys = retraining.keys
        self._head = {
            **describe_experiment(retraining.experiment),
            "methods": {key: parameters_of(value) for key, value in retraining.methods.items()},
            "recipe": retraining.recipe.describe(),
            "target": retraining.target.name,
            "rank_by": keys.rank_by,
            "baseline": keys.baseline.model_dump(mode="json"),
            "modes": keys.modes,
            "fractions": keys.fractions,
            "seeds": keys.seeds,
            "folds": keys.folds,
            "random": retraining.random,
            "interval": "Student's t over seeds x folds, 95 %",
            "inputs_sha256": {
                path: sha for files in inputs.values() for path, sha in files.items()
            },
        }

    def earlier_notes(self) -> list[str]:
        """Return the notes of the record that is there, of a run with nothing left to do."""
        record = read_sidecar(self._path) or {}
        return [str(note) for note in record.get("notes", [])]

    def write(self, results: Sequence[TrainingResult], state: str) -> None:
        """Write the record as things stand."""
        write_json(
            self._path,
            {
                **self._head,
                "notes": self.notes,
                "state": state,
                "seconds": round(time.perf_counter() - self._start, 3),
                "units": [result.describe() for result in results],
            },
        )
