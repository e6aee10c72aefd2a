"""The way from the grid of a file to that of the network, move by move, and back again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from esegeta.axes import Mask
from esegeta.volume.grid import Grid
from esegeta.volume.resampling import Resampling
from esegeta.volume.space import Move


@dataclass(frozen=True)
class Route:
    """Moves in their order."""

    moves: tuple[Move, ...] = ()

    def then(self, move: Move) -> Route:
        """Return the route with one more move."""
        return Route((*self.moves, move))

    def onto(self, grid: Grid) -> Grid:
        """Return the grid at its end."""
        for move in self.moves:
            grid = move.onto(grid)
        return grid

    def move(
        self, data: Shaped[Tensor, "C *S"], grid: Grid, *, resampling: Resampling
    ) -> tuple[Tensor, Grid]:
        """Bring data `C *S` from its own grid to the end; grey values stay, labels take nearest."""
        for move in self.moves:
            data, grid = move.apply(data, grid, resampling=resampling), move.onto(grid)
        return data, grid

    def linear(self, data: Float[Tensor, "C *S"], grid: Grid) -> Float[Tensor, "C *T"]:
        """Bring grey values to the end by the linear part of every move; see `Move.linear`."""
        for move in self.moves:
            data, grid = move.linear(data, grid), move.onto(grid)
        return data

    def transposed(self, data: Float[Tensor, "C *T"], grid: Grid) -> Float[Tensor, "C *S"]:
        """Carry values of the grid at its end back to `grid`, by the transpose of every move.

        Sums are kept but for what lies on padding; see `Move.transposed`.
        """
        starts = []
        for move in self.moves:
            starts.append((move, grid))
            grid = move.onto(grid)
        for move, start in reversed(starts):
            data = move.transposed(data, start)
        return data

    def kept(self, grid: Grid) -> tuple[Grid, ...]:
        """Return the boxes that were cut out on the way; what lies outside one was never seen."""
        boxes = []
        for move in self.moves:
            box = move.kept(grid)
            boxes += [] if box is None else [box]
            grid = move.onto(grid)
        return tuple(boxes)

    def inside(self, grid: Grid) -> Mask | None:
        """Return the voxels at the end that are not padding, `*S`; None without padding."""
        mask: Tensor | None = None
        for move in self.moves:
            if mask is None and move.pads(grid):
                mask = torch.ones((1, *grid.shape), dtype=torch.uint8)
            if mask is not None:
                mask = move.apply(mask, grid, resampling="nearest")
            grid = move.onto(grid)
        return None if mask is None or bool(mask.all()) else mask[0].bool()
