"""Maps of units over a whole volume, by whole networks and plain sums."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from esegeta.predict import Predictor
from esegeta.volume import Volume
from tests.builders import SHAPES, predictor, unet, volume
from tests.oracles import blended

TOLERANCE = 2e-5
LAYER = "model.1.submodule"  # at half the resolution, within a skip connection


def blended_unit(model: Predictor, layer: str, channels: tuple[int, ...], x: Tensor) -> Tensor:
    """Return the units' maps over the volume, `1 K *S`, by plain sums over whole networks.

    Each window goes through the whole network, its activation is caught on the way and resampled.
    """
    module = dict(model.network.named_modules())[layer]
    caught: list[Tensor] = []

    def of_window(crop: Tensor) -> Tensor:
        model.network(crop)
        mode = "bilinear" if crop.ndim == 4 else "trilinear"
        return F.interpolate(caught[-1][:, list(channels)], crop.shape[2:], mode=mode)

    handle = module.register_forward_hook(lambda *call: caught.append(call[2]))
    maps = blended(model.windows(x), x, of_window)
    handle.remove()
    return maps


def case(ndim: int, kind: str = "prelu_batch") -> tuple[Predictor, Volume]:
    network = unet(ndim, kind, in_channels=2)
    return predictor(network, (8,) * ndim, batch_size=3), volume(SHAPES[ndim], 2)
