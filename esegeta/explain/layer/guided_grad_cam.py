"""Guided Grad-CAM: where a layer speaks for the target, in the detail of the voxels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from esegeta.explain.backprop.guided import GuidedBackprop
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.layer.gradient_cams import GradCam
from esegeta.explain.meaning import GUIDED_ACTIVATION, Meaning
from esegeta.explain.objective import Objective


@dataclass(frozen=True)
class GuidedGradCam(Explainer):
    """The guided gradient of each voxel times the Grad-CAM of the layer there.

        a_c = guided_backprop_c * grad_cam

    Positive: a brighter voxel raises the target, and the layer speaks for the target there;
    negative: a darker voxel would. Zero where Grad-CAM is. Unit: the product of both.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.

    Source: Selvaraju et al., Grad-CAM, 2017, section 3.2. The channel weights are those of the
    whole volume, and the ReLU comes after the resampling to voxels.
    """

    layer: str | tuple[str, ...] | None = None

    name: ClassVar[str] = "guided_grad_cam"
    traits: ClassVar[Traits] = Traits(
        "layer",
        needs_hooks=True,
        needs_layer=True,
    )
    meaning: ClassVar[Meaning] = GUIDED_ACTIVATION
    zero_hint: ClassVar[str] = (
        "Grad-CAM of this layer and the guided gradient have no voxel in common; choose another "
        "`layer`"
    )

    def __post_init__(self) -> None:
        GradCam(layer=self.layer)  # refuses names that come twice, before anything is run

    @property
    def cost(self) -> Cost:
        """Grad-CAM's, and one forward and one backward pass over active windows."""
        return GradCam(layer=self.layer).cost + GuidedBackprop().cost

    def attribute(self, objective: Objective) -> RawMap:
        """Return the product, as many channels as the image has; layer maps are Grad-CAM's."""
        cam = GradCam(layer=self.layer).map_of(objective)
        guided = GuidedBackprop().map_of(objective)
        return replace(cam, data=guided.data.mul_(cam.data), more={**cam.more, **guided.more})
