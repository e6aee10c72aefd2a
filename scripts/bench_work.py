"""What `bench.py` measures: each contender, alone in its process, prints one line of JSON.

The network is a 3D MONAI UNet, channels (16, 32, 64, 128), strides (2, 2, 2), no residual units,
batch norm with made-up running statistics, ReLU, one input channel, two outputs, in eval mode and
with its parameters as MONAI leaves them (they require gradients).
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from bench_features import (
    run_captum_feature_ablation,
    run_captum_kernel_shap,
    run_kernel_shap,
)
from bench_memory import Memory
from bench_methods import smallest
from bench_scores import run_curve, run_explanation, run_plain_curve, run_score, run_sensitivity
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import Occlusion as CaptumOcclusion
from captum.attr import Saliency as CaptumSaliency
from monai.inferers import sliding_window_inference
from monai.networks.nets import UNet
from torch import Tensor, nn

from esegeta.explain import (
    Explainer,
    FeatureAblation,
    Features,
    IntegratedGradients,
    Occlusion,
    Saliency,
)
from esegeta.model import Labels, held_still
from esegeta.predict import Predictor, WindowPlan, active_windows, spot
from esegeta.targets import BoxRegion, Everywhere, Scene, VoxelTarget
from esegeta.targets.target import Reduce
from esegeta.volume import Volume, volume_from_tensor

SEED = 0
OVERLAP = 0.5
LABEL = 1


@dataclass(frozen=True)
class Job:
    """One contender at one setting.

    Args:
        contender: a key of CONTENDERS.
        shape: of the volume, in voxels.
        window: side of a window.
        region: side of the cube whose logits are explained; 0: all voxels.
        batch_size: windows that go through the network at a time.
        device: that holds the network and the volume.
        threads: of torch, on the CPU.
        steps: of integrated gradients.
        box: side of the occluded boxes; the stride is half of it.
        start: first voxel of the region along each axis; None: in the volume's middle.
        features: supervoxels, roughly.
        coalitions: of KernelSHAP, those of none and all included.
        method: of the contender `esegeta_method`.
        score: of the contender `esegeta_score`.
    """

    contender: str
    shape: tuple[int, int, int]
    window: int
    region: int
    batch_size: int = 1
    device: str = "cpu"
    threads: int = 2
    steps: int = 8
    box: int = 8
    start: int | None = None
    features: int = 200
    coalitions: int = 600
    method: str = "saliency"
    score: str = "infidelity"


@dataclass(frozen=True, eq=False)
class Setting:
    """The network, the input and the target of a job, built and seeded."""

    job: Job
    network: nn.Module
    x: Tensor
    memory: Memory

    @property
    def plan(self) -> WindowPlan:
        return WindowPlan((self.job.window,) * 3, overlap=OVERLAP, blend="gaussian")

    @cached_property
    def predictor(self) -> Predictor:
        labels = Labels({LABEL: "lesion"}, "softmax", 2)
        return Predictor(self.network, self.plan, labels, batch_size=self.job.batch_size)

    @cached_property
    def volume(self) -> Volume:
        return volume_from_tensor(self.x[0])

    @property
    def corners(self) -> list[tuple[int, int]]:
        side = self.job.region
        if not side:
            return [(0, n) for n in self.job.shape]
        starts = [
            (n - side) // 2 if self.job.start is None else self.job.start for n in self.job.shape
        ]
        return [(start, start + side) for start in starts]

    @property
    def region(self) -> tuple[Any, ...]:
        return tuple(slice(start, stop) for start, stop in self.corners)

    @property
    def target(self) -> VoxelTarget:
        start, stop = zip(*self.corners, strict=True)
        return VoxelTarget(LABEL, over=BoxRegion(start, stop) if self.job.region else Everywhere())

    def captum_function(self, x: Tensor) -> Tensor:
        """Return the same target over MONAI's inference, `B` from `B C *S`."""
        logits: Tensor = sliding_window_inference(
            x, (self.job.window,) * 3, self.job.batch_size, self.network, OVERLAP, mode="gaussian"
        )
        part: Tensor = logits[(slice(None), LABEL, *self.region)]
        return part.flatten(1).sum(dim=1, dtype=torch.float64)

    def predictor_function(self, x: Tensor) -> Tensor:
        """Return the same target over our own differentiable predictor, `B` from `B C *S`."""
        part = self.predictor(x)[(slice(None), LABEL, *self.region)]
        return part.flatten(1).sum(dim=1, dtype=torch.float64)

    def explain(self, explainer: Explainer) -> Tensor:
        """Return our map; the target is frozen inside of what is measured."""
        frozen = self.target.freeze(Scene(self.predictor, self.volume))
        self.memory.note("freeze")  # explain() resets the process's high-water mark
        return explainer.explain(self.predictor, self.volume, frozen).data

    def explain_several(self, count: int) -> Tensor:
        """Return the first map of some targets over the region, explained together."""
        scene = Scene(self.predictor, self.volume)
        scene.logits  # noqa: B018  (a run predicts every case, whatever its targets are)
        parts: list[tuple[float, Reduce]] = [(1.0, "sum"), (-0.5, "mean"), (2.0, "sum")]
        targets = [
            (weight * replace(self.target, reduce=reduce)).freeze(scene)
            for weight, reduce in parts[:count]
        ]
        self.memory.note("freeze")
        return Saliency().explain_together(self.predictor, self.volume, targets)[0].data


