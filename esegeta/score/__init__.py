"""Scores of maps: one family a file, and the table of them all."""

from esegeta.score.infidelity import Infidelity
from esegeta.score.score import Curve, Judgement, Quality, Score, ScoreContext, Workings
from esegeta.score.sensitivity import SensitivityMax

SCORES: dict[str, type[Score]] = {
    "infidelity": Infidelity,
    "sensitivity_max": SensitivityMax,
}
"""Every score by the name that configs use."""

__all__ = [
    "SCORES",
    "Curve",
    "Infidelity",
    "Judgement",
    "Quality",
    "Score",
    "ScoreContext",
    "SensitivityMax",
    "Workings",
]
