"""A layer's units over the whole volume: activations blended, slopes summed, a few at a time.

Methods that weigh units or positions by what they see of the whole layer need units x volume
numbers, which at full resolution nobody has room for. Here as many units are held at a time as
fill a quarter of a volume; the windows are run again for the next ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esegeta.explain.layer.cut import Site, read, slope_at
from esegeta.explain.objective import Objective
from esegeta.model import held_still
from esegeta.predict import LayerGrid, Positions

PART_OF_A_VOLUME = 0.25


@dataclass(frozen=True, eq=False)
class LayerFields:
    """A layer over the volume.

    Args:
        objective: what is explained.
        site: the layer.
        grid: of the layer's positions.
        num_units: of the layer.
    """

    objective: Objective
    site: Site
    grid: LayerGrid
    num_units: int

    @classmethod
    def of(cls, objective: Objective, site: Site) -> LayerFields:
        """Learn a layer's shape from the first window."""
        predictor, windows = objective.predictor, objective.windows
        with held_still(predictor.network):
            pieces = next(predictor.pieces(objective.x, windows, [0]))
            _, activation = read(objective, site, pieces.crops)
        return cls(objective, site, LayerGrid.of(windows, activation), activation.shape[1])

    def groups(self, units: Sequence[int] | None = None) -> Iterator[Tensor]:
        """Yield indices of units, as many at a time as there is room for."""
        chosen = range(self.num_units) if units is None else units
        room = PART_OF_A_VOLUME * self.objective.volume.data.numel()
        size = max(1, int(room / self.grid.num_positions))
        for first in range(0, len(chosen), size):
            yield torch.tensor(chosen[first : first + size])

    def activations(self, units: Tensor) -> Positions:
        """Return the units' activations, blended over all windows as the logits are, `K *G`."""
        objective, grid = self.objective, self.grid
        predictor, windows, x = objective.predictor, objective.windows, objective.x
        total = grid.zeros(len(units), x)
        weights = grid.importance(x.device, x.dtype)
        with held_still(predictor.network):
            for pieces in predictor.pieces(x, windows, range(len(windows))):
                _, activation = read(objective, self.site, pieces.crops)
                patches = activation.index_select(1, units.to(activation.device)).to(x)
                grid.add(total, pieces.windows, patches * weights)
        return total.div_(grid.coverage(x.device, x.dtype))

    def slopes(self, units: Tensor) -> Positions:
        """Return the target's gradient by the units' activations, summed over windows, `K *G`."""
        objective, grid = self.objective, self.grid
        predictor, windows, x = objective.predictor, objective.windows, objective.x
        total = grid.zeros(len(units), x)
        cotangent = objective.cotangent()
        shares = predictor.shares(windows, cotangent)
        objective.tally.evaluations += 1
        with held_still(predictor.network):
            for pieces in predictor.pieces(x, windows, objective.active(cotangent)):
                share = shares.of(pieces, pieces.crops.device)
                _, slope = slope_at(objective, self.site, pieces.crops, share)
                patches = slope.index_select(1, units.to(slope.device))
                grid.add(total, pieces.windows, patches.to(x))
        return total.mul_(shares.scale)
