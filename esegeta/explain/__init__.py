"""Attribution methods: a family a folder, a method (or close kin) a file, and the table of all."""

from esegeta.explain.aggregate import Atlas, RegionRow, aggregate
from esegeta.explain.attribution import Attribution, Facts, LayerMap, sidecar_path
from esegeta.explain.backprop import BACKPROP, Deconvolution, GuidedBackprop
from esegeta.explain.baseline import Baseline, baselines_of, parse_baseline
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
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    InteriorGradient,
    NeuronConductance,
    NoiseTunnel,
    Saliency,
    SmoothGrad,
    SmoothGradSquared,
    VarGrad,
)
from esegeta.explain.layer import LAYER, GradCam, GuidedGradCam, HiResCam
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation import (
    PERTURBATION,
    EditedTarget,
    Edits,
    ExactShapley,
    FeatureAblation,
    Features,
    Game,
    KernelShap,
    Lime,
    Occlusion,
    Partition,
    Rise,
    ShapleyValueSampling,
    parse_features,
    solve_kernel_shap,
)

EXPLAINERS: dict[str, type[Explainer]] = {
    **GRADIENT,
    **BACKPROP,
    **LAYER,
    **PERTURBATION,
}
"""Every method by the name that configs use."""

__all__ = [
    "EXPLAINERS",
    "Atlas",
    "Attribution",
    "Baseline",
    "Deconvolution",
    "EditedTarget",
    "Edits",
    "ExactShapley",
    "Explainer",
    "Facts",
    "FeatureAblation",
    "Features",
    "Game",
    "GradCam",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCam",
    "HiResCam",
    "InputXGradient",
    "IntegratedGradients",
    "InteriorGradient",
    "KernelShap",
    "LayerMap",
    "Lime",
    "NeuronConductance",
    "NoiseTunnel",
    "Objective",
    "Occlusion",
    "Partition",
    "RawMap",
    "RegionRow",
    "Rise",
    "Saliency",
    "ShapleyValueSampling",
    "SmoothGrad",
    "SmoothGradSquared",
    "Traits",
    "VarGrad",
    "aggregate",
    "baselines_of",
    "generator_for",
    "parameters_of",
    "parse_baseline",
    "parse_features",
    "sidecar_path",
    "solve_kernel_shap",
    "standard_deviation",
]
