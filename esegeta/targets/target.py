"""Targets: a prediction reduced to one number, and the algebra that combines them.

A `Target` is a description. Frozen on a scene it becomes a `FrozenTarget`: a function of logits
alone, whose mask is fixed on the unperturbed prediction (unless it is live).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from esegeta.axes import Logits, Mask, Scalars
from esegeta.errors import EmptyTargetError, TargetError
from esegeta.predict import Cotangent, LinearForm, Windows, add_forms
from esegeta.targets.reading import UnitReading, require_one_layer, scene_of
from esegeta.targets.scene import Scene
from esegeta.targets.sums import Sums, Totals, joined

Reduce = Literal["sum", "mean"]


@dataclass(frozen=True, eq=False)
class FrozenTarget:
    """A target on one volume: logits `B L *S` in, one number per image out.

    Args:
        function: differentiable, float64 `B` from logits.
        mask: the voxels it is formed over (of the unperturbed prediction), `*S`.
        unit: what the number is measured in.
        description: description of the target in words, with coefficients.
        scene: scene that the target was frozen on.
        coefficients: a linear form, or `L *S`, such that `function(y) = <coefficients, y>`; None
            where the target is not linear in the logits.
        support: the voxels whose logits the number depends on, `*S`, or None for all of them;
            windows beside it need not be run.
        facts: more for the sidecar, such as the volume of a component.
        known: windows that the support touches, filled in as they are asked for.
        label: name or integer of the label that the number is about, if there is one.
        relabelled: makes the same target of another label, over the same voxels; None where the
            target is not about one label.
        plain: what the number is, for a reader unfamiliar with logits.
        sums: the same number as a function of sums over voxels; None where it is not one.
        known_totals: those sums `T` on the unperturbed volume, filled in when they are asked for.
    """

    function: Callable[[Logits], Scalars]
    mask: Mask
    unit: str
    description: str
    scene: Scene
    coefficients: LinearForm | Tensor | None = None
    support: Tensor | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    known: dict[Windows, list[int]] = field(default_factory=dict, repr=False)
    label: str | int | None = None
    relabelled: Callable[[str | int], FrozenTarget] | None = None
    plain: str = "the target"
    sums: Sums | None = None
    known_totals: list[Totals] = field(default_factory=list, repr=False)

    def __repr__(self) -> str:
        """One line: the number, its unit, the case and how many voxels it is formed over."""
        voxels = int(self.mask.sum())
        return (
            f"<FrozenTarget {self.description} of {self.scene.volume.name}: {voxels} voxels, "
            f"in units of {self.unit}>"
        )

    @property
    def is_linear(self) -> bool:
        """Whether the target is a fixed linear function of the logits."""
        return self.coefficients is not None

    def value(self, logits: Logits) -> Scalars:
        """Return the target of each image of a batch of logits.

        Args:
            logits: `B L *S`.
        """
        return self.function(logits)

    def touched(self, windows: Windows) -> list[int]:
        """Return which windows hold a voxel that the number depends on.

        Args:
            windows: windows over the volume.
        """
        if windows not in self.known:
            everything = list(range(len(windows)))
            self.known[windows] = (
                everything if self.support is None else windows.touching(self.support)
            )
        return self.known[windows]

    def cotangent(self, logits: Logits | None) -> Cotangent:
        """Return dR/dy, `B L *S`; a linear target's is constant, a form, and needs no logits.

        Args:
            logits: `1 L *S`; None for a linear target.

        Raises:
            TargetError: the target is not linear, and no logits are given.
        """
        if isinstance(self.coefficients, LinearForm):
            return self.coefficients
        if self.coefficients is not None:
            return self.coefficients[None]
        if logits is None:
            raise TargetError(f"{self.description}: needs the prediction, it is not linear")
        return self.slope(logits)

    def flipped(self, axis: int) -> FrozenTarget:
        """Return the same target of the flipped volume; its mask is flipped, not formed anew.

        Args:
            axis: spatial axis, from 0.
        """
        form, support, relabelled = self.coefficients, self.support, self.relabelled
        if isinstance(form, LinearForm):
            form = form.flipped(axis)
        elif form is not None:
            form = form.flip(axis + 1)
        return replace(
            self,
            function=lambda logits: self.function(logits.flip(axis + 2)),
            mask=self.mask.flip(axis),
            scene=self.scene.flipped(axis),
            coefficients=form,
            support=None if support is None else support.flip(axis),
            sums=None if self.sums is None else self.sums.flipped(axis, self.mask.shape[axis]),
            known={},
            known_totals=[],
            relabelled=(
                None if relabelled is None else lambda label: relabelled(label).flipped(axis)
            ),
        )

    def slope(self, logits: Logits) -> Logits:
        """Return dR/dy at these logits, `B L *S`, linear or not.

        Args:
            logits: `B L *S`.
        """
        y = logits.detach().requires_grad_(True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.function(y).sum(), y)
        return slope


def label_in_words(scene: Scene, label: str | int) -> str:
    """Return the name of a label as it stands in a sentence."""
    return scene.labels.name(label).replace("_", " ")


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


OF_PREDICTION = ("predicted", "false_positive", "component", "boundary")
"""Regions that hold no voxel where postprocessing removed all that was predicted."""

NONE_THERE = {
    "label": "the ground truth of this case holds none",
    "label (dice)": "the ground truth of this case holds none",
    "false_negative": "the network misses no voxel of it",
    "false_positive": "the network predicts none beyond the ground truth",
}
"""Why a region holds no voxel of a label, where a missing prediction is not the reason."""


def require_voxels(mask: Mask, label: str | int, over: str, scene: Scene) -> None:
    """Refuse an empty mask, naming the label, the region and the case.

    Raises:
        EmptyTargetError: no voxel is in the mask.
    """
    if not bool(mask.any()):
        why = what_was_removed(label, scene) if over.split()[0] in OF_PREDICTION else None
        why = why or NONE_THERE.get(
            over, "the network predicts none there, or the region misses it"
        )
        raise EmptyTargetError(
            f'{scene.volume.name}: no voxel of label "{label}" over: {over}',
            hint=f"{why}; `over: all` or `over: box` explain regardless of the prediction",
        )


def what_was_removed(label: str | int, scene: Scene) -> str | None:
    """Return how much of a label's prediction postprocessing removed; None where nothing."""
    steps = scene.labels.postprocessing
    if not steps or scene.labels.is_background(label):
        return None
    predicted = scene.within(scene.prediction.decided.predicted(label))
    kept = scene.predicted(label)
    total, removed = int(predicted.sum()), int((predicted & ~kept).sum())
    if not removed:
        return None
    taking = ", ".join(steps.removing(scene.labels.name(label)))
    all_of_them = "it" if total == 1 else "them"
    what = all_of_them if removed == total else f"{removed} of them"
    return f"{_voxels(total)} predicted, and postprocessing ({taking}) removed {what}"


def _voxels(count: int) -> str:
    return "1 voxel was" if count == 1 else f"{count} voxels were"
