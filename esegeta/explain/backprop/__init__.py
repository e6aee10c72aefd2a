"""Methods that send something else than the gradient back through the network."""

from esegeta.explain.backprop.deep_lift import DeepLift, DeepLiftShap
from esegeta.explain.backprop.guided import Deconvolution, GuidedBackprop
from esegeta.explain.backprop.lrp import LayerwiseRelevance
from esegeta.explain.explainer import Explainer

BACKPROP: dict[str, type[Explainer]] = {
    "guided_backprop": GuidedBackprop,
    "deconvolution": Deconvolution,
    "deep_lift": DeepLift,
    "deep_lift_shap": DeepLiftShap,
    "lrp": LayerwiseRelevance,
}
"""The family's methods by the names that configs use."""

__all__ = [
    "BACKPROP",
    "Deconvolution",
    "DeepLift",
    "DeepLiftShap",
    "GuidedBackprop",
    "LayerwiseRelevance",
]
