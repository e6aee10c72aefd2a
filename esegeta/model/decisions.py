"""What a prediction decides about each voxel, before postprocessing: of logits, or in fewer bytes.

    softmax    the channel with the largest logit: one small integer a voxel
    sigmoid    one bit a label and voxel, and the label map

`Decisions` takes logits part by part, so that those of the whole volume are never held together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from esegeta.axes import LabelMap, Logits, Mask
from esegeta.model.labels import Labels

VolumePart = tuple[slice, ...]
"""A box of the volume."""

EachPart = Callable[[Callable[[Logits, VolumePart], None]], None]
"""Hands on the logits `1 L *P` of all parts of the volume, one after the other."""

BITS = 8


class Decided(ABC):
    """Where labels are predicted, and the label map that they make."""

    labels: Labels

    @abstractmethod
    def predicted(self, label: str | int) -> Mask:
        """Return where a label is predicted, `*S`, before any postprocessing."""

    @abstractmethod
    def label_map(self, masks: Mapping[str, Mask] | None = None) -> LabelMap:
        """Return the integer that each voxel is painted with, `*S`; see `Labels.label_map`.

        Args:
            masks: masks of all labels but the background; by default, where they are predicted.
        """

    def masks(self) -> dict[str, Mask]:
        """Return where each label but the background is predicted, before postprocessing."""
        return {name: self.predicted(name) for name in self.labels.foreground}


@dataclass(frozen=True, eq=False)
class DecidedByLogits(Decided):
    """Decisions that are read off the logits of the whole volume, which are held anyway.

    Args:
        labels: what the output channels mean, and how they are decided.
        logits: `1 L *S`.
    """

    labels: Labels
    logits: Logits

    def predicted(self, label: str | int) -> Mask:
        """Return where a label is predicted, `*S`, before any postprocessing."""
        return self.labels.predicted(self.logits, label)[0]

    def label_map(self, masks: Mapping[str, Mask] | None = None) -> LabelMap:
        """Return the integer that each voxel is painted with, `*S`."""
        return self.labels.label_map(self.logits, masks)[0]


class Decisions(Decided):
    """Decisions that are kept of logits that are not.

    Args:
        labels: what the output channels mean, and how they are decided.
        shape: `*S`.
        device: where they are kept.
        again: predicts all parts once more: what postprocessing leaves of labels that overlap is
            painted by logits.
    """

    def __init__(
        self, labels: Labels, shape: tuple[int, ...], device: torch.device, again: EachPart
    ) -> None:
        self.labels = labels
        self._again = again
        # Softmax excludes: the channel says everything. Else a bit for each label.
        self._is_exclusive = labels.activation == "softmax"
        places = {name: place for place, name in enumerate(labels.named)}
        self._places = {} if self._is_exclusive else places
        num_bytes = 1 if self._is_exclusive else -(-len(places) // BITS)
        dtype = _smallest(labels.num_outputs - 1) if self._is_exclusive else torch.uint8
        self._kept = torch.zeros((num_bytes, *shape), dtype=dtype, device=device)
        # Labels that overlap are painted in an order, or by their logits, which are at hand now.
        paints = not self._is_exclusive and labels.order is None
        self._map = self._new_map() if paints else None

    def take(self, logits: Logits, part: VolumePart) -> None:
        """Decide about a part of the volume, and keep that."""
        here = self._kept[(slice(None), *part)]
        if self._is_exclusive:
            here[0].copy_(logits[0].argmax(dim=0))
            return
        for name, place in self._places.items():
            bit = self.labels.predicted(logits, name)[0].to(torch.uint8) << (place % BITS)
            here[place // BITS] |= bit
        if self._map is not None:
            self._map[part] = self.labels.label_map(logits)[0].to(self._map.dtype)

    def predicted(self, label: str | int) -> Mask:
        """Return where a label is predicted, `*S`, before any postprocessing."""
        if self._is_exclusive:
            first, *others = self.labels.channels(label)
            found = self._kept[0] == first
            for channel in others:
                found |= self._kept[0] == channel
            return found
        self.labels.channels(label)  # refuses a label without one
        place = self._places[self.labels.name(label)]
        return (self._kept[place // BITS] >> (place % BITS) & 1).bool()

    def label_map(self, masks: Mapping[str, Mask] | None = None) -> LabelMap:
        """Return the integer that each voxel is painted with, `*S`, in the smallest integers."""
        if self._map is None:
            return self._painted(masks)
        if masks is None:
            return self._map
        result = self._new_map()

        def paint(logits: Logits, part: VolumePart) -> None:
            here = {name: mask[part] for name, mask in masks.items()}
            result[part] = self.labels.label_map(logits, here)[0].to(result.dtype)

        self._again(paint)
        return result

    def _painted(self, masks: Mapping[str, Mask] | None) -> LabelMap:
        """Return the label map of labels that exclude each other, or that are painted in turn."""
        integers = {name: integer for integer, name in self.labels.names.items()}
        order = self.labels.order or tuple(self.labels.foreground)
        result = self._new_map()
        for name in order:
            if integers.get(name):
                here = self.predicted(name) if masks is None else masks[name]
                result.masked_fill_(here, integers[name])
        return result

    def _new_map(self) -> LabelMap:
        dtype = _smallest(max(self.labels.names))
        return torch.zeros(self._kept.shape[1:], dtype=dtype, device=self._kept.device)


def _smallest(largest: int) -> torch.dtype:
    """Return the smallest integers that hold 0 to the largest."""
    kinds = (torch.int8, torch.int16, torch.int32)
    return next(kind for kind in kinds if largest <= torch.iinfo(kind).max)
