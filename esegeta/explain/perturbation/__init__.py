"""Methods that replace parts of the image and see how the target moves."""

from esegeta.explain.explainer import Explainer
from esegeta.explain.perturbation.edited import Edits
from esegeta.explain.perturbation.edits import EditedTarget
from esegeta.explain.perturbation.features import Features, Partition, parse_features
from esegeta.explain.perturbation.kernel_shap import KernelShap, solve_kernel_shap
from esegeta.explain.perturbation.lime import Lime
from esegeta.explain.perturbation.masked_target import Coalitions, MaskedTarget
from esegeta.explain.perturbation.meaningful import MeaningfulPerturbation
from esegeta.explain.perturbation.misure import MiSuRe
from esegeta.explain.perturbation.occlusion import FeatureAblation, Occlusion
from esegeta.explain.perturbation.rise import Rise
from esegeta.explain.perturbation.shapley import ExactShapley, ShapleyValueSampling

PERTURBATION: dict[str, type[Explainer]] = {
    "occlusion": Occlusion,
    "feature_ablation": FeatureAblation,
    "exact_shapley": ExactShapley,
    "shapley_value_sampling": ShapleyValueSampling,
    "kernel_shap": KernelShap,
    "lime": Lime,
    "rise": Rise,
    "meaningful_perturbation": MeaningfulPerturbation,
    "misure": MiSuRe,
}
"""The family's methods by the names that configs use."""

__all__ = [
    "PERTURBATION",
    "Coalitions",
    "EditedTarget",
    "Edits",
    "ExactShapley",
    "FeatureAblation",
    "Features",
    "KernelShap",
    "Lime",
    "MaskedTarget",
    "MeaningfulPerturbation",
    "MiSuRe",
    "Occlusion",
    "Partition",
    "Rise",
    "ShapleyValueSampling",
    "parse_features",
    "solve_kernel_shap",
]
