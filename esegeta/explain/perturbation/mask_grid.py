"""Masks on a coarse grid of cells: spread over voxels, blended with a baseline, moved by Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Image, Shape
from esegeta.errors import ConfigError
from esegeta.explain.objective import Objective

Lengths = float | tuple[float, ...]
CellMask = Float[Tensor, "*K"]
"""A mask in [0, 1], one number per cell: 1 keeps the image, 0 puts the baseline."""

TV_POWER = 3
"""Fong and Vedaldi's beta: edges of a mask cost, gentle slopes hardly."""

# How Adam remembers the size of slopes: for less long than usual, since a mask is at its bounds
# within some tens of steps.
ADAM_MEMORY = 0.99
ADAM_EPSILON = 1e-12


@dataclass(frozen=True, eq=False)
class MaskGrid:
    """Cells that divide a volume evenly, and linear interpolation between their centres.

    Beyond the outermost centres a mask stays as it is at them.

    Args:
        shape: shape of the volume.
        num_cells: number of cells along each axis.
        weights: `n k` of each axis, from cells to voxels; rows add up to one. None where every
            voxel is a cell.
    """

    shape: Shape
    num_cells: Shape
    weights: tuple[Tensor | None, ...]

    @classmethod
    def over(cls, data: Image, cell: Shape) -> MaskGrid:
        """Return the grid over `C *S` whose cells are at most `cell` voxels long."""
        shape = tuple(data.shape[1:])
        num_cells = tuple(math.ceil(n / c) for n, c in zip(shape, cell, strict=True))
        weights = (_weights(n, k, data) for n, k in zip(shape, num_cells, strict=True))
        return cls(shape, num_cells, tuple(weights))

    def spread(self, cells: CellMask) -> Float[Tensor, "*S"]:
        """Return the mask of every voxel."""
        return self._along_axes(cells, contract=1)

    def gather(self, voxels: Float[Tensor, "*S"]) -> CellMask:
        """Return the transpose of `spread`: the gradient by the cells from that by the voxels."""
        return self._along_axes(voxels, contract=0)

    def holding(self, mask: Tensor) -> CellMask:
        """Return 1 for every cell that a voxel of a mask depends on, 0 for the others.

        Spread, they are 1 on the whole mask.
        """
        share = self.gather(mask.to(dtype=torch.float32))
        return (share > 1e-5).to(share.dtype)

    def _along_axes(self, field: Tensor, *, contract: int) -> Tensor:
        for axis, weights in enumerate(self.weights):
            if weights is not None:
                moved = torch.tensordot(weights.to(field.dtype), field, dims=([contract], [axis]))
                field = moved.movedim(0, axis)
        return field


@dataclass(frozen=True, eq=False)
class BaselineBlend:
    """`x_m = m x + (1 - m) x'`, the image where the mask is 1 and the baseline where it is 0."""

    image: Image
    baseline: Image
    grid: MaskGrid

    def __call__(self, cells: CellMask) -> Image:
        """Return the blended image, `C *S`."""
        return torch.lerp(self.baseline, self.image, self.grid.spread(cells)[None])

    def slope(self, gradient: Image) -> CellMask:
        """Return dR/dm of each cell from dR/dx_m; channels share the mask."""
        return self.grid.gather((gradient * (self.image - self.baseline)).sum(dim=0))


class Descent:
    """Adam on a mask, which is put back into its bounds after each step.

    Written out: torch's own takes seconds to import torch's compiler, for these few lines.

    Args:
        start: the mask to begin with.
        ceiling: the largest value of each cell.
        rate: step size: about the most that a cell moves in a step.
        momentum: fraction of the last step's direction that stays.
    """

    def __init__(
        self, start: CellMask, *, ceiling: CellMask, rate: float, momentum: float = 0.9
    ) -> None:
        self.mask = start.clone()
        self._ceiling = ceiling
        self._rate = rate
        self._memories = (momentum, ADAM_MEMORY)
        self._first = torch.zeros_like(start)
        self._second = torch.zeros_like(start)
        self._steps = 0

    def step(self, slope: CellMask) -> None:
        """Go down along a gradient."""
        self._steps += 1
        for moment, news, memory in zip(
            (self._first, self._second), (slope, slope.square()), self._memories, strict=True
        ):
            moment.lerp_(news, 1 - memory)
        mean, power = (
            moment / (1 - memory**self._steps)
            for moment, memory in zip((self._first, self._second), self._memories, strict=True)
        )
        moved = self.mask - self._rate * mean / (power.sqrt() + ADAM_EPSILON)
        self.mask = torch.minimum(moved.clamp(min=0), self._ceiling)


