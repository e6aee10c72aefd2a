"""A dissection while it goes on: its passes over the cases, each resumed where it was left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from esegeta.axes import Batch
from esegeta.dissection import ConceptParts, ConceptSources, concept_masks
from esegeta.dissection.all_counts import FOLDS, Counts, count_held_out
from esegeta.dissection.counts import CaseCounts, count_case
from esegeta.dissection.thresholds import Thresholds
from esegeta.errors import EsegetaError, ModelError, is_out_of_memory
from esegeta.model import file_sha256
from esegeta.volume import Case, read_case
from esegeta.workflow import Listener, TaskResult
from esegeta.workflow.dissect.build import Dissection
from esegeta.workflow.dissect.kept import keep, kept
from esegeta.workflow.dissect.source import MapSource
from esegeta.workflow.fingerprint import digest

STAGE = "dissection"


@dataclass(eq=False)
class CaseReading:
    """A case's files, read when something of them is needed first, and then no more.

    Args:
        dissection: whose concepts.
        case: whose files.
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
        volume, _ = read_case(replace(self.case, label=None), basis.preprocess, basis.reading)
        return volume.to(basis.device).batch

    def masks(self) -> list[Tensor]:
        """Return the mask of each concept."""
        plan = self.dissection.concepts
        return concept_masks(plan.concepts, self.ground, helpers=plan.helpers)


