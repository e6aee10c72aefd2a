"""How similar two maps are: ranks, cosine, SSIM, HOG.

What neither map reaches is left out: two maps of a small organ are both zero over most of a volume,
whatever the network, and would look alike for that alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Image, Mask
from esegeta.errors import EsegetaError
from esegeta.explain import Attribution
from esegeta.explain.baseline import blur


def average_ranks(values: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Return ranks from 1, the smallest first, float64; equal values get the mean of theirs."""
    _, places, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(dim=0).double()
    ranks: Tensor = last - (counts.double() - 1) / 2
    return ranks[places]


def spearman(one: Float[Tensor, "..."], other: Float[Tensor, "..."]) -> float:
    """Return the rank correlation of two maps in -1..1; NaN where one is the same everywhere."""
    ranks = [average_ranks(map_.flatten()) for map_ in (one, other)]
    return cosine(*(rank - rank.mean() for rank in ranks))


def cosine(one: Float[Tensor, "..."], other: Float[Tensor, "..."]) -> float:
    """Return the cosine between two maps in -1..1; NaN where one is zero everywhere."""
    a, b = one.flatten().double(), other.flatten().double()
    lengths = float(a.norm()) * float(b.norm())
    return max(-1.0, min(1.0, float(a @ b) / lengths)) if lengths else math.nan


SSIM_SIGMA_VOX = 1.5
"""Width of the window, in voxels of the finest axis; the same in mm along the others."""

SSIM_RADIUS_SIGMAS = 10 / 3
"""Makes the window that of the paper: 11 voxels wide at a sigma of 1.5."""

SSIM_CONSTANTS = (0.01**2, 0.03**2)
"""The constants of the paper, for values in 0..1."""

WHITE_QUANTILE = 0.99
"""Magnitudes above this quantile are white, so that a few bright voxels do not make all others
black."""

ROUNDING = 1e-5
"""Rounding of a map, as a part of its largest magnitude; smaller differences mean nothing."""

HOG_ORIENTATIONS, HOG_CELL_VOX, HOG_BLOCK_CELLS = 9, 8, 3
"""Sizes of the descriptors; cells are smaller where a picture is small."""

HOG_SLICES = 16
"""Largest number of planes that a 3D map is judged by."""

MapPlane = Float[Tensor, "*S"]


def rank_similarity(one: Image, other: Image, spacing_mm: tuple[float, ...]) -> float:
    """Return Spearman's correlation of two signed maps in -1..1, NaN where either is constant."""
    where = reached(one, other)
    flat, also = one[:, where], other[:, where]
    return math.nan if is_constant(flat) or is_constant(also) else spearman(flat, also)


def cosine_similarity(one: Image, other: Image, spacing_mm: tuple[float, ...]) -> float:
    """Return the cosine between two signed maps in -1..1, NaN where either is zero."""
    return cosine(one, other)


def ssim(one: Image, other: Image, spacing_mm: tuple[float, ...]) -> float:
    """Return the mean structural similarity of the pictures of two maps, in -1..1.

    Source: Wang et al., Image Quality Assessment, IEEE TIP 13 (2004), equation 13, with a Gaussian
    window that is as wide in mm along every axis.
    """
    where = reached(one, other)
    finest = min(spacing_mm)
    sigmas = [SSIM_SIGMA_VOX * finest / spacing for spacing in spacing_mm]
    # All is black beyond: what lies further than a window from it changes nothing.
    box = _box_around(where, math.ceil(SSIM_RADIUS_SIGMAS * max(sigmas)))
    picture, picture_ = (_picture(map_, where)[box] for map_ in (one, other))
    return float(structural_similarity(picture, picture_, sigmas)[where[box]].mean())


def hog(one: Image, other: Image, spacing_mm: tuple[float, ...]) -> float:
    """Return the correlation of the histograms of oriented gradients of two maps, in -1..1.

    Of 3D maps the mean over up to 16 planes across the axis with the thickest slices (the last of
    equals). NaN where no plane has an edge, or planes are narrower than three voxels.

    Source: Dalal and Triggs, Histograms of Oriented Gradients, 2005, as in scikit-image.
    """
    where = reached(one, other)
    box = _box_around(where)
    pictures = [_picture(map_, where)[box] for map_ in (one, other)]
    if where.ndim == 3:
        axis = max(range(3), key=lambda axis: (round(spacing_mm[axis], 3), axis))
        length = pictures[0].shape[axis]
        chosen = np.linspace(0, length - 1, min(length, HOG_SLICES)).round().astype(int).tolist()
        planes = [[picture.select(axis, place) for picture in pictures] for place in chosen]
    else:
        planes = [pictures]
    if min(planes[0][0].shape) < HOG_BLOCK_CELLS:
        return math.nan
    planes = [pair for pair in planes if not any(is_constant(picture) for picture in pair)]
    descriptors = [[_descriptor(picture) for picture in pair] for pair in planes]
    found = [cosine(*(item - item.mean() for item in pair)) for pair in descriptors]
    return sum(found) / len(found) if found else math.nan


