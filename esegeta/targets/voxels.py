"""Targets over the voxels of a region: a quantity of the logits, or one unit's map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from esegeta.axes import Field, Logits, Mask, Scalars
from esegeta.errors import EmptyTargetError, TargetError, suggest
from esegeta.predict import Box, LinearForm, Term
from esegeta.targets.empty import require_voxels, what_was_removed
from esegeta.targets.frozen import FrozenTarget, label_in_words
from esegeta.targets.quantities import QUANTITIES, Quantity
from esegeta.targets.reading import UnitReading, UnitScene
from esegeta.targets.region import Component, Everywhere, Predicted, Region, Roi
from esegeta.targets.scene import Scene, measure_components
from esegeta.targets.sums import Sums, Totals
from esegeta.targets.target import Reduce, Target
from esegeta.volume import Volume, without_size


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
        facts: more facts for the sidecar.
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
        channels = scene.labels.channels(self.label)
        live = self.live and self.over.follows_prediction
        # A live mask is that of the logits alone, here too: postprocessing is of the scene's.
        needed = scene.logits.detach() if live else None
        mask = self.over.mask(scene, needed, self.label)
        require_voxels(mask, self.label, self.over, scene, is_live=live)

        def field(logits: Logits) -> Field:
            return quantity.field(logits, scene.labels, self.label)

        def live_value(logits: Logits) -> Scalars:
            return reduce_over(field(logits), self._live_masks(scene, logits), self.reduce)

        sums = sums_over(mask, field, self.reduce)
        return FrozenTarget(
            live_value if live else sums.value,
            mask,
            self._unit(quantity),
            self.describe(),
            scene,
            None if live else self._coefficients(quantity, channels, mask, scene),
            None if live else mask,
            {**self.facts, "voxels": int(mask.sum())},
            label=self.label,
            relabelled=lambda label: self._of_label(label, mask).freeze(scene),
            plain=quantity.plain.format(label=label_in_words(scene, self.label)),
            sums=None if live else sums,
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
        self, quantity: Quantity, channels: tuple[int, ...], mask: Mask, scene: Scene
    ) -> LinearForm | None:
        if not quantity.is_linear or len(channels) > 1:
            return None
        scale = 1 / int(mask.sum()) if self.reduce == "mean" else 1.0
        term = Term(channels[0], mask, scale)
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
    total = _sum_over(values, masks)
    if reduce == "sum":
        return total
    # A live mask may empty itself under a perturbation: nothing is left to score, so zero.
    return total / masks.flatten(1).sum(dim=1).clamp(min=1)


def sums_over(mask: Mask, field: Callable[[Logits], Field], reduce: Reduce) -> Sums:
    """Return the sum or mean over a mask `*S` of one number a voxel, `B *P` of logits `B L *P`."""
    count = int(mask.sum())

    def part(logits: Logits, box: Box) -> Totals:
        values = field(logits)
        return _sum_over(values, mask[box].expand_as(values))[:, None]

    def outcome(totals: Totals) -> Scalars:
        return totals[:, 0] if reduce == "sum" else totals[:, 0] / max(count, 1)

    return Sums(part, outcome)


def _sum_over(values: Field, masks: Tensor) -> Scalars:
    kept = torch.where(masks, values, torch.zeros_like(values)).flatten(1)
    return kept.sum(dim=1, dtype=torch.float64)


@dataclass(frozen=True)
class UnitTarget(Target):
    """`R(x) = sum or mean over a mask M of A_k`, the map of unit k of a layer.

    Each window's map is resampled linearly to voxels, and all are blended as the logits are: R is
    linear in a prediction that ends at the layer, and every method explains it as any other.
    The mask is that of the whole network's prediction, frozen.

    Args:
        layer: name of the layer.
        channel: k, of the layer's output, from 0.
        over: the region that makes the mask M.
        reduce: `sum`, or `mean` over the voxels of the mask.
        label: name or integer of the region's label, where it has one.
        facts: more facts for the sidecar.
    """

    layer: str
    channel: int
    over: Region = field(default_factory=Everywhere)
    reduce: Reduce = "sum"
    label: str | int | None = None
    facts: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.channel < 0:
            raise TargetError(f"channel: {self.channel} must be 0 or more")
        if self.over.needs_label and self.label is None:
            raise TargetError(
                f"of: unit over: {self.over.describe()} needs a label",
                hint="name the label of the region",
            )

    @property
    def readings(self) -> frozenset[UnitReading]:
        """The unit that the target reads."""
        return frozenset({UnitReading(self.layer, self.channel)})

    def freeze(self, scene: Scene) -> FrozenTarget:
        """Fix the mask on the whole network's prediction; regions that ignore it cost none.

        Raises:
            EmptyTargetError: the region lies outside the image.
        """
        read = UnitScene.of(scene, self.readings)
        origin = read.origin
        mask = self.over.mask(origin, None, "" if self.label is None else self.label)
        if self.label is not None:
            require_voxels(mask, self.label, self.over, origin)
        elif not bool(mask.any()):
            raise EmptyTargetError(
                f"{origin.volume.name}: no voxel over: {self.over.describe()}",
                hint="the region lies outside the image",
            )
        place = read.channels.index(self.channel)

        sums = sums_over(mask, lambda maps: maps[:, place], self.reduce)
        scale = 1 / int(mask.sum()) if self.reduce == "mean" else 1.0
        form = LinearForm(
            (Term(place, mask, scale),),
            len(read.channels),
            tuple(mask.shape),
            origin.volume.data.dtype,
        )
        facts = {**self.facts, "layer": self.layer, "channel": self.channel}
        return FrozenTarget(
            sums.value,
            mask,
            "activation x voxels" if self.reduce == "sum" else "activation",
            self.describe(),
            read,
            form,
            mask,
            {**facts, "voxels": int(mask.sum())},
            plain=f"the activation of unit {self.channel} of {self.layer}",
            sums=sums,
        )

    def describe(self) -> str:
        """Return the target in words."""
        of = "" if self.label is None or not self.over.needs_label else f" of {self.label}"
        return (
            f"{self.reduce} of unit {self.channel} of layer {self.layer} "
            f"over {self.over.describe()}{of}"
        )


Split = TypeVar("Split", bound=VoxelTarget | UnitTarget)
"""Targets that have a region."""


def split_components(target: Split, scene: Scene, *, min_volume_ml: float = 0.0) -> list[Split]:
    """Return one target for each connected component of the predicted label, largest first.

    The facts of each hold `component`, its `volume_ml` and its `centre_mm` (RAS); for pictures
    its `num_pixels` and its `centre_pixel`, in the order of the file's axes.

    Raises:
        DataError: a least volume is asked for of a picture, whose pixels have no size.
        EmptyTargetError: the label is not predicted, or every component is too small.
        TargetError: the target names no label.
    """
    if target.label is None:
        raise TargetError(f"{target.describe()}: a label is needed to split it into components")
    if min_volume_ml > 0 and scene.volume.source.is_picture:
        raise without_size(scene.volume.name, "min_volume_ml")
    counts, centres = measure_components(scene.components(target.label))
    targets: list[Split] = []
    for rank, (count, place) in enumerate(zip(counts.tolist(), centres.tolist(), strict=True), 1):
        if count * scene.volume.voxel_volume_ml < min_volume_ml:
            break
        facts = {"component": rank, **_facts_of(count, place, scene.volume)}
        targets.append(replace(target, over=Component(rank), facts=facts))
    if not targets:
        removed = what_was_removed(target.label, scene)
        advice = "lower min_volume_ml, or explain another label"
        raise EmptyTargetError(
            f'{scene.volume.name}: label "{target.label}" has no predicted component of at least '
            f"{min_volume_ml:g} ml",
            hint=f"{removed}; {advice}" if removed else advice,
        )
    return targets


def _facts_of(count: int, place: Sequence[float], volume: Volume) -> dict[str, Any]:
    """Return how large a component is and where its centre lies."""
    centre_mm = volume.grid.to_mm(place)
    if volume.source.is_picture:
        return {"num_pixels": count, "centre_pixel": list(volume.source.grid.to_index(centre_mm))}
    return {"volume_ml": count * volume.voxel_volume_ml, "centre_mm": list(centre_mm)}
