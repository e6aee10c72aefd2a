"""Whether a layer is a cut: whether all that the output knows about the image went through it.

Only then do the layer's contributions add up to the change of the target. A U-Net's bottleneck is
not a cut, since its skip connections go around it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from esegeta.explain.graph import nodes_behind
from esegeta.explain.layer.cut import Site
from esegeta.explain.objective import Objective
from esegeta.model import cut_at, held_still

NOT_CHECKED = "cannot be checked: the image reaches the output around the layer as well"


def is_cut(objective: Objective, site: Site) -> bool:
    """Tell whether nothing goes around a layer; one window is run for it, with its graph."""
    predictor = objective.predictor
    with held_still(predictor.network):
        pieces = next(predictor.pieces(objective.x, objective.windows, [0]))
        crops = pieces.crops[:1].detach().requires_grad_(True)
        with torch.enable_grad(), cut_at(predictor.network, site.name):
            logits = objective.run(crops)
    return not goes_around(logits, crops)


def goes_around(logits: Tensor, image: Tensor, layer: Tensor | None = None) -> bool:
    """Tell whether a graph leads from logits to the image on a way that is not through a layer.

    Args:
        logits: logits of windows.
        image: the leaf that they were computed from.
        layer: its output in the same graph; None where the graph was cut there.
    """
    closed = None if layer is None else (layer.grad_fn, layer.output_nr)
    behind = nodes_behind(
        logits.grad_fn, lambda node: [edge for edge in node.next_functions if edge != closed]
    )
    return any(getattr(node, "variable", None) is image for node in behind)


def completeness(total: float, change: float) -> dict[str, float]:
    """Return facts about how far a layer's map is from adding up to a change of the target."""
    delta = total - change
    return {
        "change_of_target": change,
        "completeness_delta": delta,
        "completeness_relative": abs(delta) / max(abs(change), 1e-12),
    }


def checked(
    objective: Objective, site: Site, total: float, change: float, tolerance: float
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the facts of what a layer's map adds up to, and a warning where it ought to match.

    Args:
        objective: what is explained.
        site: the layer.
        total: sum of the map.
        change: change of the target from baseline to image.
        tolerance: relative gap above which there is a warning, where the layer is a cut.
    """
    if not is_cut(objective, site):
        facts = {"change_through_layer": total, "change_of_target": change}
        return {**facts, "completeness": NOT_CHECKED}, ()
    gap = completeness(total, change)
    relative = gap["completeness_relative"]
    warning = (
        f"completeness: the map adds up to {total:.4g}, the target changes by {change:.4g}, all of "
        f"it through this layer ({relative:.1%} apart, tolerance {tolerance:.1%}); use more steps "
        "or another baseline"
    )
    more = {"change_through_layer": total, **gap}
    return more, (warning,) if not relative <= tolerance else ()
