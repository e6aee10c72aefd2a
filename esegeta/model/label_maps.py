"""Label maps: the one that a prediction becomes, and whether a given one holds these labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from esegeta.axes import LabelMap, Mask
from esegeta.errors import DataError
from esegeta.model.decisions import Decided
from esegeta.model.labels import Labels

MOST_COUNTED = 1 << 20
"""Integers up to this are found by counting, which is quicker than sorting."""

MOST_SHOWN = 12
"""How many integers a message lists."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A prediction decided: the mask of each label and the label map, after postprocessing.

    Args:
        decided: decisions about each voxel by itself, on any grid.
        voxel_ml: volume of a voxel of that grid, in ml.
        inside: the voxels that belong to the image, `*S`, where others are padding: nothing is
            predicted there, and postprocessing does not see it.
    """

    decided: Decided
    voxel_ml: float
    inside: Mask | None = None

    @property
    def labels(self) -> Labels:
        """What the output channels mean, and how they are decided."""
        return self.decided.labels

    def mask(self, label: str | int) -> Mask:
        """Return where a label is predicted, `*S`."""
        if self._refined is None or self.labels.is_background(label):
            return self._within(self.decided.predicted(label))
        return self._refined[self.labels.name(label)]

    @property
    def label_map(self) -> LabelMap:
        """The integer that each voxel is painted with, `*S`, 0 where there is no label."""
        found = self.decided.label_map(self._refined)
        return found if self.inside is None else found.masked_fill(~self.inside, 0)

    def _within(self, mask: Mask) -> Mask:
        return mask if self.inside is None else mask & self.inside

    @cached_property
    def _refined(self) -> dict[str, Mask] | None:
        """All masks after postprocessing; None without postprocessing, so that none is held."""
        steps = self.labels.postprocessing
        if not steps:
            return None
        masks = {name: self._within(mask) for name, mask in self.decided.masks().items()}
        exclusive = not self.labels.may_overlap
        return steps.refine(masks, voxel_ml=self.voxel_ml, exclusive=exclusive)


def foreign_integers(label_map: LabelMap, labels: Labels, where: str) -> list[int]:
    """Return the integers of a ground truth that belong to no label, where others do.

    Args:
        label_map: `*S`.
        labels: the labels that the map should hold.
        where: names the map in the message.

    Raises:
        DataError: it holds integers other than 0, and none of them is a label's.
    """
    present = present_integers(label_map)
    foreign = [integer for integer in present if integer not in labels.known_integers]
    wanted = {integer for name in labels.foreground for integer in labels.integers(name)}
    if foreign and not wanted & set(present):
        own = ", ".join(
            f"{name} {' '.join(str(integer) for integer in labels.integers(name))}"
            for name in labels.foreground[:MOST_SHOWN]
        )
        raise DataError(
            f"{where}: the label map holds {_listed(present)}, but none of the labels ({own})",
            hint="give the integers of the file in `labels`, or convert the file",
        )
    return foreign


def foreign_note(foreign: Sequence[int], where: str) -> str:
    """Return what to say about integers of a ground truth that belong to no label."""
    belongs = "belongs" if len(foreign) == 1 else "belong"
    counts = "counts" if len(foreign) == 1 else "count"
    found = f"{where}: {_listed(foreign)} in the label map"
    return f"{found} {belongs} to no label, and {counts} as background"


def present_integers(label_map: LabelMap) -> list[int]:
    """Return the integers of a label map, ascending."""
    if not label_map.numel():
        return []
    low, high = (int(extreme) for extreme in torch.aminmax(label_map))
    if low >= 0 and high <= MOST_COUNTED:
        found: list[int] = torch.bincount(label_map.flatten()).nonzero().flatten().tolist()
        return found
    unique: list[int] = torch.unique(label_map).tolist()
    return unique


def _listed(integers: Sequence[int]) -> str:
    shown = ", ".join(str(integer) for integer in integers[:MOST_SHOWN])
    more = len(integers) - MOST_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
