"""Network dissection: which units of a network are detectors of which concepts."""

from esegeta.dissection.ablation import Effect, effect_of, random_sets
from esegeta.dissection.above import Above, find_above
from esegeta.dissection.all_counts import FOLDS, Counts, count_held_out
from esegeta.dissection.bin_edges import NUM_EDGES, BinEdges, Sketch
from esegeta.dissection.body import CaseSpace, find_body
from esegeta.dissection.chance import Chance, CircularShift, Permutation, p_values, q_values
from esegeta.dissection.chances import CHANCES
from esegeta.dissection.concept import (
    SIDES,
    BoundaryBand,
    Complement,
    Concept,
    ConceptRule,
    ConceptSources,
    Distance,
    Edges,
    Half,
    LabelValues,
    MaskFile,
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
from esegeta.dissection.drawn import Boxes, Bright, Points, Textured
from esegeta.dissection.exchange import FEWEST_CASES, Exchange, Frame, brought
from esegeta.dissection.findings import (
    NamingCriteria,
    UnitConceptPair,
    UnitFinding,
    best_pair,
    detectors,
    pairs_of,
)
from esegeta.dissection.information import Bins, Dependence, dependence, normalised_information
from esegeta.dissection.parts import UnitParts
from esegeta.dissection.places import Places, draw_places, num_places
from esegeta.dissection.quantile import (
    BitHistograms,
    LargestValues,
    ThresholdFinder,
    rank_of,
    threshold_finder,
)
from esegeta.dissection.stand_ins import StandIns
from esegeta.dissection.surrogates import Surrogates
from esegeta.dissection.tail import tail_p_values
from esegeta.dissection.tally import ConceptParts, OverlapTally, tally
from esegeta.dissection.thresholds import Thresholds, ThresholdSearch
from esegeta.dissection.trails import (
    RESOLUTION,
    NodeScale,
    Trail,
    TrailEdge,
    TrailNode,
    adjust_edges,
    cluster_units,
    direct_effect,
    strongest_trails,
)

__all__ = [
    "CHANCES",
    "FEWEST_CASES",
    "FOLDS",
    "NUM_EDGES",
    "RESOLUTION",
    "SIDES",
    "Above",
    "BinEdges",
    "Bins",
    "BitHistograms",
    "BoundaryBand",
    "Boxes",
    "Bright",
    "CaseCounts",
    "CaseSpace",
    "Chance",
    "CircularShift",
    "Complement",
    "Concept",
    "ConceptParts",
    "ConceptRule",
    "ConceptSources",
    "Counting",
    "Counts",
    "Dependence",
    "Distance",
    "Edges",
    "Effect",
    "Exchange",
    "Frame",
    "Half",
    "LabelValues",
    "LargestValues",
    "MaskFile",
    "NamingCriteria",
    "NodeScale",
    "OverlapTally",
    "Permutation",
    "Places",
    "Points",
    "Side",
    "Sketch",
    "StandIns",
    "Surrogates",
    "Textured",
    "ThresholdFinder",
    "ThresholdSearch",
    "Thresholds",
    "Together",
    "Trail",
    "TrailEdge",
    "TrailNode",
    "UnitConceptPair",
    "UnitFinding",
    "UnitParts",
    "adjust_edges",
    "auroc",
    "best_pair",
    "best_thresholds",
    "brought",
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
    "find_body",
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
    "tail_p_values",
    "tally",
    "threshold_finder",
]
