"""A target fixed on one volume: a function of logits alone.

Its mask is fixed on the unperturbed prediction, unless it is live.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from esegeta.axes import Logits, Mask, Scalars
from esegeta.errors import TargetError
from esegeta.predict import Cotangent, LinearForm, Windows
from esegeta.targets.scene import Scene
from esegeta.targets.sums import Sums, Totals


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
