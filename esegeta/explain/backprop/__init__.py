"""Methods that send something else than the gradient back through the network."""

from esegeta.explain.backprop.excitation import (
    ContrastiveExcitationBackprop,
    ExcitationBackprop,
)
from esegeta.explain.backprop.lrp import LayerwiseRelevance
from esegeta.explain.backprop.pattern_fit import Patterns, fit_patterns
from esegeta.explain.backprop.patterns import PatternAttribution, PatternNet
from esegeta.explain.explainer import Explainer

BACKPROP: dict[str, type[Explainer]] = {
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
    "ExcitationBackprop",
    "LayerwiseRelevance",
    "PatternAttribution",
    "PatternNet",
    "Patterns",
    "fit_patterns",
]
