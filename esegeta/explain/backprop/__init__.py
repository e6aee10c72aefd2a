"""Methods that send something else than the gradient back through the network."""

from esegeta.explain.backprop.excitation import (
    ContrastiveExcitationBackprop,
    ExcitationBackprop,
)
from esegeta.explain.backprop.lrp import LayerwiseRelevance
from esegeta.explain.explainer import Explainer

BACKPROP: dict[str, type[Explainer]] = {
    "lrp": LayerwiseRelevance,
    "excitation_backprop": ExcitationBackprop,
    "contrastive_excitation_backprop": ContrastiveExcitationBackprop,
}
"""The family's methods by the names that configs use."""

__all__ = [
    "BACKPROP",
    "ContrastiveExcitationBackprop",
    "ExcitationBackprop",
    "LayerwiseRelevance",
]
