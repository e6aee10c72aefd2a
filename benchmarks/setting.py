"""The network, the input and the target that all contenders of a map share.

The network is a 3D MONAI UNet, channels (16, 32, 64, 128), strides (2, 2, 2), no residual units,
batch norm with made-up running statistics, ReLU, one input channel, two outputs, in eval mode and
with its parameters as MONAI leaves them (they require gradients).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from monai.inferers import sliding_window_inference
from monai.networks.nets import DynUNet, UNet
from torch import Tensor, nn

from benchmarks.job import MapJob
from benchmarks.measure import Memory
from esegeta.explain import Explainer, Features, Saliency
from esegeta.model import Labels
from esegeta.predict import Predictor, WindowPlan
from esegeta.targets import BoxRegion, Everywhere, Scene, VoxelTarget
from esegeta.targets.target import Reduce
from esegeta.volume import Volume, volume_from_tensor

SEED = 0
OVERLAP = 0.5
LABEL = 1


@dataclass(frozen=True, eq=False)
class Setting:
    """The network, the input and the target of a job, built and seeded."""

    job: MapJob
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


def supervoxels(setting: Setting) -> Features:
    """Return the features of both sides; each makes them within its own time.

    The image is noise: only compact supervoxels are about as many as asked for.
    """
    return Features("supervoxels", count=setting.job.features, compactness=1.0)


def build_network(num_outputs: int = 2) -> nn.Module:
    network: nn.Module = UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=num_outputs,
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


def build_nnunet() -> nn.Module:
    """Return a network of nnU-Net's kind: instance norms, leaky ReLUs, five stages."""
    network: nn.Module = DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=2,
        kernel_size=[3] * 5,
        strides=[1, 2, 2, 2, 2],
        upsample_kernel_size=[2] * 4,
        filters=[8, 16, 32, 64, 80],
        norm_name=("INSTANCE", {"affine": True}),
        act_name=("leakyrelu", {"negative_slope": 0.01, "inplace": True}),
    )
    return network.eval()


NETWORKS = {"unet": build_network, "nnunet": build_nnunet}


def build_setting(job: MapJob, memory: Memory) -> Setting:
    torch.set_num_threads(job.threads)
    # Same arithmetic for all contenders; TF32 would blur the comparison of maps.
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(SEED)
    network = NETWORKS[job.network]().to(memory.device)
    return Setting(job, network, torch.randn(1, 1, *job.shape).to(memory.device), memory)


def forward_and_back(network: nn.Module, crops: Tensor) -> None:
    output = network(crops.requires_grad_(True))
    torch.autograd.grad(output, crops, torch.ones_like(output))
