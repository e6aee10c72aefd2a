"""What was found: each unit against each concept, and the name that a unit has earned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from esegeta.dissection.concept import Concept


@dataclass(frozen=True)
class UnitConceptPair:
    """A unit against a concept.

    Args:
        layer: name of the layer.
        unit: channel of the layer's output, from 0.
        concept: name of the concept.
        category: category of the concept.
        iou: IoU of the unit's mask and the concept, over all cases; NaN where both are empty.
        ceiling: the largest IoU that masks of these sizes can have.
        dice: the same overlap as Dice.
        best_threshold_iou: IoU at thresholds that were chosen on other cases; NaN for one case.
        auroc: AUROC of the activation as a score of the concept; below 0.5 the unit avoids it.
        information_quality: I(M; C) / H(M, C), in 0..1.
        p: share of chance overlaps that reach the observed one.
        q: p adjusted over all units and concepts.
    """

    layer: str
    unit: int
    concept: str
    category: str
    iou: float
    ceiling: float
    dice: float
    best_threshold_iou: float
    auroc: float
    information_quality: float
    p: float
    q: float


@dataclass(frozen=True)
class UnitFinding:
    """A unit and the concept that fits it best.

    Args:
        best: the pair with the largest IoU, among those that earn the unit a name if any do.
        named: whether that IoU is above `min_iou` and its q at most `q_value`.
        threshold: threshold that activations in the unit's mask exceed.
        share_above: share of the layer's positions above the threshold.
        mask_share: share of all voxels that are in the unit's mask.
        ties: positions at the threshold, to within rounding; with more than one, fewer than the
            quantile are above.
        dead: the unit never changes; it has no mask.
        minimum: smallest activation.
        maximum: largest activation.
        images: cases that hold the concept; NaN unless images are judged one by one.
        images_detected: those of them in which the unit alone reaches the required IoU.
    """

    best: UnitConceptPair
    named: bool
    threshold: float
    share_above: float
    mask_share: float
    ties: int
    dead: bool
    minimum: float
    maximum: float
    images: float = math.nan
    images_detected: float = math.nan

    @property
    def layer(self) -> str:
        """Name of the layer."""
        return self.best.layer

    @property
    def unit(self) -> int:
        """Channel of the layer's output."""
        return self.best.unit


@dataclass(frozen=True)
class NamingCriteria:
    """What a unit must pass to be named.

    Args:
        min_iou: value that its IoU must exceed.
        q_value: value that its q must not exceed.
    """

    min_iou: float = 0.04
    q_value: float = 0.05

    def passed_by(self, pair: UnitConceptPair) -> bool:
        """Tell whether a pair earns its unit the concept's name; NaN never does."""
        return pair.iou > self.min_iou and pair.q <= self.q_value


def pairs_of(
    layers: Sequence[tuple[str, int]],
    concepts: Sequence[Concept],
    measures: Mapping[str, Float[Tensor, "U K"]],
) -> list[list[UnitConceptPair]]:
    """Return the pairs of each unit, in the order of concepts.

    Args:
        layers: name and number of units of each layer, in the order of the measures' rows.
        concepts: the concepts, in the order of the measures' columns.
        measures: tables of measures, by the names of a pair's fields.
    """
    values = {name: measure.tolist() for name, measure in measures.items()}
    names = [(layer, unit) for layer, count in layers for unit in range(count)]
    return [
        [
            UnitConceptPair(
                layer,
                unit,
                concept.name,
                concept.group,
                **{name: values[name][row][column] for name in values},
            )
            for column, concept in enumerate(concepts)
        ]
        for row, (layer, unit) in enumerate(names)
    ]


def best_pair(
    pairs: Sequence[UnitConceptPair], bar: NamingCriteria
) -> tuple[UnitConceptPair, bool]:
    """Return the pair that a unit goes by, and whether it earns the unit a name."""
    passing = [pair for pair in pairs if bar.passed_by(pair)]
    best = max(passing or pairs, key=lambda pair: -1.0 if math.isnan(pair.iou) else pair.iou)
    return best, bool(passing)


def detectors(findings: Sequence[UnitFinding], layer: str) -> dict[str, list[UnitFinding]]:
    """Return the named units of a layer by concept, those of the largest IoU first."""
    found: dict[str, list[UnitFinding]] = {}
    ordered = sorted(findings, key=lambda finding: -finding.best.iou if finding.named else 0.0)
    for finding in ordered:
        if finding.named and finding.layer == layer:
            found.setdefault(finding.best.concept, []).append(finding)
    return found
