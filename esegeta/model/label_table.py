"""Which integers of the ground truth, and which output channels of the network, a label is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from esegeta.errors import ConfigError, TargetError, suggest
from esegeta.model.label_forms import BACKGROUND, Integers, RegionIntegers

Activation = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class LabelTable:
    """Names, integers and output channels of labels, and what a ground truth says about them.

    Softmax: channel k is label k, or, when the integers are sparse (1, 2, 4), the background
    comes first and the integers follow in ascending order; a region is the union of the channels
    of its integers. Sigmoid: one channel a label, in ascending order of integers or, where the
    integers of each name are given, in the order written; or, when there are more channels than
    named integers, channel k is label k.

    Args:
        names: the name of each integer of the label maps that predictions are painted as.
        activation: softmax (channels exclude each other) or sigmoid (labels may overlap).
        num_outputs: output channels of the network.
        regions: the integers of each label in the ground truth, in the order written; each label
            is its one integer where None.
        ignore_label: integer of voxels whose label is unknown; they count nowhere.

    Raises:
        ConfigError: the labels cannot be matched to the output channels.
    """

    names: Mapping[int, str]
    activation: Activation
    num_outputs: int
    regions: RegionIntegers | None = None
    ignore_label: int | None = None

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
    def _integers(self) -> RegionIntegers:
        """The integers of each label, the background among them where it is named."""
        if self.regions is not None:
            return self.regions
        return {self.names[integer]: (integer,) for integer in sorted(self.names)}

    @cached_property
    def _channels(self) -> dict[str, tuple[int, ...]] | None:
        """The output channels of each label, or None where they cannot be known."""
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
            TargetError: it is the background, and the network has no channel for it.
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

    def shown(self, label_map: Int[Tensor, "*any"], label: str | int) -> Bool[Tensor, "*any"]:
        """Return where a label map that a prediction was painted as shows a label.

        As in a ground truth, and where the label is painted as an integer of its own.
        """
        found = self.truth(label_map, label)
        name = self.name(label)
        for integer, other in self.names.items():
            if other == name:
                found = found | (label_map == integer)
        return found

    def channel_map(self, label_map: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
        """Return the output channel of each voxel of a ground truth under softmax.

        Channel 0 where it has no label.
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


def _in_order(regions: RegionIntegers, num_outputs: int) -> dict[str, tuple[int, ...]] | None:
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
