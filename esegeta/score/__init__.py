"""Scores of maps: one family a file, and the table of them all."""

from esegeta.score.infidelity import Infidelity
from esegeta.score.sanity import (
    SANITY,
    ClassSensitivity,
    EfficientMprt,
    ParameterRandomization,
    RandomMapBaseline,
)
from esegeta.score.score import Curve, Judgement, Quality, Score, ScoreContext, Workings
from esegeta.score.sensitivity import SensitivityMax

SCORES: dict[str, type[Score]] = {
    "infidelity": Infidelity,
    "sensitivity_max": SensitivityMax,
    **SANITY,
}
"""Every score by the name that configs use."""

__all__ = [
    "SCORES",
    "ClassSensitivity",
    "Curve",
    "EfficientMprt",
    "Infidelity",
    "Judgement",
    "ParameterRandomization",
    "Quality",
    "RandomMapBaseline",
    "Score",
    "ScoreContext",
    "SensitivityMax",
    "Workings",
]
