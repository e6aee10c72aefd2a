"""Maps of units over a whole volume, by whole networks and plain sums."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from esegeta.predict import Predictor
from esegeta.volume import Volume
from tests.builders import SHAPES, predictor, unet, volume

TOLERANCE = 2e-5
LAYER = "model.1.submodule"  # at half the resolution, within a skip connection


def blended_unit(model: Predictor, layer: str, channels: tuple[int, ...], x: Tensor) -> Tensor:
    """Return the units' maps over the volume, `1 K *S`, by plain sums over whole networks.

    Slow and independent: each window goes through the whole network by itself, its activation is
    caught on the way, resampled and put in its place with the weights written out.
    """
    windows = model.windows(x)
    padded = windows.pad(x)
    weights = windows.importance(x.device, x.dtype)
    module = dict(model.network.named_modules())[layer]
    caught: list[Tensor] = []
    handle = module.register_forward_hook(lambda *call: caught.append(call[2]))
    numerator: Tensor | float = 0.0
    denominator = torch.zeros(windows.padded_shape)
    thin = windows.slice_axis
    for box in windows.boxes:
        crop = padded[(slice(None), slice(None), *box)]
        crop = crop if thin is None else crop.squeeze(thin + 2)
        model.network(crop)
        mode = "bilinear" if crop.ndim == 4 else "trilinear"
        map_ = F.interpolate(caught[-1][:, list(channels)], crop.shape[2:], mode=mode)
        map_ = map_ if thin is None else map_.unsqueeze(thin + 2)
        placed = torch.zeros(1, len(channels), *windows.padded_shape)
        placed[(slice(None), slice(None), *box)] = map_ * weights
        numerator = numerator + placed
        denominator[box] += weights
    handle.remove()
    return windows.crop(numerator / denominator)


def case(ndim: int, kind: str = "prelu_batch") -> tuple[Predictor, Volume]:
    network = unet(ndim, kind, in_channels=2)
    return predictor(network, (8,) * ndim, batch_size=3), volume(SHAPES[ndim], 2)
