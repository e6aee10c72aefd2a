"""The halo profile: how much context around a structure the map rests on, in mm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain import Attribution
from esegeta.score.localisation.localisation import TOUCHES_MM, Localisation, Structure, Use
from esegeta.score.score import Curve, Judgement, Metric, ScoreContext

ROUNDING = 1e-12
HALO_SHARE = 0.9


@dataclass(frozen=True)
class HaloProfile(Localisation):
    """The map's magnitude by signed distance to a structure's surface: how far context reaches.

        halo_inside: share of |a| in M;   halo_distance_mm: its median distance from M outside of M;
        halo_90_mm: by how much M must grow to hold 90 % of |a|

    Neither more nor less is better as such: the lungs may rightly help to recognise a heart.
    Curves: share per ml, and share up to a distance, which is negative inside. Distances are
    between centres of voxels, to the nearest voxel on the other side. Channels are summed first; a
    feature's value is shared evenly among its voxels.

    Args:
        against: M, `prediction`, `label` (ground truth) or `target` (the target's own mask).
        use: `magnitude`, or `positive` values only.
        bin_mm: width of the curves' bins, in mm.

    Source: ours; the coherence check of a map. The distance transform is exact.
    """

    use: Use = "magnitude"
    bin_mm: float = 5.0

    name: ClassVar[str] = "halo_profile"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("halo_inside", "none", high=1.0),
        Metric("halo_distance_mm", "none"),
        Metric("halo_90_mm", "none"),
    )

    def __post_init__(self) -> None:
        if self.bin_mm <= 0:
            raise ConfigError(f"halo_profile: bin_mm: {self.bin_mm:g} must be above zero")

    def place(
        self, attribution: Attribution, structure: Structure, context: ScoreContext
    ) -> Judgement:
        """Return the figures, the density and the cumulative share by distance."""
        relevance = self.relevance(attribution.density(), structure)
        share = relevance / relevance.sum()
        distance = self.distance_mm(attribution, structure, context)
        outside = distance > 0
        values = {
            "halo_inside": min(1.0, float(share[~outside].sum())),
            "halo_distance_mm": _distance_holding(0.5, share[outside], distance[outside]),
            "halo_90_mm": _distance_holding(HALO_SHARE, share, distance.clamp(min=0)),
        }
        reasons = {}
        if math.isnan(values["halo_distance_mm"]):
            reasons["halo_distance_mm"] = "the map is zero outside the structure"
        bins = _DistanceBins.of(distance, self.bin_mm)
        volume = attribution.volume
        if volume.source.is_picture:
            return Judgement(values, reasons, bins.curves(share, 1.0, ("pixels", "pixel")))
        return Judgement(values, reasons, bins.curves(share, volume.voxel_volume_ml, ("mm", "ml")))


@dataclass(frozen=True, eq=False)
class _DistanceBins:
    """Signed distances in bins, none of which straddles the surface.

    Args:
        place: the bin of each voxel, from 0, the deepest inside.
        num_inside: bins inside the structure.
        num: bins in all.
        width_mm: width of a bin.
    """

    place: Int64[Tensor, " N"]
    num_inside: int
    num: int
    width_mm: float

    @classmethod
    def of(cls, distance: Float64[Tensor, " N"], width_mm: float) -> _DistanceBins:
        """Return bins (0, w], (w, 2w], ... outside, and their mirrors inside."""
        steps = ((distance.abs() - TOUCHES_MM) / width_mm).ceil().clamp(min=1).long()
        signed = torch.where(distance < 0, -steps, steps - 1)
        num_inside = -int(signed.min())
        place = signed + num_inside
        return cls(place, num_inside, int(place.max()) + 1, width_mm)

    def curves(
        self, share: Float64[Tensor, " N"], voxel_size: float, units: tuple[str, str]
    ) -> tuple[Curve, Curve]:
        """Return the share of the map per ml in each bin, and up to the end of each bin.

        Args:
            share: share of the map, by voxel.
            voxel_size: size of a voxel in ml, or 1 for pixels.
            units: units of lengths, and of sizes.
        """
        counts = torch.bincount(self.place, minlength=self.num)
        held = torch.bincount(self.place, weights=share, minlength=self.num)
        starts = [(place - self.num_inside) * self.width_mm for place in range(self.num)]
        density = (held / (counts * voxel_size)).tolist()  # 0 / 0 in a bin without a voxel
        x_label = f"signed distance to the surface [{units[0]}]"
        return (
            Curve(
                "halo_density",
                x_label,
                f"share of the map per {units[1]}",
                tuple(start + self.width_mm / 2 for start in starts),
                tuple(density),
            ),
            Curve(
                "halo_cumulative",
                x_label,
                "share of the map up to here",
                tuple(start + self.width_mm for start in starts),
                tuple(held.cumsum(dim=0).clamp(max=1).tolist()),
            ),
        )


def _distance_holding(
    part: float, share: Float64[Tensor, " N"], distance: Float64[Tensor, " N"]
) -> float:
    """Return the least distance within which a part of the shares lies; NaN where all are zero."""
    order = distance.argsort()
    held = share[order].cumsum(dim=0)
    if not float(held[-1]):
        return math.nan
    place = int((held >= part * held[-1] * (1 - ROUNDING)).nonzero()[0])
    return float(distance[order][place])
