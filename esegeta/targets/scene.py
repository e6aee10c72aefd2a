"""What a target is fixed on: a volume, its prediction, its labels, its components."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from esegeta.axes import LabelMap, Logits, Mask
from esegeta.errors import TargetError
from esegeta.model import Labels, Segmentation, connected_components
from esegeta.predict import GridRule, Prediction, Predictor, SourceGrid
from esegeta.targets.kept import KeptPasses
from esegeta.volume import Volume, without_size


def measure_components(components: LabelMap) -> tuple[Tensor, Tensor]:
    """Return the number of voxels and the mean index of each component.

    Args:
        components: `*S`, numbered from 1.

    Returns:
        Counts, `K`, and centres in voxel indices, `K ndim`, float64.
    """
    flat = components.flatten()
    counts = torch.bincount(flat)
    centres = []
    for axis, length in enumerate(components.shape):
        shape = [length if place == axis else 1 for place in range(components.ndim)]
        index = torch.arange(length, device=flat.device, dtype=torch.float64).reshape(shape)
        weights = index.expand(components.shape).flatten()
        centres.append(torch.bincount(flat, weights=weights) / counts.clamp(min=1))
    return counts[1:], torch.stack(centres, dim=1)[1:]


@dataclass(frozen=True, eq=False)
class Scene:
    """A volume with all that targets may ask about it; the prediction is made when asked for.

    Args:
        predictor: the network over windows.
        volume: the image, on the device where buffers live.
        truth: the ground truth `*S` on the volume's grid, or None.
        known_logits: the prediction `1 L *S` if it has been made already.
        known_components: components of predicted labels, filled in as they are asked for.
        kept: what methods' passes over the volume gave, for others on the same targets; None
            where each runs its own.
    """

    predictor: Predictor
    volume: Volume
    truth: Tensor | None = None
    known_logits: Tensor | None = field(default=None)
    known_components: dict[str, LabelMap] = field(default_factory=dict, repr=False)
    kept: KeptPasses | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """One line: the volume, and the network over it."""
        return f"<Scene of {self.volume!r} with {self.predictor!r}>"

    @cached_property
    def prediction(self) -> Prediction:
        """The blended prediction of the unperturbed volume, whole or slab by slab."""
        volume = self.volume
        return Prediction(self.predictor, volume.batch, volume.name, self.known_logits)

    @property
    def logits(self) -> Logits:
        """The blended logits of the unperturbed volume, `1 L *S`; they are held from now on.

        Raises:
            ModelError: they are not finite.
        """
        return self.prediction.logits

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the prediction shows that a reader of any map must know."""
        text = self.prediction.warning
        return (text,) if text else ()

    @property
    def known_warnings(self) -> tuple[str, ...]:
        """The warnings, or none where the prediction has not been needed."""
        return self.warnings if self.prediction.is_known else ()

    def components(self, label: str | int) -> LabelMap:
        """Return the connected components of a predicted label, largest first; found once."""
        name = self.labels.name(label)
        if name not in self.known_components:
            self.known_components[name] = connected_components(self.predicted(label))
        return self.known_components[name]

    @cached_property
    def segmentation(self) -> Segmentation:
        """The labels decided from the prediction, after postprocessing."""
        self._require_sizes()
        volume = self.volume
        decided = self.prediction.decided
        return Segmentation(decided, volume.voxel_volume_ml, volume.inside)

    def within(self, mask: Mask) -> Mask:
        """Return a mask without the padding of preprocessing, which is not part of the image."""
        inside = self.volume.inside
        return mask if inside is None else mask & inside

    def on_source(self, rule: GridRule) -> SourceGrid:
        """Return the prediction on the grid of the image's file.

        Args:
            rule: what is interpolated on the way there.
        """
        self._require_sizes()
        return SourceGrid(self.prediction, self.volume, self.labels, rule)

    def _require_sizes(self) -> None:
        smallest = self.labels.postprocessing.min_volume_ml
        if self.volume.source.is_picture and any(size > 0 for size in smallest.values()):
            raise without_size(self.volume.name, "postprocessing: min_volume_ml")

    def predicted(self, label: str | int) -> Mask:
        """Return where a label is predicted on the unperturbed volume, after postprocessing."""
        return self.segmentation.mask(label)

    def truth_of(self, label: str | int, purpose: str) -> Mask:
        """Return where the ground truth holds a label; ignored voxels do not.

        Raises:
            TargetError: the case has no ground truth.
        """
        return self.within(self.labels.truth(self.require_truth(purpose), label))

    def valid(self, purpose: str) -> Mask:
        """Return where the ground truth is known; ignored voxels and padding are not.

        Raises:
            TargetError: the case has no ground truth.
        """
        return self.within(self.labels.valid(self.require_truth(purpose)))

    @property
    def labels(self) -> Labels:
        """What the output channels mean."""
        return self.predictor.labels

    def predictor_for(self, predictor: Predictor) -> Predictor:
        """Return the part of the explained predictor that a target of this scene reads."""
        return predictor

    def flipped(self, axis: int) -> Scene:
        """Return the scene of the flipped volume, whose prediction is yet to be made."""
        truth = None if self.truth is None else self.truth.flip(axis)
        return Scene(self.predictor, self.volume.flipped(axis), truth)

    def require_truth(self, purpose: str) -> LabelMap:
        """Return the ground truth.

        Raises:
            TargetError: the case has none.
        """
        if self.truth is None:
            raise TargetError(
                f"{self.volume.name}: {purpose} needs a ground truth and the case has none",
                hint="give the case a `label:` file; in Python, model.freeze(..., truth=label_map)",
            )
        return self.truth.to(self.volume.data.device)
