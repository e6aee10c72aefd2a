"""What tests of DeepLIFT share: a network that captum knows, and targets that weigh its logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esegeta.explain import Baseline
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import convolution, randomise_norms
from tests.oracles import everywhere, frozen, with_coefficients

BLUR = Baseline("blur", sigma_mm=2.0)


def weighed(model: Predictor, image: Volume, of: str) -> FrozenTarget:
    """Return a target that weighs each logit by its own, or one that is not linear in them."""
    plain = frozen(model, image, everywhere(of=of))
    if of != "logit":
        return plain
    generator = torch.Generator().manual_seed(3)
    weights = torch.rand((2, *image.grid.shape), generator=generator) * 2 - 0.5
    return with_coefficients(plain, weights)


class Pooling(nn.Module):
    """What captum's DeepLift knows: each module used once, and none in place."""

    def __init__(self, ndim: int) -> None:
        super().__init__()
        torch.manual_seed(4)
        conv = convolution(ndim)
        norm = nn.BatchNorm2d if ndim == 2 else nn.BatchNorm3d
        pool = nn.MaxPool2d if ndim == 2 else nn.MaxPool3d
        self.down = nn.Sequential(conv(2, 6, 3, padding=1), norm(6), nn.ReLU())
        self.deep = nn.Sequential(conv(6, 8, 3, padding=1), pool(2), norm(8), nn.ELU())
        self.up = nn.Upsample(scale_factor=2)
        self.head = nn.Sequential(conv(14, 6, 3, padding=1), nn.Sigmoid(), conv(6, 2, 1))
        randomise_norms(self).eval()

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        return self.head(torch.cat([skip, self.up(self.deep(skip))], dim=1))


class Value(nn.Module):
    """The target as a network of one output an image."""

    def __init__(self, network: nn.Module, target: FrozenTarget) -> None:
        super().__init__()
        self.network = network
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        return self.target.value(self.network(x))[:, None]
