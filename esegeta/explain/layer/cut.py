"""Sites of an objective: a network read, cut or changed at a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node

from esegeta.axes import Logits, Shape
from esegeta.errors import LayerError
from esegeta.explain.graph import nodes_behind
from esegeta.explain.objective import Objective
from esegeta.model import (
    Change,
    LayerRun,
    cut_at,
    deepest_layer,
    find_layer,
    held_still,
    holds_units_last,
    list_layers,
    on_output,
)
from esegeta.predict import Pieces, RunPass, Windows, inner


@dataclass(frozen=True, eq=False)
class Site:
    """A layer that is explained.

    Args:
        name: name of the layer in the network.
    """

    name: str


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
    for name in names:
        find_layer(network, name)
    return tuple(Site(name) for name in names)


def deepest_name(objective: Objective) -> str:
    """Return the name of the deepest layer that the output depends on, found on one window.

    Some networks run layers whose results they throw away: the last step down of an encoder, or
    layers for another of several outputs.
    """
    predictor, windows = objective.predictor, objective.windows
    network = predictor.network
    nodes: dict[str, Node | None] = {}
    ends: list[Node | None] = []

    def note(run: LayerRun) -> object:
        tensor, result = run.tensor, None
        if tensor is not None and tensor.grad_fn in nodes.values() and run.is_replaceable:
            # Handed on as it was: what uses it here is told from what uses it elsewhere.
            tensor = tensor.clone()
            result = run.replaced(tensor)
        nodes[run.name] = None if tensor is None else tensor.grad_fn
        return result

    def run() -> None:
        piece = next(predictor.pieces(objective.x, windows, [0]))
        with torch.enable_grad():
            logits = objective.run(piece.crops[:1].detach().requires_grad_(True))
        ends.append(logits.grad_fn)

    with held_still(network), on_output(dict(network.named_modules()), note):
        layers = list_layers(network, run)
    behind = set(nodes_behind(ends[0]))
    used = [layer for layer in layers if nodes.get(layer.name) in behind]
    has_maps = any(layer.name and layer.is_spatial for layer in used)
    return deepest_layer(used if has_maps else layers).name


def read(
    objective: Objective, site: Site, crops: Tensor, change: Change | None = None
) -> tuple[Tensor, Tensor]:
    """Return the logits of windows and the layer's activations `N K *layer`, without a graph.

    Args:
        objective: objective whose network runs, and must be held still meanwhile.
        site: the layer.
        crops: the windows, `N C *W`.
        change: change to the layer's output; the activations returned are the changed ones.
    """
    network = objective.predictor.network
    with torch.no_grad(), cut_at(network, site.name, change) as leaves:
        logits = objective.run(crops)
    return logits, spatial(site, leaves, objective.windows).detach().float()


def slope_at(
    objective: Objective, site: Site, crops: Tensor, share: Tensor, change: Change | None = None
) -> tuple[Tensor, Tensor]:
    """Return a layer's activations and the gradient of `<share, net>` by them, `N K *layer`.

    The graph starts at the layer: what lies before it is run without one, and other paths around
    it, such as skip connections, see the window as it is.

    Args:
        objective: objective whose network runs, and must be held still meanwhile.
        site: the layer.
        crops: the windows, `N C *W`.
        share: their parts of the cotangent, `N L *W`.
        change: change to the layer's output; gradient and activations are at the changed ones.

    Raises:
        LayerError: the layer did not run, or has no spatial output, or nothing depends on it.
    """
    network = objective.predictor.network
    with torch.enable_grad(), cut_at(network, site.name, change) as leaves:
        logits = objective.run(crops)
        activation = spatial(site, leaves, objective.windows)
        if not logits.requires_grad:
            raise no_part(site.name)
        # Within as well: what the network runs again to save memory is to see the same cut.
        (slope,) = torch.autograd.grad(logits, activation, share.to(logits.dtype))
    return activation.detach().float(), slope.float()


def spatial(site: Site, outputs: Sequence[Tensor], windows: Windows) -> Tensor:
    """Return the one activation that was seen.

    Raises:
        LayerError: the layer did not run, or has no spatial output, or holds its units last.
    """
    require_ran(site.name, outputs)
    require_units_first(site.name, tuple(outputs[0].shape), windows)
    return outputs[0]


def require_units_first(name: str, shape: Shape, windows: Windows) -> None:
    """Refuse an output that is not `N K *layer`.

    Raises:
        LayerError: it has another number of axes, or its units lie behind its positions.
    """
    seen = [n for axis, n in enumerate(windows.size) if axis != windows.slice_axis]
    if len(shape) != len(seen) + 2:
        raise LayerError(
            f'layer "{name}": its output {shape} has no {len(seen)} spatial axes',
            hint="name a layer with a spatial output; `esegeta layers CONFIG` shows them",
        )
    if holds_units_last(shape, seen):
        raise LayerError(
            f'layer "{name}": its output {shape} has its units last, after the positions',
            hint="name a layer whose units come first, such as the block around it",
        )


def require_ran(name: str, outputs: Sequence[Tensor]) -> None:
    """Refuse a layer that did not run.

    Raises:
        LayerError: the layer did not run.
    """
    if not outputs:
        raise LayerError(
            f'layer "{name}" did not run',
            hint="name another layer; for a unit target, one that runs before the unit's own layer",
        )


def no_part(name: str) -> LayerError:
    """Return the error of a layer that the output does not depend on."""
    return LayerError(
        f'layer "{name}": the output does not depend on this layer', hint="name another layer"
    )


Prepare = Callable[[Pieces], Change]
"""Maps windows to what is done to the layer's output for them."""


def value_changed(
    objective: Objective, site: Site, prepare: Prepare, *, among: range | None = None
) -> float:
    """Return the target with the layer changed; only windows that it touches are run.

    Args:
        objective: what is explained.
        site: the layer.
        prepare: gives the change for each batch of windows; may run the network.
        among: windows that are changed, unless all are; a linear target is their part alone.
    """
    objective.tally.evaluations += 1
    if not objective.target.is_linear:
        logits = objective.predict(changed(objective, site, prepare))
        return float(objective.target.value(logits)[0])
    predictor, windows = objective.predictor, objective.windows
    cotangent = objective.cotangent()
    shares = objective.shares(cotangent)
    value = 0.0
    with held_still(predictor.network):
        active = objective.active(cotangent)
        chosen = active if among is None else [window for window in active if window in among]
        for pieces in predictor.pieces(objective.x, windows, chosen):
            logits, _ = read(objective, site, pieces.crops, prepare(pieces))
            value += float(inner(logits, shares.of(pieces, logits.device)).sum())
    return value * shares.scale


def changed(objective: Objective, site: Site, prepare: Prepare) -> RunPass:
    """Return what runs windows with the layer changed.

    Args:
        objective: what is explained.
        site: the layer.
        prepare: gives the change for each batch of windows; may run the network.
    """

    def run(pieces: Pieces) -> Logits:
        return read(objective, site, pieces.crops, prepare(pieces))[0]

    return run
