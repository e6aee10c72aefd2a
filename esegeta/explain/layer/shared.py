"""A layer's activations and slopes in windows as they are: several methods need the same ones.

They are kept where the scene has room, and handed to the next method. A method's facts count what
it needs by itself, whoever ran it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from esegeta.explain.layer.cut import Site, read, slope_at
from esegeta.explain.objective import Objective
from esegeta.predict import Pieces
from esegeta.targets import KeptPasses


def slope_in(
    objective: Objective, site: Site, pieces: Pieces, share: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `slope_at` gives for windows as they are, run now or by another method."""
    kept = objective.kept
    if kept is None:
        return slope_at(objective, site, pieces.crops, share)
    slopes = [("slope", site.name, objective.target, window) for window in pieces.windows]
    known, steep = kept.find(*_names(site, pieces)), kept.find(*slopes)
    if known is not None and steep is not None:
        objective.count(len(pieces.windows))
        return torch.stack(known), torch.stack(steep)
    activation, slope = slope_at(objective, site, pieces.crops, share)
    _keep(kept, _names(site, pieces), activation)
    _keep(kept, slopes, slope)
    return activation, slope


def activation_in(objective: Objective, site: Site, pieces: Pieces) -> Tensor:
    """Return a layer's activations in windows as they are, run now or by another method."""
    kept = objective.kept
    if kept is None:
        return read(objective, site, pieces.crops)[1]
    known = kept.find(*_names(site, pieces))
    if known is not None:
        objective.count(len(pieces.windows))
        return torch.stack(known)
    activation = read(objective, site, pieces.crops)[1]
    _keep(kept, _names(site, pieces), activation)
    return activation


def _names(site: Site, pieces: Pieces) -> list[Hashable]:
    return [("activation", site.name, window) for window in pieces.windows]


def _keep(kept: KeptPasses, names: Sequence[Hashable], values: Tensor) -> None:
    for name, value in zip(names, values, strict=True):
        kept.keep(name, value)
