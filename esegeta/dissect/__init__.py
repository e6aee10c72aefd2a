"""Network dissection: which units of a network are detectors of which concepts."""

from esegeta.dissect.above import Above, find_above
from esegeta.dissect.concept import (
    SIDES,
    Boundary,
    Complement,
    Concept,
    Distance,
    Edges,
    Ground,
    Half,
    LabelValues,
    MaskFile,
    Rule,
    Side,
    Together,
    concept_masks,
)
from esegeta.dissect.curves import (
    Sketch,
    auroc,
    best_thresholds,
    centre_voxels,
    histograms,
    positions_within,
)
from esegeta.dissect.null import NULLS, CircularShift, Null, Permutation, p_values, q_values
from esegeta.dissect.partition import Partition
from esegeta.dissect.quantile import (
    BitHistograms,
    LargestValues,
    ThresholdFinder,
    rank_of,
    threshold_finder,
)
from esegeta.dissect.tally import Tally, tally

__all__ = [
    "NULLS",
    "SIDES",
    "Above",
    "BitHistograms",
    "Boundary",
    "CircularShift",
    "Complement",
    "Concept",
    "Distance",
    "Edges",
    "Ground",
    "Half",
    "LabelValues",
    "LargestValues",
    "MaskFile",
    "Null",
    "Partition",
    "Permutation",
    "Rule",
    "Side",
    "Sketch",
    "Tally",
    "ThresholdFinder",
    "Together",
    "auroc",
    "best_thresholds",
    "centre_voxels",
    "concept_masks",
    "find_above",
    "histograms",
    "p_values",
    "positions_within",
    "q_values",
    "rank_of",
    "tally",
    "threshold_finder",
]
