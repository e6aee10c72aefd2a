"""What all localisation scores share: the structure that a map is held against, and its sign."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float64
from torch import Tensor

from esegeta.axes import Image, Mask
from esegeta.explain import Attribution
from esegeta.score.localisation.distance import signed_distance
from esegeta.score.localisation.undefined import UndefinedError
from esegeta.score.score import Judgement, Score, ScoreContext
from esegeta.targets import FrozenTarget, Labelled, Predicted

Against = Literal["prediction", "label", "target"]
Use = Literal["positive", "magnitude"]

Relevance = Float64[Tensor, "*S"]
"""How much of the map a voxel holds, at least 0."""


@dataclass(frozen=True)
class Localisation(Score):
    """A score that holds the map against a structure.

    Args:
        against: `prediction`, the voxels predicted as the target's label; `label`, those that the
            ground truth gives to it; `target`, the mask that the target is formed over.
        use: `positive` values of the map, negative ones counting as zero, or its `magnitude`;
            both of the sum over channels.
    """

    against: Against = "prediction"
    use: Use = "positive"

    family: ClassVar[str] = "localisation"

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the values; NaN where there is no structure, no outside, or nothing to place."""
        try:
            return self.place(attribution, self.structure(attribution), context)
        except UndefinedError as undefined:
            return self.undefined(undefined.reason)

    @abstractmethod
    def place(self, attribution: Attribution, structure: Mask, context: ScoreContext) -> Judgement:
        """Return the values for a structure that has an inside and an outside.

        Raises:
            UndefinedError: there are none, and why.
        """

    def structure(self, attribution: Attribution) -> Mask:
        """Return the voxels that the map is held against, on the map's device.

        Raises:
            UndefinedError: there are none, or nothing lies outside of them.
        """
        mask, words = _voxels(attribution.target, self.against)
        if not bool(mask.any()):
            raise UndefinedError(f"{words} holds no voxel")
        if bool(mask.all()):
            raise UndefinedError(f"{words} holds every voxel: nothing lies outside")
        return mask.to(attribution.data.device)

    def relevance(self, data: Image) -> Relevance:
        """Return what counts of a map `A *S`, summed over its channels.

        Raises:
            UndefinedError: nothing does.
        """
        total = data.double().sum(dim=0)
        found = total.abs() if self.use == "magnitude" else total.clamp(min=0)
        if not bool(found.any()):
            none = "no positive value" if self.use == "positive" else "no value but zero"
            raise UndefinedError(f"the map, summed over channels, has {none}")
        return found

    def distance_mm(
        self, attribution: Attribution, structure: Mask, context: ScoreContext
    ) -> Float64[Tensor, "*S"]:
        """Return each voxel's signed distance to the structure's surface; found once a target.

        Raises:
            UndefinedError: the grid's spacings do not tell distances.
        """
        grid = attribution.volume.grid
        key = ("signed_distance", attribution.target, self.against)
        return context.workings.once(key, lambda: signed_distance(structure, grid))


def _voxels(target: FrozenTarget, against: Against) -> tuple[Mask, str]:
    """Return a mask `*S` and what it is called."""
    if against == "target":
        return target.mask, "the target's mask"
    scene, label = target.scene, target.label
    if label is None:
        raise UndefinedError("the target is not about one label; `against: target` needs none")
    if against == "prediction":
        mask = Predicted().mask(scene, scene.logits, label)
        return mask, f'the prediction of "{label}"'
    if scene.truth is None:
        raise UndefinedError("the case has no ground truth")
    return Labelled().mask(scene, None, label), f'the ground truth of "{label}"'
