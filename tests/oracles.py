"""What results are held against: MONAI, slow rewrites by whole graphs, and snapshots."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from monai.inferers import SliceInferer, sliding_window_inference
from torch import Tensor, nn

from esegeta.model import first_tensor
from esegeta.predict import Predictor, Windows
from esegeta.targets import Everywhere, FrozenTarget, Scene, VoxelTarget
from esegeta.volume import Volume


def monai_prediction(model: Predictor, x: Tensor) -> Tensor:
    """Return MONAI's sliding-window prediction with the same plan; differentiable by `x`."""
    plan = model.plan
    overlap = plan.overlap

    def network(crops: Tensor) -> Tensor:
        # A copy in and out: neither the network nor MONAI may write over what the other needs.
        logits = first_tensor(model.network(crops.clone()))
        assert logits is not None
        return logits.clone()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI indexes tensors with lists
        if x.ndim == len(plan.size) + 3:
            if isinstance(overlap, tuple):
                overlap = (*overlap[: plan.slice_axis], 0.0, *overlap[plan.slice_axis :])
            inferer = SliceInferer(
                roi_size=plan.size,
                spatial_dim=plan.slice_axis,
                sw_batch_size=2,
                overlap=overlap,
                mode=plan.blend,
            )
            return inferer(x, network)
        return sliding_window_inference(x, plan.size, 2, network, overlap, plan.blend)


def gradient_of(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the gradient of the summed values of a function, by autograd."""
    leaf = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return slope


def everywhere(label: str = "one", of: str = "logit", reduce: str = "sum") -> VoxelTarget:
    """Return a target over all voxels: no prediction decides where it is formed."""
    return VoxelTarget(label, of, Everywhere(), reduce)


def frozen(model: Predictor, volume: Volume, target: VoxelTarget | None = None) -> FrozenTarget:
    """Return a target frozen on a volume; by default the label's logits of all voxels."""
    return (target or everywhere()).freeze(Scene(model, volume))


def with_coefficients(target: FrozenTarget, coefficients: Tensor) -> FrozenTarget:
    """Return the linear target `<coefficients, y>`, coefficients `L *S`."""

    def value(logits: Tensor) -> Tensor:
        return (logits * coefficients).flatten(1).sum(dim=1, dtype=torch.float64)

    mask = (coefficients != 0).any(dim=0)
    return replace(target, function=value, coefficients=coefficients, mask=mask, support=mask)


def disguised(target: FrozenTarget) -> FrozenTarget:
    """Return the same target, looking as if it were not linear."""
    return replace(target, coefficients=None)


def linear_weights(model: Predictor, target: FrozenTarget) -> Tensor:
    """Return w of a linear `R(x) = <w, x>`, `C *S`: MONAI's value of each unit image."""
    data = target.scene.volume.data
    units = torch.eye(data.numel()).reshape(data.numel(), *data.shape)
    with torch.no_grad():
        return target.value(monai_prediction(model, units)).reshape(data.shape).float()


def blended(windows: Windows, x: Tensor, of_window: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what a function gives for the windows of `1 C *S`, blended by plain sums, `1 K *S`.

    Slow and independent: each window goes through the function by itself, and its result is put in
    its place with the weights written out.
    """
    padded, weights = windows.pad(x), windows.importance(x.device, x.dtype)
    numerator: Tensor | float = 0.0
    denominator = torch.zeros(windows.padded_shape)
    thin = windows.slice_axis
    for box in windows.boxes:
        crop = padded[(slice(None), slice(None), *box)]
        result = of_window(crop if thin is None else crop.squeeze(thin + 2))
        result = result if thin is None else result.unsqueeze(thin + 2)
        placed = torch.zeros(1, result.shape[1], *windows.padded_shape)
        placed[(slice(None), slice(None), *box)] = result * weights
        numerator = numerator + placed
        denominator[box] += weights
    return windows.crop(numerator / denominator)


def state_of(network: nn.Module) -> dict[str, Any]:
    """Return all that an explanation could leave changed in a network."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "training": [module.training for module in network.modules()],
        "hooks": [len(vars(module)[hook]) for module in network.modules() for hook in hooks],
        "requires_grad": [parameter.requires_grad for parameter in network.parameters()],
        "grad": [parameter.grad for parameter in network.parameters()],
        "dtype": [tensor.dtype for tensor in network.state_dict().values()],
        "bits": [tensor.clone().tolist() for tensor in network.state_dict().values()],
    }


def relative_gap(found: Tensor, expected: Tensor) -> float:
    """Return `|found - expected| / |expected|` in the 2-norm."""
    assert found.shape == expected.shape
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())
