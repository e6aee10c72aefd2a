"""Which output channel is which label, and how logits become probabilities and label maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from esegeta.axes import Logits
from esegeta.errors import ConfigError, TargetError, suggest

Activation = Literal["softmax", "sigmoid"]

BACKGROUND = "background"


@dataclass(frozen=True)
class Labels:
    """The labels of a segmentation network: their integers, names and output channels.

    Softmax: channel k is label k, or, when the integers are sparse (1, 2, 4), the background
    comes first and the labels follow in ascending order. Sigmoid: one channel a label in
    ascending order, or, when there are more channels than labels, channel k is label k.

    Args:
        names: the name of each label integer.
        activation: softmax (labels exclude each other) or sigmoid (they may overlap).
        num_outputs: output channels of the network.

    Raises:
        ConfigError: the labels cannot be matched to the output channels.
    """

    names: Mapping[int, str]
    activation: Activation
    num_outputs: int

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
        if self._channels() is None:
            raise ConfigError(
                f"labels: {sorted(self.names)} cannot be matched to the {self.num_outputs} "
                f"output channels of the network under {self.activation}",
                hint="give one integer below the number of channels for each label",
            )

    def _channels(self) -> dict[int, int] | None:
        integers = sorted(self.names)
        in_order = {label: place for place, label in enumerate(integers)}
        identity = {label: label for label in integers}
        identity_fits = integers[0] >= 0 and integers[-1] < self.num_outputs
        if self.activation == "sigmoid":
            if len(integers) == self.num_outputs:
                return in_order
            return identity if identity_fits else None
        if identity_fits:
            return identity
        with_background = sorted({0, *integers})
        if len(with_background) == self.num_outputs:
            return {label: with_background.index(label) for label in integers}
        return None

    def integer(self, label: str | int) -> int:
        """Return the integer of a label given by its name or integer.

        Raises:
            TargetError: there is no such label; the nearest names are given.
        """
        if isinstance(label, int) and label in self.names:
            return label
        for integer, name in self.names.items():
            if name == label:
                return integer
        raise TargetError(
            f'label "{label}" is not among the labels', hint=suggest(label, self.names.values())
        )

    def channel(self, label: str | int) -> int:
        """Return the output channel of a label given by its name or integer."""
        channels = self._channels()
        assert channels is not None  # checked when built
        return channels[self.integer(label)]

    @property
    def foreground(self) -> tuple[str, ...]:
        """Names of all labels but the background, by ascending integer."""
        return tuple(self.names[integer] for integer in sorted(self.names) if integer != 0)

    @property
    def known_integers(self) -> tuple[int, ...]:
        """What a label map may hold: 0 and the integers of all labels."""
        return tuple(sorted({0, *self.names}))

    def truth(self, label_map: Int[Tensor, "*any"], label: str | int) -> Bool[Tensor, "*any"]:
        """Return where a label map holds a label."""
        return label_map == self.integer(label)

    def probability_of(self, logits: Logits, label: str | int) -> Float[Tensor, "B *S"]:
        """Return the probability of a label, in 0..1."""
        return self.probability(logits)[:, self.channel(label)]

    def probability(self, logits: Logits) -> Float[Tensor, "B L *S"]:
        """Return probabilities in 0..1."""
        return logits.softmax(dim=1) if self.activation == "softmax" else logits.sigmoid()

    def predicted(self, logits: Logits, label: str | int) -> Bool[Tensor, "B *S"]:
        """Return where a label is predicted: the largest logit, or probability above 1/2."""
        channel = self.channel(label)
        if self.activation == "softmax":
            return logits.argmax(dim=1) == channel
        return logits[:, channel] > 0

    def label_map(self, logits: Logits) -> Tensor:
        """Return label integers `B *S`; where sigmoid labels overlap, the most probable one."""
        result = torch.zeros_like(logits[:, 0], dtype=torch.long)
        best = torch.full_like(logits[:, 0], -torch.inf)
        for integer in sorted(self.names):
            if integer == 0:
                continue
            here = self.predicted(logits, integer) & (logits[:, self.channel(integer)] > best)
            result = torch.where(here, torch.full_like(result, integer), result)
            best = torch.where(here, logits[:, self.channel(integer)], best)
        return result
