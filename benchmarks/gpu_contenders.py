"""What is measured on a GPU: a network of nnU-Net's kind, its maps, and its bare passes."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from monai.networks.nets import DynUNet
from torch import Tensor, nn

from benchmarks.measure import synchronize
from benchmarks.setting import forward_and_back
from esegeta.explain import Saliency
from esegeta.model import Labels, held_still
from esegeta.predict import Precision, Predictor, WindowPlan
from esegeta.targets import Everywhere, FrozenTarget, Scene, VoxelTarget
from esegeta.volume import Volume, volume_from_tensor

NUM_OUTPUTS = 3
REPEATS = 3
BATCHES = (1, 2, 4, 8)
"""Windows at a time that are tried, up to the first that does not fit or is no faster."""


@dataclass(frozen=True)
class GpuSetting:
    """Sizes of what is measured.

    Args:
        filters: channels of the network's stages.
        side: of the volume.
        window: side of a window.
    """

    filters: tuple[int, ...] = (32, 64, 128, 256, 320)
    side: int = 192
    window: int = 128

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.side,) * 3


def build_network(filters: tuple[int, ...]) -> nn.Module:
    """Return a network of nnU-Net's kind: instance norms and leaky ReLUs, strides of two."""
    torch.manual_seed(0)
    stages = len(filters)
    network: nn.Module = DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=NUM_OUTPUTS,
        kernel_size=[3] * stages,
        strides=[1] + [2] * (stages - 1),
        upsample_kernel_size=[2] * (stages - 1),
        filters=list(filters),
        norm_name=("INSTANCE", {"affine": True}),
        act_name=("leakyrelu", {"negative_slope": 0.01, "inplace": True}),
    )
    return network.eval()


@dataclass(frozen=True, eq=False)
class Side:
    """The network, an image and a target that looks everywhere, on one device.

    Args:
        predictor: the network over windows.
        volume: noise.
    """

    predictor: Predictor
    volume: Volume

    @classmethod
    def build(cls, setting: GpuSetting, device: torch.device) -> Side:
        """Return the same numbers on any device."""
        network = build_network(setting.filters).to(device)
        plan = WindowPlan((setting.window,) * 3, overlap=0.5, blend="gaussian")
        labels = Labels({1: "one", 2: "two"}, "softmax", NUM_OUTPUTS)
        torch.manual_seed(1)
        volume = volume_from_tensor(torch.randn(1, *setting.shape)).to(device)
        return cls(Predictor(network, plan, labels), volume)

    def on(self, device: torch.device) -> Side:
        """Return a copy of it on another device."""
        network = copy.deepcopy(self.predictor.network).to(device)
        return Side(replace(self.predictor, network=network), self.volume.to(device))

    def at(self, precision: Precision) -> Side:
        """Return it in another precision."""
        return replace(self, predictor=replace(self.predictor, precision=precision))

    def of(self, batch_size: int) -> Side:
        """Return it with so many windows at a time."""
        return replace(self, predictor=replace(self.predictor, batch_size=batch_size))

    def target(self) -> FrozenTarget:
        """Return the sum of one label's logits over all voxels."""
        return VoxelTarget(1, over=Everywhere()).freeze(Scene(self.predictor, self.volume))

    def logits(self) -> Tensor:
        """Return the prediction, on the CPU."""
        return self.predictor.logits(self.volume.batch).cpu()

    def saliency(self) -> Tensor:
        """Return the map, on the CPU."""
        return self.saliency_of(self.target()).cpu()

    def saliency_of(self, target: FrozenTarget) -> Tensor:
        """Return the map, where it was made."""
        return Saliency().explain(self.predictor, self.volume, target).data

    def bare(self) -> None:
        """Run the network forward and back to its input on all windows, and nothing else."""
        predictor, x = self.predictor, self.volume.batch
        windows = predictor.windows(x)
        with held_still(predictor.network):
            for first in range(0, len(windows), predictor.batch_size):
                chosen = list(range(len(windows)))[first : first + predictor.batch_size]
                forward_and_back(predictor.network, windows.cut(x, chosen))


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Return the least seconds of some runs, after one that does not count."""
    work()
    found = []
    for _ in range(REPEATS):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        found.append(time.perf_counter() - start)
    return min(found)


def fastest_batch(side: Side, device: torch.device) -> Side:
    """Return a side with the number of windows at a time that the bare network likes best."""
    best, least = side, float("inf")
    for tried in _fitting(side):
        seconds = seconds_of(tried.bare, device)
        if seconds > 0.98 * least:
            break
        best, least = tried, seconds
    return best


def _fitting(side: Side) -> Iterator[Side]:
    for size in BATCHES:
        tried = side.of(size)
        try:
            tried.bare()
        except torch.OutOfMemoryError:
            return
        yield tried
