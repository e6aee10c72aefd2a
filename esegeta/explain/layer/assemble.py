"""Maps of a layer, put together from windows: on the volume, or as fields over the layer.

Sums are for maps that add up over windows: every window's map is put on the voxels by itself, and
on the layer's grid. Blends are for activations: weighted by the windows' importance, as logits are.

Methods that weigh units or positions by what they see of the whole layer need units x volume
numbers, for which there is no room at full resolution. Here as many units are held at a time as
fill a quarter of a volume; the windows are run again for the next ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from esegeta.explain.layer.cut import Site
from esegeta.explain.layer.method import LayerResult
from esegeta.explain.layer.shared import activation_in, slope_in
from esegeta.explain.objective import AnyCotangent, Objective
from esegeta.model import held_still
from esegeta.predict import (
    LayerGrid,
    Pieces,
    PositionValues,
    WindowBlend,
    WindowSum,
    spread,
    upsample,
)

PatchMap = Callable[[Pieces, Tensor], Tensor]
"""From windows and their shares `N L *W` to a map of the layer in each window, `N 1 *layer`."""

Resample = Callable[[Tensor, LayerGrid, Sequence[int]], Tensor]
"""From a layer's positions in windows to the voxels that they cover: `spread` or `upsample`."""


class LayerSum:
    """The maps of a layer in windows, added up on the voxels and on the layer's grid.

    Args:
        objective: what is explained.
        site: the layer.
        resample: `spread` keeps the sum of the map, `upsample` its height.
    """

    def __init__(self, objective: Objective, site: Site, resample: Resample = spread) -> None:
        self._objective = objective
        self._site = site
        self._windows = objective.windows
        self._resample = resample
        self._grid: LayerGrid | None = None
        self._voxels: WindowSum | None = None
        self._positions: WindowSum | None = None

    def add(self, pieces: Pieces, patches: Tensor) -> None:
        """Add the maps of these windows, `N 1 *layer`."""
        x = self._objective.x
        patches = patches.detach().to(x)
        if self._positions is None or self._voxels is None or self._grid is None:
            self._grid = LayerGrid.of(self._windows, patches, self._site.name)
            self._positions = WindowSum(self._grid, x, num_channels=1)
            self._voxels = WindowSum(self._grid.voxels, x, num_channels=1)
        self._positions.add(pieces.windows, patches)
        self._voxels.add(pieces.windows, self._resample(patches, self._grid, pieces.windows))

    def add_windows(self, patch_map: PatchMap, *, cotangent: AnyCotangent | None = None) -> None:
        """Add the maps of all windows that the target touches.

        Args:
            patch_map: the method on a few windows at a time; must be linear in the shares. Run
                windows with `objective.run`, which counts them.
            cotangent: dR/dy; that at the objective's input by default.
        """
        objective, windows = self._objective, self._windows
        predictor = objective.predictor
        cotangent = objective.cotangent() if cotangent is None else cotangent
        shares = objective.shares(cotangent)
        objective.tally.evaluations += 1
        with held_still(predictor.network):
            for pieces in predictor.pieces(objective.x, windows, objective.active(cotangent)):
                patches = patch_map(pieces, shares.of(pieces, pieces.crops.device))
                self.add(pieces, patches * shares.scale)

    def result(self) -> LayerResult:
        """Return the maps; cut to the volume where it was padded."""
        if self._positions is None or self._voxels is None:
            return LayerResult(torch.zeros_like(self._objective.volume.data[:1]))
        voxels = self._voxels.result()[0].contiguous()
        return LayerResult(voxels, self._positions.result()[0], self._grid)

    @property
    def total(self) -> float:
        """What the layer's positions add up to."""
        if self._positions is None:
            return 0.0
        return float(self._positions.result().sum(dtype=torch.float64))


