"""Network dissection: which units of a network are detectors of which concepts."""

from esegeta.dissection.ablation import Effect, effect_of, random_sets
from esegeta.dissection.above import Above, find_above
from esegeta.dissection.chance import (
    CHANCES,
    Chance,
    CircularShift,
    Permutation,
    p_values,
    q_values,
)
from esegeta.dissection.clusters import cluster_units
from esegeta.dissection.concept import (
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
from esegeta.dissection.counts import CaseCounts, Counting, count_case
from esegeta.dissection.curves import (
    auroc,
    best_thresholds,
    centre_voxels,
    count_at,
    histograms,
    positions_within,
)
from esegeta.dissection.cuts import NUM_CUTS, Cuts, Sketch
from esegeta.dissection.effects import RESOLUTION, NodeScale, adjust_edges, direct_effect
from esegeta.dissection.findings import Bar, Pair, UnitFinding, best_pair, detectors, pairs_of
from esegeta.dissection.information import Bins, Dependence, dependence, normalised_information
from esegeta.dissection.levels import LevelFinder, Levels
from esegeta.dissection.partition import Partition
from esegeta.dissection.parts import UnitParts
from esegeta.dissection.places import Places, draw_places, num_places
from esegeta.dissection.quantile import (
    BitHistograms,
    LargestValues,
    ThresholdFinder,
    rank_of,
    threshold_finder,
)
from esegeta.dissection.tally import Tally, tally
from esegeta.dissection.totals import FOLDS, Totals, count_held_out
from esegeta.dissection.trails import Trail, TrailEdge, TrailNode, strongest_trails

__all__ = [
    "CHANCES",
    "FOLDS",
    "NUM_CUTS",
    "RESOLUTION",
    "SIDES",
    "Above",
    "Bar",
    "Bins",
    "BitHistograms",
    "Boundary",
    "CaseCounts",
    "Chance",
    "CircularShift",
    "Complement",
    "Concept",
    "Counting",
    "Cuts",
    "Dependence",
    "Distance",
    "Edges",
    "Effect",
    "Ground",
    "Half",
    "LabelValues",
    "LargestValues",
    "LevelFinder",
    "Levels",
    "MaskFile",
    "NodeScale",
    "Pair",
    "Partition",
    "Permutation",
    "Places",
    "Rule",
    "Side",
    "Sketch",
    "Tally",
    "ThresholdFinder",
    "Together",
    "Totals",
    "Trail",
    "TrailEdge",
    "TrailNode",
    "UnitFinding",
    "UnitParts",
    "adjust_edges",
    "auroc",
    "best_pair",
    "best_thresholds",
    "centre_voxels",
    "cluster_units",
    "concept_masks",
    "count_at",
    "count_case",
    "count_held_out",
    "dependence",
    "detectors",
    "direct_effect",
    "draw_places",
    "effect_of",
    "find_above",
    "histograms",
    "normalised_information",
    "num_places",
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
