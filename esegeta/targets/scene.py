"""What a target is fixed on: a volume, its prediction, its labels, its components."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import LabelMap, Logits, Mask
from esegeta.errors import ModelError, TargetError
from esegeta.model import Labels
from esegeta.predict import Predictor, probabilities_in
from esegeta.volume import Volume


def connected_components(mask: Mask) -> LabelMap:
    """Number the connected components of a mask from 1, the largest first; 0 is background."""
    from scipy import ndimage

    array = mask.cpu().numpy()
    structure = np.ones((3,) * array.ndim, dtype=bool)
    numbered, count = ndimage.label(array, structure=structure)
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
    rank = np.zeros(count + 1, dtype=np.int64)
    rank[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1)
    return torch.from_numpy(rank[numbered]).to(mask.device)


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
        known_components: of predicted labels, filled in as they are asked for.
    """

    predictor: Predictor
    volume: Volume
    truth: Tensor | None = None
    known_logits: Tensor | None = field(default=None)
    known_components: dict[int, LabelMap] = field(default_factory=dict, repr=False)

    @cached_property
    def logits(self) -> Logits:
        """The blended logits of the unperturbed volume, `1 L *S`.

        Raises:
            ModelError: they are not finite.
        """
        if self.known_logits is not None:
            return self.known_logits
        logits = self.predictor.predict(self.volume.batch)
        finite = logits.isfinite()
        if not bool(finite.all()):
            raise ModelError(
                f"{self.volume.name}: {int((~finite).sum())} of {logits.numel()} logits of the "
                "prediction are NaN or Inf",
                hint="use precision: fp32, and check the weights and the intensities",
            )
        return logits

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What the prediction tells that a reader of any map must know."""
        text = probabilities_in(self.predictor, self.volume.batch, self.logits)
        return (text,) if text else ()

    @property
    def known_warnings(self) -> tuple[str, ...]:
        """The warnings, or none where the prediction has not been needed."""
        is_known = self.known_logits is not None or "logits" in vars(self)
        return self.warnings if is_known else ()

    def components(self, label: str | int) -> LabelMap:
        """Return the connected components of a predicted label, largest first; found once."""
        integer = self.labels.integer(label)
        if integer not in self.known_components:
            mask = self.labels.predicted(self.logits, label)[0]
            self.known_components[integer] = connected_components(mask)
        return self.known_components[integer]

    @property
    def labels(self) -> Labels:
        """What the output channels mean."""
        return self.predictor.labels

    def predictor_for(self, predictor: Predictor) -> Predictor:
        """Return what a target of this scene reads, of the predictor that is explained."""
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
