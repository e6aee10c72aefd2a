"""Localisation: does the map lie where the structure lies, and how far beyond it does it reach?"""

from esegeta.score.localisation.halo import HaloProfile
from esegeta.score.localisation.localisation import (
    Against,
    Auroc,
    Localisation,
    PointingGame,
    RelevanceMass,
    RelevanceRank,
    Use,
)
from esegeta.score.score import Score

LOCALISATION: dict[str, type[Score]] = {
    "relevance_mass": RelevanceMass,
    "relevance_rank": RelevanceRank,
    "pointing_game": PointingGame,
    "auroc": Auroc,
    "halo_profile": HaloProfile,
}
"""Localisation scores by the name that configs use."""

__all__ = [
    "LOCALISATION",
    "Against",
    "Auroc",
    "HaloProfile",
    "Localisation",
    "PointingGame",
    "RelevanceMass",
    "RelevanceRank",
    "Use",
]
