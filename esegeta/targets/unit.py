"""Targets inside the network: one unit's map over a region, as if it were a prediction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from esegeta.axes import Logits, Scalars
from esegeta.errors import EmptyTargetError, TargetError
from esegeta.predict import LinearForm, Term
from esegeta.targets.reading import UnitReading, UnitScene
from esegeta.targets.region import Everywhere, Region
from esegeta.targets.scene import Scene
from esegeta.targets.target import FrozenTarget, Reduce, Target, require_voxels
from esegeta.targets.voxels import reduce_over


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
        label: name or integer of the label that the region is of, where it is of one.
        facts: goes to the sidecar.
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
                hint="name the label that the region is of",
            )

    @property
    def readings(self) -> frozenset[UnitReading]:
        """The unit."""
        return frozenset({UnitReading(self.layer, self.channel)})

    def freeze(self, scene: Scene) -> FrozenTarget:
        """Fix the mask on the whole network's prediction; regions that ignore it cost none."""
        read = UnitScene.of(scene, self.readings)
        origin = read.origin
        needed = origin.logits if self.over.follows_prediction else None
        mask = self.over.mask(origin, needed, "" if self.label is None else self.label)
        if self.label is not None:
            require_voxels(mask, self.label, self.over.describe(), origin)
        elif not bool(mask.any()):
            raise EmptyTargetError(
                f"{origin.volume.name}: no voxel over: {self.over.describe()}",
                hint="the region lies outside the image",
            )
        place = read.channels.index(self.channel)

        def value(maps: Logits) -> Scalars:
            return reduce_over(maps[:, place], mask.expand_as(maps[:, place]), self.reduce)

        scale = 1 / int(mask.sum()) if self.reduce == "mean" else 1.0
        form = LinearForm(
            (Term(place, mask, scale),),
            len(read.channels),
            tuple(mask.shape),
            origin.volume.data.dtype,
        )
        facts = {**self.facts, "layer": self.layer, "channel": self.channel}
        return FrozenTarget(
            value,
            mask,
            "activation x voxels" if self.reduce == "sum" else "activation",
            self.describe(),
            read,
            form,
            mask,
            {**facts, "voxels": int(mask.sum())},
        )

    def describe(self) -> str:
        """Return the target in words."""
        of = "" if self.label is None or not self.over.needs_label else f" of {self.label}"
        return (
            f"{self.reduce} of unit {self.channel} of layer {self.layer} "
            f"over {self.over.describe()}{of}"
        )
