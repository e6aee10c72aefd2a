"""What a picture is to have much of: a unit, a layer, a label, a direction; sums of these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Scalars
from esegeta.errors import LayerError
from esegeta.model import Labels
from esegeta.predict import OUTPUT

Seen = Mapping[str, Tensor]
"""Outputs `B U *layer` by name of layer; the logits are `OUTPUT`."""

At = Literal["mean", "centre"] | tuple[int, ...]
"""Over which positions of a map: all, the middle one, or the one of this index."""


class PictureObjective(ABC):
    """One number a picture, to be made large; objectives combine with + - *."""

    @property
    @abstractmethod
    def layers(self) -> frozenset[str]:
        """Names of the layers that are read; `OUTPUT` for the logits."""

    @abstractmethod
    def __call__(self, seen: Seen) -> Scalars:
        """Return the number of each picture of the batch, differentiable."""

    @abstractmethod
    def describe(self) -> str:
        """Return it in words."""

    def __add__(self, other: PictureObjective) -> PictureObjective:
        return WeightedObjectives(((1.0, self), (1.0, other)))

    def __sub__(self, other: PictureObjective) -> PictureObjective:
        return WeightedObjectives(((1.0, self), (-1.0, other)))

    def __mul__(self, factor: float) -> PictureObjective:
        return WeightedObjectives(((float(factor), self),))

    __rmul__ = __mul__

    def __neg__(self) -> PictureObjective:
        return self * -1.0


@dataclass(frozen=True)
class UnitObjective(PictureObjective):
    """The activation of a unit: its mean over the map, or at one position.

    Args:
        layer: name of the layer.
        unit: its channel, from 0.
        at: over which positions.
    """

    layer: str
    unit: int
    at: At = "mean"

    @property
    def layers(self) -> frozenset[str]:
        """The one layer."""
        return frozenset({self.layer})

    def __call__(self, seen: Seen) -> Scalars:
        """Return a_u.

        Raises:
            LayerError: the layer has no such unit or position.
        """
        output = seen[self.layer]
        if self.unit >= output.shape[1]:
            raise LayerError(
                f'layer "{self.layer}" has no unit {self.unit}',
                hint=f"name one from 0 to {output.shape[1] - 1}",
            )
        return taken_at(output[:, self.unit], self.at, self.layer)

    def describe(self) -> str:
        """Return such as `unit 3 of model.1 (mean)`."""
        return f"unit {self.unit} of {self.layer} ({_place(self.at)})"


@dataclass(frozen=True)
class LayerObjective(PictureObjective):
    """DeepDream: the mean square of all activations of a layer, mean_{u,p} a_u(p)^2.

    Args:
        layer: name of the layer.

    Source: Mordvintsev et al. 2015, "Inceptionism".
    """

    layer: str

    @property
    def layers(self) -> frozenset[str]:
        """The one layer."""
        return frozenset({self.layer})

    def __call__(self, seen: Seen) -> Scalars:
        """Return the mean square."""
        return seen[self.layer].square().flatten(1).mean(1)

    def describe(self) -> str:
        """Return such as `mean square of model.1`."""
        return f"mean square of {self.layer}"


@dataclass(frozen=True)
class LabelObjective(PictureObjective):
    """The logit of a label: its mean over the picture, or at one voxel.

    Args:
        labels: what the outputs mean.
        label: name or integer.
        at: over which voxels.
    """

    labels: Labels
    label: str | int
    at: At = "mean"

    @property
    def layers(self) -> frozenset[str]:
        """The logits."""
        return frozenset({OUTPUT})

    def __call__(self, seen: Seen) -> Scalars:
        """Return the logit."""
        return taken_at(self.labels.logit_of(seen[OUTPUT], self.label), self.at, "the output")

    def describe(self) -> str:
        """Return such as `logit of liver (mean)`."""
        return f"logit of {self.label} ({_place(self.at)})"


@dataclass(frozen=True, eq=False)
class DirectionObjective(PictureObjective):
    """How far a layer goes in a direction, such as a concept's: mean_p <a(p), v / |v|>.

    Args:
        layer: name of the layer.
        direction: v, one number a unit.
        at: over which positions.
        name: of the direction, in words.

    Source: Kim et al. 2018, "TCAV", whose vectors these may be.
    """

    layer: str
    direction: Float[Tensor, " U"] = field(repr=False)
    at: At = "mean"
    name: str = "direction"

    @property
    def layers(self) -> frozenset[str]:
        """The one layer."""
        return frozenset({self.layer})

    def __call__(self, seen: Seen) -> Scalars:
        """Return the mean length along the direction.

        Raises:
            LayerError: the layer has another number of units than the direction.
        """
        output = seen[self.layer]
        if output.shape[1] != len(self.direction):
            raise LayerError(
                f'layer "{self.layer}" has {output.shape[1]} units, but the direction '
                f"has {len(self.direction)} numbers",
                hint="give one number per unit, in the order of the units",
            )
        direction = (self.direction / self.direction.norm()).to(output)
        along = torch.tensordot(output, direction, dims=([1], [0]))
        return taken_at(along, self.at, self.layer)

    def describe(self) -> str:
        """Return such as `fat in model.1 (mean)`."""
        return f"{self.name} in {self.layer} ({_place(self.at)})"


@dataclass(frozen=True)
class DiversityObjective(PictureObjective):
    """How unlike the pictures of a batch are, in what a layer makes of them.

        d_i = -mean_{j != i} cos(G_i, G_j),    G = A A^T,  A the units by positions

    G says which units are active together, wherever that is. One picture alone has 0.

    Args:
        layer: name of the layer.

    Source: Olah et al. 2017, "Feature Visualization".
    """

    layer: str

    @property
    def layers(self) -> frozenset[str]:
        """The one layer."""
        return frozenset({self.layer})

    def __call__(self, seen: Seen) -> Scalars:
        """Return d of each picture."""
        flat = seen[self.layer].flatten(2)
        count = len(flat)
        if count < 2:
            return flat.new_zeros(count)
        gram = (flat @ flat.transpose(1, 2)).flatten(1)
        unit = gram / gram.norm(dim=1, keepdim=True).clamp(min=torch.finfo(gram.dtype).tiny)
        alike = unit @ unit.T
        found: Tensor = alike.diagonal() - alike.sum(1)
        return found / (count - 1)

    def describe(self) -> str:
        """Return such as `diversity in model.1`."""
        return f"diversity in {self.layer}"


@dataclass(frozen=True)
class WeightedObjectives(PictureObjective):
    """A sum of objectives, each times a coefficient."""

    terms: tuple[tuple[float, PictureObjective], ...]

    @property
    def layers(self) -> frozenset[str]:
        """Those of all terms."""
        return frozenset().union(*(term.layers for _, term in self.terms))

    def __call__(self, seen: Seen) -> Scalars:
        """Return the sum."""
        parts = [factor * term(seen) for factor, term in self.terms]
        return torch.stack(parts).sum(0)

    def describe(self) -> str:
        """Return the terms with their coefficients."""
        words = ""
        for place, (factor, term) in enumerate(self.terms):
            sign = "-" if factor < 0 else "+"
            joint = f" {sign} " if place else "-" if factor < 0 else ""
            shown = term.describe()
            if isinstance(term, WeightedObjectives):
                shown = f"({shown})"
            words += joint + (shown if abs(factor) == 1 else f"{abs(factor):g} * {shown}")
        return words


def taken_at(maps: Float[Tensor, "B *S"], at: At, where: str) -> Scalars:
    """Return the mean of maps, or their value at one position.

    Raises:
        LayerError: there is no such position.
    """
    if at == "mean":
        return maps.flatten(1).mean(1)
    shape = maps.shape[1:]
    place = tuple(length // 2 for length in shape) if at == "centre" else at
    if len(place) != len(shape) or not all(0 <= p < n for p, n in zip(place, shape, strict=True)):
        raise LayerError(
            f"{where} has no position {list(place)}; its map is {list(shape)}",
            hint="give one index per axis, from 0",
        )
    for index in place:
        maps = maps[:, index]
    return maps


def _place(at: At) -> str:
    return at if isinstance(at, str) else f"at {list(at)}"