def blend_layer(
    objective: Objective, site: Site, combine: Callable[[Pieces, Tensor], Tensor]
) -> LayerResult:
    """Return one number per position, formed from a layer's units, blended as the logits are.

    Args:
        objective: what is explained; all of its windows are run.
        site: the layer.
        combine: function from windows and their activations `N K *layer` to `N 1 *layer`.
    """
    predictor, windows, x = objective.predictor, objective.windows, objective.x
    grid: LayerGrid | None = None
    voxels: WindowBlend | None = None
    positions: WindowBlend | None = None
    with held_still(predictor.network):
        for pieces in predictor.pieces(x, windows, range(len(windows))):
            activation = activation_in(objective, site, pieces)
            patches = combine(pieces, activation).to(x)
            if positions is None or voxels is None or grid is None:
                grid = LayerGrid.of(windows, patches, site.name)
                positions, voxels = WindowBlend(grid, x), WindowBlend(grid.voxels, x)
            positions.add(pieces.windows, patches)
            voxels.add(pieces.windows, upsample(patches, grid, pieces.windows))
    assert positions is not None and voxels is not None
    return LayerResult(voxels.result()[0].contiguous(), positions.result()[0], grid)


PART_OF_A_VOLUME = 0.25


@dataclass(frozen=True, eq=False)
class LayerFields:
    """A layer over the volume.

    Args:
        objective: what is explained.
        site: the layer.
        grid: grid of the layer's positions.
        num_units: number of the layer's units.
        only: the one mirrored pass, of one network, that is looked at.
    """

    objective: Objective
    site: Site
    grid: LayerGrid
    num_units: int
    only: int = 0

    @classmethod
    def of(cls, objective: Objective, site: Site) -> LayerFields:
        """Learn a layer's shape from the first window."""
        predictor, windows = objective.predictor, objective.windows
        with held_still(predictor.network):
            pieces = next(predictor.pieces(objective.x, windows, [0]))
            activation = activation_in(objective, site, pieces)
        grid = LayerGrid.of(windows, activation, site.name)
        return cls(objective, site, grid, activation.shape[1])

    def by_pass(self) -> list[LayerFields]:
        """Return each mirrored pass of each network by itself, as if it alone were explained.

        The prediction and the target's part of it are means over them.
        """
        return [replace(self, only=number) for number in range(len(self.objective.windows.passes))]

    def groups(self, units: Sequence[int] | None = None) -> Iterator[Tensor]:
        """Yield indices of units, as many at a time as there is room for."""
        chosen = range(self.num_units) if units is None else units
        room = PART_OF_A_VOLUME * self.objective.volume.data.numel()
        size = max(1, int(room / self.grid.num_positions))
        for first in range(0, len(chosen), size):
            yield torch.tensor(chosen[first : first + size])

    def activations(self, units: Tensor) -> PositionValues:
        """Return the units' activations, blended over all windows as the logits are, `K *G`."""
        objective, grid = self.objective, self.grid
        predictor, windows, x = objective.predictor, objective.windows, objective.x
        blend = WindowBlend(grid, x)
        with held_still(predictor.network):
            for pieces in predictor.pieces(x, windows, self._own(range(len(windows)))):
                activation = activation_in(objective, self.site, pieces)
                patches = activation.index_select(1, units.to(activation.device))
                blend.add(pieces.windows, patches)
        return self._of_one(blend.result()[0])

    def slopes(self, units: Tensor) -> PositionValues:
        """Return the target's gradient by the units' activations, summed over windows, `K *G`."""
        objective, grid = self.objective, self.grid
        predictor, windows, x = objective.predictor, objective.windows, objective.x
        total = WindowSum(grid, x, num_channels=len(units))
        cotangent = objective.cotangent()
        shares = objective.shares(cotangent)
        objective.tally.evaluations += 1
        with held_still(predictor.network):
            for pieces in predictor.pieces(x, windows, self._own(objective.active(cotangent))):
                share = shares.of(pieces, pieces.crops.device)
                _, slope = slope_in(objective, self.site, pieces, share)
                total.add(pieces.windows, slope.index_select(1, units.to(slope.device)))
        return self._of_one(total.result()[0].mul_(shares.scale))

    def _own(self, windows: Sequence[int]) -> Sequence[int]:
        own = self.objective.windows.of_pass(self.only)
        return [window for window in windows if window in own]

    def _of_one(self, total: PositionValues) -> PositionValues:
        """Return what a pass would have by itself, given its part in a mean over passes."""
        return total.mul_(len(self.objective.windows.passes))
