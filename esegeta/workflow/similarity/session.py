"""What the tasks of a comparison share: where things are kept, and fingerprints."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from esegeta.predict import Predictor
from esegeta.volume import Case
from esegeta.workflow.cache import fingerprint
from esegeta.workflow.cases import hash_inputs
from esegeta.workflow.fingerprint import prediction_parts
from esegeta.workflow.similarity.build import Comparison
from esegeta.workflow.similarity.networks import ComparedNetwork
from esegeta.workflow.standing import Stopwatch
from esegeta.workflow.task import Listener

MEMORY_HINT = "lower inference.batch_size, inference.window or similarity.samples"


class SimilaritySession:
    """What the tasks of a comparison work on; files are hashed once.

    Args:
        comparison: comparison that is done.
        listener: receives the count of windows that went through a network.
    """

    def __init__(self, comparison: Comparison, listener: Listener) -> None:
        self.comparison = comparison
        self.folder = comparison.folder / "work"
        self._listener = listener
        self.watch = Stopwatch()

    def watched(self, network: ComparedNetwork) -> Predictor:
        """Return the network over windows, which are counted."""
        return replace(network.watched, on_windows=self._listener.advance)

    def sample_file(self, number: int) -> Path:
        """Return where the sums of a case are kept."""
        return self.folder / f"{self.comparison.cases[number].name}.safetensors"

    @cached_property
    def sample_prints(self) -> list[str]:
        """Fingerprints of what decides the sums of each case."""
        return [self._print_of(number, case) for number, case in enumerate(self.comparison.cases)]

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of everything that decides the results."""
        keys = self.comparison.keys
        names = [one.name for one in self.comparison.networks]
        return fingerprint(
            {
                "samples": self.sample_prints,
                "methods": sorted(keys.methods),
                "networks": names,
                "cases": [case.name for case in self.comparison.cases],
                "labels": list(self.comparison.strata),
            }
        )

    def _print_of(self, number: int, case: Case) -> str:
        comparison = self.comparison
        images = hash_inputs(Case(case.name, case.images))
        networks = [
            {
                "prediction": prediction_parts(one.basis, images),
                "weights": one.weights_sha256,
                "member": one.member,
                "layers": [(layer.name, layer.num_units) for layer in one.layers],
            }
            for one in comparison.networks
        ]
        labels = comparison.basis.predictor.labels
        return fingerprint(
            {
                "networks": networks,
                "inputs": list(hash_inputs(case).values()),
                "resample": comparison.basis.config.keys.prediction.resample,
                "labels": {name: labels.integers(name) for name in labels.all_names},
                "slabs": comparison.slabs,
                "quota": (comparison.quota(number), comparison.matched(number), number),
                "seed": comparison.basis.config.keys.seed,
            }
        )
