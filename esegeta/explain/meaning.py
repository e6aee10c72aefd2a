"""What a value of a map is: all that is said about a map, or done with it, follows from here.

A method names one of these meanings, or what becomes of its base's, as its `meaning`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

MeaningKind = Literal[
    "slope",
    "contribution",
    "weighted_activation",
    "influence",
    "signal",
    "probability",
    "mask",
    "square",
    "activation",
    "null",
]
"""Slopes by the input (times a change of the input, they predict that of the target);
contributions, in the target's own unit; activations weighted by what the target makes of them;
slopes by a layer's activations; signals, in units of the input; shares of a probability; masks;
squares, variances and magnitudes, which have no sign; and two kinds that do not read the target:
activations, and null maps."""

TARGET_UNIT = "{target}"
SCORE = "{score}"
"""Stands for the target in a reader's words, such as `the liver score`."""

WITHOUT_TARGET = ("activation", "null")


@dataclass(frozen=True)
class Meaning:
    """What a value of a map is.

    Args:
        kind: decides how maps are ranked and what scores do with them.
        unit: unit of one voxel, for readers; `{target}` stands for the target's.
        sign: what values mean, in a sentence for the sidecar and the help pages.
        legend: the same in a few words, beside the unit in pictures.
        above: what the colour of values above zero says to a reader who knows no methods;
            `{score}` stands for the target.
        below: the same for values below zero; empty where there are none.
        is_signed: whether values below zero occur.
        is_part: whether values are parts, which add up over voxels; not where each voxel holds the
            whole worth of the box or feature that it belongs to, or of masks that keep it.
        is_in_target_unit: whether values can be asked to add up to a change of the target.
    """

    kind: MeaningKind
    unit: str
    sign: str
    legend: str
    above: str
    below: str = ""
    is_signed: bool = True
    is_part: bool = True
    is_in_target_unit: bool = False

    @property
    def is_slope(self) -> bool:
        """Whether values are per unit of the input: times a change of the input they add up."""
        return self.kind == "slope"

    @property
    def reads_target(self) -> bool:
        """Whether the map says anything about the target."""
        return self.kind not in WITHOUT_TARGET

    @property
    def rank_by(self) -> Literal["value", "magnitude"]:
        """What voxels are ranked by.

        The sign of a slope says which way a brighter voxel would move the target, and not whether
        the voxel speaks for it.
        """
        return "magnitude" if self.is_slope else "value"

    def unit_for(self, target_unit: str) -> str:
        """Return the unit of one voxel, given the target's.

        Args:
            target_unit: unit of the target, such as `logit`.
        """
        return self.unit.format(target=target_unit)

    def readings(self, score: str) -> tuple[str, str]:
        """Return what values above and below zero say about a score, such as `the liver score`.

        Args:
            score: words for the target, such as `the liver score`.
        """
        return self.above.format(score=score), self.below.format(score=score)

    def magnitude(self) -> Meaning:
        """Return what the magnitude of such a value is; that of a slope predicts no change."""
        strength = self._without_sign("a magnitude, never negative: how strongly, up or down")
        return replace(strength, kind=self._kind_of_square)

    def squared(self) -> Meaning:
        """Return what the square of such a value is."""
        squared = self._without_sign("a square, never negative: how strongly, up or down")
        unit = f"({self.unit})^2"
        return replace(squared, kind=self._kind_of_square, unit=unit, is_in_target_unit=False)

    def variance(self) -> Meaning:
        """Return what the variance of such a value is."""
        of = f" of {SCORE}" if self.reads_target else ""
        return replace(
            self._without_sign("a variance, never negative: where the map is unstable"),
            kind=self._kind_of_square,
            unit=f"({self.unit})^2",
            legend=f"variance: where the map is unstable{self._caveat}",
            above=f"the stronger the colour, the less stable the map{of} is there{self._remark}",
            is_in_target_unit=False,
        )

    @property
    def _kind_of_square(self) -> MeaningKind:
        return "square" if self.reads_target else self.kind

    @property
    def _caveat(self) -> str:
        return "" if self.reads_target else "; says nothing about the target"

    @property
    def _remark(self) -> str:
        return "" if self.reads_target else f"; says nothing about {SCORE}"

    def _without_sign(self, sign: str) -> Meaning:
        matters = f"the stronger the colour, the more the voxel moves {SCORE}, up or down"
        return replace(
            self,
            sign=sign + self._caveat,
            legend=f"strength, without sign{self._caveat}",
            above=matters if self.reads_target else f"strength, without sign{self._remark}",
            below="",
            is_signed=False,
        )


