"""A slow rewrite of predictions whose outputs are not of their window's shape."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.predict import Predictor, probe_output

PAD_MODES = {"zeros": "constant", "edge": "edge", "reflect": "reflect"}
"""What numpy calls them."""


def covering(model: Predictor, num_channels: int = 1) -> Predictor:
    """Return a predictor that knows what its network's output covers, as a probe finds it."""
    from dataclasses import replace

    probe = probe_output(model.network, model.plan.size, num_channels)
    return replace(model, plan=replace(model.plan, coverage=probe.coverage))


def slow_prediction(
    network: nn.Module,
    x: Tensor,
    *,
    window: Sequence[int],
    output: Sequence[int],
    overlap: float = 0.5,
    blend: str = "gaussian",
    padding: str = "zeros",
    stretched: Sequence[int] | None = None,
) -> Tensor:
    """Return the blended prediction; differentiable by `x`, with a graph of it all.

    MONAI lays and blends the output windows. It is handed where each voxel lies instead of the
    image, and the network's input is looked up there, in an image that numpy says how to pad.

    Args:
        network: from `B C *window` to an output.
        x: `B C *S`.
        window: what the network is given.
        output: voxels in the middle of a window that are put out.
        overlap: of the outputs.
        blend: as MONAI calls it.
        padding: what lies around the image.
        stretched: the voxels that the output is interpolated to, and cut to `output`.
    """
    shape, ndim = tuple(x.shape[2:]), x.ndim - 2
    spare = [max(o - n, 0) for n, o in zip(shape, output, strict=True)]
    before = [s // 2 + (w - o) // 2 for s, w, o in zip(spare, window, output, strict=True)]
    after = [
        s - s // 2 + (w - o) - (w - o) // 2 for s, w, o in zip(spare, window, output, strict=True)
    ]
    index = np.arange(x[0, 0].numel()).reshape(shape)
    widths = list(zip(before, after, strict=True))
    if padding == "zeros":
        index = np.pad(index, widths, constant_values=-1)
    else:
        index = np.pad(index, widths, mode=PAD_MODES[padding])
    places = torch.from_numpy(index)
    flat = torch.cat([x.flatten(2), x.new_zeros(*x.shape[:2], 1)], dim=2)  # -1: zero
    padded = flat[:, :, places]
    domain = [max(n, o) for n, o in zip(shape, output, strict=True)]
    where = torch.stack(torch.meshgrid(*(torch.arange(n) for n in domain), indexing="ij"))

    def put_out(crops: Tensor) -> Tensor:
        corners = crops[:, :, *[0] * ndim].round().long()
        found = []
        for corner in corners.tolist():
            box = tuple(slice(c, c + w) for c, w in zip(corner[1:], window, strict=True))
            given = padded[corner[0] : corner[0] + 1, :, *box]
            logits = network(given)
            if stretched is not None:
                mode = "bilinear" if ndim == 2 else "trilinear"
                logits = F.interpolate(logits, stretched, mode=mode, align_corners=False)
                cut = [(s - o) // 2 for s, o in zip(stretched, output, strict=True)]
                logits = logits[:, :, *(slice(c, c + o) for c, o in zip(cut, output, strict=True))]
            found.append(logits)
        return torch.cat(found)

    batch = torch.stack(
        [torch.cat([torch.full_like(where[:1], image), where]) for image in range(len(x))]
    ).to(x.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        blended = sliding_window_inference(batch, tuple(output), 2, put_out, overlap, blend)
    low = [s // 2 for s in spare]
    return blended[:, :, *(slice(c, c + n) for c, n in zip(low, shape, strict=True))]
