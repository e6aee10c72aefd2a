"""Methods that explain the target by the activations of a layer."""

from esegeta.explain.explainer import Explainer
from esegeta.explain.layer.ablation_cam import AblationCam
from esegeta.explain.layer.grad_cam import GradCam
from esegeta.explain.layer.grad_cam_pp import GradCamPP
from esegeta.explain.layer.guided_grad_cam import GuidedGradCam
from esegeta.explain.layer.hires_cam import HiResCam
from esegeta.explain.layer.internal_influence import InternalInfluence
from esegeta.explain.layer.layer_activation import LayerActivation
from esegeta.explain.layer.layer_conductance import LayerConductance
from esegeta.explain.layer.layer_deep_lift import LayerDeepLift
from esegeta.explain.layer.layer_gradient_shap import LayerGradientShap
from esegeta.explain.layer.layer_gradient_x_activation import LayerGradientXActivation
from esegeta.explain.layer.layer_integrated_gradients import LayerIntegratedGradients
from esegeta.explain.layer.score_cam import ScoreCam
from esegeta.explain.layer.xres_cam import XResCam

LAYER: dict[str, type[Explainer]] = {
    "grad_cam": GradCam,
    "hires_cam": HiResCam,
    "guided_grad_cam": GuidedGradCam,
    "layer_activation": LayerActivation,
    "layer_gradient_x_activation": LayerGradientXActivation,
    "layer_integrated_gradients": LayerIntegratedGradients,
    "layer_conductance": LayerConductance,
    "internal_influence": InternalInfluence,
    "layer_deep_lift": LayerDeepLift,
    "layer_gradient_shap": LayerGradientShap,
    "grad_cam_pp": GradCamPP,
    "xres_cam": XResCam,
    "score_cam": ScoreCam,
    "ablation_cam": AblationCam,
}
"""The family's methods by the names that configs use."""

__all__ = [
    "LAYER",
    "AblationCam",
    "GradCam",
    "GradCamPP",
    "GuidedGradCam",
    "HiResCam",
    "InternalInfluence",
    "LayerActivation",
    "LayerConductance",
    "LayerDeepLift",
    "LayerGradientShap",
    "LayerGradientXActivation",
    "LayerIntegratedGradients",
    "ScoreCam",
    "XResCam",
]
