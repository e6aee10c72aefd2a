"""The layer methods as the contract tests run them; baselines are zero, the same everywhere."""

from __future__ import annotations

from esegeta.explain import (
    AblationCam,
    Explainer,
    GradCam,
    GradCamPP,
    GuidedGradCam,
    HiResCam,
    InternalInfluence,
    LayerActivation,
    LayerConductance,
    LayerDeepLift,
    LayerGradientShap,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    ScoreCam,
    XResCam,
)

ROWS: dict[str, Explainer] = {
    "grad_cam": GradCam(),
    "hires_cam": HiResCam(),
    "guided_grad_cam": GuidedGradCam(),
    "layer_activation": LayerActivation(),
    "layer_gradient_x_activation": LayerGradientXActivation(),
    "layer_integrated_gradients": LayerIntegratedGradients(steps=4, baseline="zero"),
    "layer_conductance": LayerConductance(steps=4, baseline="zero"),
    "internal_influence": InternalInfluence(steps=4, baseline="zero"),
    "layer_deep_lift": LayerDeepLift(baseline="zero"),
    "layer_gradient_shap": LayerGradientShap(samples=2, baselines=("zero",), noise=0.1),
    "grad_cam_pp": GradCamPP(),
    "xres_cam": XResCam(),
    "score_cam": ScoreCam(baseline="zero"),
    "ablation_cam": AblationCam(),
}

ACROSS_SLICES: set[str] = {
    "grad_cam",
    "guided_grad_cam",
    "grad_cam_pp",
    "score_cam",
    "ablation_cam",
}
"""Methods whose map of one slice depends on the others, even where the network's does not."""

LAYER_MAPS_OF_THEIR_OWN: set[str] = {"guided_grad_cam"}
"""Methods whose maps on the layer's grid are of another unit than the map on the voxels."""