def total_variation(cells: CellMask) -> Tensor:
    """Return the sum of `|m_u - m_v|^3` over neighbouring cells."""
    jumps = [cells.diff(dim=axis).abs().pow(TV_POWER).sum() for axis in range(cells.ndim)]
    return torch.stack(jumps).sum()


def value_and_slope(price: Callable[[CellMask], Tensor], cells: CellMask) -> tuple[float, CellMask]:
    """Return the price of a mask, and its gradient by autograd."""
    leaf = cells.detach().requires_grad_(True)
    with torch.enable_grad():
        cost = price(leaf)
        (slope,) = torch.autograd.grad(cost, leaf)
    return float(cost.detach()), slope


def value_and_gradient(objective: Objective) -> tuple[float, Image]:
    """Return the target at an input and its gradient by it, of one prediction."""
    target = objective.target
    if target.is_linear:
        result = objective.pull_back()
        return float(result.value[0]), result.gradient[0]
    if objective.rolls:
        return objective.value(), objective.gradient()
    logits = objective.logits()
    cotangent = target.cotangent(logits)
    active = objective.active(cotangent)
    result = objective.predictor.pull_back(objective.x, cotangent, active=active)
    objective.tally.evaluations += 1
    objective.tally.windows_run += result.num_run
    return float(target.value(logits)[0]), result.gradient[0]


def cell_in_voxels(
    vox: Lengths | None, mm: Lengths | None, objective: Objective, *, fraction: int
) -> Shape:
    """Return the sides of a cell in voxels; by default the window's, divided by `fraction`.

    Raises:
        ConfigError: there is not one for each axis of the image.
    """
    spacing = objective.volume.grid.spacing_mm
    if vox is None and mm is None:
        return tuple(max(1, length // fraction) for length in objective.windows.size)
    sides = list(_each_axis(vox if vox is not None else mm, len(spacing)))
    units = spacing if vox is None else (1.0,) * len(spacing)
    return tuple(max(1, round(side / unit)) for side, unit in zip(sides, units, strict=True))


def require_cell(vox: Lengths | None, mm: Lengths | None, method: str) -> None:
    """Refuse a cell that is given twice, or without extent.

    Raises:
        ConfigError: it is one of these.
    """
    if vox is not None and mm is not None:
        raise ConfigError(f"{method}: give cell or cell_mm, not both")
    for name, value in (("cell", vox), ("cell_mm", mm)):
        if value is not None and min(value if isinstance(value, tuple) else (value,)) <= 0:
            raise ConfigError(f"{method}: {name}: {value} must be above zero")


def require_above_zero(method: str, **parameters: float) -> None:
    """Refuse parameters that must be above zero and are not.

    Raises:
        ConfigError: one is not above zero.
    """
    for name, value in parameters.items():
        if value <= 0:
            raise ConfigError(f"{method}: {name}: {value:g} must be above zero")


def has_settled(losses: Sequence[float]) -> bool:
    """Whether a loss moved little in its last tenth: by 2 % of its whole way at most."""
    tail = losses[-1 - max(1, len(losses) // 10) :]
    return max(tail) - min(tail) <= 0.02 * (max(losses) - min(losses))


def _each_axis(given: Lengths | None, ndim: int) -> Iterator[float]:
    sides = given if isinstance(given, tuple) else (given,) * ndim
    if len(sides) != ndim:
        raise ConfigError(f"cell: {list(sides)} for a {ndim}D image", hint=f"give one or {ndim}")
    for side in sides:
        assert side is not None
        yield side


def _weights(num_voxels: int, num_cells: int, like: Tensor) -> Tensor | None:
    if num_cells == num_voxels:
        return None
    # Where each voxel's centre lies, counted in cells from the first cell's centre.
    place = (torch.arange(num_voxels, dtype=torch.float64) + 0.5) * num_cells / num_voxels - 0.5
    place = place.clamp(0, num_cells - 1)
    distance = (place[:, None] - torch.arange(num_cells, dtype=torch.float64)[None]).abs()
    return (1 - distance).clamp(min=0).to(like)
