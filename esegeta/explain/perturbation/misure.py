"""MiSuRe: the smallest region of the image that suffices to segment a label as before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from esegeta.errors import ConfigError, MapError
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import KEPT, Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation.mask_grid import (
    BaselineBlend,
    CellMask,
    Descent,
    Lengths,
    MaskGrid,
    cell_in_voxels,
    require_above_zero,
    require_cell,
    total_variation,
    value_and_slope,
)
from esegeta.explain.perturbation.sufficiency import LabelDice, Surrounded

FIRMER = 1.2
"""Factor by which the weight of Dice rises while Dice is below tau, and falls while above."""

MOMENTUM = 0.5
"""Less than is usual, so that a mask that fell below tau turns round soon."""

THRESHOLDS = tuple(tenths / 10 for tenths in range(9, 0, -1))
"""Where the mask is cut, from few voxels to many, until the voxels above suffice by themselves."""


@dataclass(frozen=True)
class MiSuRe(Explainer):
    """A small region that, with the rest replaced, keeps a label's Dice at tau.

        min_m  sum(m) / sum(m_0) + tv TV(m)   such that   Dice(x_m, x) >= tau,   0 <= m <= m_0

    m_0: the label's predicted voxels, dilated by a cell until Dice reaches tau. Soft Dice joins the
    loss, the firmer the longer Dice is below; the map is the smallest soft mask on the way that
    held tau, not the smallest there is. Only the target's label counts, within its mask; Dice is
    with the unperturbed prediction, over all voxels but the label's outside that mask. Windows run
    one by one: rounding turns steps. Unit: mask; 1 is needed, 0 is not.

    Args:
        tau: the hard Dice that is kept, in (0, 1).
        steps: steps of Adam.
        tv: price of the mask's edges, `sum |m_u - m_v|^3` a cell of m_0.
        rate: about the most that a cell moves in one step.
        cell: side of a cell in voxels, one or one per axis; a 16th of the window by default.
        cell_mm: the same in millimetres.
        baseline: zero, mean, minimum, blur, or an image file.

    Source: Hasany et al., arXiv 2406.12173 (2024), section 3; there Dice has a fixed weight.
    """

    tau: float = 0.9
    steps: int = 60
    tv: float = 0.05
    rate: float = 0.05
    cell: Lengths | None = None
    cell_mm: Lengths | None = None
    baseline: Baseline | str = "minimum"

    name: ClassVar[str] = "misure"
    traits: ClassVar[Traits] = Traits("perturbation", by_channel=False)
    meaning: ClassVar[Meaning] = KEPT
    zero_hint: ClassVar[str] = "choose a baseline that does not show the label"

    def __post_init__(self) -> None:
        require_cell(self.cell, self.cell_mm, self.name)
        require_above_zero(self.name, steps=self.steps, rate=self.rate)
        if not 0 < self.tau < 1:
            raise ConfigError(f"{self.name}: tau: {self.tau:g} is not between 0 and 1")
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost(self) -> Cost:
        """Two predictions and a gradient per step; the baseline is also predicted once."""
        return self.steps * Cost.of(2, 1, over="region")

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map, one channel for all.

        Raises:
            MapError: the baseline alone keeps the Dice, or even the whole image does not.
        """
        # Whether Dice holds tau decides each step, and voxels lie on the edge of the decision: a
        # sum that is rounded otherwise leads elsewhere. Alone, a window gives the same sum always.
        predictor = replace(objective.predictor, batch_size=1)
        objective = replace(objective, predictor=predictor)
        label = LabelDice.of(objective.target)
        cell = cell_in_voxels(self.cell, self.cell_mm, objective, fraction=16)
        image = objective.volume.data
        baseline = parse_baseline(self.baseline).of(objective.volume)
        blend = BaselineBlend(image, baseline, MaskGrid.over(image, cell))
        alone = Surrounded.by(objective, baseline)
        dice_baseline = label.hard(alone.predict(baseline))
        if dice_baseline >= self.tau:
            raise MapError(
                f"{self.name}: the baseline alone keeps Dice at {dice_baseline:.3f}: no region of "
                "the image is needed",
                hint=f"{self.zero_hint}, or raise tau",
            )
        start, dilations = self._dilated(label, blend, alone)
        found = self._shrunk(label, blend, start)

        data = blend.grid.spread(found.mask)
        crisp, crisp_facts = self._crisp(label, blend, start.near, data)
        sizes = {
            "": data,
            "_crisp": crisp,
            "_dilated": blend.grid.spread(start.mask),
            "_label": label.reference,
        }
        more: dict[str, Any] = {
            "dice": found.dice,
            **crisp_facts,
            "dice_dilated": start.dice,
            "dice_baseline": dice_baseline,
            "dilations": dilations,
            "cell_vox": list(cell),
        }
        for name, mask in sizes.items():
            area = float(mask.double().mean())
            more[f"area{name}"] = area
            more[f"volume{name}_ml"] = area * mask.numel() * objective.volume.voxel_volume_ml
        warnings: tuple[str, ...] = ()
        if found is start:
            warnings = ("no mask smaller than the dilated label kept Dice at tau: lower the rate",)
        return RawMap(data[None], more=more, warnings=warnings)

    def _dilated(
        self, label: LabelDice, blend: BaselineBlend, alone: Surrounded
    ) -> tuple[Sufficient, int]:
        """Return the label's cells, dilated until they suffice, and how often they were."""
        mask = blend.grid.holding(label.reference).to(blend.image)
        near = alone
        for dilations in range(max(mask.shape) + 1):
            near = near.grown(blend.grid.spread(mask) > 0)
            dice = label.hard(near.predict(blend(mask)))
            if dice >= self.tau:
                return Sufficient(mask, dice, near), dilations
            mask = _by_one_cell(mask)
        raise MapError(
            f"{self.name}: even the whole image keeps Dice only at {dice:.3f}, below tau "
            f"{self.tau:g}",
            hint="explain the image that the target was frozen on, where Dice is 1",
        )

    def _shrunk(self, label: LabelDice, blend: BaselineBlend, start: Sufficient) -> Sufficient:
        """Return the smallest of the masks on Adam's way that suffice."""
        size, near = start.mask.sum(), start.near

        def price(mask: CellMask) -> Tensor:
            return (mask.sum() + self.tv * total_variation(mask)) / size

        descent = Descent(start.mask, ceiling=start.mask, rate=self.rate, momentum=MOMENTUM)
        best, pull = start, 1.0
        logits = near.predict(blend(start.mask))
        for _ in range(self.steps):
            _, slope = value_and_slope(price, descent.mask)
            gradient = near.pull_back(blend(descent.mask), label.soft.slope(logits))
            rescue = blend.slope(gradient)
            descent.step(_of_size_one(slope) - pull * _of_size_one(rescue))
            logits = near.predict(blend(descent.mask))
            dice = label.hard(logits)
            pull = pull * FIRMER if dice < self.tau else pull / FIRMER
            if dice >= self.tau and descent.mask.sum() < best.mask.sum():
                best = Sufficient(descent.mask, dice, near)
        return best

    def _crisp(
        self, label: LabelDice, blend: BaselineBlend, near: Surrounded, data: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the voxels above the highest cut that suffice by themselves, and their facts."""
        for threshold in THRESHOLDS:
            crisp = data >= threshold
            dice = label.hard(near.predict(torch.where(crisp, blend.image, blend.baseline)))
            if dice >= self.tau:
                return crisp, {"crisp_threshold": threshold, "dice_crisp": dice}
        crisp = data > 0
        dice = label.hard(near.predict(torch.where(crisp, blend.image, blend.baseline)))
        return crisp, {"crisp_threshold": 0.0, "dice_crisp": dice}


@dataclass(frozen=True, eq=False)
class Sufficient:
    """A mask that keeps Dice at tau, and what predicts the images that it makes."""

    mask: CellMask
    dice: float
    near: Surrounded


def _of_size_one(slope: CellMask) -> CellMask:
    return slope / slope.abs().sum().clamp(min=torch.finfo(slope.dtype).tiny)


def _by_one_cell(mask: CellMask) -> CellMask:
    """Return the largest value of each cell and its neighbours, across corners too."""
    pool = F.max_pool2d if mask.ndim == 2 else F.max_pool3d
    return pool(mask[None, None], kernel_size=3, stride=1, padding=1)[0, 0]
