"""Scores of maps: one family a file, and the table of them all."""

from esegeta.score.complexity import Entropy, Gini
from esegeta.score.flips import ConsistencyUnderFlips
from esegeta.score.infidelity import Infidelity
from esegeta.score.localisation import (
    LOCALISATION,
    Auroc,
    HaloProfile,
    PointingGame,
    RelevanceMass,
    RelevanceRank,
)
from esegeta.score.score import Curve, Judgement, Quality, Score, ScoreContext, Workings
from esegeta.score.sensitivity import SensitivityAvg, SensitivityMax

SCORES: dict[str, type[Score]] = {
    "infidelity": Infidelity,
    "sensitivity_max": SensitivityMax,
    "sensitivity_avg": SensitivityAvg,
    "consistency_under_flips": ConsistencyUnderFlips,
    **LOCALISATION,
    "gini": Gini,
    "entropy": Entropy,
}
"""Every score by the name that configs use."""

__all__ = [
    "SCORES",
    "Auroc",
    "ConsistencyUnderFlips",
    "Curve",
    "Entropy",
    "Gini",
    "HaloProfile",
    "Infidelity",
    "Judgement",
    "PointingGame",
    "Quality",
    "RelevanceMass",
    "RelevanceRank",
    "Score",
    "ScoreContext",
    "SensitivityAvg",
    "SensitivityMax",
    "Workings",
]
