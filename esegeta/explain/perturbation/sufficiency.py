"""Whether a part of the image suffices: Dice of a label, when the rest is a baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        predicted = scene.labels.predicted(scene.logits, target.label)[0]
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
        objective: whose predictor and windows.
        baseline: `C *S`.
        region: where images may differ from the baseline, `*S`.
        active: the windows that see a voxel of the region.
        rest: what all other windows add to the blended logits, `1 L *S`.
    """

    objective: Objective
    baseline: Image
    region: Mask
    active: list[int]
    rest: Logits

    @classmethod
    def by(cls, objective: Objective, baseline: Image) -> Surrounded:
        """Return an empty region: the baseline's prediction, of all windows."""
        windows = objective.windows
        logits = objective.predictor.logits(baseline[None])
        objective.tally.evaluations += 1
        objective.tally.windows_run += len(windows)
        nowhere = logits[0, 0] != logits[0, 0]
        return cls(objective, baseline, nowhere, [], logits)

    def grown(self, region: Mask) -> Surrounded:
        """Return a region that holds this one."""
        active = self.objective.windows.seeing(region)
        if active == self.active:
            return replace(self, region=region)
        whole = self.predict(self.baseline)
        grown = replace(self, region=region, active=active)
        return replace(grown, rest=whole - grown._of_region(self.baseline))

    def predict(self, image: Image) -> Logits:
        """Return the blended logits of an image, `1 L *S`."""
        self.objective.tally.evaluations += 1
        return self._of_region(image).add_(self.rest) if self.active else self.rest

    def pull_back(self, image: Image, cotangent: Tensor) -> Image:
        """Return the gradient by the image `C *S`; right within the region, the rest is fixed."""
        result = self.objective.predictor.pull_back(image[None], cotangent, active=self.active)
        self.objective.tally.evaluations += 1
        self.objective.tally.windows_run += result.num_run
        return result.gradient[0]

    def _of_region(self, image: Image) -> Logits:
        self.objective.tally.windows_run += len(self.active)
        return self.objective.predictor.logits(image[None], chosen=self.active)
