"""From counts to what is reported of each unit, concept and image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from esegeta.dissection import (
    NamingCriteria,
    UnitConceptPair,
    UnitFinding,
    best_pair,
    detectors,
    pairs_of,
)
from esegeta.dissection.all_counts import Counts
from esegeta.dissection.counts import CaseCounts
from esegeta.dissection.thresholds import Thresholds
from esegeta.workflow.dissect.build import Dissection


@dataclass(frozen=True)
class UnitResults:
    """All pairs of unit and concept, and what each unit goes by."""

    pairs: list[list[UnitConceptPair]]
    findings: list[UnitFinding]

    @property
    def named(self) -> list[UnitFinding]:
        """Units that earned a name."""
        return [finding for finding in self.findings if finding.named]


def results_of(
    dissection: Dissection, unit_thresholds: Thresholds, all_counts: Counts, held_out: Tensor
) -> UnitResults:
    """Return what is reported of every unit."""
    tally = all_counts.tally
    measures = {
        "iou": tally.iou(),
        "ceiling": tally.ceiling(),
        "dice": tally.dice(),
        "best_threshold_iou": held_out,
        "auroc": all_counts.auroc,
        "information_quality": tally.information_quality(),
        "p": all_counts.p,
        "q": all_counts.q,
    }
    layers = [(layer.name, layer.num_units) for layer in dissection.layers]
    pairs = pairs_of(layers, dissection.concepts.concepts, measures)
    bar = NamingCriteria(dissection.keys.min_iou, dissection.keys.q_value)
    findings = []
    for row, own in enumerate(pairs):
        best, named = best_pair(own, bar)
        findings.append(
            UnitFinding(
                best,
                named,
                threshold=float(unit_thresholds.threshold[row]),
                share_above=int(all_counts.above[row]) / int(all_counts.positions[row]),
                mask_share=int(tally.units[row]) / tally.num_voxels,
                ties=int(all_counts.ties[row]),
                dead=bool(unit_thresholds.dead[row]),
                minimum=float(unit_thresholds.minimum[row]),
                maximum=float(unit_thresholds.maximum[row]),
            )
        )
    return UnitResults(pairs, findings)


class ImageTable:
    """Collects how each unit does in each image by itself.

    Args:
        dissection: dissection with the units and concepts.
    """

    def __init__(self, dissection: Dissection) -> None:
        self._dissection = dissection
        self.rows: list[dict[str, Any]] = []
        self._counts: dict[tuple[int, int], list[int]] = {}

    def add(self, case: str, counts: CaseCounts) -> None:
        """Take in a case; concepts that it does not hold are left out."""
        keys = self._dissection.keys.per_image
        if keys is None:
            return
        tally = counts.image_tally
        iou, dice = tally.iou().tolist(), tally.dice().tolist()
        names = self._dissection.concepts.names
        for row, (layer, unit) in enumerate(self._units()):
            for column, concept in enumerate(names):
                if not int(tally.concepts[column]):
                    continue
                detected = iou[row][column] >= keys.min_iou
                values = (case, layer, unit, concept, iou[row][column], dice[row][column])
                columns = ("case", "layer", "unit", "concept", "iou", "dice")
                self.rows.append({**dict(zip(columns, values, strict=True)), "detected": detected})
                count = self._counts.setdefault((row, column), [0, 0])
                count[0] += 1
                count[1] += detected

    def complete(self, findings: list[UnitFinding]) -> list[UnitFinding]:
        """Return findings with the number of images that hold the concept, and of detections."""
        if self._dissection.keys.per_image is None:
            return findings
        names = self._dissection.concepts.names
        done = []
        for row, finding in enumerate(findings):
            place = (row, names.index(finding.best.concept))
            images, detected = self._counts.get(place, [0, 0])
            done.append(replace(finding, images=float(images), images_detected=float(detected)))
        return done

    def _units(self) -> Iterator[tuple[str, int]]:
        for layer in self._dissection.layers:
            for unit in range(layer.num_units):
                yield layer.name, unit


def summary_of(dissection: Dissection, results: UnitResults, all_counts: Counts) -> dict[str, Any]:
    """Return the summary: detectors of each layer, concepts, and what should be known."""
    keys = dissection.keys
    layers: dict[str, Any] = {}
    for layer in dissection.layers:
        own = [finding for finding in results.findings if finding.layer == layer.name]
        found = detectors(own, layer.name)
        layers[layer.name] = {
            "units": layer.num_units,
            "dead_units": [finding.unit for finding in own if finding.dead],
            "named_units": sum(finding.named for finding in own),
            "unique_detectors": len(found),
            "detectors": {name: [item.unit for item in items] for name, items in found.items()},
        }
    sizes = dict(zip(dissection.concepts.names, all_counts.tally.concepts.tolist(), strict=True))
    return {
        "cases": [case.name for case in dissection.basis.cases],
        "voxels": all_counts.tally.num_voxels,
        "quantile": keys.quantile,
        "upsample": keys.upsample,
        "min_iou": keys.min_iou,
        "q_value": keys.q_value,
        "chance": {
            "kind": keys.chance.kind,
            "samples": keys.chance.samples,
            "draws": dissection.num_draws,
        },
        "units": dissection.num_units,
        "named_units": len(results.named),
        "unique_detectors": len({finding.best.concept for finding in results.named}),
        "layers": layers,
        "concepts": {
            concept.name: {"category": concept.group, "voxels": sizes[concept.name]}
            for concept in dissection.concepts.concepts
        },
        "notes": notes_of(dissection, results, all_counts),
    }


def notes_of(dissection: Dissection, results: UnitResults, all_counts: Counts) -> list[str]:
    """Return what a reader of the tables must know."""
    notes = []
    count = dissection.num_units
    sizes = zip(dissection.concepts.names, all_counts.tally.concepts.tolist(), strict=True)
    empty = [name for name, size in sizes if not size]
    if empty:
        notes.append(f"concepts that no case contains: {', '.join(empty)}")
    notes += _ceiling_notes(dissection, results, all_counts)
    dead = sum(finding.dead for finding in results.findings)
    if dead:
        notes.append(f"units that never change, and have no mask: {dead} of {count}")
    bare = sum(not finding.mask_share and not finding.dead for finding in results.findings)
    if bare:
        notes.append(
            f"units that exceed their threshold at positions of their layer, but at no voxel "
            f"between these: {bare} of {count}; `upsample: upsampled` takes thresholds over voxels"
        )
    tied = [
        finding
        for finding in results.findings
        if not finding.dead and _is_tied(dissection, finding)
    ]
    if tied:
        notes.append(
            f"units with ties at their threshold, so that less than half of the quantile is above "
            f"it: {len(tied)} of {count}"
        )
    if dissection.keys.holdout:
        notes += _held_out_notes(dissection, all_counts)
    smallest = dissection.chance.least_p(len(dissection.grids))
    tests = dissection.num_units * len(dissection.concepts.names)
    if smallest > dissection.keys.q_value:
        notes.append(
            f"with {dissection.num_draws} draws, p is at least {smallest:.3g}: no unit is named"
        )
    else:
        notes += _small_body_notes(dissection, all_counts)
    if smallest <= dissection.keys.q_value and _is_held_back(dissection, results, smallest):
        share = smallest / dissection.keys.q_value
        notes.append(
            f"with {dissection.num_draws} draws, q reaches {dissection.keys.q_value:g} only if "
            f"{math.ceil(share * tests)} of {tests} pairs are beyond every draw; "
            f"{_more_draws(dissection)} to name rarer detectors"
        )
    return notes


def _more_draws(dissection: Dissection) -> str:
    """Say what gives more draws: asking for them, or cases to exchange label maps between."""
    all_are_taken = dissection.num_draws < dissection.keys.chance.samples
    return "take more cases" if all_are_taken else "raise chance.samples"


def _ceiling_notes(dissection: Dissection, results: UnitResults, all_counts: Counts) -> list[str]:
    """Say for which concepts no unit can be named, however well it detects them."""
    min_iou, count = dissection.keys.min_iou, all_counts.tally.num_voxels
    highest = {
        name: max((own[column].ceiling for own in results.pairs), default=0.0)
        for column, name in enumerate(dissection.concepts.names)
    }
    sizes = dict(zip(dissection.concepts.names, all_counts.tally.concepts.tolist(), strict=True))
    beyond = [
        f"{name} ({100 * sizes[name] / count:.2g} % of voxels, IoU at most {best:.2g})"
        for name, best in highest.items()
        if sizes[name] and best <= min_iou
    ]
    if not beyond:
        return []
    return [
        f"with quantile {dissection.keys.quantile:g} and min_iou {min_iou:g} no unit can be named "
        f"for {', '.join(beyond)}; raise quantile or lower min_iou"
    ]


def _small_body_notes(dissection: Dissection, all_counts: Counts) -> list[str]:
    """Say for which concepts q cannot be small, even of a unit that marks nothing else."""
    least_q, least_p = all_counts.least_q, all_counts.least_p
    found = []
    for column, name in enumerate(dissection.concepts.names):
        known = ~least_p[:, column].isnan()
        if bool(known.any()) and float(least_q[known, column].min()) > dissection.keys.q_value:
            found.append(f"{name} (p at least {float(least_p[known, column].min()):.2g})")
    if not found:
        return []
    return [
        f"q cannot be {dissection.keys.q_value:g} for {', '.join(found)}, whatever a unit marks: "
        "the cases have so few independent pieces that chance often reaches the largest possible "
        "overlap; take more cases, or another quantile"
    ]


def _is_held_back(dissection: Dissection, results: UnitResults, smallest: float) -> bool:
    """Whether a pair is beyond every draw and lacks a name only for want of more draws."""
    keys = dissection.keys
    return any(
        pair.p <= smallest and pair.iou > keys.min_iou and pair.q > keys.q_value
        for own in results.pairs
        for pair in own
    )


def _held_out_notes(dissection: Dissection, all_counts: Counts) -> list[str]:
    if len(dissection.basis.cases) == 1:
        return ["best_threshold_iou needs two cases: thresholds are chosen on other cases"]
    names = zip(dissection.concepts.names, all_counts.holders.tolist(), strict=True)
    single = [name for name, count in names if count == 1]
    if not single:
        return []
    return [f"best_threshold_iou needs two cases with the concept: {', '.join(single)} has one"]


def _is_tied(dissection: Dissection, finding: UnitFinding) -> bool:
    return finding.ties > 1 and finding.share_above < dissection.keys.quantile / 2
