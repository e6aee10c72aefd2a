"""The contract of a score: its parameters are its fields, its help is its docstring."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, cast

from esegeta.errors import ConfigError, MapError
from esegeta.explain import Attribution, Explainer, Objective
from esegeta.explain.attribution import require_map
from esegeta.explain.finite import FiniteParameters
from esegeta.predict import Predictor

Better = Literal["lower", "higher", "none"]
"""Which is better; `none` of a figure that describes a map and does not judge it."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Metric:
    """One number that a score gives.

    Args:
        name: name as it stands in scores.csv.
        better: whether lower or higher is better, or neither.
        low: lower end of its range, in words of the number itself.
        high: upper end of its range; inf where unbounded.
        scale_free: whether a map and a multiple of it (above zero) have the same value. Others
            are shown, and neither ranked nor tested: maps would differ by their unit alone.
    """

    name: str
    better: Better
    low: float = 0.0
    high: float = float("inf")
    scale_free: bool = True


@dataclass(frozen=True)
class Curve:
    """A quantity along another, as it is drawn and written to curves.csv.

    Args:
        name: what is measured, such as `morf`.
        x_label: what is varied, with its unit.
        y_label: what is measured, with its unit.
        x: ascending, or in the order of layers.
        y: as many values as x; NaN where undefined.
        ticks: words in place of the numbers of x, or none.
        over_shares: whether x are shares of a whole, so that the area under it is a mean height.
    """

    name: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    ticks: tuple[str, ...] = ()
    over_shares: bool = False


@dataclass(frozen=True)
class Judgement:
    """What a score says about a map.

    Args:
        values: one for each metric, by name; NaN where it is undefined.
        reasons: why a value is NaN, by name, one for each NaN; or what a mean had to leave out.
        curves: curves that the values sum up.
    """

    values: dict[str, float]
    reasons: dict[str, str] = field(default_factory=dict)
    curves: tuple[Curve, ...] = ()

    def __post_init__(self) -> None:
        silent = [
            name
            for name, value in self.values.items()
            if math.isnan(value) and name not in self.reasons
        ]
        if silent:
            raise ValueError(f"{', '.join(silent)}: NaN without a reason")


class ScoreCache:
    """Results that scores share for one target of one case, kept for the scores that follow."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def once(self, key: Hashable, work: Callable[[], Found]) -> Found:
        """Return what the work for this key gave the first time."""
        if key not in self._known:
            self._known[key] = work()
        return cast(Found, self._known[key])


@dataclass(frozen=True, eq=False)
class ScoreContext:
    """What a score may use in addition to the map.

    Args:
        predictor: the network over windows.
        explainer: the method that made the map; it may be run again on other inputs.
        cache: shared by all scores and all methods of one target of one case.
    """

    predictor: Predictor
    explainer: Explainer
    cache: ScoreCache = field(default_factory=ScoreCache, repr=False)

    @classmethod
    def of(cls, attribution: Attribution) -> ScoreContext:
        """Return what a map knows about itself: its network and its method.

        Args:
            attribution: map that remembers its model and method.

        Raises:
            MapError: the map does not know its method.
        """
        if attribution.explainer is None:
            raise MapError(
                f"{attribution.method}: the map does not record how it was made",
                hint="pass a ScoreContext(predictor, explainer)",
            )
        return cls(attribution.target.scene.predictor, attribution.explainer)

    def objective(self, attribution: Attribution) -> Objective:
        """Return the explained objective; its mask stays frozen.

        Args:
            attribution: map whose target is meant.
        """
        return Objective.of(self.predictor, attribution.target, attribution.volume)


@dataclass(frozen=True)
class Score(FiniteParameters, ABC):
    """One way to judge a map, with its parameters."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "arbitrary_types_allowed": True,
        "allow_inf_nan": False,
    }

    name: ClassVar[str]
    family: ClassVar[str]
    # Reads the network layer by layer, or gives its layers other weights.
    needs_layers: ClassVar[bool] = False
    metrics: ClassVar[tuple[Metric, ...]]

    @classmethod
    def aspect(cls) -> str:
        """Return which aspect of maps the score judges; in mean ranks each aspect counts once.

        All figures of a score judge one aspect. Scores that share one override this.
        """
        return cls.name

    @classmethod
    def headline(cls) -> Metric:
        """Return the figure that stands for the score where one has to: the first that judges.

        Raises:
            ConfigError: it only describes maps.
        """
        for metric in cls.metrics:
            if metric.better != "none":
                return metric
        raise ConfigError(f"{cls.name} describes a map and does not judge it")

    def score(
        self, attribution: Attribution, context: ScoreContext | None = None
    ) -> dict[str, float]:
        """Return one value for each of the score's metrics, by name; NaN where undefined.

        Args:
            attribution: the map.
            context: network, method and results of other scores; taken from the map by default.
        """
        return self.judge(attribution, context).values

    def judge(self, attribution: Attribution, context: ScoreContext | None = None) -> Judgement:
        """Return the values, why one is undefined, and the curves behind them.

        Args:
            attribution: the map.
            context: see `score`.

        Raises:
            MapError: the map is zero everywhere or not finite, which must not look like a result:
                a map that says nothing is perfectly steady, and predicts nothing wrongly.
        """
        require_map(attribution.data, self.name, "there is nothing to score")
        return self._judge(attribution, context or ScoreContext.of(attribution))

    @abstractmethod
    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Judge a map that is neither zero nor infinite."""

    def undefined(self, reason: str, names: Sequence[str] | None = None) -> Judgement:
        """Return NaN for all metrics, or for those named, with the reason.

        Args:
            reason: why there is no value.
            names: metrics without a value; all of them by default.
        """
        wanted = [metric.name for metric in self.metrics] if names is None else names
        return Judgement(dict.fromkeys(wanted, math.nan), dict.fromkeys(wanted, reason))
