"""What a target is frozen on: a volume, its prediction, the labels and the ground truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from esegeta.axes import LabelMap, Logits
from esegeta.errors import TargetError
from esegeta.model import Labels
from esegeta.predict import Predictor
from esegeta.volume import Volume


@dataclass(frozen=True, eq=False)
class Scene:
    """A volume with all that targets may ask about it; the prediction is made when asked for.

    Args:
        predictor: the network over windows.
        volume: the image, on the device where buffers shall live.
        truth: the ground truth `*S` on the volume's grid, or None.
        known_logits: the prediction `1 L *S` if it has been made already.
    """

    predictor: Predictor
    volume: Volume
    truth: Tensor | None = None
    known_logits: Tensor | None = field(default=None)

    @cached_property
    def logits(self) -> Logits:
        """The blended logits of the unperturbed volume, `1 L *S`."""
        if self.known_logits is not None:
            return self.known_logits
        return self.predictor.predict(self.volume.batch)

    @property
    def labels(self) -> Labels:
        """What the output channels mean."""
        return self.predictor.labels

    def require_truth(self, purpose: str) -> LabelMap:
        """Return the ground truth.

        Raises:
            TargetError: the case has none.
        """
        if self.truth is None:
            raise TargetError(
                f"{self.volume.name}: {purpose} needs a ground truth and the case has none",
                hint="give the case a `label:` file",
            )
        return self.truth.to(self.volume.data.device)
