"""The contract of a score: its parameters are its fields, its help is its docstring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from esegeta.explain import Attribution, Explainer, Objective
from esegeta.predict import Predictor

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Quality:
    """One number that a score gives.

    Args:
        name: as it stands in scores.csv.
        better: whether lower or higher is better.
        low: of its range, in words of the number itself.
        high: of its range; inf where unbounded.
    """

    name: str
    better: Better
    low: float = 0.0
    high: float = float("inf")


@dataclass(frozen=True)
class ScoreContext:
    """What a score may use beside the map.

    Args:
        predictor: the network over windows.
        explainer: the method that made the map; it may be run again on other inputs.
    """

    predictor: Predictor
    explainer: Explainer

    def objective(self, attribution: Attribution) -> Objective:
        """Return the explained objective; its mask stays frozen."""
        return Objective.of(self.predictor, attribution.target, attribution.volume)


@dataclass(frozen=True)
class Score(ABC):
    """One way to judge a map, with its parameters."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    name: ClassVar[str]
    qualities: ClassVar[tuple[Quality, ...]]

    @abstractmethod
    def score(self, attribution: Attribution, context: ScoreContext) -> dict[str, float]:
        """Return one value for each of the score's qualities, by name."""
