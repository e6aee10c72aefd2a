"""Removing parts of an image: what takes their place, in which order they go, what is left of R."""

from esegeta.score.removal.ladder import VOXELS, Ladder, ladder, removals_of
from esegeta.score.removal.removals import Coalitions, Removals, removals, sums_by_part
from esegeta.score.removal.replacement import NoisyLinear, Replacement, impute, parse_replacement

__all__ = [
    "VOXELS",
    "Coalitions",
    "Ladder",
    "NoisyLinear",
    "Removals",
    "Replacement",
    "impute",
    "ladder",
    "parse_replacement",
    "removals",
    "removals_of",
    "sums_by_part",
]
