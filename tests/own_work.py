"""A method and a score of somebody else's, as their own file beside a config."""

TEXT = '''\
from dataclasses import dataclass, field
from typing import ClassVar

from esegeta import Cost, Explainer, Judgement, Metric, Objective, RawMap, Score, Traits
from esegeta.explain.meaning import CONTRIBUTION, Meaning


@dataclass(frozen=True)
class TimesInput(Explainer):
    """The slope times the input, times a factor."""

    factor: float = 2.0

    name: ClassVar[str] = "times_input"
    traits: ClassVar[Traits] = Traits("mine", additive=True)
    meaning: ClassVar[Meaning] = CONTRIBUTION

    @property
    def cost(self) -> Cost:
        return Cost.of(1, 1)

    def attribute(self, objective: Objective) -> RawMap:
        return RawMap(self.factor * objective.x[0] * objective.gradient())


@dataclass(frozen=True)
class Largest(Score):
    """The largest value of a map."""

    name: ClassVar[str] = "largest"
    family: ClassVar[str] = "mine"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("largest", "higher", scale_free=False),)

    def _judge(self, attribution, context):
        return Judgement({"largest": float(attribution.data.max())})


@dataclass(frozen=True)
class Half(Explainer):
    """Lacks what a method must say of itself."""

    name: ClassVar[str] = "half"


@dataclass(frozen=True)
class Demanding(TimesInput):
    strength: float = field(kw_only=True)


class Bare(TimesInput):
    """No dataclass of its own."""


class Stranger:
    pass
'''

ENTRY_POINTS = """\
[esegeta.methods]
times_input = own_work_{number}:TimesInput
gone = own_work_{number}:Gone

[esegeta.scores]
largest = own_work_{number}:Largest
"""