SLOPE = Meaning(
    "slope",
    "{target} / input unit",
    "positive: a brighter voxel raises the target; negative: it lowers the target",
    "positive: a brighter voxel raises the target",
    f"a brighter voxel raises {SCORE}",
    "a brighter voxel lowers it",
)
GUIDED_SLOPE = replace(
    SLOPE,
    sign="positive: a brighter voxel raises units that raise the target; negative: a darker one",
    legend="positive: a brighter voxel raises what raises the target",
    above=f"a brighter voxel raises what raises {SCORE}",
    below="a darker voxel does",
)
DRAWN_PATTERN = replace(
    SLOPE,
    sign="positive: bright in the pattern that the filters draw for the target; negative: dark",
    legend="positive: bright in what the filters draw for the target",
    above=f"bright in the pattern that the network's filters draw for {SCORE}",
    below="dark in it",
)
CONTRIBUTION = Meaning(
    "contribution",
    TARGET_UNIT,
    "positive values raise the target",
    "positive raises the target",
    f"raises {SCORE}",
    "lowers it",
    is_in_target_unit=True,
)
WORTH = replace(CONTRIBUTION, is_part=False)
LAYER_SLOPE_TIMES_ACTIVATION = Meaning(
    "weighted_activation",
    "{target} / position",
    "positive: the layer's activations there raise the target; negative: they lower it",
    "positive: activations that raise the target",
    f"what the layer sees there raises {SCORE}",
    "what it sees there lowers it",
)
CLASS_ACTIVATION = replace(
    LAYER_SLOPE_TIMES_ACTIVATION,
    sign="never negative: how much the layer's activations there support the target",
    legend="how much the layer supports the target",
    above=f"the stronger the colour, the more the layer's activation there supports {SCORE}",
    below="",
    is_signed=False,
)
WEIGHTED_BY_POSITION = replace(CLASS_ACTIVATION, unit=TARGET_UNIT, is_in_target_unit=True)
WEIGHTED_BY_FALL = replace(CLASS_ACTIVATION, unit="activation")
SEEN_THROUGH_ACTIVATION = replace(
    LAYER_SLOPE_TIMES_ACTIVATION,
    unit="{target} * activation",
    sign="positive: what active channels show there raises the target over the baseline's",
    legend="positive: what active channels show raises the target",
    above=f"what the layer's active channels show there raises {SCORE}",
)
GUIDED_ACTIVATION = replace(
    LAYER_SLOPE_TIMES_ACTIVATION,
    unit="({target} / input unit) * ({target} / position)",
    sign="positive: a brighter voxel raises what raises the target, where the layer supports it",
    legend="positive: a brighter voxel raises the target, where the layer supports it",
    above=f"a brighter voxel raises what raises {SCORE}, where the layer supports it",
    below="a darker voxel does",
)
INFLUENCE = Meaning(
    "influence",
    "{target} / activation",
    "positive: more activation at the position raises the target; negative: it lowers the target",
    "positive: more activation raises the target",
    f"more activation of the layer there raises {SCORE}",
    "more of it lowers it",
)
SIGNAL = Meaning(
    "signal",
    "input unit",
    "positive: bright in the signal that the target responds to; negative: dark in it",
    "positive: bright in the signal that the target responds to",
    f"bright in the signal that {SCORE} responds to",
    "dark in it",
)
PROBABILITY = Meaning(
    "probability",
    "probability",
    "a probability: the share of what excites the target; below zero only where the target counts "
    "a logit against itself",
    "share of what excites the target",
    f"the stronger the colour, the larger the share of what excites {SCORE}",
    "counts against it",
)
CONTRAST = replace(
    PROBABILITY,
    sign="positive: excites the target more than its opposite; negative: less",
    legend="positive: excites the target more than its opposite",
    above=f"excites {SCORE} more than its opposite",
    below="excites it less than its opposite",
)
KEPT = Meaning(
    "mask",
    "mask",
    "a mask in 0..1: what is kept, which is enough for the target",
    "a mask: what is kept",
    f"what is coloured is enough to keep {SCORE} up",
    is_signed=False,
)
DELETED = replace(
    KEPT,
    sign="a mask in 0..1: what is deleted, without which the target falls",
    legend="a mask: what is deleted",
    above=f"without what is coloured {SCORE} falls",
)
ACTIVATION = Meaning(
    "activation",
    "activation",
    "the layer's activation with its own sign; it does not depend on the target",
    "the layer's activation; says nothing about the target",
    f"the layer is active above zero; says nothing about {SCORE}",
    "below zero",
)
NOISE = Meaning(
    "null",
    "noise",
    "noise: neither sign nor size says anything about the target",
    "noise: says nothing about the target",
    f"noise above zero; says nothing about {SCORE}",
    "noise below zero",
)
EDGES = Meaning(
    "null",
    "input unit / mm",
    "edges of the image, never negative: they say nothing about the target",
    "edges of the image: they say nothing about the target",
    f"edges of the image; they say nothing about {SCORE}",
    is_signed=False,
)
