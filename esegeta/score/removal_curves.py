"""Curves of what is left of a target, or of Dice, as parts go or come in a map's order."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Mask
from esegeta.errors import EsegetaError
from esegeta.explain import Attribution, Coalitions, Features, Objective
from esegeta.explain.perturbation.sufficiency import LabelDice
from esegeta.score.removal.removal_order import OverParts, RemovalOrder, area, is_still
from esegeta.score.removal.replacement import Replacement
from esegeta.score.score import Curve, Judgement, Metric, ScoreContext
from esegeta.targets import UnitScene, dice_of

STILL = "removing everything does not change the target: there is nothing to rank"


def metrics(name: str, *, better: bool) -> tuple[Metric, ...]:
    """Return the three figures of a curve; `better` says whether a large area is good."""
    signs = ("higher", "lower") if better else ("lower", "higher")
    return (
        Metric(name, "higher" if signs[0] == "higher" else "lower", low=-math.inf),
        Metric(f"{name}_lerf", "higher" if signs[1] == "higher" else "lower", low=-math.inf),
        Metric(f"{name}_gap", "higher", low=-math.inf),
    )


class _AlongCurve(OverParts):
    """The target with the most relevant parts first in order, and with the least relevant first."""

    starts_whole: ClassVar[bool]

    @abstractmethod
    def removal_orders(self, removal_order: RemovalOrder) -> tuple[Coalitions, Coalitions]:
        """Return what is left at each step, for the most and the least relevant parts first.

        Args:
            removal_order: parts of the image in the order of the map.
        """

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return both areas and their gap, with the curves."""
        removal_order = self.removal_order(attribution, context)
        first, last = self.removal_orders(removal_order)
        values = removal_order.removals.values(torch.cat([first, last]))
        most, least = values[: len(first)], values[len(first) :]
        whole, nothing = (0, -1) if self.starts_whole else (-1, 0)
        start, end = float(most[whole]), float(most[nothing])
        if is_still(start, end):
            return self.undefined(STILL)
        shares = [self._share(removal_order, rows) for rows in (first, last)]
        heights = [(part - end) / (start - end) for part in (most, least)]
        one, other = (area(x, y) for x, y in zip(shares, heights, strict=True))
        names = [metric.name for metric in self.metrics]
        gap = other - one if self.starts_whole else one - other
        values_ = dict(zip(names, (one, other, gap), strict=True))
        return Judgement(values_, curves=self._curves(shares, heights))

    def _share(self, removal_order: RemovalOrder, rows: Coalitions) -> Tensor:
        gone = removal_order.share_removed(rows)
        return gone if self.starts_whole else 1 - gone

    def _curves(self, shares: list[Tensor], heights: list[Tensor]) -> tuple[Curve, ...]:
        word = "removed" if self.starts_whole else "inserted"
        return tuple(
            Curve(
                name,
                f"share of the image {word}",
                "target (1 = image, 0 = baseline)",
                tuple(x.tolist()),
                tuple(y.tolist()),
                over_shares=True,
            )
            for name, x, y in zip(("most first", "least first"), shares, heights, strict=True)
        )


@dataclass(frozen=True)
class Deletion(_AlongCurve):
    """How fast the target falls when the most relevant parts of the image are removed first.

        deletion = int_0^1 (R(x_s) - R(b)) / (R(x) - R(b)) ds,   x_s without its share s
        deletion_lerf: the least relevant first;   deletion_gap = deletion_lerf - deletion

    1 and 0 are the targets of the image and of the baseline b. Lower is better for `deletion`;
    the gap is above 0 if the order is better than its reverse.

    Args:
        features: the parts: supervoxels, blocks, a label map, a block of keys, or `voxels`.
        baseline: what takes their place: zero, mean, minimum, blur, noisy_linear, or an image.
        steps: number of steps from the whole image to nothing.
        rank_by: `value` or `magnitude` of the map; `auto`: magnitude for slopes, else value.
        seed: random seed for the order of ties.

    Source: Petsiuk et al., RISE, 2018, section 4 (deletion); Samek et al., 2017 (selectivity, by
    regions). Here the curve is scaled to the two ends, so that cases can be compared.
    """

    name: ClassVar[str] = "deletion"
    metrics: ClassVar[tuple[Metric, ...]] = metrics("deletion", better=False)
    starts_whole: ClassVar[bool] = True

    def removal_orders(self, removal_order: RemovalOrder) -> tuple[Coalitions, Coalitions]:
        """Return the image with more and more of its parts removed."""
        return removal_order.without_first(), removal_order.without_last()


@dataclass(frozen=True)
class Insertion(_AlongCurve):
    """How fast the target rises when the most relevant parts are put into the baseline first.

        insertion = int_0^1 (R(b_s) - R(b)) / (R(x) - R(b)) ds,   b_s with the image's share s
        insertion_lerf: the least relevant first;   insertion_gap = insertion - insertion_lerf

    Higher is better for `insertion`; the gap is above 0 if the order is better than its reverse.

    Args:
        features: the parts: supervoxels, blocks, a label map, a block of keys, or `voxels`.
        baseline: what the parts are put into: zero, mean, minimum, blur, noisy_linear, or an image.
        steps: number of steps from nothing to the whole image.
        rank_by: `value` or `magnitude` of the map; `auto`: magnitude for slopes, else value.
        seed: random seed for the order of ties.

    Source: Petsiuk et al., RISE, 2018, section 4 (insertion, into a blurred image).
    """

    baseline: Replacement | str = "blur"

    name: ClassVar[str] = "insertion"
    metrics: ClassVar[tuple[Metric, ...]] = metrics("insertion", better=True)
    starts_whole: ClassVar[bool] = False

    def removal_orders(self, removal_order: RemovalOrder) -> tuple[Coalitions, Coalitions]:
        """Return the baseline with more and more of the image's parts."""
        return removal_order.with_first(), removal_order.with_last()


