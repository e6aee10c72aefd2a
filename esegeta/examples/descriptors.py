"""Features of regions that a reader understands: brightness, texture, size, place, distances."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import LabelMap, Mask
from esegeta.targets import distance_to
from esegeta.volume import Volume

DISTANCE_UNITS = ("mm", "px")
"""Of volumes, and of pictures, which have no size."""
PLACES = ("left_to_right", "posterior_to_anterior", "inferior_to_superior")
"""Along the axes of RAS, from 0 at one side of the body to 1 at the other."""

PICTURE_PLACES = ("along_columns", "along_rows")
"""Of a picture, whose sides of a patient are not known."""

ENTROPY_RADIUS_VOX = 2
GREY_LEVELS = 32

Columns = dict[str, Float[np.ndarray, " R"]]


def describe_regions(
    volume: Volume, numbers: LabelMap, body: Mask, structures: Mapping[str, Mask]
) -> Columns:
    """Return readable features of the regions that a map numbers from 1 without a gap.

    `mean`, `sd`, `p10`, `p90` of each channel's intensities after preprocessing; `edges`, the mean
    of scikit-image's Sobel magnitude, and `entropy`, of grey levels within 2 voxels, in bits;
    `volume_ml` (`voxels` of a picture); the centre's place in the box around the body, 0 to 1;
    `depth_mm`, the mean distance to the outside of the body; and to each structure the region's
    mean distance, 0 within it: a structure that is not there is as far as the volume is long.

    Args:
        volume: the image.
        numbers: `*S`, 1 to R.
        body: where the patient is, `*S`.
        structures: masks by name, `*S`.
    """
    index = numbers.cpu().numpy().ravel() - 1
    voxels = np.flatnonzero(index >= 0)
    order = voxels[np.argsort(index[voxels], kind="stable")]
    sizes = np.bincount(index[voxels])
    starts = np.cumsum(sizes) - sizes

    def mean(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values.ravel()[order].astype(np.float64), starts) / sizes

    found: Columns = {}
    several = volume.num_channels > 1
    for channel, data in zip(volume.channels, volume.data.cpu().numpy(), strict=True):
        before = f"{channel}_" if several else ""
        found |= {before + name: value for name, value in _of_channel(data, order, starts).items()}
        for name, texture in _textures(data).items():
            found[before + name] = mean(texture)
    picture = volume.source.is_picture
    found["voxels" if picture else "volume_ml"] = sizes * (
        1.0 if picture else volume.voxel_volume_ml
    )
    found |= _places(volume, mean, body)
    unit = DISTANCE_UNITS[picture]
    spacing = (1.0,) * volume.ndim if picture else volume.grid.spacing_mm
    farthest = float(np.linalg.norm(np.multiply(volume.grid.shape, spacing)))
    outside = {f"depth_{unit}": ~body} if bool((~body).any()) else {}
    masks = {f"to_{name}_{unit}": mask for name, mask in structures.items()}
    for name, mask in {**outside, **masks}.items():
        found[name] = mean(_distance(mask, spacing, farthest).cpu().numpy())
    return found


def _of_channel(data: np.ndarray, order: np.ndarray, starts: np.ndarray) -> Columns:
    values = data.ravel()[order].astype(np.float64)
    parts = np.split(values, starts[1:])
    return {
        "mean": np.array([part.mean() for part in parts]),
        "sd": np.array([part.std() for part in parts]),
        "p10": np.array([np.quantile(part, 0.1) for part in parts]),
        "p90": np.array([np.quantile(part, 0.9) for part in parts]),
    }


def _textures(data: np.ndarray) -> dict[str, np.ndarray]:
    from skimage.filters import sobel
    from skimage.filters.rank import entropy
    from skimage.morphology import ball, disk

    spread = float(np.ptp(data))
    levels = np.zeros(data.shape, dtype=np.uint8)
    if spread > 0:
        levels = ((data - data.min()) / spread * (GREY_LEVELS - 1)).round().astype(np.uint8)
    around = disk(ENTROPY_RADIUS_VOX) if data.ndim == 2 else ball(ENTROPY_RADIUS_VOX)
    return {"edges": sobel(data.astype(np.float64)), "entropy": entropy(levels, around)}


def _places(volume: Volume, mean: object, body: Mask) -> Columns:
    """Return where the centres of regions lie in the box around the body."""
    assert callable(mean)
    shape = volume.grid.shape
    indices = np.indices(shape, dtype=np.float64)
    centres = np.stack([mean(one) for one in indices], axis=1)
    corners = np.argwhere(body.cpu().numpy())
    if volume.source.is_picture:
        low, high = corners.min(axis=0), corners.max(axis=0)
        places = (centres - low) / np.maximum(high - low, 1)
        return {name: places[:, axis] for axis, name in enumerate(PICTURE_PLACES)}
    affine, ndim = volume.affine, volume.ndim
    turn, shift = affine[:3, :ndim], affine[:3, 3]
    ends = corners @ turn.T + shift
    low, high = ends.min(axis=0), ends.max(axis=0)
    places = (centres @ turn.T + shift - low) / np.where(high > low, high - low, 1.0)
    return {name: places[:, axis] for axis, name in enumerate(PLACES) if high[axis] > low[axis]}


def _distance(mask: Mask, spacing: tuple[float, ...], farthest: float) -> Tensor:
    if not bool(mask.any()):
        return torch.full(mask.shape, farthest, dtype=torch.float64)
    return distance_to(mask, spacing)
