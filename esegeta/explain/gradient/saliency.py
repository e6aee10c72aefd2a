"""Saliency and input times gradient: the gradient of the whole prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from esegeta.explain.attribution import Way
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import CONTRIBUTION, SLOPE, Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.together import gradients_together


@dataclass(frozen=True)
class Saliency(Explainer):
    """The gradient of the target with respect to each voxel of the network's input.

        a = dR / dx

    Positive: a brighter voxel raises the target. Unit: target per unit of network input.

    Args:
        absolute: return |a| instead, as the paper does; the sign is lost.

    Source: Simonyan et al., Deep Inside Convolutional Networks, 2014, section 3. There the
    largest magnitude over channels is shown; here every channel keeps its own signed value.
    """

    absolute: bool = False

    name: ClassVar[str] = "saliency"
    traits: ClassVar[Traits] = Traits("gradient", additive=True, together=True)

    @property
    def cost(self) -> Cost:
        """One forward and one backward pass."""
        return Cost.of(1, 1)

    @property
    def meaning(self) -> Meaning:
        """A slope, or its magnitude."""
        return SLOPE.magnitude() if self.absolute else SLOPE

    def attribute(self, objective: Objective) -> RawMap:
        """Return the gradient, or its magnitude."""
        return self.attribute_together([objective])[0]

    def attribute_together(self, objectives: Sequence[Objective]) -> list[RawMap]:
        """Return the gradient of each target, or its magnitude."""
        slopes = gradients_together(objectives)
        return [RawMap(slope.abs() if self.absolute else slope) for slope in slopes]


@dataclass(frozen=True)
class InputXGradient(Explainer):
    """The input times the gradient: each voxel's part in the target's linear approximation.

        a = x * dR / dx

    Positive: the voxel's value raises the target, compared with a value of zero. Unit: target.

    Source: Shrikumar et al., Not Just a Black Box, 2016, section 2.
    """

    name: ClassVar[str] = "input_x_gradient"
    traits: ClassVar[Traits] = Traits("gradient", additive=True, together=True)
    meaning: ClassVar[Meaning] = CONTRIBUTION

    @property
    def cost(self) -> Cost:
        """One forward and one backward pass."""
        return Cost.of(1, 1)

    def attribute(self, objective: Objective) -> RawMap:
        """Return the input times the gradient."""
        return self.attribute_together([objective])[0]

    def attribute_together(self, objectives: Sequence[Objective]) -> list[RawMap]:
        """Return the input times the gradient of each target."""
        x = objectives[0].volume.data
        black = torch.zeros_like(x)
        slopes = gradients_together(objectives)
        return [RawMap(x * slope, ways=(Way(slope, black),)) for slope in slopes]
