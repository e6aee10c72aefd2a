"""A map on the grid of the file: carried back exactly, or interpolated for the eye.

    by: adjoint          slopes by the file's own grey values; contributions whose sum is kept
    by: interpolation    heights between the voxels of the network's grid

Masks, probabilities, activations, squares and null maps are heights: they are interpolated always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError, suggest
from esegeta.explain.attribution import Attribution
from esegeta.explain.meaning import Meaning
from esegeta.volume import (
    carry_path,
    carry_shares,
    carry_slope_bounds,
    carry_slopes,
    describe_way_back,
    is_interpolated,
    on_source,
    padding_sum,
)

By = Literal["adjoint", "interpolation"]
WAYS: tuple[By, ...] = get_args(By)
Kept = Literal["slope", "sum", "height"]
"""What can be kept of a map on another grid."""

FILE_UNIT = "{target} / grey value of the file"

HEIGHTS_ONLY = (
    "{meaning} maps are heights, neither slopes with a sign nor parts of a change of the target: "
    "they are only interpolated"
)


def kept_of(meaning: Meaning) -> Kept:
    """Return what can be kept of a map on another grid, by the kind of its values."""
    if meaning.is_slope and meaning.is_signed:
        return "slope"
    return "sum" if meaning.is_in_target_unit else "height"


def _known(by: str) -> By:
    for way in WAYS:
        if by == way:
            return way
    raise ConfigError(f'by: "{by}" is not known', hint=suggest(by, WAYS))


@dataclass(frozen=True, eq=False)
class SourceMap:
    """A map on the grid of the file.

    Args:
        data: float32 `A *T`, a channel each, as `Attribution.data`.
        by: how it came there.
        unit: unit of one voxel.
        how: the same in words.
        totals: sums over all voxels and channels, of the map on the network's grid, of the part
            of it that lies on padding, and of the map in the file.
        network_unit: unit of the map on the network's grid.
        refused: why it did not come there as asked for; empty where it did.
    """

    data: Float[Tensor, "A *T"]
    by: By
    unit: str
    how: str
    totals: dict[str, float]
    network_unit: str
    refused: str = ""

    @property
    def total(self) -> Float[Tensor, "*T"]:
        """The map summed over channels."""
        return self.data.sum(dim=0)

    @property
    def array(self) -> Float[np.ndarray, "*T"]:
        """The same as it is written."""
        return self.total.numpy()

    def describe(self, attribution: Attribution) -> dict[str, Any]:
        """Return the `grid` entry of the map's sidecar."""
        volume = attribution.volume
        return {
            "network": volume.source.describe(volume.grid),
            "source": volume.source.describe(volume.source.grid),
            "by": self.by,
            **({"refused": self.refused} if self.refused else {}),
            "resampling": self.how,
            "totals": self.totals,
            "units": {"network": self.network_unit, "file": self.unit},
            "targets": "formed and explained on the network's grid",
        }


def map_on_file(attribution: Attribution, by: By | str | None = None) -> SourceMap:
    """Bring a map onto the grid of the file that the image came from.

    Args:
        attribution: the map on the network's grid.
        by: `adjoint` carries it back by the transpose of preprocessing, `interpolation` reads it
            between voxels; None takes what suits its meaning, see `default_by`.

    Raises:
        ConfigError: `by` is neither.
    """
    kept = kept_of(attribution.meaning)
    asked = default_by(attribution.meaning) if by is None else _known(by)
    refused = ""
    if asked == "adjoint" and kept == "height":
        refused = HEIGHTS_ONLY.format(meaning=attribution.meaning.kind.replace("_", " "))
        asked = "interpolation"
    unit = attribution.unit
    if asked == "interpolation":
        data = on_source(attribution.data, attribution.volume, resampling="bilinear")
        how = describe_way_back(attribution.volume)
    elif kept == "slope":
        data, how = carry_slopes(attribution.data, attribution.volume), SLOPES
        if attribution.volume.origin is not None:
            unit = FILE_UNIT.format(target=attribution.target.unit)
    else:
        data, how = _contributions(attribution)
    data = data.detach().cpu().float()
    totals = {
        "network": float(attribution.data.sum(dtype=torch.float64)),
        "padding": padding_sum(attribution.data, attribution.volume),
        "file": float(data.sum(dtype=torch.float64)),
    }
    return SourceMap(data, asked, unit, how, totals, attribution.unit, refused)


SLOPES = (
    "by the adjoint of all of preprocessing: slopes by the grey values of the file; statistics of "
    "the image are differentiated with the rest, boxes and masks are fixed"
)
PATHS = (
    "the mean slope along the path, carried back by the adjoint of resampling, times the change of "
    "the file's own voxels from the baseline, in units of the network's input, statistics of the "
    "image held fixed: sums are kept; {rest:.2%} of the map's size is not such a product there "
    "(clipped values, a baseline that is not a resampled image) and is shared out by the weights "
    "of the interpolation"
)
SHARES = (
    "by the adjoint of resampling: each value is shared among the voxels that it was interpolated "
    "from, by their weights: sums are kept, heights are not"
)


def default_by(meaning: Meaning) -> By:
    """Return how a map comes to the grid of the file by default.

    Parts of a change of the target must add up to it there too. All else is for the eye, which the
    adjoint shows the pattern of the voxels that resampling reads; docs/limits.md has the pictures.
    """
    adds_up = meaning.kind == "contribution" and meaning.is_part and meaning.is_in_target_unit
    return "adjoint" if adds_up else "interpolation"


def errors_on_file(attribution: Attribution, by: By) -> Float[Tensor, "A *T"]:
    """Return the standard errors of a map on the grid of the file, or an upper bound of them.

    The errors of voxels that are added up depend on each other: at most they add up too.

    Args:
        attribution: a map with standard errors.
        by: how the map came there.
    """
    errors, volume = attribution.standard_error, attribution.volume
    assert errors is not None
    if by == "interpolation":
        moved = on_source(errors, volume, resampling="bilinear")
    elif kept_of(attribution.meaning) == "slope":
        moved = carry_slope_bounds(errors, volume)
    else:
        moved = carry_shares(errors, volume).abs()
    return moved.detach().cpu().float()


def _contributions(attribution: Attribution) -> tuple[Image, str]:
    """Return parts of a change of the target as parts of the file's voxels, and how."""
    volume, values = attribution.volume, attribution.data
    if not is_interpolated(volume):
        return carry_shares(values, volume), describe_way_back(volume)
    carried = [
        found
        for way in attribution.ways
        if (found := carry_path(way.slope, way.start, volume)) is not None
    ]
    if not carried:
        return carry_shares(values, volume), SHARES
    rest = values.to(carried[0][1]) - sum(part for _, part in carried)
    size = float(rest.abs().sum()) / max(float(values.double().abs().sum()), 1e-300)
    data = carry_shares(rest, volume) + sum(part for part, _ in carried)
    return data, PATHS.format(rest=size)
