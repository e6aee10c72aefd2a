"""CSV tables of a dissection, one record per line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from esegeta.dissection import UnitConceptPair, UnitFinding, detectors
from esegeta.report.csv_tables import write_rows

UNIT_COLUMNS = (
    "layer",
    "unit",
    "concept",
    "category",
    "iou",
    "ceiling",
    "best_threshold_iou",
    "p",
    "q",
    "threshold",
    "named",
    "dice",
    "auroc",
    "information_quality",
    "share_above",
    "mask_share",
    "ties",
    "dead",
    "minimum",
    "maximum",
    "images",
    "images_detected",
)


PAIR_COLUMNS = tuple(UnitConceptPair.__dataclass_fields__)


CONCEPT_COLUMNS = (
    "concept",
    "category",
    "layer",
    "detectors",
    "best_unit",
    "best_iou",
    "best_q",
    "voxels",
    "share",
)


ABLATION_COLUMNS = (
    "layer",
    "concept",
    "units",
    "label",
    "dice",
    "change",
    "random_change",
    "effect",
    "low",
    "high",
    "p",
    "draws",
    "cases",
)


IMAGE_COLUMNS = ("case", "layer", "unit", "concept", "iou", "dice", "detected")


def write_units(path: Path, findings: Iterable[UnitFinding]) -> None:
    """Write units.csv: one line per unit, with the concept that fits it best, if any does."""
    rows = []
    for finding in findings:
        row = {**vars(finding.best), **vars(finding)}
        if not finding.best.iou > 0:  # all concepts fit it equally, not at all
            row.update(concept="", category="")
        rows.append(row)
    write_rows(path, UNIT_COLUMNS, rows)


def write_pairs(path: Path, pairs: Iterable[UnitConceptPair]) -> None:
    """Write pairs.csv: one line per unit and concept."""
    write_rows(path, PAIR_COLUMNS, [vars(pair) for pair in pairs])


def write_concepts(
    path: Path,
    findings: Sequence[UnitFinding],
    pairs: Sequence[UnitConceptPair],
    voxels: Mapping[str, tuple[int, float]],
) -> None:
    """Write concepts.csv: one line per concept and layer, with the unit that fits it best.

    Args:
        path: path of the table.
        findings: findings of all units.
        pairs: pairs of all units and concepts.
        voxels: number and share of the voxels of each concept, over all cases.
    """
    own: dict[tuple[str, str], list[UnitConceptPair]] = {}
    for pair in pairs:
        own.setdefault((pair.concept, pair.layer), []).append(pair)
    layers = dict.fromkeys(pair.layer for pair in pairs)
    named = {layer: detectors(findings, layer) for layer in layers}
    rows = []
    for concept in dict.fromkeys(pair.concept for pair in pairs):
        number, share = voxels[concept]
        for layer in layers:
            best = max(
                own[concept, layer], key=lambda pair: -1.0 if math.isnan(pair.iou) else pair.iou
            )
            rows.append(
                {
                    "concept": concept,
                    "category": best.category,
                    "layer": layer,
                    "detectors": len(named[layer].get(concept, [])),
                    "best_unit": best.unit,
                    "best_iou": best.iou,
                    "best_q": best.q,
                    "voxels": number,
                    "share": share,
                }
            )
    write_rows(path, CONCEPT_COLUMNS, rows)
