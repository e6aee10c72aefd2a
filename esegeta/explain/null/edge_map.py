"""An edge detector: what a score gives to a method that looks at the image alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Image
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.objective import Objective


@dataclass(frozen=True)
class EdgeMap(Explainer):
    """The image's gradient magnitude, which knows nothing of the network: a null competitor.

        a = |grad x|, central differences in mm, each channel for itself

    Many maps look like edges; one that scores no better than this one may be no more than that.
    At least 0: it has no sign.

    Source: the edge detector of Adebayo et al., Sanity Checks for Saliency Maps, 2018, section 5.
    """

    name: ClassVar[str] = "edge_map"
    traits: ClassVar[Traits] = Traits("null", reads_target=False, unit="input unit / mm")
    zero_hint: ClassVar[str] = "the image is the same everywhere: it has no edges"

    @property
    def cost(self) -> str:
        """The network is not run."""
        return "0 F"

    def attribute(self, objective: Objective) -> RawMap:
        """Return the magnitude of the image's gradient."""
        return RawMap(gradient_magnitude(objective.volume.data, objective.volume.grid.spacing_mm))


def gradient_magnitude(data: Image, spacing_mm: tuple[float, ...]) -> Image:
    """Return the length of the gradient of `C *S`, per mm; one-sided at the borders."""
    squares: Tensor = torch.zeros_like(data)
    for axis, spacing in enumerate(spacing_mm, start=1):
        if data.shape[axis] > 1:
            (slope,) = torch.gradient(data, spacing=spacing, dim=axis)
            squares += slope.square()
    return squares.sqrt()
