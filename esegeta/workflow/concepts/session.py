"""What the tasks of concepts share: cases opened once, places, masks, and fingerprints."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import Mask
from esegeta.concepts import LEVELS, MatchingCriteria
from esegeta.dissection import ConceptSources, concept_masks, find_body
from esegeta.targets import Scene
from esegeta.volume import Case, Volume
from esegeta.workflow.cache import fingerprint, kept_tensors
from esegeta.workflow.cases import hash_inputs
from esegeta.workflow.concepts.build import ConceptRun
from esegeta.workflow.fingerprint import prediction_parts
from esegeta.workflow.task import Desk, Listener

WHOLE, OF_CASE = 0, 1
"""How deep in the scope (case) something is remembered."""
MEMORY_HINT = "lower inference.batch_size, inference.window or concepts.memory_mb"
PART_OF_MEMORY = 0.5


@dataclass(frozen=True, eq=False)
class OpenConcepts:
    """A case that was read.

    Args:
        case: whose files.
        ground: image, label map and mask files.
        scene: image and prediction, which is made when it is asked for.
        masks: of each concept, by name.
        places: organ and depth of each voxel.
    """

    case: Case
    ground: ConceptSources
    scene: Scene
    masks: Mapping[str, Mask]
    places: MatchingCriteria

    @property
    def volume(self) -> Volume:
        """The image."""
        return self.ground.volume


class ConceptSession:
    """What the tasks work on.

    Args:
        run: what is done.
        listener: told of windows that went through the network.
    """

    def __init__(self, run: ConceptRun, listener: Listener) -> None:
        predictor = replace(run.basis.predictor, on_windows=listener.advance)
        self.run = replace(run, basis=replace(run.basis, predictor=predictor))
        self.folder = run.folder / "work"
        self._start = time.perf_counter()

    @property
    def cases(self) -> list[Case]:
        """The cases, in the config's order."""
        return self.run.basis.cases

    @property
    def seconds(self) -> float:
        """How long it has been at work."""
        return time.perf_counter() - self._start

    @property
    def room_mb(self) -> float:
        """What maps of units may take up."""
        return PART_OF_MEMORY * self.run.keys.memory_mb

    @property
    def seed(self) -> int:
        """The config's seed."""
        return self.run.basis.config.keys.seed

    def generator(self, *numbers: int) -> torch.Generator:
        """Return a generator of its own for each case, concept and the like, on the host."""
        state = np.random.SeedSequence([self.seed, *numbers]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state) >> 1)

    def record(self, what: str, number: int) -> Path:
        """Return where something of a case is kept."""
        return self.folder / what / f"{self.cases[number].name}.safetensors"

    @cached_property
    def _inputs(self) -> list[dict[str, str]]:
        return [hash_inputs(case) for case in self.cases]

    def inputs(self, number: int) -> dict[str, str]:
        """Return the SHA-256 of each file of a case."""
        return self._inputs[number]

    @cached_property
    def case_prints(self) -> list[str]:
        """Fingerprints of what decides the activations of each case."""
        run = self.run
        names = ("pool", "pieces", "piece_mm", "counters", "slabs", "discover", "shap", "randoms")
        keys = run.keys.model_dump(mode="json")
        if keys["discover"] is not None:
            keys["discover"] = keys["discover"]["scales"]
        return [
            fingerprint(
                {
                    "prediction": prediction_parts(run.basis, self.inputs(number)),
                    "layers": [layer.name for layer in run.layers],
                    "concepts": run.concepts.fingerprint(case),
                    "shown": self._shown_prints,
                    "keys": {name: keys[name] for name in names},
                    "targets": [plan.fingerprint(case) for plan in run.targets],
                    "seed": self.seed,
                    "number": number,
                }
            )
            for number, case in enumerate(self.cases)
        ]

    @cached_property
    def _shown_prints(self) -> dict[str, list[str]]:
        return {
            name: [value for image in images for value in hash_inputs(image).values()]
            for name, images in self.run.shown.items()
        }

    @cached_property
    def slope_prints(self) -> list[str]:
        """Fingerprints of what decides the slopes of each case."""
        keys = self.run.keys
        errors = None if keys.errors is None else keys.errors.components
        return [fingerprint({"case": one, "errors": errors}) for one in self.case_prints]

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of everything that decides the results."""
        keys = self.run.keys.model_dump(mode="json", exclude={"memory_mb"})
        scores = repr(self.run.basis.config.scores)
        return fingerprint({"keys": keys, "cases": self.slope_prints, "scores": scores})

    def kept(self, what: str, number: int) -> dict[str, Tensor]:
        """Return the tensors that an earlier task has kept of a case.

        Raises:
            OutputError: they are gone.
        """
        prints = self.slope_prints if what == "slopes" else self.case_prints
        return kept_tensors(self.record(what, number), prints[number])


def open_concepts(desk: Desk, number: int) -> OpenConcepts:
    """Return a case, read once for the tasks that stand on it.

    Raises:
        EsegetaError: its files cannot be read.
    """

    def read() -> OpenConcepts:
        session: ConceptSession = desk.job
        run, case = session.run, session.cases[number]
        plan, device = run.concepts, run.basis.device
        ground = plan.ground(case)
        truth = ground.truth
        if truth is None and case.label is not None:
            truth = run.basis.read(case)[1]
        volume = ground.volume
        inside = volume.inside
        body = find_body(volume.data)
        body = body if inside is None else body & inside.to(device)
        made = concept_masks(plan.concepts, ground, helpers=plan.helpers)
        masks = {name: mask & body for name, mask in zip(plan.names, made, strict=True)}
        places = MatchingCriteria.of(
            body,
            volume.grid.spacing_mm,
            organs=None if truth is None else truth.to(device),
            step_mm=run.keys.piece_mm,
        )
        return OpenConcepts(case, ground, Scene(run.basis.predictor, volume, truth), masks, places)

    return desk.once("case", read, depth=OF_CASE)


def first_level(session: ConceptSession) -> int:
    """Return what counter-pieces are matched for at best, an index into `LEVELS`."""
    return 0 if session.run.keys.counters == "matched" else len(LEVELS) - 1


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with None for NaN, which JSON does not have."""
    return {
        key: None if isinstance(value, float) and value != value else value
        for key, value in values.items()
    }
