"""The labels of a network: how logits become probabilities, masks and one label map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from esegeta.axes import Field, Logits, Mask
from esegeta.errors import ConfigError
from esegeta.model.label_forms import (
    OrderEntry,
    RegionIntegers,
    default_order,
    is_by_name,
    painted_integers,
    read_order,
    read_regions,
    read_thresholds,
)
from esegeta.model.label_table import Activation, LabelTable
from esegeta.model.postprocessing import Postprocessing

LabelsGiven = Mapping[int, str] | Mapping[str, int | Sequence[int]]
"""Labels as they are written: the name of each integer, or the integers of each name."""


@dataclass(frozen=True)
class Labels(LabelTable):
    """The labels of a network, and how its logits are decided; `Labels.of` takes both forms.

    Args:
        names: see `LabelTable`, also for the next four.
        activation: softmax or sigmoid.
        num_outputs: output channels of the network.
        regions: the integers of each label.
        ignore_label: integer of voxels whose label is unknown.
        order: labels in painting order, later ones win; None: the most probable label wins.
        thresholds: probability above which labels are predicted under sigmoid; 1/2 for others.
        postprocessing: the steps that predicted masks go through.
    """

    order: tuple[str, ...] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    postprocessing: Postprocessing = field(default_factory=Postprocessing)

    @classmethod
    def of(
        cls,
        given: LabelsGiven,
        activation: Activation,
        num_outputs: int,
        *,
        region_order: Sequence[OrderEntry] | None = None,
        ignore_label: int | None = None,
        threshold: float | Mapping[str, float] | None = None,
        postprocessing: Mapping[str, Any] | None = None,
    ) -> Labels:
        """Return the labels that are written in either form, with what decides about them.

        Args:
            given: `{1: "liver"}` or `{"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4}`.
            activation: softmax or sigmoid.
            num_outputs: output channels of the network.
            region_order: labels in painting order, or nnU-Net's `regions_class_order`.
            ignore_label: integer of voxels whose label is unknown.
            threshold: threshold of all labels, or of some.
            postprocessing: steps, such as `{"keep_largest": ["liver"]}`.

        Raises:
            ConfigError: the settings contradict each other, or do not fit the output channels.
        """
        by_name = is_by_name(given)
        regions = read_regions(given) if by_name else _regions_of(given)  # type: ignore[arg-type]
        painted = {name: own for name, own in regions.items() if own != (0,)}
        _check_ignored(ignore_label, regions)
        order = default_order(painted)
        chosen: dict[str, int] = {}
        if region_order is not None:
            order, chosen = read_order(
                region_order, painted, by_name=by_name, ignore_label=ignore_label
            )
        names = dict(given)
        if by_name:
            integers = painted_integers(painted, chosen, may_overlap=activation == "sigmoid")
            names = {value: name for name, value in integers.items()}
            names.update((0, name) for name, own in regions.items() if own == (0,))
        known = list(painted)
        return cls(
            names,  # type: ignore[arg-type]
            activation,
            num_outputs,
            regions if by_name else None,
            ignore_label,
            order,
            {} if threshold is None else read_thresholds(threshold, known, activation),
            Postprocessing.of(postprocessing or {}, known),
        )

    def probability(self, logits: Logits) -> Float[Tensor, "B L *S"]:
        """Return the probabilities of all output channels, in 0..1."""
        return logits.softmax(dim=1) if self.activation == "softmax" else logits.sigmoid()

    def probability_of(self, logits: Logits, label: str | int) -> Field:
        """Return the probability of a label; of a union of channels, the sum of theirs."""
        channels = self.channels(label)
        found = self.probability(logits)
        return found[:, channels[0]] if len(channels) == 1 else found[:, channels].sum(dim=1)

    def logit_of(self, logits: Logits, label: str | int) -> Field:
        """Return the logit of a label; of a union S of channels, `log sum_{k in S} exp y_k`.

        That is the logit of S as one channel: with the other channels' it gives S, under softmax,
        the sum of the probabilities of its channels.
        """
        channels = self.channels(label)
        if len(channels) == 1:
            return logits[:, channels[0]]
        return logits[:, channels].logsumexp(dim=1)

    def margin_of(self, logits: Logits, label: str | int) -> Field:
        """Return by how much a label leads; above 0 where it is predicted.

        Softmax: the largest logit of its channels less that of all others. Sigmoid: its logit
        less that of its threshold.
        """
        channels = self.channels(label)
        if self.activation == "sigmoid":
            return logits[:, channels[0]] - self._level(label)
        others = [other for other in range(logits.shape[1]) if other not in channels]
        own = logits[:, channels[0]] if len(channels) == 1 else logits[:, channels].amax(dim=1)
        return own - logits[:, others].amax(dim=1)

    def predicted(self, logits: Logits, label: str | int) -> Bool[Tensor, "B *S"]:
        """Return where a label is predicted, before any postprocessing.

        Softmax: where the largest logit is one of its channels'. Sigmoid: where its probability
        is above its threshold.
        """
        first, *others = self.channels(label)
        if self.activation == "sigmoid":
            return logits[:, first] > self._level(label)
        largest = logits.argmax(dim=1)
        found = largest == first
        for channel in others:
            found |= largest == channel
        return found

    def masks(self, logits: Logits) -> dict[str, Bool[Tensor, "B *S"]]:
        """Return where each label but the background is predicted, before postprocessing."""
        return {name: self.predicted(logits, name) for name in self.foreground}

    def label_map(
        self, logits: Logits, masks: Mapping[str, Mask] | None = None
    ) -> Int[Tensor, "B *S"]:
        """Return the integer that each voxel is painted with, 0 where there is no label.

        Labels are painted in `order`, each over those before it; without one, the most probable
        label of a voxel is.

        Args:
            logits: `B L *S`.
            masks: masks of all labels but the background; by default, where they are predicted.
        """
        result = torch.zeros_like(logits[:, 0], dtype=torch.long)
        if self.order is not None:
            painted = {name: integer for integer, name in self.names.items()}
            for name in self.order:
                if name in painted:
                    here = self.predicted(logits, name) if masks is None else masks[name]
                    result = torch.where(here, torch.full_like(result, painted[name]), result)
            return result
        best = torch.full_like(logits[:, 0], -torch.inf)
        for integer in sorted(self.names):
            if integer == 0:
                continue
            name = self.names[integer]
            logit = self.logit_of(logits, name)
            mask = self.predicted(logits, name) if masks is None else masks[name]
            here = mask & (logit > best)
            result = torch.where(here, torch.full_like(result, integer), result)
            best = torch.where(here, logit, best)
        return result

    def notes(self) -> list[str]:
        """Return what to say about labels that could just as well be painted as another integer."""
        shared = [integer for own in self._integers.values() for integer in own]
        notes = []
        for integer, name in self.names.items():
            own = [one for one in self._integers[name] if shared.count(one) == 1]
            others = own[1:]
            if others and integer == own[0] and self.order is not None:
                notes.append(
                    f"labels: of {', '.join(str(one) for one in own)}, "
                    f'"{name}" is painted as {integer} in the predicted label map; '
                    f"region_order: [{{{name}: {others[0]}}}, ...] would paint another"
                )
        return notes

    def describe(self) -> dict[str, Any]:
        """Return how masks and label map are made, as plain values for a sidecar."""
        order = "the most probable label" if self.order is None else list(self.order)
        steps = self.postprocessing.describe()
        return {
            "integers": {name: list(self._integers[name]) for name in self.foreground},
            **({"region_order": order} if self.may_overlap else {}),
            **({"threshold": dict(self.thresholds)} if self.thresholds else {}),
            **({"ignore_label": self.ignore_label} if self.ignore_label is not None else {}),
            **({"postprocessing": steps} if steps else {}),
        }

    def _level(self, label: str | int) -> float:
        """Return the logit above which a label is predicted; exactly 0 for a probability of 1/2."""
        threshold = self.thresholds.get(self.name(label), 0.5)
        return math.log(threshold) - math.log1p(-threshold) if threshold != 0.5 else 0.0


def _regions_of(given: Mapping[int, str]) -> RegionIntegers:
    return {given[integer]: (integer,) for integer in sorted(given)}


def _check_ignored(ignore_label: int | None, regions: RegionIntegers) -> None:
    if ignore_label is None:
        return
    if type(ignore_label) is not int:
        raise ConfigError(f"ignore_label: {ignore_label!r} is not an integer")
    for name, integers in regions.items():
        if ignore_label in integers:
            raise ConfigError(
                f'ignore_label: {ignore_label} belongs to the label "{name}"',
                hint="an ignored integer cannot belong to a label",
            )
