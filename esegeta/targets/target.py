"""Targets: a prediction reduced to one number, and the algebra that combines them.

A `Target` is a description. Frozen on a scene it becomes a `FrozenTarget`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from esegeta.axes import Logits, Scalars
from esegeta.predict import LinearForm, add_forms
from esegeta.targets.frozen import FrozenTarget
from esegeta.targets.reading import UnitReading, require_one_layer, scene_of
from esegeta.targets.scene import Scene
from esegeta.targets.sums import joined

Reduce = Literal["sum", "mean"]


class Target(ABC):
    """A description of one number to explain; combine with `+`, `-` and `*`."""

    @property
    def readings(self) -> frozenset[UnitReading]:
        """What the target looks at; the logits, unless it says otherwise."""
        return frozenset({UnitReading()})

    @abstractmethod
    def freeze(self, scene: Scene) -> FrozenTarget:
        """Fix the target on a scene.

        Args:
            scene: model, volume and ground truth.

        Raises:
            EmptyTargetError: its mask holds no voxel; the message names the label, the region and
                the case.
            TargetError: the label is unknown, or the scene lacks what the target needs.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return the target in words, with its coefficients."""

    def __add__(self, other: Target) -> Target:
        return WeightedSum((*self.weighted(1.0), *other.weighted(1.0)))

    def __sub__(self, other: Target) -> Target:
        return WeightedSum((*self.weighted(1.0), *other.weighted(-1.0)))

    def __neg__(self) -> Target:
        return WeightedSum(self.weighted(-1.0))

    def __mul__(self, other: float | Target) -> Target:
        if isinstance(other, Target):
            return Product(self, other)
        return WeightedSum(self.weighted(float(other)))

    def __rmul__(self, other: float) -> Target:
        return self * other

    def weighted(self, weight: float) -> tuple[tuple[float, Target], ...]:
        """Return the terms of `weight * self`, a sum's terms each by itself.

        Args:
            weight: factor.
        """
        return ((weight, self),)


@dataclass(frozen=True)
class WeightedSum(Target):
    """`sum_i c_i * R_i`; linear when every part is."""

    terms: tuple[tuple[float, Target], ...]

    def __post_init__(self) -> None:
        require_one_layer([reading.layer for reading in self.readings])

    @property
    def readings(self) -> frozenset[UnitReading]:
        """The readings of all parts."""
        return frozenset[UnitReading]().union(*(target.readings for _, target in self.terms))

    def weighted(self, weight: float) -> tuple[tuple[float, Target], ...]:
        """Return the terms of `weight * self`."""
        return tuple((weight * own, target) for own, target in self.terms)

    def freeze(self, scene: Scene) -> FrozenTarget:
        """Freeze every part on the scene and add them up."""
        scene = scene_of(self.readings, scene)
        parts = [(weight, target.freeze(scene)) for weight, target in self.terms]
        mask = torch.stack([part.mask for _, part in parts]).any(dim=0)
        forms = [
            _form(part.coefficients).scaled(weight)
            for weight, part in parts
            if part.coefficients is not None
        ]
        linear = add_forms(forms) if len(forms) == len(parts) else None

        def add(values: Sequence[Scalars]) -> Scalars:
            weighted = [weight * own for (weight, _), own in zip(parts, values, strict=True)]
            return torch.stack(weighted).sum(dim=0)

        def value(logits: Logits) -> Scalars:
            return add([part.value(logits) for _, part in parts])

        sums = joined([part.sums for _, part in parts], add, is_linear=True)
        units = dict.fromkeys(part.unit for _, part in parts)
        support = _union([part.support for _, part in parts])
        unit = " + ".join(units)
        facts = {"parts": {part.description: part.facts for _, part in parts}}
        return FrozenTarget(
            value, mask, unit, self.describe(), scene, linear, support, facts, sums=sums
        )

    def describe(self) -> str:
        """Return the parts with their coefficients."""
        words = " ".join(_term(weight, target.describe()) for weight, target in self.terms)
        return words.removeprefix("+ ")


@dataclass(frozen=True)
class Product(Target):
    """`R_1 * R_2`; never linear."""

    left: Target
    right: Target

    def __post_init__(self) -> None:
        require_one_layer([reading.layer for reading in self.readings])

    @property
    def readings(self) -> frozenset[UnitReading]:
        """The readings of both factors."""
        return self.left.readings | self.right.readings

    def freeze(self, scene: Scene) -> FrozenTarget:
        """Freeze both factors on the scene."""
        scene = scene_of(self.readings, scene)
        left, right = self.left.freeze(scene), self.right.freeze(scene)

        def multiply(values: Sequence[Scalars]) -> Scalars:
            return values[0] * values[1]

        return FrozenTarget(
            lambda logits: left.value(logits) * right.value(logits),
            left.mask | right.mask,
            f"{left.unit} * {right.unit}",
            self.describe(),
            scene,
            support=_union([left.support, right.support]),
            facts={"parts": {part.description: part.facts for part in (left, right)}},
            sums=joined([left.sums, right.sums], multiply, is_linear=False),
        )

    def describe(self) -> str:
        """Return both factors."""
        return f"({self.left.describe()}) * ({self.right.describe()})"


def _term(weight: float, description: str) -> str:
    sign, size = ("-" if weight < 0 else "+"), abs(weight)
    return f"{sign} ({description})" if size == 1 else f"{sign} {size:g} * ({description})"


def _form(coefficients: LinearForm | Tensor) -> LinearForm:
    if isinstance(coefficients, LinearForm):
        return coefficients
    return LinearForm.of_dense(coefficients)


def _union(supports: Sequence[Tensor | None]) -> Tensor | None:
    masks = [support for support in supports if support is not None]
    return torch.stack(masks).any(dim=0) if len(masks) == len(supports) else None
