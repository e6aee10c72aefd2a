"""Dice drop: what becomes of the segmentation itself when the most relevant parts go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from esegeta.axes import Logits, Mask
from esegeta.errors import EsegetaError
from esegeta.explain import Attribution, Features, Objective
from esegeta.explain.perturbation.sufficiency import LabelDice
from esegeta.score.removal.over_parts import OverParts, area
from esegeta.score.removal.replacement import Replacement
from esegeta.score.score import Curve, Judgement, Quality, ScoreContext
from esegeta.targets import UnitScene

NO_TRUTH = "the case has no label"


@dataclass(frozen=True)
class DiceDrop(OverParts):
    """How fast the segmentation falls apart when the most relevant parts of the image go first.

        dice_drop       = 1 - int_0^1 Dice(S(x_s), S(x)) ds
        dice_drop_label = Dice(S(x), G) - int_0^1 Dice(S(x_s), G) ds

    S is the predicted label, of the whole sliding-window prediction; G the ground truth. Where
    the target is about a part of the label (a component), Dice with S(x) is over all voxels but
    the label's others. Higher is better: what was removed mattered to what is drawn.

    Args:
        features: the parts: supervoxels, blocks, a label map, a block of keys, or `voxels`.
        baseline: what takes their place: zero, mean, minimum, blur, noisy_linear, or an image.
        steps: from the whole image to nothing; each is a prediction of the windows it touches.
        rank_by: `value` or `magnitude` of the map; `auto` is the magnitude of slopes by the input.
        seed: of the order among equals.

    Source: the deletion of Petsiuk et al., RISE, 2018, with Dice in place of the probability.
    """

    features: Features | str = "supervoxels"
    baseline: Replacement | str = "mean"
    steps: int = 10

    name: ClassVar[str] = "dice_drop"
    qualities: ClassVar[tuple[Quality, ...]] = (
        Quality("dice_drop", "higher", low=0.0, high=1.0),
        Quality("dice_drop_label", "higher", low=-1.0, high=1.0),
    )

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the mean loss of Dice, with the curves."""
        target = attribution.target
        if isinstance(target.scene, UnitScene):
            return self.undefined("the target is a unit inside the network, not a segmentation")
        try:
            dice = context.workings.once("dice_drop", lambda: LabelDice.of(target))
        except EsegetaError as error:
            return self.undefined(error.message)
        watched = Objective.of(context.predictor, dice.soft, attribution.volume)
        ladder = self.ladder(attribution, context, watched)
        rows = ladder.without_first()
        truth = self._truth(attribution, dice)
        own, with_truth = [], []
        for logits in ladder.removals.predictions(rows):
            own.append(dice.hard(logits))
            if truth is not None:
                with_truth.append(_dice(dice, logits, truth))
        share = ladder.share_removed(rows)
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
        truth = scene.require_truth("dice_drop") == dice.labels.integer(dice.label)
        return truth if bool(truth.any()) else None

    @staticmethod
    def _why(attribution: Attribution) -> str:
        if attribution.target.scene.truth is None:
            return NO_TRUTH
        return f"the ground truth holds no voxel of {attribution.target.label}"


def _dice(dice: LabelDice, logits: Logits, truth: Mask) -> float:
    found = dice.labels.predicted(logits, dice.label)[0]
    return 2 * int((found & truth).sum()) / (int(found.sum()) + int(truth.sum()))


def _curve(name: str, x: list[float], y: list[float]) -> Curve:
    return Curve(name, "share of the image removed", "Dice", tuple(x), tuple(y))
