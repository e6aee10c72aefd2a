"""Removing parts of an image: what takes their place, in which order they go, what is left of R."""

from esegeta.score.removal.removal_order import VOXELS, RemovalOrder, removal_order, removals_of
from esegeta.score.removal.removals import Removals, removals, sums_by_part
from esegeta.score.removal.replacement import NoisyLinear, Replacement, impute, parse_replacement

__all__ = [
    "VOXELS",
    "NoisyLinear",
    "RemovalOrder",
    "Removals",
    "Replacement",
    "impute",
    "parse_replacement",
    "removal_order",
    "removals",
    "removals_of",
    "sums_by_part",
]
