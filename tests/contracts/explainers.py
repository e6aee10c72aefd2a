"""The table of all methods, each with the parameters of its contract."""

from __future__ import annotations

from esegeta.explain import EXPLAINERS, Explainer
from tests.contracts import rows_backprop, rows_gradient, rows_layer, rows_null, rows_perturbation

FAMILIES = (rows_gradient, rows_backprop, rows_layer, rows_perturbation, rows_null)
ROWS: dict[str, Explainer] = {name: row for family in FAMILIES for name, row in family.ROWS.items()}
CHANNELS_TOGETHER = rows_perturbation.CHANNELS_TOGETHER
ABOUT_LABELS = rows_perturbation.ABOUT_LABELS
ACROSS_SLICES = {name for family in FAMILIES for name in family.ACROSS_SLICES}

ALL = list(EXPLAINERS)

IN_3D = (
    "saliency",
    "integrated_gradients",
    "guided_backprop",
    "deep_lift",
    "lrp",
    "pattern_net",
    "grad_cam",
    "layer_conductance",
    "occlusion",
    "kernel_shap",
    "meaningful_perturbation",
)
"""One of each kind: what cuts windows and puts them back knows the number of axes, no method."""


FEW_IN_3D = ("saliency", "lrp", "grad_cam", "occlusion")
"""One of each family, for what costs much and knows no number of axes of its own."""


def mostly_in_2d(methods: list[str]) -> list[tuple[int, str]]:
    """Return number of axes and method: all of some methods in 2D, one of a family in 3D."""
    return [(2, method) for method in methods] + [
        (3, name) for name in methods if name in FEW_IN_3D
    ]


def on_both_grids(methods: list[str]) -> list[tuple[int, str]]:
    """Return number of axes and method: all of some methods in 2D, one of each kind in 3D."""
    return [(2, method) for method in methods] + [(3, name) for name in methods if name in IN_3D]


def with_trait(name: str) -> list[str]:
    return [method for method in ALL if getattr(EXPLAINERS[method].traits, name)]
