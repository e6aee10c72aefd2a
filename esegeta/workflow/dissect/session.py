"""What the tasks of a dissection share: files, maps and parts of cases, and fingerprints."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from esegeta.axes import Batch, Mask
from esegeta.dissection import (
    ConceptParts,
    ConceptSources,
    Exchange,
    Frame,
    Surrogates,
    brought,
    concept_masks,
    find_body,
)
from esegeta.volume import Case
from esegeta.workflow.cache import fingerprint
from esegeta.workflow.dissect.build import Dissection
from esegeta.workflow.dissect.scratch import keep_scratch, read_scratch
from esegeta.workflow.dissect.source import MapSource
from esegeta.workflow.plans import image_sha256
from esegeta.workflow.standing import Stopwatch
from esegeta.workflow.task import Listener

WHOLE = 0
"""How deep in the scope the desk remembers what is of the whole dissection."""
BYTE = 256
"""So many parts can be told apart by a byte."""
MEMORY_HINT = "lower inference.batch_size, inference.window or dissection.memory_mb"


@dataclass(eq=False)
class CaseReading:
    """A case's files, read when something of them is needed first, and then no more.

    Args:
        dissection: dissection that asks for concepts.
        case: case that the files belong to.
    """

    dissection: Dissection
    case: Case
    _known: list[ConceptSources] = field(default_factory=list)

    @property
    def ground(self) -> ConceptSources:
        """Image, label map and mask files."""
        if not self._known:
            self._known.append(self.dissection.concepts.ground(self.case))
        return self._known[0]

    def image(self) -> Batch:
        """Return the image, `1 C *S`; label map and masks are not read for it."""
        if self._known:
            return self.ground.volume.batch
        basis = self.dissection.basis
        volume, _ = basis.read(replace(self.case, label=None))
        return volume.to(basis.device).batch

    def known(self) -> Mask | None:
        """Return the voxels of the image whose label is known; None where all are.

        Where labels are not used, they all count as known. Padding is not part of the image.
        """
        labels, truth = self.dissection.basis.predictor.labels, self.ground.truth
        inside = self.ground.volume.inside
        if labels.ignore_label is None or truth is None:
            return inside
        valid = labels.valid(truth.to(self.dissection.basis.device))
        return valid if inside is None else valid & inside

    def masks(self) -> list[Tensor]:
        """Return the mask of each concept."""
        plan = self.dissection.concepts
        return concept_masks(plan.concepts, self.ground, helpers=plan.helpers)


class DissectionSession:
    """What the tasks of a dissection work on; files are hashed once.

    Args:
        dissection: dissection that is done.
        listener: receives the count of windows that went through the network.
        shares: where what cases come to in the search for thresholds is kept, for another process
            to merge; None where one process sees all cases.
    """

    def __init__(
        self, dissection: Dissection, listener: Listener, shares: Path | None = None
    ) -> None:
        basis = dissection.basis
        predictor = replace(basis.predictor, on_windows=listener.advance)
        self.dissection = replace(dissection, basis=replace(basis, predictor=predictor))
        self.folder = dissection.folder / "work"
        self.source = MapSource(self.dissection, self.folder / "maps")
        self.shares = shares
        self._last: tuple[int, dict[str, Tensor]] | None = None
        self.watch = Stopwatch()

    @property
    def cases(self) -> list[Case]:
        """The cases, in the config's order."""
        return self.dissection.basis.cases

    def reading(self, case: Case) -> CaseReading:
        """Return the files of a case, unread."""
        return CaseReading(self.dissection, case)

    def partition(self, number: int, reading: CaseReading) -> ConceptParts:
        """Return the parts that concepts cut a case into: kept, or made of its files."""
        found, device = self._space(number, reading), self.dissection.basis.device
        return ConceptParts(
            found["parts"].to(device, torch.int32),
            found["members"].to(device),
            found["counted"].to(device),
        )

    def body(self, number: int, reading: CaseReading) -> Tensor:
        """Return the voxels of a case that chance keeps to, flattened: kept, or found anew."""
        device = self.dissection.basis.device
        if not self._keeps_to_body:
            shape = self.dissection.shapes[reading.case.name]
            return torch.ones(math.prod(shape), dtype=torch.bool, device=device)
        return self._space(number, reading)["body"].to(device)

    @property
    def _keeps_to_body(self) -> bool:
        return self.dissection.keys.chance.kind in (Surrogates.name, Exchange.name)

    def _space(self, number: int, reading: CaseReading) -> dict[str, Tensor]:
        """Return parts and body of a case: those asked for last, kept on disk, or made anew."""
        if self._last is not None and self._last[0] == number:
            return self._last[1]
        path = self.folder / "parts" / f"{reading.case.name}.safetensors"
        key = self._concepts_prints[number]
        found = read_scratch(path, key)
        if found is None:
            made = ConceptParts.of(reading.masks(), reading.known())
            found = {
                "parts": made.parts.to(torch.uint8) if made.num_parts <= BYTE else made.parts,
                "members": made.members,
                "counted": made.counted,
            }
            if self._keeps_to_body:
                found["body"] = find_body(reading.image()[0]).flatten()
            keep_scratch(path, key, found)
        self._last = (number, found)
        return found

    def concepts_of(self, number: int) -> list[Callable[[], ConceptParts]]:
        """Return what reads the concepts of each case on the grid of one, if chance asks for it."""
        if self.dissection.keys.chance.kind != Exchange.name:
            return []
        return [partial(self._brought, other, number) for other in range(len(self.cases))]

    def _brought(self, other: int, number: int) -> ConceptParts:
        partition = self.partition(other, self.reading(self.cases[other]))
        if other == number:
            return partition
        return brought(partition, self._frame(other), self._frame(number))

    def _frame(self, number: int) -> Frame:
        case = self.cases[number]
        shape = self.dissection.shapes[case.name]
        if self.dissection.share_a_grid:
            return Frame.of_grid(shape)
        return Frame.of_body(self.body(number, self.reading(case)), shape)

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of everything that decides the results."""
        keys = self.dissection.keys.model_dump(mode="json", exclude={"memory_mb", "disk_mb"})
        labels = [self._label_print(case) for case in self.cases]
        return fingerprint({"keys": keys, "counts": self.counts_prints, "labels": labels})

    @cached_property
    def thresholds_print(self) -> str:
        """The fingerprint of the thresholds of all units."""
        keys = self.dissection.keys
        maps = [self.source.fingerprint(case) for case in self.cases]
        return fingerprint({"maps": maps, "quantile": keys.quantile, "upsample": keys.upsample})

    @cached_property
    def best_print(self) -> str:
        """The fingerprint of what is counted at the best thresholds of other cases."""
        return fingerprint({"best of": self.counts_prints})

    @cached_property
    def counts_prints(self) -> list[str]:
        """Fingerprints of the counts of each case."""
        keys = self.dissection.keys
        shared = {
            "thresholds": self.thresholds_print,
            "chance": keys.chance.model_dump(mode="json"),
            "seed": self.dissection.basis.config.keys.seed,
            "per_image": keys.per_image and keys.per_image.threshold,
        }
        if keys.chance.kind == Exchange.name:
            shared["all concepts"] = self._concepts_prints
        return [
            fingerprint({**shared, "concepts": own, "number": number})
            for number, own in enumerate(self._concepts_prints)
        ]

    @cached_property
    def _concepts_prints(self) -> list[str]:
        concepts = self.dissection.concepts
        return [
            fingerprint(
                {"maps": self.source.fingerprint(case), "concepts": concepts.fingerprint(case)}
            )
            for case in self.cases
        ]

    def _label_print(self, case: Case) -> object:
        if self.dissection.keys.ablation is None or case.label is None:
            return None
        return image_sha256(case.label)
