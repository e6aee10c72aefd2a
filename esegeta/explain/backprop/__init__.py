"""Methods that send something other than the gradient back through the network."""

from esegeta.explain.backprop.deep_lift import DeepLift, DeepLiftShap
from esegeta.explain.backprop.excitation import ContrastiveExcitationBackprop, ExcitationBackprop
from esegeta.explain.backprop.guided import Deconvolution, GuidedBackprop
from esegeta.explain.backprop.lrp import LayerwiseRelevance
from esegeta.explain.backprop.pattern_fit import Patterns, fit_patterns
from esegeta.explain.backprop.patterns import PatternAttribution, PatternNet
from esegeta.explain.explainer import Explainer

BACKPROP: dict[str, type[Explainer]] = {
    "guided_backprop": GuidedBackprop,
    "deconvolution": Deconvolution,
    "deep_lift": DeepLift,
    "deep_lift_shap": DeepLiftShap,
    "lrp": LayerwiseRelevance,
    "excitation_backprop": ExcitationBackprop,
    "contrastive_excitation_backprop": ContrastiveExcitationBackprop,
    "pattern_net": PatternNet,
    "pattern_attribution": PatternAttribution,
}
"""The family's methods by the names that configs use."""

__all__ = [
    "BACKPROP",
    "ContrastiveExcitationBackprop",
    "Deconvolution",
    "DeepLift",
    "DeepLiftShap",
    "ExcitationBackprop",
    "GuidedBackprop",
    "LayerwiseRelevance",
    "PatternAttribution",
    "PatternNet",
    "Patterns",
    "fit_patterns",
]
