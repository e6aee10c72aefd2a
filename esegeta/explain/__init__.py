"""Attribution methods: a family a folder, a method (or close kin) a file, and the table of all."""

from esegeta.explain.attribution import Attribution, Facts, LayerMap, sidecar_path
from esegeta.explain.backprop import (
    BACKPROP,
    ContrastiveExcitationBackprop,
    ExcitationBackprop,
    LayerwiseRelevance,
    PatternAttribution,
    PatternNet,
    Patterns,
    fit_patterns,
)
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.explainer import (
    Explainer,
    RawMap,
    Traits,
    generator_for,
    parameters_of,
    standard_deviation,
)
from esegeta.explain.gradient import (
    GRADIENT,
    InputXGradient,
    IntegratedGradients,
    NoiseTunnel,
    Saliency,
    SmoothGrad,
    SmoothGradSquared,
    VarGrad,
)
from esegeta.explain.layer import LAYER, GradCam, HiResCam
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation import PERTURBATION, Occlusion

EXPLAINERS: dict[str, type[Explainer]] = {**GRADIENT, **BACKPROP, **LAYER, **PERTURBATION}
"""Every method by the name that configs use."""

__all__ = [
    "EXPLAINERS",
    "Attribution",
    "Baseline",
    "ContrastiveExcitationBackprop",
    "ExcitationBackprop",
    "Explainer",
    "Facts",
    "GradCam",
    "HiResCam",
    "InputXGradient",
    "IntegratedGradients",
    "LayerMap",
    "LayerwiseRelevance",
    "NoiseTunnel",
    "Objective",
    "Occlusion",
    "PatternAttribution",
    "PatternNet",
    "Patterns",
    "RawMap",
    "Saliency",
    "SmoothGrad",
    "SmoothGradSquared",
    "Traits",
    "VarGrad",
    "fit_patterns",
    "generator_for",
    "parameters_of",
    "parse_baseline",
    "sidecar_path",
    "standard_deviation",
]
