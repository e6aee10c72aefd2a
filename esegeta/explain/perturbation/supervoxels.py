"""Supervoxels: parts of an image of about one grey value."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from esegeta.axes import Image


def slic_labels(
    image: Image,
    spacing_mm: tuple[float, ...],
    count: int,
    *,
    compactness: float,
    sigma_mm: float = 0.0,
) -> Int[Tensor, "*S"]:
    """Return the SLIC supervoxel of each voxel, counted from 0, on the CPU.

    scikit-image seeds its clusters at equal distances in voxels, which would leave columns on
    thick slices; so they are found on a grid of cubic voxels, no more of them than the image has.
    Channels are scaled to 0..1 each, so that none outweighs another.

    Args:
        image: `C *S`.
        spacing_mm: spacing of the voxels, in mm.
        count: about how many there are to be.
        compactness: weight of nearness against likeness; distances are in cubic voxels.
        sigma_mm: width of a Gaussian that smooths the image before.

    Source: Achanta et al., SLIC Superpixels Compared to State-of-the-art Superpixel Methods, 2012.
    """
    from skimage.segmentation import slic

    shape = tuple(image.shape[1:])
    side = float(np.prod(spacing_mm)) ** (1 / len(shape))
    cubic = [max(1, round(n * mm / side)) for n, mm in zip(shape, spacing_mm, strict=True)]
    lengths = [n * mm / m for n, mm, m in zip(shape, spacing_mm, cubic, strict=True)]
    data = image.detach().float().cpu()
    low = data.flatten(1).amin(dim=1).reshape(-1, *(1,) * len(shape))
    high = data.flatten(1).amax(dim=1).reshape(-1, *(1,) * len(shape))
    data = (data - low) / (high - low).clamp(min=torch.finfo(data.dtype).tiny)
    if tuple(cubic) != shape:
        mode = "bilinear" if len(shape) == 2 else "trilinear"
        data = F.interpolate(data[None], size=cubic, mode=mode)[0]
    found = slic(
        np.ascontiguousarray(data.movedim(0, -1).numpy()),
        n_segments=min(count, int(np.prod(cubic))),
        compactness=compactness,
        sigma=[sigma_mm / length for length in lengths],
        spacing=[length / side for length in lengths],
        convert2lab=False,
        start_label=0,
        channel_axis=-1,
    )
    labels = torch.from_numpy(np.asarray(found, dtype=np.int32))
    if tuple(cubic) != shape:
        nearest = F.interpolate(labels[None, None].float(), size=shape, mode="nearest-exact")
        labels = nearest[0, 0].to(torch.int32)
    # What fell between the image's voxels leaves no gap in the count.
    counted: Tensor = torch.unique(labels, return_inverse=True)[1]
    return counted.to(torch.int32)
