"""Targets of the whole map: soft Dice against a reference, and soft volume."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from esegeta.axes import LabelMap, Logits, Mask, Scalars
from esegeta.model import Labels
from esegeta.predict import Box
from esegeta.targets.empty import require_voxels
from esegeta.targets.frozen import FrozenTarget, label_in_words
from esegeta.targets.region import Everywhere, Labelled, Predicted, Region
from esegeta.targets.scene import Scene
from esegeta.targets.sums import Sums, Totals
from esegeta.targets.target import Target
from esegeta.volume import without_size

Reference = Literal["label", "predicted"]
REFERENCES: dict[Reference, Region] = {"label": Labelled(), "predicted": Predicted()}


def label_dice(
    labels: Labels, logits: Logits, label_map: LabelMap, *, inside: Mask | None = None
) -> dict[str, float]:
    """Return the Dice of each label but the background with a ground truth, by name.

    Neither ignored voxels nor padding count.

    Args:
        labels: what the output channels mean.
        logits: `1 L *S`, decided without postprocessing.
        label_map: the ground truth, `*S`.
        inside: the voxels that are not padding, `*S`; None where nothing was padded.
    """
    valid = labels.valid(label_map)
    if inside is not None:
        valid = valid & inside
    return {
        name: dice_of(
            labels.predicted(logits, name)[0] & valid, labels.truth(label_map, name) & valid
        )
        for name in labels.foreground
    }


def dice_of(predicted: Mask, truth: Mask) -> float:
    """Return `2 |P and T| / (|P| + |T|)`; NaN where the truth holds no voxel of the label."""
    num_true = int(truth.sum())
    if num_true == 0:
        return math.nan
    return 2 * int((predicted & truth).sum()) / (int(predicted.sum()) + num_true)


@dataclass(frozen=True)
class DiceTarget(Target):
    """Soft Dice of a label's probability p with a reference g: `2 <p, g> / (<p, 1> + <g, 1>)`.

    In 0..1; a map that raises it is positive. Not linear. Ignored voxels of the ground truth do not
    count.

    Args:
        label: name or integer of the label.
        reference: `label`, the ground truth, or `predicted`, the unperturbed prediction.
        over: restricts the sums to a region; all voxels by default.

    Source: Milletari et al., V-Net, 3DV 2016, without squares in the denominator.
    """

    label: str | int
    reference: Reference = "label"
    over: Region = field(default_factory=Everywhere)

    def freeze(self, scene: Scene) -> FrozenTarget:
        """Fix the reference and the region on the scene."""
        scene.labels.channels(self.label)
        domain = _domain(self.over, scene, self.label)
        region = REFERENCES[self.reference]
        if self.reference == "label":
            reference = scene.truth_of(self.label, "of: dice")
            domain = domain & scene.valid("of: dice")
        else:
            reference = region.mask(scene, None, self.label)
        require_voxels(reference & domain, self.label, region, scene, of="dice")
        weights = (reference & domain).to(scene.volume.data.dtype)
        size = weights.double().sum()

        def part(logits: Logits, box: Box) -> Totals:
            p = scene.labels.probability_of(logits, self.label) * domain[box]
            overlap = (p * weights[box]).flatten(1).double().sum(dim=1)
            return torch.stack([overlap, p.flatten(1).double().sum(dim=1)], dim=1)

        def outcome(totals: Totals) -> Scalars:
            return 2 * totals[:, 0] / (totals[:, 1] + size.to(totals.device))

        sums = Sums(part, outcome, 2, is_linear=False)
        return FrozenTarget(
            sums.value,
            reference & domain,
            "Dice",
            self.describe(),
            scene,
            label=self.label,
            plain=f"the Dice of {label_in_words(scene, self.label)}",
            sums=sums,
        )

    def describe(self) -> str:
        """Return the target in words."""
        return f"soft Dice of {self.label} with {self.reference} over {self.over.describe()}"


@dataclass(frozen=True)
class VolumeTarget(Target):
    """Soft volume of a label in ml: the sum of its probability times the voxel's volume.

    Args:
        label: name or integer of the label.
        over: restricts the sum to a region; all voxels by default.
    """

    label: str | int
    over: Region = field(default_factory=Everywhere)

    def freeze(self, scene: Scene) -> FrozenTarget:
        """Fix the region on the scene.

        Raises:
            DataError: the image is a picture, whose pixels have no size.
        """
        if scene.volume.source.is_picture:
            raise without_size(scene.volume.name, "of: volume_ml")
        scene.labels.channels(self.label)
        domain = _domain(self.over, scene, self.label)
        voxel_ml = scene.volume.voxel_volume_ml

        def part(logits: Logits, box: Box) -> Totals:
            p = scene.labels.probability_of(logits, self.label) * domain[box]
            return p.flatten(1).double().sum(dim=1)[:, None]

        sums = Sums(part, lambda totals: totals[:, 0] * voxel_ml)
        plain = f"the predicted volume of {label_in_words(scene, self.label)}"
        return FrozenTarget(
            sums.value,
            domain,
            "ml",
            self.describe(),
            scene,
            label=self.label,
            plain=plain,
            sums=sums,
        )

    def describe(self) -> str:
        """Return the target in words."""
        return f"soft volume of {self.label} in ml over {self.over.describe()}"


def _domain(over: Region, scene: Scene, label: str | int) -> Tensor:
    mask = over.mask(scene, None, label)
    require_voxels(mask, label, over, scene)
    return mask
