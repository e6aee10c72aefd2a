"""Network dissection: which units of a network are detectors of which concepts."""

from esegeta.dissect.ablation import Effect, effect_of, random_sets
from esegeta.dissect.above import Above, find_above
from esegeta.dissect.chance import CHANCES, Chance, CircularShift, Permutation, p_values, q_values
from esegeta.dissect.clusters import cluster_units
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
    auroc,
    best_thresholds,
    centre_voxels,
    count_at,
    histograms,
    positions_within,
)
from esegeta.dissect.cuts import NUM_CUTS, Cuts, Sketch
from esegeta.dissect.findings import (
    Bar,
    Pair,
    UnitFinding,
    best_pair,
    detectors,
    pairs_of,
)
from esegeta.dissect.information import Bins, Dependence, dependence, normalised_information
from esegeta.dissect.partition import Partition
from esegeta.dissect.quantile import (
    BitHistograms,
    LargestValues,
    ThresholdFinder,
    rank_of,
    threshold_finder,
)
from esegeta.dissect.tally import Tally, tally
from esegeta.dissect.trails import Trail, TrailEdge, TrailNode, strongest_trails

__all__ = [
    "CHANCES",
    "NUM_CUTS",
    "SIDES",
    "Above",
    "Bar",
    "Bins",
    "BitHistograms",
    "Boundary",
    "Chance",
    "CircularShift",
    "Complement",
    "Concept",
    "Cuts",
    "Dependence",
    "Distance",
    "Edges",
    "Effect",
    "Ground",
    "Half",
    "LabelValues",
    "LargestValues",
    "MaskFile",
    "Pair",
    "Partition",
    "Permutation",
    "Rule",
    "Side",
    "Sketch",
    "Tally",
    "ThresholdFinder",
    "Together",
    "Trail",
    "TrailEdge",
    "TrailNode",
    "UnitFinding",
    "auroc",
    "best_pair",
    "best_thresholds",
    "centre_voxels",
    "cluster_units",
    "concept_masks",
    "count_at",
    "dependence",
    "detectors",
    "effect_of",
    "find_above",
    "histograms",
    "normalised_information",
    "p_values",
    "pairs_of",
    "positions_within",
    "q_values",
    "random_sets",
    "rank_of",
    "strongest_trails",
    "tally",
    "threshold_finder",
]
