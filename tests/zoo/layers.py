"""Layer methods written out for one window that is the image: hooks, autograd, the formulas."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from esegeta.explain import Explainer
from esegeta.model import find_layer, held_still, without_checkpointing
from tests.contracts.rows import Case
from tests.explain.test_layer_paths import gauss


class Seen:
    """A target of one window as a function of the image and of a layer's activations."""

    def __init__(self, case: Case, layer: str) -> None:
        self.case = case
        self.layer = find_layer(case.network, layer)

    def value(self, x: Tensor, replaced: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the target at `C *S`, and the layer's activations, as they were or replaced."""
        seen: list[Tensor] = []

        def hook(module: Any, inputs: Any, output: Any) -> Any:
            seen.append(output if replaced is None else replaced)
            return seen[0].clone()

        handle = self.layer.register_forward_hook(hook)
        try:
            with held_still(self.case.network), without_checkpointing():
                output = self.case.network(x[None])
        finally:
            handle.remove()
        logits = output
        while not isinstance(logits, Tensor):
            logits = next(iter(logits.values() if isinstance(logits, dict) else logits))
        return self.case.target.value(logits).sum(), seen[0]

    def slopes(self, x: Tensor, replaced: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the activations and the target's gradient by them, `K *layer`."""
        if replaced is not None:
            leaf = replaced[None].detach().clone().requires_grad_(True)
            value, seen = self.value(x, leaf)
        else:
            value, seen = self.value(x.clone().requires_grad_(True))
        (slope,) = torch.autograd.grad(value, seen)
        return seen.detach()[0], slope[0]

    def plain(self, x: Tensor, replaced: Tensor | None = None) -> float:
        """Return the target without a graph."""
        with torch.no_grad():
            return float(self.value(x, None if replaced is None else replaced[None])[0])


def gradient_x_activation(seen: Seen, method: Any, x: Tensor) -> Tensor:
    activation, slope = seen.slopes(x)
    return (activation * slope).sum(dim=0)


def activation_mean(seen: Seen, method: Any, x: Tensor) -> Tensor:
    return seen.slopes(x)[0].mean(dim=0)


def grad_cam(seen: Seen, method: Any, x: Tensor) -> Tensor:
    activation, slope = seen.slopes(x)
    weights = slope.flatten(1).mean(dim=1)
    return torch.einsum("k,k...->...", weights, activation).relu()


def grad_cam_pp(seen: Seen, method: Any, x: Tensor) -> Tensor:
    activation, slope = seen.slopes(x)
    rise = slope.relu()
    sums = activation.relu().flatten(1).sum(dim=1).reshape(-1, *[1] * (rise.ndim - 1))
    weights = (rise / (2 + rise * sums)).flatten(1).sum(dim=1)
    return torch.einsum("k,k...->...", weights, activation).relu()


def xres_cam(seen: Seen, method: Any, x: Tensor) -> Tensor:
    activation, slope = seen.slopes(x)
    pool = F.max_pool2d if slope.ndim == 3 else F.max_pool3d
    pooled = pool(slope[None], 2, ceil_mode=True)
    size = tuple(slope.shape[1:])
    wide = F.interpolate(pooled, scale_factor=2, mode="nearest")[0]
    expanded = wide[(slice(None), *(slice(0, length) for length in size))]
    return (activation * expanded).sum(dim=0).relu()


def influence(seen: Seen, method: Any, x: Tensor) -> Tensor:
    parts = [weight * seen.slopes(node * x)[1] for node, weight in gauss(method.steps)]
    return torch.stack(parts).sum(dim=(0, 1))


def conductance(seen: Seen, method: Any, x: Tensor) -> Tensor:
    nodes = [seen.slopes(step / method.steps * x) for step in range(method.steps + 1)]
    pairs = itertools.pairwise(nodes)
    parts = [(after - before) * (slope + steep) / 2 for (before, slope), (after, steep) in pairs]
    return torch.stack(parts).sum(dim=(0, 1))


def integrated(seen: Seen, method: Any, x: Tensor) -> Tensor:
    here, there = seen.slopes(x)[0], seen.slopes(torch.zeros_like(x))[0]
    parts = [
        weight * seen.slopes(x, there + node * (here - there))[1] * (here - there)
        for node, weight in gauss(method.steps)
    ]
    return torch.stack(parts).sum(dim=(0, 1))


def gradient_shap(seen: Seen, method: Any, x: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(method.seed)
    total = torch.zeros(())
    for _ in range(method.samples):
        _, alpha = torch.rand(2, generator=generator).tolist()
        bump = torch.randn(x.shape, generator=generator)
        noisy = x + method.noise * float(x.double().std(correction=0)) * bump
        before, after = seen.slopes(torch.zeros_like(x))[0], seen.slopes(noisy)[0]
        total = total + (after - before) * seen.slopes(alpha * noisy)[1] / method.samples
    return total.sum(dim=0)


def ablation_cam(seen: Seen, method: Any, x: Tensor) -> Tensor:
    activation, _ = seen.slopes(x)
    value, total = seen.plain(x), torch.zeros(())
    for unit in range(len(activation)):
        without = activation.clone()
        without[unit] = 0
        total = total + (value - seen.plain(x, without)) / abs(value) * activation[unit]
    return total.relu()


def score_cam(seen: Seen, method: Any, x: Tensor) -> Tensor:
    activation, _ = seen.slopes(x)
    spreads = activation.flatten(1).double().std(dim=1, correction=0)
    lowest, total = seen.plain(torch.zeros_like(x)), torch.zeros_like(activation[0])
    mode = "bilinear" if x.ndim == 3 else "trilinear"
    for unit in spreads.topk(min(method.max_channels, len(spreads))).indices.tolist():
        own = activation[unit]
        low, high = own.aminmax()
        if high - low <= 1e-5 * max(abs(float(low)), abs(float(high))):
            continue
        mask = ((own - low) / (high - low))[None, None]
        mask = F.interpolate(mask, size=x.shape[1:], mode=mode, align_corners=False)[0]
        total = total + (seen.plain(mask * x) - lowest) * own
    return total


WRITTEN_OUT: dict[str, Callable[[Seen, Any, Tensor], Tensor]] = {
    "grad_cam": grad_cam,
    "hires_cam": gradient_x_activation,
    "layer_activation": activation_mean,
    "layer_gradient_x_activation": gradient_x_activation,
    "layer_integrated_gradients": integrated,
    "layer_conductance": conductance,
    "internal_influence": influence,
    "layer_gradient_shap": gradient_shap,
    "grad_cam_pp": grad_cam_pp,
    "xres_cam": xres_cam,
    "score_cam": score_cam,
    "ablation_cam": ablation_cam,
}
"""Methods that have a rewrite here; each gives the map on the layer's grid, `*layer`."""


def neuron_conductance(seen: Seen, method: Any, x: Tensor) -> Tensor:
    """Return `x` times the mean gradient of one unit's activation by the slope of the target."""
    total = torch.zeros_like(x)
    for node, weight in gauss(method.steps):
        leaf = (node * x).requires_grad_(True)
        value, activation = seen.value(leaf)
        (slope,) = torch.autograd.grad(value, activation, retain_graph=True)
        unit = (slice(None), slice(method.channel, method.channel + 1))
        (part,) = torch.autograd.grad(activation[unit], leaf, slope[unit])
        total += weight * part
    return x * total


def written_out(case: Case, name: str, method: Explainer, layer: str) -> Tensor:
    """Return what a layer method's map is on the layer's grid, by its formula."""
    return WRITTEN_OUT[name](Seen(case, layer), method, case.volume.data)
