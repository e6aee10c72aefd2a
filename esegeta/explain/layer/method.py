"""What all methods of layers share: one layer, a list of them, or the deepest; maps on both grids.

Each layer has a map on its own grid over the volume, and one on the voxels of the image. The image
map of several layers is the mean of theirs, which keeps the sum of maps that add up to the target.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from esegeta.axes import Image
from esegeta.errors import ConfigError
from esegeta.explain.attribution import LayerMap
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap
from esegeta.explain.layer.cut import Site, find_sites
from esegeta.explain.objective import Objective
from esegeta.predict import LayerGrid, PositionValues


@dataclass(frozen=True, eq=False)
class LayerResult:
    """One layer's map, where it was computed and on the image.

    Args:
        voxels: map on the image, `1 *S`.
        positions: map on the layer's grid, `1 *G`; None where no window was touched.
        grid: the layer's.
        more: further facts.
        warnings: what a reader of the map must know.
    """

    voxels: Image
    positions: PositionValues | None = None
    grid: LayerGrid | None = None
    more: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerMethod(Explainer):
    """A method that explains the target by the activations of layers.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.
    """

    layer: str | tuple[str, ...] | None = None

    zero_hint: ClassVar[str] = "the target does not depend on this layer; choose another `layer`"

    def __post_init__(self) -> None:
        if self.layer is None or isinstance(self.layer, str):
            return
        names = tuple(self.layer)
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"{self.name}: layer: {list(names)} is empty or repeats a layer",
                hint="name each layer once, or leave `layer` out",
            )
        object.__setattr__(self, "layer", names)

    @property
    @abstractmethod
    def cost_of_layer(self) -> Cost:
        """What the map of one layer costs."""

    @property
    def cost(self) -> Cost:
        """The cost of one layer, once per layer."""
        return (len(self.layer) if isinstance(self.layer, tuple) else 1) * self.cost_of_layer

    @abstractmethod
    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the maps of one layer.

        Args:
            objective: frozen target on its volume.
            site: layer that is explained.
        """

    def attribute(self, objective: Objective) -> RawMap:
        """Return the mean over layers of their maps on the image, and each layer's own map."""
        sites = find_sites(objective, self.layer)
        results = [self.explain_layer(objective, site) for site in sites]
        return self.gather(objective, sites, results)

    def gather(
        self, objective: Objective, sites: Sequence[Site], results: Sequence[LayerResult]
    ) -> RawMap:
        """Put the results of all layers together."""
        data = results[0].voxels
        if len(results) > 1:
            data = torch.stack([result.voxels for result in results]).mean(dim=0)
        unit = self.meaning.unit_for(objective.target.unit)
        maps = tuple(
            LayerMap(
                site.name,
                result.positions.detach().float(),
                result.grid.grid(objective.volume.grid),
                unit,
            )
            for site, result in zip(sites, results, strict=True)
            if result.positions is not None and result.grid is not None
        )
        more: dict[str, Any] = {"layer": sites[0].name, **results[0].more}
        if not isinstance(self.layer, str) and self.layer is not None:
            each = {site.name: result.more for site, result in zip(sites, results, strict=True)}
            more = {"layer": list(each)} | ({"layers": each} if any(each.values()) else {})
        warnings = dict.fromkeys(
            f"layer {site.name}: {text}" if len(sites) > 1 else text
            for site, result in zip(sites, results, strict=True)
            for text in result.warnings
        )
        return RawMap(data, more=more, warnings=tuple(warnings), layer_maps=maps)
