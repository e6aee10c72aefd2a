"""Both sides of the rows about maps: our methods, captum's, and the bare network."""

from __future__ import annotations

import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import Occlusion as CaptumOcclusion
from captum.attr import Saliency as CaptumSaliency
from torch import Tensor

from benchmarks.feature_contenders import (
    run_captum_feature_ablation,
    run_captum_kernel_shap,
    run_kernel_shap,
)
from benchmarks.setting import SEED, Setting, forward_and_back, supervoxels
from benchmarks.smallest import smallest_method
from esegeta.explain import (
    Explainer,
    FeatureAblation,
    GradCam,
    GradCamPP,
    GuidedBackprop,
    HiResCam,
    InputXGradient,
    IntegratedGradients,
    LayerActivation,
    LayerGradientXActivation,
    Occlusion,
    Saliency,
    XResCam,
)
from esegeta.model import held_still
from esegeta.predict import active_windows, spot
from esegeta.targets import KeptPasses, Scene


def esegeta_saliency(setting: Setting) -> Tensor:
    return setting.explain(Saliency())


def esegeta_method(setting: Setting) -> Tensor:
    return setting.explain(smallest_method(setting.job.method))


def esegeta_three_targets(setting: Setting) -> Tensor:
    """Saliency of three targets that touch the same windows, the prediction included."""
    return setting.explain_several(3)


def esegeta_one_target(setting: Setting) -> Tensor:
    return setting.explain_several(1)


TEN: tuple[Explainer, ...] = (
    Saliency(),
    Saliency(absolute=True),
    InputXGradient(),
    GradCam(),
    GradCamPP(),
    HiResCam(),
    XResCam(),
    LayerGradientXActivation(),
    LayerActivation(),
    GuidedBackprop(),
)


def esegeta_ten_methods(setting: Setting) -> Tensor:
    """Ten methods on one target, as in a run: they share the passes that several need."""
    return ten_methods(setting, KeptPasses())


def esegeta_ten_methods_apart(setting: Setting) -> Tensor:
    return ten_methods(setting, None)


def ten_methods(setting: Setting, kept: KeptPasses | None) -> Tensor:
    scene = Scene(setting.predictor, setting.volume, kept=kept)
    target = setting.target.freeze(scene)
    setting.memory.note("freeze")
    maps = [method.explain(setting.predictor, setting.volume, target).data for method in TEN]
    return torch.stack([own / own.abs().max() for own in maps])


def esegeta_integrated_gradients(setting: Setting) -> Tensor:
    return setting.explain(IntegratedGradients(steps=setting.job.steps, baseline="zero"))


def esegeta_occlusion(setting: Setting) -> Tensor:
    box = setting.job.box
    return setting.explain(Occlusion(box=box, stride=box // 2, baseline="zero"))


def captum_saliency(setting: Setting) -> Tensor:
    method = CaptumSaliency(setting.captum_function)
    gradient: Tensor = method.attribute(setting.x.requires_grad_(True), abs=False)
    return gradient[0]


def captum_integrated_gradients(setting: Setting) -> Tensor:
    method = CaptumIntegratedGradients(setting.captum_function)
    result: Tensor = method.attribute(
        setting.x, baselines=0.0, n_steps=setting.job.steps, internal_batch_size=1
    )
    return result[0].float()


def captum_occlusion(setting: Setting) -> Tensor:
    box = setting.job.box
    result: Tensor = CaptumOcclusion(setting.captum_function).attribute(
        setting.x, (1, box, box, box), strides=(1, box // 2, box // 2, box // 2), baselines=0.0
    )
    return result[0].float()


def esegeta_feature_ablation(setting: Setting) -> Tensor:
    return setting.explain(FeatureAblation(supervoxels(setting), "zero"))


def esegeta_kernel_shap(setting: Setting) -> Tensor:
    frozen = setting.target.freeze(Scene(setting.predictor, setting.volume))
    partition = supervoxels(setting).of(setting.volume)
    return run_kernel_shap(frozen, partition, setting.job.coalitions, seed=SEED)


def captum_feature_ablation(setting: Setting) -> Tensor:
    partition = supervoxels(setting).of(setting.volume)
    return run_captum_feature_ablation(setting.predictor_function, setting.x, partition)


def captum_kernel_shap(setting: Setting) -> Tensor:
    partition = supervoxels(setting).of(setting.volume)
    return run_captum_kernel_shap(
        setting.predictor_function, setting.x, partition, setting.job.coalitions, seed=SEED
    )


def bare_network(setting: Setting) -> None:
    """Run the network forward and back to its input on the windows that the target touches."""
    windows = setting.plan.lay(setting.job.shape)
    mask = torch.zeros((1, 1, *setting.job.shape), device=setting.x.device)
    mask[(..., *setting.region)] = 1
    active = active_windows(windows, mask)
    with held_still(setting.network):
        for first in range(0, len(active), setting.job.batch_size):
            boxes = [windows.boxes[place] for place in active[first:][: setting.job.batch_size]]
            crops = torch.stack([setting.x[spot(0, box)] for box in boxes])
            forward_and_back(setting.network, crops)
