"""Meaningful perturbation: the smallest smooth mask that destroys the target, or that keeps it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from esegeta.errors import MapError
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import DELETED, KEPT, Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation.mask_grid import (
    BaselineBlend,
    CellMask,
    Descent,
    Lengths,
    MaskGrid,
    cell_in_voxels,
    has_settled,
    require_above_zero,
    require_cell,
    total_variation,
    value_and_gradient,
    value_and_slope,
)

START = 0.5
FLAT = 1e-6
"""Changes of the target below this fraction of its size are rounding."""


@dataclass(frozen=True)
class MaskMode:
    """What a mask is optimised for.

    Args:
        sign: sign of the target in the loss: +1 where the mask is to lower it, -1 to raise it.
        spent: function from a mask in [0, 1] to what the L1 term charges for and the map shows.
        meaning: what a value of the map is.
    """

    sign: float
    spent: Callable[[Tensor], Tensor]
    meaning: Meaning


MASK_MODES: dict[str, MaskMode] = {
    "deletion": MaskMode(1.0, lambda mask: 1 - mask, DELETED),
    "preservation": MaskMode(-1.0, lambda mask: mask, KEPT),
}


@dataclass(frozen=True)
class Scale:
    """The target from the baseline (0) to the image (+1, or -1 where the image lowers it)."""

    image: float
    baseline: float

    @property
    def span(self) -> float:
        """The size of one."""
        return abs(self.image - self.baseline)

    def of(self, value: float) -> float:
        """Return a value of the target on this scale."""
        return (value - self.baseline) / self.span


@dataclass(frozen=True)
class MeaningfulPerturbation(Explainer):
    """The smallest smooth mask m that destroys the target (deletion), or keeps it (preservation).

        min_m  +-R'(m x + (1 - m) x') + l1 mean(s) + tv TV(m),    s = 1 - m, or m

    R' is R on a scale from 0 at the baseline x' to 1 at x: weights mean the same for any target,
    and a cell pays for itself when its part of R' exceeds l1 times its part of the volume. Map:
    s in [0, 1], what must go, or what suffices; never negative. Unit: mask.

    Args:
        mode: deletion (+R', s = 1 - m) or preservation (-R', s = m).
        steps: steps of Adam, from m = 1/2.
        l1: price of the mask.
        tv: price of its edges, `sum |m_u - m_v|^3` a cell.
        rate: about the most that a cell moves in one step.
        cell: side of a cell in voxels, one or one per axis; an eighth of the window by default.
        cell_mm: the same in millimetres.
        baseline: zero, mean, minimum, blur, or an image file.

    Source: Fong and Vedaldi, ICCV 2017, equations 3 to 6; R is normalised and nothing is jittered.
    """

    mode: Literal["deletion", "preservation"] = "deletion"
    steps: int = 100
    l1: float = 1.0
    tv: float = 0.2
    rate: float = 0.1
    cell: Lengths | None = None
    cell_mm: Lengths | None = None
    baseline: Baseline | str = "blur"

    name: ClassVar[str] = "meaningful_perturbation"
    traits: ClassVar[Traits] = Traits(
        "perturbation",
        by_channel=False,
    )
    zero_hint: ClassVar[str] = "no cell is worth its cost; lower l1, or try larger cells"

    def __post_init__(self) -> None:
        require_cell(self.cell, self.cell_mm, self.name)
        require_above_zero(self.name, steps=self.steps, rate=self.rate)
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost(self) -> Cost:
        """A gradient per step, and the target at the image, its baseline and the result."""
        return Cost.of(self.steps + 3, self.steps)

    @property
    def meaning(self) -> Meaning:
        """A mask: of what is deleted, or of what is kept."""
        return MASK_MODES[self.mode].meaning

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map, one channel for all."""
        volume = objective.volume
        cell = cell_in_voxels(self.cell, self.cell_mm, objective, fraction=8)
        grid = MaskGrid.over(volume.data, cell)
        blend = BaselineBlend(volume.data, parse_baseline(self.baseline).of(volume), grid)
        scale = _scale(objective, blend.baseline)
        mode = MASK_MODES[self.mode]

        start = volume.data.new_full(grid.num_cells, START)
        descent = Descent(start, ceiling=torch.ones_like(start), rate=self.rate)
        losses = []
        for _ in range(self.steps):
            loss, slope = self._loss(objective, blend, scale, descent.mask)
            losses.append(loss)
            descent.step(slope)
        value = objective.at(blend(descent.mask)).value()
        price, _ = value_and_slope(self._price, descent.mask)
        losses.append(mode.sign * scale.of(value) + price)

        data = mode.spent(grid.spread(descent.mask))[None]
        more = {
            "value_image": scale.image,
            "value_baseline": scale.baseline,
            "value_masked": value,
            "mask_area": float(data.double().mean()),
            "loss_first": losses[0],
            "loss_last": losses[-1],
            "converged": has_settled(losses),
            "cell_vox": list(cell),
            "cells": start.numel(),
        }
        return RawMap(data, more=more, warnings=self._warnings(scale, losses[-1]))

    def _loss(
        self, objective: Objective, blend: BaselineBlend, scale: Scale, mask: CellMask
    ) -> tuple[float, CellMask]:
        """Return the loss of a mask and its gradient by each cell."""
        sign = MASK_MODES[self.mode].sign
        value, gradient = value_and_gradient(objective.at(blend(mask)))
        price, slope = value_and_slope(self._price, mask)
        slope = slope + blend.slope(gradient) * (sign / scale.span)
        return sign * scale.of(value) + price, slope

    def _price(self, mask: CellMask) -> Tensor:
        spent = MASK_MODES[self.mode].spent(mask).mean()
        return self.l1 * spent + self.tv * total_variation(mask) / mask.numel()

    def _warnings(self, scale: Scale, loss: float) -> tuple[str, ...]:
        mode, warnings = MASK_MODES[self.mode], []
        all_or_nothing = [
            mode.sign * scale.of(value) + self.l1 * float(mode.spent(torch.tensor(mask)))
            for value, mask in ((scale.image, 1.0), (scale.baseline, 0.0))
        ]
        if loss >= min(all_or_nothing):
            warnings.append(
                "the mask is no better than keeping the whole image, or none of it: take more "
                "steps, or change l1 and tv"
            )
        if scale.image < scale.baseline:
            warnings.append(
                "the target is higher on the baseline than on the image: try another baseline"
            )
        return tuple(warnings)


def _scale(objective: Objective, baseline: Tensor) -> Scale:
    scale = Scale(objective.value(), objective.at(baseline).value())
    if not scale.span > FLAT * max(abs(scale.image), abs(scale.baseline)):
        raise MapError(
            f"{MeaningfulPerturbation.name}: the target is {scale.image:.6g} on the image and on "
            "its baseline: no mask can change it",
            hint="choose a baseline that removes what matters, or another target",
        )
    return scale
