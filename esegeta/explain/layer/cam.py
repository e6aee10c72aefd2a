"""Grad-CAM and HiResCAM of the whole sliding-window prediction.

Each window has its own activations A_t of the layer, so that R is a function of all of them. The
channel weights of Grad-CAM are formed over the whole volume, never window by window, and the
activations are blended as the logits are.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.errors import LayerError
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.objective import Objective
from esegeta.model import deepest_layer, find_layer, held_still, list_layers, tap
from esegeta.predict import Pieces, Windows

Slopes = Generator[tuple[Pieces, Tensor, Tensor], None, None]
"""Windows with a layer's activations and the target's gradient by them."""


@dataclass(frozen=True)
class GradCam(Explainer):
    """Activations of a layer, weighted by their channel's mean gradient over the whole volume.

        alpha_k = 1/Z sum_t sum_i dR/dA_t[k, i],   a = ReLU(sum_k alpha_k * A_k)

    A_k are the windows' activations, resampled to voxels and blended as the logits are; Z is the
    number of the layer's positions in the volume. Not negative; unit: target per layer position.

    Args:
        layer: name of the layer; the deepest (a U-Net's bottleneck) by default.

    Source: Selvaraju et al., Grad-CAM, 2017, equations 1 and 2.
    """

    layer: str | None = None

    name: ClassVar[str] = "grad_cam"
    traits: ClassVar[Traits] = Traits(
        "layer", needs_hooks=True, needs_layer=True, by_channel=False, unit="{target} / position"
    )
    zero_hint: ClassVar[str] = (
        "nothing in this layer raises the target on the whole; choose another `layer`"
    )

    @property
    def cost(self) -> str:
        """Active windows forward and back, then all windows forward."""
        return "2 F + 1 B"

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map, the same for all input channels."""
        name = self.layer or deepest_name(objective)
        layer = find_layer(objective.predictor.network, name)
        weights = self._channel_weights(objective, layer)
        if weights is None:
            return RawMap(torch.zeros_like(objective.volume.data[:1]), more={"layer": name})
        blended = _blend_over_windows(objective, layer, weights)
        return RawMap(blended.relu()[None], more={"layer": name})

    def _channel_weights(self, objective: Objective, layer: nn.Module) -> Tensor | None:
        total: Tensor | None = None
        positions = 0.0
        with closing(layer_slopes(objective, layer)) as batches:
            for _, activation, slope in batches:
                summed = slope.transpose(0, 1).flatten(1).sum(dim=1, dtype=torch.float64)
                total = summed if total is None else total + summed
                positions = activation[0, 0].numel() / objective.windows.num_window_voxels
        if total is None:  # a saturated target touches no window
            return None
        return total / (positions * objective.volume.data[0].numel())


@dataclass(frozen=True)
class HiResCam(Explainer):
    """Activations of a layer times their own gradients, position by position.

        a = sum_t upsample(sum_k dR/dA_t[k] * A_t[k])

    Exact for what the layer passes on linearly. Positive: the position raises the target. Unit:
    target per layer position, at the height (not the sum) of the layer's grid.

    Args:
        layer: name of the layer; the deepest (a U-Net's bottleneck) by default.

    Source: Draelos and Carin, Use HiResCAM instead of Grad-CAM, 2020, equation 5; the sign is
    kept here.
    """

    layer: str | None = None

    name: ClassVar[str] = "hires_cam"
    traits: ClassVar[Traits] = Traits(
        "layer",
        additive=True,
        needs_hooks=True,
        needs_layer=True,
        by_channel=False,
        unit="{target} / position",
    )
    zero_hint: ClassVar[str] = "the target does not depend on this layer; choose another `layer`"

    @property
    def cost(self) -> str:
        """Active windows forward and back."""
        return "1 F + 1 B"

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map, the same for all input channels."""
        name = self.layer or deepest_name(objective)
        layer = find_layer(objective.predictor.network, name)
        windows = objective.windows
        x = objective.x
        total = x.new_zeros(windows.padded_shape)
        with closing(layer_slopes(objective, layer)) as batches:
            for pieces, activation, slope in batches:
                patches = upsample((activation * slope).sum(dim=1, keepdim=True), windows)[:, 0]
                for box, patch in zip(pieces.boxes, patches, strict=True):
                    total[box] += patch.to(x)
        return RawMap(windows.crop(total)[None], more={"layer": name})


def deepest_name(objective: Objective) -> str:
    """Return the name of the deepest layer, found on the first window."""
    predictor, windows = objective.predictor, objective.windows
    piece = next(predictor.pieces(objective.x, windows, [0]))
    objective.tally.windows_run += 1
    with held_still(predictor.network):
        layers = list_layers(predictor.network, lambda: predictor.run(piece.crops[:1], windows))
    return deepest_layer(layers).name


def layer_slopes(objective: Objective, layer: nn.Module) -> Slopes:
    """Yield for each batch of active windows the layer's activations and dR/d(activations).

    The graph starts at the layer: what lies before it is run without one. Close the generator:
    only then is the network as it was.

    Raises:
        LayerError: the layer did not run, or has no spatial output, or R does not depend on it.
    """
    predictor, windows = objective.predictor, objective.windows
    cotangent = objective.cotangent()
    shares = predictor.shares(windows, cotangent)
    active = objective.active(cotangent)
    objective.tally.evaluations += 1
    objective.tally.windows_run += len(active)
    with held_still(predictor.network):
        for pieces in predictor.pieces(objective.x, windows, active):
            with torch.enable_grad(), _leaf_at(layer) as leaves:
                logits = predictor.run(pieces.crops, windows)
            activation = _spatial(leaves, windows)
            share = shares.of(pieces, logits.device)
            if not logits.requires_grad:
                raise LayerError("the output does not depend on this layer", hint="name another")
            (slope,) = torch.autograd.grad(logits, activation, share.to(logits.dtype))
            yield pieces, activation.detach().float(), slope.float() * shares.scale


def upsample(patches: Tensor, windows: Windows) -> Tensor:
    """Resample `N K *layer` to `N K *W`, linearly, a thin slice axis put back."""
    thin = windows.slice_axis
    size = [length for axis, length in enumerate(windows.size) if axis != thin]
    mode = "bilinear" if len(size) == 2 else "trilinear"
    resized = F.interpolate(patches, size=size, mode=mode, align_corners=False)
    return resized if thin is None else resized.unsqueeze(thin + 2)


def _blend_over_windows(objective: Objective, layer: nn.Module, weights: Tensor) -> Tensor:
    """Return `sum_k alpha_k A_k` over the whole volume, blended as the logits are, `*S`."""
    predictor, windows, x = objective.predictor, objective.windows, objective.x
    importance = windows.importance(x.device, x.dtype)
    total = x.new_zeros(windows.padded_shape)
    everything = range(len(windows))
    objective.tally.windows_run += len(everything)
    with torch.no_grad(), held_still(predictor.network), tap(layer) as outputs:
        for pieces in predictor.pieces(x, windows, everything):
            predictor.run(pieces.crops, windows)
            activation = _spatial(outputs, windows).float()
            combined = torch.einsum("nk...,k->n...", activation, weights.to(activation))
            for box, patch in zip(
                pieces.boxes, upsample(combined[:, None], windows)[:, 0], strict=True
            ):
                total[box] += patch.to(x) * importance
    return windows.crop(total / windows.coverage(x.device, x.dtype))


@contextmanager
def _leaf_at(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Cut the graph at a layer: its output becomes a leaf that gradients reach."""
    leaves: list[Tensor] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return None
        if leaves:
            raise LayerError(
                "the layer runs more than once in a forward pass, so that it has no one activation",
                hint="name a layer that runs once",
            )
        leaf = output.detach().requires_grad_(True)
        leaves[:] = [leaf]
        return leaf.clone()  # an in-place activation behind the layer must not touch the leaf

    handle = layer.register_forward_hook(hook)
    try:
        yield leaves
    finally:
        handle.remove()


def _spatial(outputs: Sequence[Tensor], windows: Windows) -> Tensor:
    ndim = len(windows.size) - (windows.slice_axis is not None)
    if not outputs:
        raise LayerError("the layer did not run, or its output is no tensor", hint="name another")
    if outputs[0].ndim != ndim + 2:
        raise LayerError(
            f"the layer's output {tuple(outputs[0].shape)} has no {ndim} spatial axes",
            hint="name a layer with a spatial output; `esegeta layers CONFIG` shows them",
        )
    return outputs[0]