def reached(one: Image, other: Image) -> Mask:
    """Return the voxels at which either map is not zero."""
    return (one != 0).any(dim=0) | (other != 0).any(dim=0)


def is_constant(values: Float[Tensor, "*N"]) -> bool:
    """Tell whether values differ by no more than float32 rounds over many windows."""
    low, high = (float(extreme) for extreme in torch.aminmax(values))
    return high - low <= ROUNDING * max(abs(low), abs(high))


def structural_similarity(one: MapPlane, other: MapPlane, sigmas_vox: list[float]) -> MapPlane:
    """Return the structural similarity of two pictures in 0..1 around each voxel."""
    moments = torch.stack([one, other, one * one, other * other, one * other])
    mean, mean_, square, square_, product = blur(
        moments, sigmas_vox, radius_sigmas=SSIM_RADIUS_SIGMAS
    )
    variance, variance_ = square - mean**2, square_ - mean_**2
    covariance = product - mean * mean_
    first, second = SSIM_CONSTANTS
    above = (2 * mean * mean_ + first) * (2 * covariance + second)
    below = (mean**2 + mean_**2 + first) * (variance + variance_ + second)
    found: Tensor = above / below
    return found


def _picture(map_: Image, where: Mask) -> MapPlane:
    """Return a map as it is displayed: its magnitude over all channels, from 0 to white at 1."""
    magnitude = map_.double().abs().sum(dim=0)
    values = magnitude[where]
    white = values.kthvalue(max(1, math.ceil(WHITE_QUANTILE * len(values)))).values
    # Where nearly all voxels are black, the brightest one is white.
    return (magnitude / torch.where(white > 0, white, values.max())).clamp(max=1)


def _box_around(where: Mask, margin: int = 0) -> tuple[slice, ...]:
    """Return the smallest box that holds all voxels of a mask, with a margin."""
    places = where.nonzero()
    bounds = zip(places.amin(dim=0).tolist(), places.amax(dim=0).tolist(), strict=True)
    return tuple(slice(max(0, low - margin), high + 1 + margin) for low, high in bounds)


def _descriptor(picture: MapPlane) -> Float[Tensor, " N"]:
    from skimage.feature import hog as histograms

    cell = min(HOG_CELL_VOX, min(picture.shape) // HOG_BLOCK_CELLS)
    found = histograms(
        picture.cpu().numpy(),
        orientations=HOG_ORIENTATIONS,
        pixels_per_cell=(cell, cell),
        cells_per_block=(HOG_BLOCK_CELLS, HOG_BLOCK_CELLS),
    )
    return torch.from_numpy(found)


Measure = Callable[[Image, Image, tuple[float, ...]], float]
"""From two maps and their spacing to their similarity; NaN where undefined."""

INCOMPARABLE = "a map is the same everywhere, or too small to be compared"


@dataclass(frozen=True)
class MapSimilarity:
    """How similar the map is to another one.

    Args:
        other: name of what the other map explains, in words.
        similarities: similarities by measure; NaN where undefined.
        failure: why there is no other map, or empty.
    """

    other: str
    similarities: dict[str, float]
    failure: str = ""


def compare_maps(
    attribution: Attribution,
    other: str,
    explain: Callable[[], Attribution],
    *,
    measures: Mapping[str, Measure],
) -> MapSimilarity:
    """Compare a map with another; a missing map is reported, not an error.

    Args:
        attribution: the map.
        other: name of what the other map explains.
        explain: function that makes the other map.
        measures: measures by name.
    """
    try:
        found = explain().data
    except EsegetaError as error:
        return MapSimilarity(other, dict.fromkeys(measures, math.nan), error.message)
    spacing_mm = attribution.volume.grid.spacing_mm
    values = {name: like(attribution.data, found, spacing_mm) for name, like in measures.items()}
    return MapSimilarity(other, values)


def known(comparisons: Sequence[MapSimilarity], measure: str) -> list[float]:
    """Return the similarities that are defined."""
    values = [comparison.similarities[measure] for comparison in comparisons]
    return [value for value in values if not math.isnan(value)]


def left_out(comparisons: Sequence[MapSimilarity], measure: str) -> str:
    """Say which comparisons are undefined, and why; empty where none is."""
    missing = [item for item in comparisons if math.isnan(item.similarities[measure])]
    words = "; ".join(f"{item.other}: {item.failure or INCOMPARABLE}" for item in missing)
    return f"{len(missing)} of {len(comparisons)} are left out: {words}" if missing else ""
