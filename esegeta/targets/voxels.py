"""Targets over voxels: a quantity of a label, over a region, reduced to one number."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from esegeta.axes import Logits, Mask, Scalars
from esegeta.errors import TargetError, suggest
from esegeta.predict import LinearForm, Term
from esegeta.targets.quantity import QUANTITIES, Quantity
from esegeta.targets.region import Predicted, Region, Roi
from esegeta.targets.scene import Scene
from esegeta.targets.target import FrozenTarget, Reduce, Target, require_voxels


@dataclass(frozen=True)
class VoxelTarget(Target):
    """`R(y) = sum or mean over a mask M of q_k(y)`, e.g. the liver logits of the liver's voxels.

    Args:
        label: name or integer of the label k.
        of: the quantity q: logit, probability, margin, log_probability, entropy.
        over: the region that makes the mask M.
        reduce: `sum`, or `mean` over the voxels of the mask.
        live: recompute the mask at each evaluation instead of freezing it on the unperturbed
            prediction; then R jumps where voxels enter or leave, and gradients do not see that.
        facts: goes to the sidecar.
    """

    label: str | int
    of: str = "logit"
    over: Region = field(default_factory=Predicted)
    reduce: Reduce = "sum"
    live: bool = False
    facts: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.of not in QUANTITIES:
            raise TargetError(
                f'of: "{self.of}" is not a quantity', hint=suggest(self.of, QUANTITIES)
            )

    def freeze(self, scene: Scene) -> FrozenTarget:
        """Fix the mask on the scene's prediction; regions that ignore it cost no prediction."""
        quantity = QUANTITIES[self.of]
        channel = scene.labels.channel(self.label)
        needed = scene.logits if self.over.follows_prediction else None
        mask = self.over.mask(scene, needed, self.label)
        require_voxels(mask, self.label, self.over.describe(), scene)
        live = self.live and self.over.follows_prediction

        def value(logits: Logits) -> Scalars:
            values = quantity.field(logits, scene.labels, channel)
            masks = self._live_masks(scene, logits) if live else mask.expand_as(values)
            return reduce_over(values, masks, self.reduce)

        return FrozenTarget(
            value,
            mask,
            self._unit(quantity),
            self.describe(),
            scene,
            None if live else self._coefficients(quantity, channel, mask, scene),
            None if live else mask,
            {**self.facts, "voxels": int(mask.sum())},
            label=self.label,
            relabelled=lambda label: self._of_label(label, mask).freeze(scene),
        )

    def _of_label(self, label: str | int, mask: Mask) -> VoxelTarget:
        """Return the same target of another label, over the voxels of this one's mask."""
        here = Roi(mask, f"of {self.over.describe()} of {self.label}")
        return replace(self, label=label, over=here, live=False)

    def describe(self) -> str:
        """Return the target in words."""
        live = " (live mask)" if self.live else ""
        return f"{self.reduce} of {self.of} of {self.label} over {self.over.describe()}{live}"

    def _coefficients(
        self, quantity: Quantity, channel: int, mask: Mask, scene: Scene
    ) -> LinearForm | None:
        if not quantity.is_linear:
            return None
        scale = 1 / int(mask.sum()) if self.reduce == "mean" else 1.0
        term = Term(channel, mask, scale)
        dtype = scene.volume.data.dtype
        return LinearForm((term,), scene.labels.num_outputs, tuple(mask.shape), dtype)

    def _live_masks(self, scene: Scene, logits: Logits) -> Tensor:
        detached = logits.detach()
        masks = [
            self.over.mask(scene, detached[image : image + 1], self.label)
            for image in range(logits.shape[0])
        ]
        return torch.stack(masks)

    def _unit(self, quantity: Quantity) -> str:
        return f"{quantity.unit} x voxels" if self.reduce == "sum" else quantity.unit


def reduce_over(values: Tensor, masks: Tensor, reduce: Reduce) -> Scalars:
    """Return the sum or mean of `B *S` over masks of the same shape, float64 `B`."""
    kept = torch.where(masks, values, torch.zeros_like(values)).flatten(1)
    total = kept.sum(dim=1, dtype=torch.float64)
    if reduce == "sum":
        return total
    # A live mask may empty itself under a perturbation: nothing is left to score, so zero.
    return total / masks.flatten(1).sum(dim=1).clamp(min=1)
