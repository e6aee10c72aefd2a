"""What other packages do to images, written anew in NumPy from their published sources.

nnU-Net (nnunetv2.preprocessing: default_preprocessor, cropping, default_normalization_schemes and
default_resampling) and TorchIO's ZNormalization are not installed here; MONAI is, and is called.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.transform import resize

THRESHOLD = 3


def nonzero_mask(data: np.ndarray) -> np.ndarray:
    """Voxels of `C *S` that are not zero in some channel, without holes."""
    return np.asarray(ndimage.binary_fill_holes(np.any(data != 0, axis=0)))


def nonzero_box(data: np.ndarray) -> tuple[slice, ...]:
    """The box around them."""
    (box,) = ndimage.find_objects(nonzero_mask(data).astype(int))
    return tuple(box)


def nnunet_zscore(channel: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
    """ZScoreNormalization, over a mask where use_mask_for_norm gives one."""
    image = channel.astype(np.float64)
    if inside is None:
        return (image - image.mean()) / max(image.std(), 1e-8)
    values = image[inside]
    image[inside] = (values - values.mean()) / max(values.std(), 1e-8)
    return image


def nnunet_ct(channel: np.ndarray, low: float, high: float, mean: float, std: float) -> np.ndarray:
    """CTNormalization."""
    return (np.clip(channel.astype(np.float64), low, high) - mean) / max(std, 1e-8)


def torchio_above_mean(channel: np.ndarray) -> np.ndarray:
    """ZNormalization with its mask `mean`; the std of torch is that of a sample."""
    image = channel.astype(np.float64)
    values = image[image > image.mean()]
    return (image - values.mean()) / values.std(ddof=1)


def nnunet_new_shape(
    shape: Sequence[int], spacing: Sequence[float], onto: Sequence[float]
) -> tuple[int, ...]:
    """Lengths after resampling: round(old spacing / new spacing * length)."""
    return tuple(round(a / b * n) for a, b, n in zip(spacing, onto, shape, strict=True))


def nnunet_axis(spacing: Sequence[float], onto: Sequence[float], force: bool | None) -> int | None:
    """The axis that is resampled by itself; force is None for nnU-Net's own choice."""
    if force is False:
        return None
    for lengths in (spacing, onto):
        if force or max(lengths) / min(lengths) > THRESHOLD:
            axes = [axis for axis, length in enumerate(lengths) if length == max(lengths)]
            return axes[0] if len(axes) == 1 else None
    return None


def nnunet_resample(
    data: np.ndarray,
    spacing: Sequence[float],
    onto: Sequence[float],
    *,
    order: int,
    force: bool | None = None,
) -> np.ndarray:
    """resample_data_or_seg_to_shape of images: slice by slice where an axis is apart."""
    shape = nnunet_new_shape(data.shape[1:], spacing, onto)
    if shape == data.shape[1:]:
        return data
    axis = nnunet_axis(spacing, onto, force)
    keys = {"order": order, "mode": "edge", "anti_aliasing": False}
    if axis is None:
        return np.stack([resize(channel.astype(float), shape, **keys) for channel in data])
    in_plane = [length for place, length in enumerate(shape) if place != axis]
    moved = []
    for channel in data.astype(float):
        slices = [resize(part, in_plane, **keys) for part in np.moveaxis(channel, axis, 0)]
        stack = np.stack(slices, axis)
        places = np.mgrid[tuple(slice(0, length) for length in shape)].astype(float)
        places[axis] = channel.shape[axis] / shape[axis] * (places[axis] + 0.5) - 0.5
        moved.append(ndimage.map_coordinates(stack, places, order=0, mode="nearest"))
    return np.stack(moved)