def esegeta_saliency(setting: Setting) -> Tensor:
    return setting.explain(Saliency())


def esegeta_method(setting: Setting) -> Tensor:
    return setting.explain(smallest(setting.job.method))


def esegeta_three_targets(setting: Setting) -> Tensor:
    """Saliency of three targets that touch the same windows, the prediction included."""
    return setting.explain_several(3)


def esegeta_one_target(setting: Setting) -> Tensor:
    return setting.explain_several(1)


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


def supervoxels(setting: Setting) -> Features:
    """Return the features of both sides; each makes them within its own time.

    The image is noise: only compact supervoxels are about as many as asked for.
    """
    return Features("supervoxels", count=setting.job.features, compactness=1.0)


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


def esegeta_curve(setting: Setting) -> Tensor:
    return run_curve(setting, supervoxels(setting))


def plain_curve(setting: Setting) -> Tensor:
    return run_plain_curve(setting, supervoxels(setting), setting.predictor_function)


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


def forward_and_back(network: nn.Module, crops: Tensor) -> None:
    output = network(crops.requires_grad_(True))
    torch.autograd.grad(output, crops, torch.ones_like(output))


CONTENDERS: dict[str, Callable[[Setting], Tensor | None]] = {
    "esegeta_saliency": esegeta_saliency,
    "esegeta_method": esegeta_method,
    "esegeta_one_target": esegeta_one_target,
    "esegeta_three_targets": esegeta_three_targets,
    "esegeta_integrated_gradients": esegeta_integrated_gradients,
    "esegeta_occlusion": esegeta_occlusion,
    "esegeta_feature_ablation": esegeta_feature_ablation,
    "esegeta_kernel_shap": esegeta_kernel_shap,
    "captum_feature_ablation": captum_feature_ablation,
    "captum_kernel_shap": captum_kernel_shap,
    "captum_saliency": captum_saliency,
    "captum_integrated_gradients": captum_integrated_gradients,
    "captum_occlusion": captum_occlusion,
    "bare_network": bare_network,
    "esegeta_curve": esegeta_curve,
    "plain_curve": plain_curve,
    "esegeta_sensitivity": run_sensitivity,
    "esegeta_explanation": run_explanation,
    "esegeta_score": run_score,
}


def build_network() -> nn.Module:
    network: nn.Module = UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=2,
        channels=(16, 32, 64, 128),
        strides=(2, 2, 2),
        norm="BATCH",
        act="RELU",
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def build_setting(job: Job, memory: Memory) -> Setting:
    torch.set_num_threads(job.threads)
    # Same arithmetic for all contenders; TF32 would blur the comparison of maps.
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(SEED)
    network = build_network().to(memory.device)
    return Setting(job, network, torch.randn(1, 1, *job.shape).to(memory.device), memory)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def work(job: Job, out: Path) -> None:
    """Run one contender and print what it took; its map goes to a file.

    `base_mb` is held before the work starts: the libraries, the network and the input. One batch
    of windows goes through the network before the clock starts, for every contender.
    """
    warnings.simplefilter("ignore")
    memory = Memory(torch.device(job.device))
    setting = build_setting(job, memory)
    base_mb = memory.now()
    crop = torch.randn(job.batch_size, 1, *(job.window,) * 3, device=memory.device)
    forward_and_back(setting.network, crop)
    del crop
    synchronize(memory.device)
    memory.reset()
    start, cpu_start = time.perf_counter(), time.process_time()
    result = CONTENDERS[job.contender](setting)
    synchronize(memory.device)
    took = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
        "base_mb": base_mb,
    }
    memory.note("work")
    if result is not None:
        torch.save(result.detach().cpu(), out)
    peaks = memory.peaks
    print(json.dumps({**took, "peak_mb": max(peaks.values()), "peaks": peaks}))
