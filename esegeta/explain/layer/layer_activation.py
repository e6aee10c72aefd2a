"""What a layer computes, whatever the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from esegeta.errors import ConfigError, LayerError, MapError
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import blend_layer
from esegeta.explain.layer.cut import Site
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.meaning import ACTIVATION, Meaning
from esegeta.explain.objective import Objective
from esegeta.predict import Pieces


@dataclass(frozen=True)
class LayerActivation(LayerMethod):
    """The activations of a layer over the volume, blended over windows as the logits are.

        a = sum_t w_t * upsample(mean_k A_t[k]) / sum_t w_t

    The target plays no part: the map says what the layer computes, not what it is used for.
    The sign is the activation's. Unit: activation.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.
        channel: one unit of the layer, counted from 0; the mean over all by default.

    Source: captum's LayerActivation, which has no windows and returns every unit.
    """

    channel: int | None = None

    name: ClassVar[str] = "layer_activation"
    traits: ClassVar[Traits] = Traits(
        "layer",
        needs_hooks=True,
        needs_layer=True,
        by_channel=False,
        reads_target=False,
    )
    meaning: ClassVar[Meaning] = ACTIVATION
    zero_hint: ClassVar[str] = (
        "the activation of the layer is zero here; choose another `layer` or `channel`"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channel is not None and self.channel < 0:
            raise ConfigError(f"layer_activation: channel: {self.channel} must be 0 or more")

    @property
    def cost_of_layer(self) -> Cost:
        """All windows forward, for each layer."""
        return Cost.of(1, over="all")

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels.

        Raises:
            LayerError: the layer has no such channel.
            MapError: the mean over units is rounding error, since they cancel.
        """
        largest = 0.0

        def combine(pieces: Pieces, activation: Tensor) -> Tensor:
            nonlocal largest
            if self.channel is None:
                largest = max(largest, float(activation.abs().max()))
                return activation.mean(dim=1, keepdim=True)
            if self.channel >= activation.shape[1]:
                raise LayerError(
                    f'layer "{site.name}" has {activation.shape[1]} channels, '
                    f"but no channel {self.channel}",
                    hint=f"name one from 0 to {activation.shape[1] - 1}",
                )
            return activation[:, self.channel, None]

        result = blend_layer(objective, site, combine)
        rounding = 1e-5 if objective.predictor.precision == "fp32" else 1e-2
        if 0 < float(result.voxels.abs().max()) < rounding * largest:
            raise MapError(
                f"{self.name}: the units of layer {site.name} cancel at every position, as after "
                "a norm over units, so that their mean is rounding error",
                hint="name one unit with `channel`, or another layer",
            )
        return result
