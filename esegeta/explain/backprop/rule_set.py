"""What a method has to say about relevance: one rule for each kind of function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from esegeta.explain.backprop.operations import CallPlace, LinearCall


@dataclass(frozen=True, eq=False)
class SumCall:
    """One call of a sum `w_1 x_1 + w_2 x_2`.

    Args:
        weights: w, not learned: 1, -1, or a scale.
        terms: w x.
        tracked: which terms get relevance; the others are constants.
        place: place of the sum in the network.
    """

    weights: tuple[float, ...]
    terms: tuple[Tensor, ...]
    tracked: tuple[bool, ...]
    place: CallPlace


class Rules(ABC):
    """How relevance is spread, by the kind of function. All are linear in the relevance."""

    @abstractmethod
    def linear(self, call: LinearCall, x: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the input of a linear operation."""

    @abstractmethod
    def total(self, call: SumCall, relevance: Tensor) -> Sequence[Tensor | None]:
        """Return the relevance of each term of a sum."""

    @abstractmethod
    def mapped(self, function: Callable[[Tensor], Tensor], x: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the input of a linear map without learned weights."""

    def padded(self, pads: Sequence[tuple[int, int]], relevance: Tensor) -> Tensor:
        """Return the relevance of what a function put zeros around.

        What the zeros got is lost, as with a gradient.

        Args:
            pads: zeros before and behind along each axis.
            relevance: relevance of the padded tensor.
        """
        axes = zip(pads, relevance.shape, strict=True)
        return relevance[tuple(slice(low, side - high) for (low, high), side in axes)]
