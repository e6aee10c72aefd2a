"""Attribution methods: one a file, and the table of them all."""

from esegeta.explain.attribution import Attribution, Facts, sidecar_path
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.cam import GradCam, HiResCam
from esegeta.explain.explainer import (
    Explainer,
    RawMap,
    Traits,
    generator_for,
    parameters_of,
    standard_deviation,
)
from esegeta.explain.integrated_gradients import IntegratedGradients
from esegeta.explain.noise import NoiseTunnel, SmoothGrad, SmoothGradSquared, VarGrad
from esegeta.explain.objective import Objective
from esegeta.explain.occlusion import Occlusion
from esegeta.explain.saliency import InputXGradient, Saliency

EXPLAINERS: dict[str, type[Explainer]] = {
    "saliency": Saliency,
    "input_x_gradient": InputXGradient,
    "integrated_gradients": IntegratedGradients,
    "smoothgrad": SmoothGrad,
    "smoothgrad_sq": SmoothGradSquared,
    "vargrad": VarGrad,
    "grad_cam": GradCam,
    "hires_cam": HiResCam,
    "occlusion": Occlusion,
}
"""Every method by the name that configs use."""

__all__ = [
    "EXPLAINERS",
    "Attribution",
    "Baseline",
    "Explainer",
    "Facts",
    "GradCam",
    "HiResCam",
    "InputXGradient",
    "IntegratedGradients",
    "NoiseTunnel",
    "Objective",
    "Occlusion",
    "RawMap",
    "Saliency",
    "SmoothGrad",
    "SmoothGradSquared",
    "Traits",
    "VarGrad",
    "generator_for",
    "parameters_of",
    "parse_baseline",
    "sidecar_path",
    "standard_deviation",
]
