"""Sanity: is the map about this network and this label, and better than noise?"""

from esegeta.score.sanity.class_sensitivity import ClassSensitivity
from esegeta.score.sanity.parameter_randomization import EfficientMprt, ParameterRandomization
from esegeta.score.sanity.random_map_baseline import RandomMapBaseline
from esegeta.score.score import Score

SANITY: dict[str, type[Score]] = {
    "parameter_randomization": ParameterRandomization,
    "efficient_mprt": EfficientMprt,
    "class_sensitivity": ClassSensitivity,
    "random_map_baseline": RandomMapBaseline,
}
"""Sanity scores by the name that configs use."""

__all__ = [
    "SANITY",
    "ClassSensitivity",
    "EfficientMprt",
    "ParameterRandomization",
    "RandomMapBaseline",
]
