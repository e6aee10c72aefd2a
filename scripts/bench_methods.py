"""Every method at its smallest: few steps, samples and channels, which do not change its memory."""

from __future__ import annotations

from dataclasses import fields, replace

from esegeta.explain import EXPLAINERS, Explainer, Features

SMALLEST: dict[str, object] = {"steps": 2, "samples": 4, "max_channels": 4}
"""Values of these fields, wherever a method has them."""

FEATURES = Features("blocks", side_mm=48.0)
COALITIONS = 64
OPTIMISED = ("meaningful_perturbation", "misure")
"""They hold an optimiser's state; their memory is only shown."""


def smallest(name: str) -> Explainer:
    """Return a method with its cheapest parameters."""
    explainer = EXPLAINERS[name]()
    own = {item.name for item in fields(explainer)}
    values = {key: value for key, value in SMALLEST.items() if key in own}
    if "features" in own and name != "rise":
        values["features"] = FEATURES
    if name in ("kernel_shap", "lime"):
        values["samples"] = COALITIONS
    if name == "neuron_conductance":  # a unit of the bottleneck of an untrained network may be dead
        values["layer"] = "model.0"
    return replace(explainer, **values)
