"""Coalitions of features: the target of images in which only some features are left.

    v(z) = R(x with every feature outside the coalition z replaced by the baseline)

A window's part of v depends on the features inside of its crop alone: coalitions that agree there
share one run of it. Features that no window of the target holds are dummies, worth exactly 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from esegeta.axes import Image, Logits
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.explainer import Explainer, RawMap
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation.edited import Edits
from esegeta.explain.perturbation.edits import EditedTarget
from esegeta.explain.perturbation.features import Features, Partition, parse_features
from esegeta.predict import Box, spot

Coalitions = Bool[Tensor, "M N"]
"""Rows of features that are kept (True) or replaced (False); on the CPU."""


class MaskedTarget:
    """The target of a volume with some features masked: the value of each coalition of features.

    Its use does not end with Shapley values: a nested family of coalitions is a deletion curve.

    Args:
        objective: what is explained.
        partition: the features.
        baseline: `C *S`, what takes the place of a feature that is left out.
    """

    def __init__(self, objective: Objective, partition: Partition, baseline: Image) -> None:
        self.partition = partition
        self.target = EditedTarget(objective)
        windows = self.target.windows
        self._baseline = windows.pad_image(baseline[None])
        # Zeros around the image are in no feature; copies of a voxel are in its own.
        self._labels = windows.pad_image(partition.labels + 1) - 1
        # What a window holds beside the part that its target depends on changes nothing, but is a
        # player all the same: which coalitions are drawn must not depend on a shortcut.
        boxes = windows.boxes
        held = set().union(*(self._features_in(boxes[one]).tolist() for one in self.target.seen))
        self._held = {one: self._features_in(self.target.box_of(one)) for one in self.target.seen}
        self.players = sorted(held)

    def values(self, coalitions: Coalitions) -> Float64[Tensor, " M"]:
        """Return v of coalitions of all features, on the CPU."""
        return self.target.start() + self.changes(coalitions)

    def changes(self, coalitions: Coalitions) -> Float64[Tensor, " M"]:
        """Return `v(z) - R(x)` of coalitions of all features, on the CPU."""
        edits = _LeftOut(coalitions, self._held, self._labels, self._baseline, self.partition)
        return self.target.changes(edits).cpu()

    def predictions(self, coalitions: Coalitions) -> Iterator[Logits]:
        """Yield the prediction of each coalition's image, `1 L *S`; see `EditedTarget`."""
        edits = _LeftOut(coalitions, self._held, self._labels, self._baseline, self.partition)
        return self.target.predictions(edits)

    def with_dummies(self, coalitions: Bool[Tensor, "M P"]) -> Coalitions:
        """Return coalitions of the players as coalitions of all features; dummies are kept."""
        everyone = torch.ones((len(coalitions), len(self.partition)), dtype=torch.bool)
        everyone[:, self.players] = coalitions
        return everyone

    def worths(self, values: Float64[Tensor, " P"]) -> Float64[Tensor, " N"]:
        """Return the values of all features, given the players'; dummies are worth 0."""
        everyone = torch.zeros(len(self.partition), dtype=torch.float64)
        everyone[self.players] = values
        return everyone

    def map(
        self,
        values: Float64[Tensor, " P"],
        *,
        errors: Float64[Tensor, " P"] | None = None,
        more: Mapping[str, Any] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> RawMap:
        """Return the players' values painted over their voxels, with facts and warnings about them.

        Args:
            values: values of the players.
            errors: standard error of each.
            more: further facts.
            warnings: what a reader of the map must know.
        """
        worths = self.worths(values)
        facts = {
            "features": len(self.partition),
            "features_in_reach": len(self.players),
            "values": dict(zip(self.partition.names, worths.tolist(), strict=True)),
            "windows_by_brute_force": self.target.brute_force_windows,
            **(more or {}),
        }
        spread = None if errors is None else self.partition.paint(self.worths(errors))
        return RawMap(
            self.partition.paint(worths),
            more=facts,
            warnings=warnings,
            standard_error=spread,
            sharing=self.partition.paint(self.partition.sizes).clamp(min=1),
        )

    def _features_in(self, box: Box) -> np.ndarray:
        labels = self._labels[box]
        return np.flatnonzero(self.partition.held_by(labels).cpu().numpy())


class _LeftOut(Edits):
    """Copies of the image without the features outside of coalitions."""

    def __init__(
        self,
        coalitions: Coalitions,
        held: Mapping[int, np.ndarray],
        labels: Tensor,
        baseline: Tensor,
        partition: Partition,
    ) -> None:
        self._rows = coalitions.numpy()
        self._kept = coalitions.to(labels.device)
        self._held = held
        self._labels = labels
        self._baseline = baseline
        self._partition = partition

    def __len__(self) -> int:
        return len(self._rows)

    def touching(self, window: int) -> Mapping[int, Hashable]:
        inside = self._rows[:, self._held[window]]
        touched = np.flatnonzero(~inside.all(axis=1))
        keys = np.packbits(inside[touched], axis=1)
        return {int(edit): key.tobytes() for edit, key in zip(touched, keys, strict=True)}

    def apply(self, edit: int, crop: Tensor, box: Box) -> None:
        labels, baseline = self._labels[box], self._baseline[spot(0, box)]
        kept = self._partition.look_up(self._kept[edit], labels, rest=True).to(crop.device)
        crop.copy_(torch.where(kept, crop, baseline.to(crop)))


@dataclass(frozen=True)
class OverFeatures(Explainer):
    """Shared parameters of methods that replace features of the image.

    Args:
        features: blocks, supervoxels, channels, a label map, or a block of keys.
        baseline: zero, mean, minimum, blur, or an image file.
    """

    features: Features | str = "supervoxels"
    baseline: Baseline | str = "mean"

    zero_hint: ClassVar[str] = (
        "no feature changes the target; is the image equal to its baseline, or does no feature "
        "lie in the windows of the target?"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", parse_features(self.features))
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    def masked_target(self, objective: Objective) -> MaskedTarget:
        """Return the objective with this method's features."""
        volume = objective.volume
        partition = parse_features(self.features).of(volume)
        return MaskedTarget(objective, partition, parse_baseline(self.baseline).of(volume))
