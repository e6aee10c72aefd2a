"""Scores of maps: one family a file, and the table of them all."""

from esegeta.own_classes import Family
from esegeta.score.complexity import EffectiveComplexity, Entropy, Gini
from esegeta.score.infidelity import Infidelity
from esegeta.score.localisation import (
    LOCALISATION,
    Auroc,
    HaloProfile,
    PointingGame,
    RelevanceMass,
    RelevanceRank,
)
from esegeta.score.removal_curves import Deletion, DiceDrop, Insertion, Road
from esegeta.score.robustness import ConsistencyUnderFlips, SensitivityAvg, SensitivityMax
from esegeta.score.sanity import (
    SANITY,
    ClassSensitivity,
    EfficientMprt,
    ParameterRandomization,
    RandomMapBaseline,
)
from esegeta.score.score import Curve, Judgement, Metric, Score, ScoreCache, ScoreContext
from esegeta.score.sums import Completeness, SensitivityN

SCORES: dict[str, type[Score]] = {
    "infidelity": Infidelity,
    "deletion": Deletion,
    "insertion": Insertion,
    "dice_drop": DiceDrop,
    "road": Road,
    "sensitivity_n": SensitivityN,
    "completeness": Completeness,
    "sensitivity_max": SensitivityMax,
    "sensitivity_avg": SensitivityAvg,
    "consistency_under_flips": ConsistencyUnderFlips,
    **LOCALISATION,
    "gini": Gini,
    "entropy": Entropy,
    "effective_complexity": EffectiveComplexity,
    **SANITY,
}
"""Every score of ours by the name that configs use."""

SCORE = Family("score", "esegeta.scores", Score)
ALL_SCORES = SCORE.with_announced(SCORES)
"""Every score by name: ours, and those that installed packages announce."""

__all__ = [
    "ALL_SCORES",
    "SCORE",
    "SCORES",
    "Auroc",
    "ClassSensitivity",
    "Completeness",
    "ConsistencyUnderFlips",
    "Curve",
    "Deletion",
    "DiceDrop",
    "EffectiveComplexity",
    "EfficientMprt",
    "Entropy",
    "Gini",
    "HaloProfile",
    "Infidelity",
    "Insertion",
    "Judgement",
    "Metric",
    "ParameterRandomization",
    "PointingGame",
    "RandomMapBaseline",
    "RelevanceMass",
    "RelevanceRank",
    "Road",
    "Score",
    "ScoreCache",
    "ScoreContext",
    "SensitivityAvg",
    "SensitivityMax",
    "SensitivityN",
]
