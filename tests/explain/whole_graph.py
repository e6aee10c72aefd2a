"""The whole windowed prediction as one graph, with a layer read or replaced in every window.

Slow and independent of the code under test: every window runs by itself, the blend is written out
in plain sums, and autograd differentiates the target by all activations at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.model import find_layer
from esegeta.predict import Predictor, Windows
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import predictor, volume
from tests.networks import Smooth
from tests.oracles import blended, everywhere, frozen, with_coefficients


class WholeGraph:
    """A target as a function of the input and of a layer's activations in all windows."""

    def __init__(self, model: Predictor, target: FrozenTarget, layer: nn.Module) -> None:
        self.model, self.target, self.layer = model, target, layer
        self.windows = model.windows(target.scene.volume.batch)

    def __call__(
        self, x: Tensor, replaced: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the target of `C *S` and each window's activations, as they were or replaced."""
        seen: list[Tensor] = []

        def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
            seen.append(output if replaced is None else replaced[len(seen)])
            return None if replaced is None else seen[-1].clone()

        handle = self.layer.register_forward_hook(hook)
        logits = blended(self.windows, x[None], self.model.network)
        handle.remove()
        return self.target.value(logits).sum(), seen

    def slopes(
        self, x: Tensor, replaced: Sequence[Tensor] | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return each window's activations and the gradients of the target by them."""
        if replaced is not None:
            replaced = [one.detach().clone().requires_grad_(True) for one in replaced]
        value, seen = self(x, replaced)
        slopes = torch.autograd.grad(value, seen, allow_unused=True)
        pairs = zip(seen, slopes, strict=True)
        found = [torch.zeros_like(a) if slope is None else slope for a, slope in pairs]
        return [activation.detach() for activation in seen], found


def tapped_windows(
    model: Predictor, target: FrozenTarget, layer: nn.Module
) -> tuple[list[Tensor], list[Tensor]]:
    """Return each window's activations of a layer and their gradients, by one graph of it all."""
    return WholeGraph(model, target, layer).slopes(target.scene.volume.data)


def to_voxels(patch: Tensor, windows: Windows) -> Tensor:
    """Resample one window's `*layer` to its voxels; heights are kept."""
    thin = windows.slice_axis
    size = [length for axis, length in enumerate(windows.size) if axis != thin]
    mode = "bilinear" if len(size) == 2 else "trilinear"
    voxels = F.interpolate(patch[None, None], size=size, mode=mode)[0, 0]
    return voxels if thin is None else voxels.unsqueeze(thin)


def handed_out(patch: Tensor, windows: Windows) -> Tensor:
    """Hand each position of `*layer` out to voxels by its part in their interpolation."""
    total = torch.zeros(windows.size)
    for place in range(patch.numel()):
        one = torch.zeros(patch.numel())
        one[place] = 1
        shape = to_voxels(one.reshape(patch.shape), windows)
        total += shape / shape.sum() * patch.flatten()[place]
    return total


def summed_on_voxels(windows: Windows, patches: Sequence[Tensor]) -> Tensor:
    """Add the windows' maps `*layer` up on voxels, sums kept, `1 *S`; for volumes not padded."""
    total = torch.zeros(windows.shape)
    for box, patch in zip(windows.boxes, patches, strict=True):
        total[box] += handed_out(patch, windows)
    return total[None]


def on_layer_grid(windows: Windows, patches: Sequence[Tensor], *, blend: bool) -> Tensor:
    """Put the windows' patches `K *layer` where windows start at multiples of the stride."""
    layer = patches[0].shape[1:]
    strides = [w // p for w, p in zip(windows.size, layer, strict=True)]
    shape = [n // s for n, s in zip(windows.shape, strides, strict=True)]
    total, count = torch.zeros(len(patches[0]), *shape), torch.zeros(shape)
    full = windows.importance(torch.device("cpu"), torch.float32)[None, None]
    pool = F.avg_pool2d if len(shape) == 2 else F.avg_pool3d
    weights = pool(full, strides)[0, 0] if blend else torch.ones(layer)
    for box, patch in zip(windows.boxes, patches, strict=True):
        assert all(side.start % s == 0 for side, s in zip(box, strides, strict=True))
        corner = [side.start // s for side, s in zip(box, strides, strict=True)]
        place = tuple(slice(c, c + p) for c, p in zip(corner, layer, strict=True))
        total[(slice(None), *place)] += patch * weights
        count[place] += weights
    return total / count if blend else total


@dataclass(frozen=True)
class Setting:
    """A layer whose windows start at multiples of its stride, and one graph of all windows."""

    model: Predictor
    image: Volume
    target: FrozenTarget
    graph: WholeGraph

    def blended(self) -> Tensor:
        """Return the activations on the layer's grid, `K *G`."""
        activations, _ = self.graph.slopes(self.image.data)
        return on_layer_grid(self.graph.windows, [one[0] for one in activations], blend=True)

    def summed(self) -> Tensor:
        """Return the slopes on the layer's grid, `K *G`."""
        _, slopes = self.graph.slopes(self.image.data)
        return on_layer_grid(self.graph.windows, [one[0] for one in slopes], blend=False)

    def on_voxels(self, data: Tensor) -> Tensor:
        """Resample `*G`, whose stride divides the volume, `1 *S`."""
        mode = "bilinear" if data.ndim == 2 else "trilinear"
        return F.interpolate(data[None, None], size=self.image.grid.shape, mode=mode)[0]


def layer_setting(ndim: int, layer: str, of: str) -> Setting:
    """Return a smooth network over overlapping windows, behind a ReLU at the layer."""
    network = Smooth(ndim)
    setattr(network, layer, nn.Sequential(getattr(network, layer), nn.ReLU()))
    shape = (16, 12, 8)[:ndim]
    model, image = predictor(network, (8,) * ndim), volume(shape)
    target = frozen(model, image, everywhere(of=of))
    if of == "logit":
        generator = torch.Generator().manual_seed(4)
        target = with_coefficients(target, torch.randn((2, *shape), generator=generator))
    return Setting(model, image, target, WholeGraph(model, target, find_layer(network, layer)))
