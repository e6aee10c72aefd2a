"""Sites of an objective: a network read, cut or changed at a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from esegeta.axes import Logits
from esegeta.errors import LayerError
from esegeta.explain.objective import Objective
from esegeta.model import deepest_layer, find_layer, held_still, list_layers
from esegeta.predict import Pieces, WindowBlend, Windows, inner

Change = Callable[[Tensor], Tensor]
"""From a layer's output for a batch of windows to what the rest of the network shall see."""


@dataclass(frozen=True, eq=False)
class Site:
    """A layer that is explained.

    Args:
        name: as the network calls it.
        module: the layer.
    """

    name: str
    module: nn.Module


def find_sites(objective: Objective, layer: str | tuple[str, ...] | None) -> tuple[Site, ...]:
    """Return the layers of these names; the deepest where none is named.

    Raises:
        LayerError: there is no such layer; the nearest names are given.
    """
    if layer is None:
        names: tuple[str, ...] = (deepest_name(objective),)
    else:
        names = (layer,) if isinstance(layer, str) else layer
    network = objective.predictor.network
    return tuple(Site(name, find_layer(network, name)) for name in names)


def deepest_name(objective: Objective) -> str:
    """Return the name of the deepest layer, found on the first window."""
    predictor, windows = objective.predictor, objective.windows
    piece = next(predictor.pieces(objective.x, windows, [0]))
    with held_still(predictor.network):
        layers = list_layers(predictor.network, lambda: objective.run(piece.crops[:1]))
    return deepest_layer(layers).name


def read(
    objective: Objective, site: Site, crops: Tensor, change: Change | None = None
) -> tuple[Tensor, Tensor]:
    """Return the logits of windows and the layer's activations `N K *layer`, without a graph.

    Args:
        objective: whose network runs, and is to be held still meanwhile.
        site: the layer.
        crops: the windows, `N C *W`.
        change: of the layer's output; the activations returned are the changed ones.
    """
    with torch.no_grad(), cut_at(site.module, change) as leaves:
        logits = objective.run(crops)
    return logits, spatial(leaves, objective.windows).detach().float()


def slope_at(
    objective: Objective, site: Site, crops: Tensor, share: Tensor, change: Change | None = None
) -> tuple[Tensor, Tensor]:
    """Return a layer's activations and the gradient of `<share, net>` by them, `N K *layer`.

    The graph starts at the layer: what lies before it is run without one, and other paths around
    it, such as skip connections, see the window as it is.

    Args:
        objective: whose network runs, and is to be held still meanwhile.
        site: the layer.
        crops: the windows, `N C *W`.
        share: their parts of the cotangent, `N L *W`.
        change: of the layer's output; gradient and activations are at the changed ones.

    Raises:
        LayerError: the layer did not run, or has no spatial output, or nothing depends on it.
    """
    with torch.enable_grad(), cut_at(site.module, change) as leaves:
        logits = objective.run(crops)
    activation = spatial(leaves, objective.windows)
    if not logits.requires_grad:
        raise LayerError("the output does not depend on this layer", hint="name another")
    (slope,) = torch.autograd.grad(logits, activation, share.to(logits.dtype))
    return activation.detach().float(), slope.float()


@contextmanager
def cut_at(layer: nn.Module, change: Change | None = None) -> Iterator[list[Tensor]]:
    """Cut the graph at a layer: its output, perhaps changed, is a leaf that gradients reach."""
    leaves: list[Tensor] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return None
        if leaves:
            raise LayerError(
                "the layer runs more than once in a forward pass, so that it has no one activation",
                hint="name a layer that runs once",
            )
        seen = output.detach()
        leaf = seen if change is None else change(seen).detach().to(output.dtype)
        leaves[:] = [leaf.requires_grad_(True)]
        return leaf.clone()  # an in-place activation behind the layer must not touch the leaf

    handle = layer.register_forward_hook(hook)
    try:
        yield leaves
    finally:
        handle.remove()


def spatial(outputs: Sequence[Tensor], windows: Windows) -> Tensor:
    """Return the one activation that was seen.

    Raises:
        LayerError: the layer did not run, or has no spatial output.
    """
    ndim = len(windows.size) - (windows.slice_axis is not None)
    if not outputs:
        raise LayerError(
            "the layer did not run, or its output is no tensor",
            hint="name another; of a unit's target, one that runs before the unit's own layer",
        )
    if outputs[0].ndim != ndim + 2:
        raise LayerError(
            f"the layer's output {tuple(outputs[0].shape)} has no {ndim} spatial axes",
            hint="name a layer with a spatial output; `esegeta layers CONFIG` shows them",
        )
    return outputs[0]


Prepare = Callable[[Pieces], Change]
"""From windows to what shall be done to the layer's output for them."""


def value_changed(objective: Objective, site: Site, prepare: Prepare) -> float:
    """Return the target with the layer changed; only windows that it touches are run."""
    objective.tally.evaluations += 1
    if not objective.target.is_linear:
        return float(objective.target.value(predict_changed(objective, site, prepare))[0])
    predictor, windows = objective.predictor, objective.windows
    cotangent = objective.cotangent()
    shares = predictor.shares(windows, cotangent)
    value = 0.0
    with held_still(predictor.network):
        for pieces in predictor.pieces(objective.x, windows, objective.active(cotangent)):
            logits, _ = read(objective, site, pieces.crops, prepare(pieces))
            value += float(inner(logits, shares.of(pieces, logits.device)).sum())
    return value * shares.scale


def predict_changed(objective: Objective, site: Site, prepare: Prepare) -> Logits:
    """Return the blended logits with the layer changed, `1 L *S`, where the target looks at them.

    Args:
        objective: what is explained.
        site: the layer.
        prepare: gives the change for each batch of windows; may run the network.
    """
    predictor, windows, x = objective.predictor, objective.windows, objective.x
    blend = WindowBlend(windows, x)
    with held_still(predictor.network):
        for pieces in predictor.pieces(x, windows, objective.target.touched(windows)):
            logits, _ = read(objective, site, pieces.crops, prepare(pieces))
            blend.add(pieces.windows, logits)
    return blend.result()
