"""Additive methods: the map of the whole prediction is the sum of its windows' maps.

A linear target is `R = sum_t c_t(x_t)` with `c_t(p) = <share_t, net(p)>`, where `share_t` is the
window's part of the cotangent dR/dy. Of any other target that is the first order at this input.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from esegeta.axes import Image
from esegeta.explain.objective import Objective
from esegeta.model import held_still
from esegeta.predict import Cotangent, Pieces, WindowSum

WindowMap = Callable[[Pieces, Tensor], Tensor]
"""From windows and their shares `N L *W` to each window's own map of `c_t`, `N A *W`."""


def sum_over_windows(
    objective: Objective,
    window_map: WindowMap,
    *,
    num_channels: int | None = None,
    cotangent: Cotangent | None = None,
) -> Image:
    """Return the sum of the maps of all active windows, each put in its place, `A *S`.

    Args:
        objective: what is explained. Its network is held still meanwhile; run windows with
            `objective.run`, which counts them.
        window_map: the method on a few windows at a time; must be linear in the shares.
        num_channels: A; the input channels by default.
        cotangent: a linear form or `1 L *S`; dR/dy at the objective's input by default.
    """
    predictor, windows, x = objective.predictor, objective.windows, objective.x
    cotangent = objective.cotangent() if cotangent is None else cotangent
    shares = predictor.shares(windows, cotangent)
    channels = x.shape[1] if num_channels is None else num_channels
    total = WindowSum(windows, x, num_channels=channels)
    objective.tally.evaluations += 1
    with held_still(predictor.network):
        for pieces in predictor.pieces(x, windows, objective.active(cotangent)):
            maps = window_map(pieces, shares.of(pieces, pieces.crops.device))
            total.add(pieces.windows, maps)
    return total.result()[0].mul_(shares.scale).contiguous()
