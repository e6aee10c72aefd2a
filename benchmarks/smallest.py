"""Methods and scores at their cheapest: few steps and samples, which do not change their memory."""

from __future__ import annotations

from dataclasses import fields, replace

from esegeta.explain import EXPLAINERS, Explainer, Features
from esegeta.score import SCORES, Score

METHOD_VALUES: dict[str, object] = {"steps": 2, "samples": 4, "max_channels": 4}
"""Values of these fields, wherever a method has them."""

FEATURES = Features("blocks", side_mm=48.0)
COALITIONS = 64
OPTIMISED = ("meaningful_perturbation", "misure")
"""They hold an optimiser's state; their memory is only shown."""

SCORE_VALUES: dict[str, object] = {
    "samples": 3,
    "steps": 4,
    "sizes": 2,
    "max_layers": 2,
    "features": Features("blocks", side_mm=24.0),
}
"""Cheap values of these fields, wherever a score has them; they do not change its memory."""


def smallest_method(name: str) -> Explainer:
    """Return a method with its cheapest parameters."""
    explainer = EXPLAINERS[name]()
    own = {item.name for item in fields(explainer)}
    values = {key: value for key, value in METHOD_VALUES.items() if key in own}
    if "features" in own and name != "rise":
        values["features"] = FEATURES
    if name in ("kernel_shap", "lime"):
        values["samples"] = COALITIONS
    if name == "neuron_conductance":  # a unit of the bottleneck of an untrained network may be dead
        values["layer"] = "model.0"
    return replace(explainer, **values)


def smallest_score(name: str) -> Score:
    """Return a score with its cheapest parameters."""
    score = SCORES[name]()
    own = {item.name for item in fields(score)}
    values = {key: value for key, value in SCORE_VALUES.items() if key in own}
    if name == "road":
        values.pop("features")
    return replace(score, **values)
