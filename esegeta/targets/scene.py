"""What a target is frozen on: a volume, its prediction, the labels and the ground truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from esegeta.axes import LabelMap, Logits
from esegeta.errors import ModelError, TargetError
from esegeta.model import Labels
from esegeta.predict import Predictor
from esegeta.targets.components import connected_components
from esegeta.volume import Volume


@dataclass(frozen=True, eq=False)
class Scene:
    """A volume with all that targets may ask about it; the prediction is made when asked for.

    Args:
        predictor: the network over windows.
        volume: the image, on the device where buffers shall live.
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
