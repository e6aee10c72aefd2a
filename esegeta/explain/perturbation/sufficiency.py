"""Whether a part of the image suffices: Dice of a label, when the rest is a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from esegeta.axes import Image, Logits, Mask
from esegeta.errors import TargetError
from esegeta.explain.objective import Objective
from esegeta.model import Labels
from esegeta.targets import DiceTarget, FrozenTarget, Roi


@dataclass(frozen=True, eq=False)
class LabelDice:
    """Dice of a label with its own segmentation in the unperturbed prediction.

    Args:
        label: its name or integer.
        labels: what the output channels mean.
        soft: Dice of the label's probability, which has a gradient.
        domain: the voxels that count, `*S`.
    """

    label: str | int
    labels: Labels
    soft: FrozenTarget
    domain: Mask

    @classmethod
    def of(cls, target: FrozenTarget) -> LabelDice:
        """Return the Dice of a target's label within the target's mask.

        All voxels count but those of the label outside the mask: the label's other components,
        say. On the unperturbed image it is 1.

        Raises:
            TargetError: the target is not about one label.
            EmptyTargetError: the label is not predicted in the mask.
        """
        scene = target.scene
        if target.label is None:
            raise TargetError(
                f"{target.description}: the target is not about one label, so there is no "
                "Dice to keep",
                hint="explain a target with a `label`, not a combination of targets",
            )
        predicted = scene.prediction.decided.predicted(target.label)
        # What postprocessing takes off or fills is of no network: it can be neither kept nor lost.
        untouched = scene.within(predicted) == scene.predicted(target.label)
        domain = scene.within((~predicted | target.mask) & untouched)
        soft = DiceTarget(target.label, "predicted", Roi(domain, "of the target"))
        return cls(target.label, scene.labels, soft.freeze(scene), domain)

    @property
    def reference(self) -> Mask:
        """The segmentation to keep, `*S`."""
        return self.soft.mask

    def hard(self, logits: Logits) -> float:
        """Return the Dice of the predicted voxels."""
        found = self.labels.predicted(logits, self.label)[0] & self.domain
        both = int((found & self.reference).sum())
        return 2 * both / (int(found.sum()) + int(self.reference.sum()))


@dataclass(frozen=True, eq=False)
class Surrounded:
    """Predictions of images that are the baseline outside a region: only its windows are run.

    Args:
        objective: objective with the predictor and the windows.
        baseline: `C *S`.
        region: voxels where images may differ from the baseline, `*S`.
        active: the windows that see a voxel of the region.
        rest: contribution of all other windows to the blended logits, `1 L *S`; to those of each
            network where networks' probabilities are averaged.
    """

    objective: Objective
    baseline: Image
    region: Mask
    active: list[int]
    rest: tuple[Logits, ...]

    @classmethod
    def by(cls, objective: Objective, baseline: Image) -> Surrounded:
        """Return an empty region: the baseline's prediction, of all windows."""
        windows = objective.windows
        parts = objective.predictor.predict_apart(baseline[None])
        objective.tally.evaluations += 1
        objective.tally.windows_run += len(windows)
        nowhere = torch.zeros_like(baseline[0], dtype=torch.bool)
        return cls(objective, baseline, nowhere, [], tuple(parts))

    def grown(self, region: Mask) -> Surrounded:
        """Return a region that holds this one."""
        active = self.objective.windows.seeing(region)
        if active == self.active:
            return replace(self, region=region)
        self.objective.tally.evaluations += 1
        whole = self._parts(self.baseline)
        grown = replace(self, region=region, active=active)
        of_region = grown._of_region(self.baseline)
        rest = tuple(one - own for one, own in zip(whole, of_region, strict=True))
        return replace(grown, rest=rest)

    def predict(self, image: Image) -> Logits:
        """Return the blended logits of an image, `1 L *S`."""
        self.objective.tally.evaluations += 1
        return self.objective.predictor.averaged(self._parts(image))

    def pull_back(self, image: Image, cotangent: Tensor) -> Image:
        """Return the gradient by the image `C *S`; right within the region, the rest is fixed."""
        predictor = self.objective.predictor
        at = None if predictor.is_sum else self._parts(image)
        result = predictor.pull_back(image[None], cotangent, active=self.active, at=at)
        self.objective.tally.evaluations += 1
        self.objective.tally.windows_run += result.num_run
        return result.gradient[0]

    def _parts(self, image: Image) -> Sequence[Logits]:
        if not self.active:
            return self.rest
        parts = self._of_region(image)
        return [own.add_(rest) for own, rest in zip(parts, self.rest, strict=True)]

    def _of_region(self, image: Image) -> list[Logits]:
        self.objective.tally.windows_run += len(self.active)
        return self.objective.predictor.predict_apart(image[None], chosen=self.active)
