"""Methods that explain the target by the activations of a layer."""

from esegeta.explain.explainer import Explainer
from esegeta.explain.layer.concept import ConceptDerivative, layer_slopes
from esegeta.explain.layer.gain_cams import AblationCam, ScoreCam
from esegeta.explain.layer.gradient_cams import GradCam, GradCamPP
from esegeta.explain.layer.guided_grad_cam import GuidedGradCam
from esegeta.explain.layer.input_paths import InternalInfluence, LayerConductance
from esegeta.explain.layer.layer_activation import LayerActivation
from esegeta.explain.layer.layer_deep_lift import LayerDeepLift
from esegeta.explain.layer.layer_paths import LayerGradientShap, LayerIntegratedGradients
from esegeta.explain.layer.position_cams import HiResCam, LayerGradientXActivation, XResCam

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
    "ConceptDerivative",
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
    "layer_slopes",
]
