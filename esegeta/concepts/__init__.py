"""Concepts: which of them a label's prediction depends on, and whether they suffice."""

from esegeta.concepts.cav import (
    Cav,
    Classifier,
    Generalisation,
    fit_cav,
    folds_of,
    generalise,
    held_out_accuracy,
    mean_cosine,
    random_cavs,
)
from esegeta.concepts.completeness import (
    ConceptCompleteness,
    Positions,
    completeness,
    held_out_dice,
)
from esegeta.concepts.discovery import Discovered, Method, discover, matched_cosine, nmf_factors
from esegeta.concepts.errors_apart import Contrast, contrast
from esegeta.concepts.examples import ByCase, Examples
from esegeta.concepts.pieces import ConceptPieces, ball, draw_pieces
from esegeta.concepts.places import LEVELS, MatchingCriteria
from esegeta.concepts.shapley import EXACT_UP_TO, shapley_values
from esegeta.concepts.supervoxels import supervoxels
from esegeta.concepts.tcav import (
    Slopes,
    Tcav,
    interval_over_cases,
    p_of_one_more,
    score_concept,
)

__all__ = [
    "EXACT_UP_TO",
    "LEVELS",
    "ByCase",
    "Cav",
    "Classifier",
    "ConceptCompleteness",
    "ConceptPieces",
    "Contrast",
    "Discovered",
    "Examples",
    "Generalisation",
    "MatchingCriteria",
    "Method",
    "Positions",
    "Slopes",
    "Tcav",
    "ball",
    "completeness",
    "contrast",
    "discover",
    "draw_pieces",
    "fit_cav",
    "folds_of",
    "generalise",
    "held_out_accuracy",
    "held_out_dice",
    "interval_over_cases",
    "matched_cosine",
    "mean_cosine",
    "nmf_factors",
    "p_of_one_more",
    "random_cavs",
    "score_concept",
    "shapley_values",
    "supervoxels",
]