class Session:
    """The passes of a dissection.

    Args:
        dissection: what is done.
        listener: is told how it goes on.
    """

    def __init__(self, dissection: Dissection, listener: Listener) -> None:
        basis = dissection.basis
        predictor = replace(basis.predictor, on_windows=listener.advance)
        self.dissection = replace(dissection, basis=replace(basis, predictor=predictor))
        self.listener = listener
        self.folder = dissection.folder / "work"
        self.source = MapSource(self.dissection, self.folder / "maps")
        self._planned: dict[str, int] = {}

    @property
    def cases(self) -> list[Case]:
        """The cases, in the config's order."""
        return self.dissection.basis.cases

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of everything that decides the results."""
        keys = self.dissection.keys.model_dump(mode="json", exclude={"memory_mb", "disk_mb"})
        labels = [self._label_print(case) for case in self.cases]
        return digest({"keys": keys, "counts": self._counts_prints, "labels": labels})

    def reading(self, case: Case) -> CaseReading:
        """Return the files of a case, unread."""
        return CaseReading(self.dissection, case)

    def plan(self) -> None:
        """Tell the listener of all stages ahead, as far as they are known."""
        keys, count = self.dissection.keys, len(self.cases)
        self._planned = {
            "thresholds": self.dissection.threshold_search().num_passes * count,
            "overlaps": count,
            "best thresholds": count if self._has_held_out else 0,
            "pictures": min(count, keys.figures.images),
            "ablation": count if keys.ablation else 0,
            "trails": 2 * min(count, keys.trails.windows) if keys.trails else 0,
        }
        self.listener.expect(sum(self._planned.values()))

    def expect(self, what: str, cases: int) -> None:
        """Tell the listener how many cases a stage takes, now that this is known."""
        self.listener.expect(cases - self._planned.pop(what, 0))

    @contextmanager
    def stage(self, case: Case, what: str, windows: int | None = None) -> Iterator[None]:
        """Tell the listener of one step, and say in an error of which case it was.

        Raises:
            ModelError: memory ran out.
        """
        self.listener.begin(f"{case.name} / {STAGE} / {what}", 1, windows)
        try:
            yield
        except EsegetaError as error:
            if not error.message.startswith(case.name):
                error.message = f"{case.name}: {error.message}"
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise ModelError(
                f"{case.name}: out of memory",
                hint="lower inference.batch_size, inference.window or dissection.memory_mb",
            ) from error
        self.listener.end(TaskResult(case.name, STAGE, what, "done"))

    def unit_thresholds(self) -> Thresholds:
        """Return the thresholds of all units: kept, or found in a pass or two over the cases."""
        path = self.folder / "levels.safetensors"
        found = kept(path, self._thresholds_print)
        if found is not None:
            self.expect("thresholds", len(self.cases))
            for case in self.cases:
                self.listener.end(TaskResult(case.name, STAGE, "thresholds", "skipped"))
            return Thresholds(**found)
        finder = self.dissection.threshold_search()
        self.expect("thresholds", finder.num_passes * len(self.cases))
        for turn in range(finder.num_passes):
            what = "thresholds" if finder.num_passes == 1 else f"thresholds, pass {turn + 1}"
            for number, case in enumerate(self.cases):
                with self.stage(case, what, self.source.num_windows(case)):
                    reading = self.reading(case)
                    if turn == 0:
                        # Concepts are not needed yet; made here, the files are read but once.
                        self._partition(number, reading)
                    for maps in self.source.maps(case, reading.image):
                        finder.add(maps)
            finder.end_pass()
        unit_thresholds = finder.unit_thresholds()
        keep(path, unit_thresholds.tensors(), self._thresholds_print)
        return unit_thresholds

    def counts(self, unit_thresholds: Thresholds) -> Iterator[CaseCounts]:
        """Yield the counts of each case: kept, or counted."""
        self.expect("overlaps", len(self.cases))
        for number, case in enumerate(self.cases):
            path = self.folder / "counts" / f"{case.name}.safetensors"
            fingerprint = self._counts_prints[number]
            found = kept(path, fingerprint)
            if found is not None:
                counts = CaseCounts(**found)
                self.listener.end(TaskResult(case.name, STAGE, "overlaps", "skipped"))
            else:
                with self.stage(case, "overlaps", self.source.num_windows(case)):
                    reading = self.reading(case)
                    maps = self.source.maps(case, reading.image)
                    partition = self._partition(number, reading)
                    counts = count_case(
                        self.dissection.counting, unit_thresholds, partition, maps, number
                    )
                    keep(path, counts.tensors(), fingerprint)
            yield counts

    def held_out_iou(self, all_counts: Counts, unit_thresholds: Thresholds) -> Tensor:
        """Return the IoU over all cases, each at thresholds that were chosen on others.

        NaN for all where there is only one case, or where the config does not want it; and for
        concepts that fewer than two cases hold.
        """
        if not self._has_held_out:
            return torch.full_like(all_counts.p, torch.nan)
        thresholds = all_counts.held_out_thresholds(unit_thresholds)
        both, union = (
            torch.zeros_like(all_counts.tally.both),
            torch.zeros_like(all_counts.tally.both),
        )
        self.expect("best thresholds", len(self.cases))
        for number, case in enumerate(self.cases):
            with self.stage(case, "best thresholds", self.source.num_windows(case)):
                reading = self.reading(case)
                maps = self.source.maps(case, reading.image)
                partition = self._partition(number, reading)
                chosen = all_counts.thresholds_of(number, thresholds)
                own = count_held_out(self.dissection.parts, chosen, partition, maps)
                both, union = both + own[0], union + own[1]
        return both.double() / union.double()

    def _partition(self, number: int, reading: CaseReading) -> ConceptParts:
        """Return the parts of a case: kept, or made of its files."""
        path = self.folder / "parts" / f"{reading.case.name}.safetensors"
        fingerprint = self._concepts_prints[number]
        found = kept(path, fingerprint)
        if found is not None:
            device = self.dissection.basis.device
            return ConceptParts(**{name: value.to(device) for name, value in found.items()})
        partition = ConceptParts.of(reading.masks())
        keep(path, {"parts": partition.parts, "members": partition.members}, fingerprint)
        return partition

    @property
    def _has_held_out(self) -> bool:
        return self.dissection.keys.holdout and len(self.cases) >= FOLDS

    @cached_property
    def _thresholds_print(self) -> str:
        keys = self.dissection.keys
        maps = [self.source.fingerprint(case) for case in self.cases]
        return digest({"maps": maps, "quantile": keys.quantile, "upsample": keys.upsample})

    @cached_property
    def _concepts_prints(self) -> list[str]:
        """Fingerprints of the parts of each case: files are hashed once."""
        concepts = self.dissection.concepts
        return [
            digest({"maps": self.source.fingerprint(case), "concepts": concepts.fingerprint(case)})
            for case in self.cases
        ]

    @cached_property
    def _counts_prints(self) -> list[str]:
        keys = self.dissection.keys
        shared = {
            "levels": self._thresholds_print,
            "chance": keys.chance.model_dump(mode="json"),
            "seed": self.dissection.basis.config.keys.seed,
            "per_image": keys.per_image and keys.per_image.threshold,
        }
        return [
            digest({**shared, "concepts": own, "number": number})
            for number, own in enumerate(self._concepts_prints)
        ]

    def _label_print(self, case: Case) -> str | None:
        if self.dissection.keys.ablation is None or case.label is None:
            return None
        return file_sha256(case.label)
