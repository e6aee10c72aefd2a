"""The backprop methods as the contract tests run them; baselines are zero, the same everywhere."""

from __future__ import annotations

from esegeta.explain import (
    ContrastiveExcitationBackprop,
    Deconvolution,
    DeepLift,
    DeepLiftShap,
    ExcitationBackprop,
    Explainer,
    GuidedBackprop,
    LayerwiseRelevance,
    PatternAttribution,
    PatternNet,
)

ROWS: dict[str, Explainer] = {
    "guided_backprop": GuidedBackprop(),
    "deconvolution": Deconvolution(),
    "deep_lift": DeepLift(baseline="zero"),
    "deep_lift_shap": DeepLiftShap(baselines=("zero", "zero")),
    "lrp": LayerwiseRelevance(),
    "excitation_backprop": ExcitationBackprop(),
    "contrastive_excitation_backprop": ContrastiveExcitationBackprop(),
    "pattern_net": PatternNet(),
    "pattern_attribution": PatternAttribution(),
}

ACROSS_SLICES: set[str] = {"pattern_net", "pattern_attribution"}
"""Methods whose map of one slice depends on the others, even where the network's does not."""

FITTED: set[str] = {"pattern_net", "pattern_attribution"}
"""Methods that learn from the windows that they explain: over other windows they learn others."""
