"""What output channels, label integers and regions mean, and how logits become decisions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from esegeta.axes import Field, Logits, Mask
from esegeta.errors import ConfigError, TargetError, suggest
from esegeta.model.label_forms import (
    BACKGROUND,
    Integers,
    OrderEntry,
    Regions,
    default_order,
    is_by_name,
    painted_integers,
    read_order,
    read_regions,
    read_thresholds,
)
from esegeta.model.postprocessing import Postprocessing

Activation = Literal["softmax", "sigmoid"]

LabelsGiven = Mapping[int, str] | Mapping[str, int | Sequence[int]]
"""Labels as they are written: the name of each integer, or the integers of each name."""


@dataclass(frozen=True)
class Labels:
    """The labels of a segmentation network: integers, names, output channels and decisions.

    Softmax: channel k is label k, or, when the integers are sparse (1, 2, 4), the background
    comes first and the integers follow in ascending order; a region is the union of the channels
    of its integers. Sigmoid: one channel a label, in ascending order of integers or, where the
    integers of each name are given, in the order written; or, when there are more channels than
    named integers, channel k is label k. `Labels.of` takes both forms.

    Args:
        names: the name of each integer of the label maps that predictions are painted as.
        activation: softmax (channels exclude each other) or sigmoid (labels may overlap).
        num_outputs: output channels of the network.
        regions: the integers of each label in the ground truth, in the order written; each label
            is its one integer where None.
        order: labels in painting order, later ones win; None: the most probable one does.
        ignore_label: integer of voxels whose label is unknown; they are in nothing.
        thresholds: probability above which labels are predicted under sigmoid; 1/2 for others.
        postprocessing: what happens to predicted masks.

    Raises:
        ConfigError: the labels cannot be matched to the output channels.
    """

    names: Mapping[int, str]
    activation: Activation
    num_outputs: int
    regions: Regions | None = None
    order: tuple[str, ...] | None = None
    ignore_label: int | None = None
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
            threshold: of all labels, or of some.
            postprocessing: steps, such as `{"keep_largest": ["liver"]}`.

        Raises:
            ConfigError: they contradict each other, or do not fit the output channels.
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
            order,
            ignore_label,
            {} if threshold is None else read_thresholds(threshold, known, activation),
            Postprocessing.of(postprocessing or {}, known),
        )

    def __post_init__(self) -> None:
        if not self.names:
            raise ConfigError("labels: none are given", hint="name them: labels: {1: liver}")
        lowest = min(self.names)
        hidden = self.activation == "sigmoid" and self.names.get(0, BACKGROUND) != BACKGROUND
        if lowest < 0 or hidden:
            raise ConfigError(
                f'labels: {lowest} cannot be the label "{self.names[lowest]}"; 0 is the background '
                "of every label map",
                hint="number the labels from 1",
            )
        if len(set(self.names.values())) != len(self.names):
            raise ConfigError("labels: two labels share a name")
        if self.activation == "softmax" and self.num_outputs == 1:
            raise ConfigError(
                "activation: softmax over a single output channel is always 1",
                hint="use activation: sigmoid",
            )
        if self._channels is None:
            shown = list(self._integers) if self.regions else sorted(self.names)
            raise ConfigError(
                f"labels: {shown} cannot be matched to the {self.num_outputs} "
                f"output channels of the network under {self.activation}",
                hint=(
                    "name every output channel, in the network's order"
                    if self.regions and self.activation == "sigmoid"
                    else "give one integer below the number of channels for each label"
                ),
            )

    @cached_property
    def _integers(self) -> Regions:
        """The integers of each label, the background among them where it is named."""
        if self.regions is not None:
            return self.regions
        return {self.names[integer]: (integer,) for integer in sorted(self.names)}

    @cached_property
    def _channels(self) -> dict[str, tuple[int, ...]] | None:
        """The output channels of each label, or None where there is no telling."""
        if self.activation == "sigmoid" and self.regions is not None:
            return _in_order(self.regions, self.num_outputs)
        singles = sorted({integer for own in self._integers.values() for integer in own})
        found = _channels_of(singles, self.activation, self.num_outputs)
        if found is None:
            return None
        return {
            name: tuple(found[integer] for integer in own) for name, own in self._integers.items()
        }

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names of all labels, the background among them where it is named."""
        return tuple(self._integers)

    @cached_property
    def foreground(self) -> tuple[str, ...]:
        """Names of all labels but the background: as written, or by ascending integer."""
        return tuple(name for name, own in self._integers.items() if own != (0,))

    @cached_property
    def named(self) -> tuple[str, ...]:
        """Names of all labels that have an output channel, the background among them if named."""
        return tuple(self._channels or ())

    @cached_property
    def known_integers(self) -> tuple[int, ...]:
        """What a ground truth may hold: 0, the integers of all labels and the ignored one."""
        own = {integer for integers in self._integers.values() for integer in integers}
        ignored = set() if self.ignore_label is None else {self.ignore_label}
        return tuple(sorted({0} | own | ignored))

    @cached_property
    def may_overlap(self) -> bool:
        """Whether a voxel may have two labels: under sigmoid, or where regions share integers."""
        own = [integer for name in self.foreground for integer in self._integers[name]]
        shared = len(set(own)) < len(own)
        return len(self.foreground) > 1 and (shared or self.activation == "sigmoid")

    @cached_property
    def are_integers(self) -> bool:
        """Whether each label is one integer of the label maps, and none overlaps another."""
        return not self.may_overlap and all(len(own) == 1 for own in self._integers.values())

    def name(self, label: str | int) -> str:
        """Return the name of a label given by its name or, where it is just one, its integer.

        Raises:
            TargetError: there is no such label; the nearest names are given.
        """
        if isinstance(label, int):
            found = [name for name, own in self._integers.items() if own == (label,)]
            if found:
                return found[0]
        if label in self._integers:
            return str(label)
        raise TargetError(
            f'label "{label}" is not among the labels', hint=suggest(label, self._integers)
        )

    def is_background(self, label: str | int) -> bool:
        """Tell whether a label is the background."""
        return self.integers(label) == (0,)

    def integers(self, label: str | int) -> Integers:
        """Return the integers of a label in the ground truth."""
        return self._integers[self.name(label)]

    def integer(self, label: str | int) -> int:
        """Return the integer that a label is painted as in predicted label maps.

        Raises:
            TargetError: it is painted over everywhere by labels that are parts of it.
        """
        name = self.name(label)
        for integer, other in self.names.items():
            if other == name:
                return integer
        raise TargetError(f'label "{name}" is painted over everywhere and has no integer')

    def channels(self, label: str | int) -> tuple[int, ...]:
        """Return the output channels of a label: one, or those of its integers under softmax.

        Raises:
            TargetError: it is the background, and the network has no channel of it.
        """
        assert self._channels is not None  # checked when built
        name = self.name(label)
        if name not in self._channels:
            raise TargetError(
                f'label "{name}" has no output channel under sigmoid',
                hint="the background is where no label is predicted",
            )
        return self._channels[name]

    def channel(self, label: str | int) -> int:
        """Return the output channel of a label.

        Raises:
            TargetError: the label is the union of several channels.
        """
        channels = self.channels(label)
        if len(channels) > 1:
            raise TargetError(
                f'label "{self.name(label)}" is the union of the output channels '
                f"{', '.join(str(channel) for channel in channels)} and has none of its own",
                hint="name a label of one integer",
            )
        return channels[0]

    def truth(self, label_map: Int[Tensor, "*any"], label: str | int) -> Bool[Tensor, "*any"]:
        """Return where a ground truth holds a label: any of its integers; ignored voxels do not."""
        first, *others = self.integers(label)
        found = label_map == first
        for integer in others:
            found |= label_map == integer
        return found

    def channel_map(self, label_map: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
        """Return the output channel of each voxel of a ground truth under softmax.

        Channel 0 where it is of no label.
        """
        result = torch.zeros_like(label_map)
        singles = {integer for own in self._integers.values() for integer in own}
        found = _channels_of(sorted(singles), self.activation, self.num_outputs)
        assert found is not None  # checked when built
        for integer, channel in found.items():
            result[label_map == integer] = channel
        return result

    def valid(self, label_map: Int[Tensor, "*any"]) -> Bool[Tensor, "*any"]:
        """Return where a ground truth is known: all voxels but the ignored ones."""
        if self.ignore_label is None:
            return torch.ones_like(label_map, dtype=torch.bool)
        return label_map != self.ignore_label

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
            masks: of all labels but the background; where they are predicted by default.
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
        """Return what to say of labels that might as well be painted as another integer."""
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


def _regions_of(given: Mapping[int, str]) -> Regions:
    return {given[integer]: (integer,) for integer in sorted(given)}


def _check_ignored(ignore_label: int | None, regions: Regions) -> None:
    if ignore_label is None:
        return
    if type(ignore_label) is not int:
        raise ConfigError(f"ignore_label: {ignore_label!r} is not an integer")
    for name, integers in regions.items():
        if ignore_label in integers:
            raise ConfigError(
                f'ignore_label: {ignore_label} is an integer of the label "{name}"',
                hint="what is ignored is no label",
            )


def _in_order(regions: Regions, num_outputs: int) -> dict[str, tuple[int, ...]] | None:
    """Return one channel a label as written; the background has one only where all have."""
    foreground = [name for name, own in regions.items() if own != (0,)]
    for listed in (foreground, list(regions)):
        if len(listed) == num_outputs:
            return {name: (place,) for place, name in enumerate(listed)}
    return None


def _channels_of(
    integers: Sequence[int], activation: Activation, num_outputs: int
) -> dict[int, int] | None:
    """Return the channel of each of some ascending integers."""
    in_order = {label: place for place, label in enumerate(integers)}
    identity = {label: label for label in integers}
    identity_fits = integers[0] >= 0 and integers[-1] < num_outputs
    if activation == "sigmoid":
        if len(integers) == num_outputs:
            return in_order
        return identity if identity_fits else None
    if identity_fits:
        return identity
    with_background = sorted({0, *integers})
    if len(with_background) == num_outputs:
        return {label: with_background.index(label) for label in integers}
    return None