@dataclass(frozen=True)
class Road(_AlongCurve):
    """Deletion that leaves no trace: removed voxels are filled in from their neighbours.

        road = int_0^1 (R(x_s) - R(b)) / (R(x) - R(b)) ds,   x_s by noisy linear imputation
        road_lerf: the least relevant first;   road_gap = road_lerf - road

    Lower is better for `road`; the gap is above 0 if the order is better than its reverse. b is
    the image with every voxel removed: each channel's mean.

    Args:
        features: the parts; `voxels` as in the paper, or as in `deletion`.
        baseline: noisy_linear, or a block with its noise.
        steps: number of steps from the whole image to nothing.
        rank_by: `value` or `magnitude` of the map; `auto`: magnitude for slopes, else value.
        seed: random seed for the order of ties.

    Source: Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods,
    2022, sections 4.2 and 4.3; here of the target, with a stencil for three axes in mm.
    """

    features: Features | str = "voxels"
    baseline: Replacement | str = "noisy_linear"
    steps: int = 10

    name: ClassVar[str] = "road"
    metrics: ClassVar[tuple[Metric, ...]] = metrics("road", better=False)
    starts_whole: ClassVar[bool] = True

    def removal_orders(self, removal_order: RemovalOrder) -> tuple[Coalitions, Coalitions]:
        """Return the image with more and more of its voxels removed."""
        return removal_order.without_first(), removal_order.without_last()


NO_TRUTH = "the case has no label"


@dataclass(frozen=True)
class DiceDrop(OverParts):
    """How fast the segmentation degrades when the most relevant parts of the image go first.

        dice_drop       = 1 - int_0^1 Dice(S(x_s), S(x)) ds
        dice_drop_label = Dice(S(x), G) - int_0^1 Dice(S(x_s), G) ds

    S is the label in the whole sliding-window prediction, G the ground truth. If the target is
    only a part of the label (a component), Dice with S(x) leaves out the label's other voxels.
    Higher is better: what was removed mattered to the segmentation.

    Args:
        features: the parts: supervoxels, blocks, a label map, a block of keys, or `voxels`.
        baseline: what takes their place: zero, mean, minimum, blur, noisy_linear, or an image.
        steps: number of steps from the whole image to nothing; each is a prediction of the windows
            it touches.
        rank_by: `value` or `magnitude` of the map; `auto`: magnitude for slopes, else value.
        seed: random seed for the order of ties.

    Source: the deletion of Petsiuk et al., RISE, 2018, with Dice in place of the probability.
    """

    features: Features | str = "supervoxels"
    baseline: Replacement | str = "mean"
    steps: int = 10

    name: ClassVar[str] = "dice_drop"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("dice_drop", "higher", low=0.0, high=1.0),
        Metric("dice_drop_label", "higher", low=-1.0, high=1.0),
    )

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the mean loss of Dice, with the curves."""
        target = attribution.target
        if isinstance(target.scene, UnitScene):
            return self.undefined("the target is a unit inside the network, not a segmentation")
        try:
            dice = context.cache.once("dice_drop", lambda: LabelDice.of(target))
        except EsegetaError as error:
            return self.undefined(error.message)
        watched = Objective.of(context.predictor, dice.soft, attribution.volume)
        removal_order = self.removal_order(attribution, context, watched)
        rows = removal_order.without_first()
        truth = self._truth(attribution, dice)
        valid = None if truth is None else attribution.target.scene.valid("dice_drop")
        own, with_truth = [], []
        for logits in removal_order.removals.predictions(rows):
            own.append(dice.hard(logits))
            if truth is not None and valid is not None:
                found = dice.labels.predicted(logits, dice.label)[0] & valid
                with_truth.append(dice_of(found, truth))
        share = removal_order.share_removed(rows)
        curves = [_curve("with the whole prediction", share.tolist(), own)]
        values = {"dice_drop": 1 - area(share, torch.tensor(own, dtype=torch.float64))}
        if truth is None:
            values["dice_drop_label"] = math.nan
            return Judgement(values, {"dice_drop_label": self._why(attribution)}, tuple(curves))
        curves.append(_curve("with the label", share.tolist(), with_truth))
        fall = with_truth[0] - area(share, torch.tensor(with_truth, dtype=torch.float64))
        return Judgement({**values, "dice_drop_label": fall}, curves=tuple(curves))

    @staticmethod
    def _truth(attribution: Attribution, dice: LabelDice) -> Mask | None:
        scene = attribution.target.scene
        if scene.truth is None:
            return None
        truth = scene.truth_of(dice.label, "dice_drop")
        return truth if bool(truth.any()) else None

    @staticmethod
    def _why(attribution: Attribution) -> str:
        if attribution.target.scene.truth is None:
            return NO_TRUTH
        return f"the ground truth holds no voxel of {attribution.target.label}"


def _curve(name: str, x: list[float], y: list[float]) -> Curve:
    label = "share of the image removed"
    return Curve(name, label, "Dice", tuple(x), tuple(y), over_shares=True)
