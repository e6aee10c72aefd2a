"""Networks that people use, as tiny as they can be made: from MONAI, nnU-Net, smp, torchvision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.zoo.torchvision_ops import need_torchvision


def from_monai(name: str, *, ndim: int = 2, **args: Any) -> nn.Module:
    from monai.networks import nets

    common = {"spatial_dims": ndim, "in_channels": 1, "out_channels": 2}
    return getattr(nets, name)(**{**common, **args})


def dyn_unet(ndim: int = 2, **args: Any) -> nn.Module:
    steps = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
    return from_monai("DynUNet", ndim=ndim, **steps, filters=[4, 6, 8], **args)


def nnunet(name: str, ndim: int = 2, **args: Any) -> nn.Module:
    architectures = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    common: dict[str, Any] = {
        "input_channels": 1,
        "n_stages": 3,
        "features_per_stage": [4, 6, 8],
        "conv_op": {2: nn.Conv2d, 3: nn.Conv3d}[ndim],
        "kernel_sizes": 3,
        "strides": [1, 2, 2],
        "num_classes": 2,
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[ndim],
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": True,
    }
    return getattr(architectures, name)(**{**common, **args})


class Grey(nn.Module):
    """Spreads one channel over the three that a network of photographs takes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.spread = nn.Conv2d(1, 3, 1)
        self.network = network

    def forward(self, x: torch.Tensor) -> Any:
        return self.network(self.spread(x))


def torchvision(name: str) -> nn.Module:
    need_torchvision()
    from torchvision.models import segmentation

    return Grey(
        awake(getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=2))
    )


def awake(network: nn.Module) -> nn.Module:
    """Draw larger weights: of a deep network, untrained ones let nothing but rounding through."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_in")
    return network


def smp(name: str, encoder: str) -> nn.Module:
    need_torchvision()
    models = pytest.importorskip("segmentation_models_pytorch")
    return getattr(models, name)(encoder, encoder_weights=None, in_channels=1, classes=2)


def mednext(ndim: int = 2) -> nn.Module:
    return from_monai(
        "MedNeXt",
        ndim=ndim,
        init_filters=4,
        encoder_expansion_ratio=2,
        decoder_expansion_ratio=2,
        bottleneck_expansion_ratio=2,
        blocks_down=(1, 1),
        blocks_bottleneck=1,
        blocks_up=(1, 1),
    )


def flexible_unet(ndim: int = 2) -> nn.Module:
    tiny = {"backbone": "efficientnet-b0", "decoder_channels": (16, 8, 8, 4, 4)}
    network = from_monai("FlexibleUNet", ndim=ndim, **tiny)
    return network if ndim == 2 else awake(network)


def unetr(img_size: tuple[int, ...] = (32, 32)) -> nn.Module:
    return from_monai(
        "UNETR",
        ndim=len(img_size),
        img_size=img_size,
        feature_size=4,
        hidden_size=12,
        mlp_dim=16,
        num_heads=2,
    )


def swin_unetr(ndim: int = 2, **args: Any) -> nn.Module:
    pytest.importorskip("einops")
    # An instance norm would refuse the single position that is left of 32 voxels.
    tiny = {"feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
    return from_monai("SwinUNETR", ndim=ndim, **tiny, norm_name="batch", **args)


def basic_unet(ndim: int = 2) -> nn.Module:
    return from_monai("BasicUNet", ndim=ndim, features=(4, 4, 4, 6, 6, 4))


def basic_unet_plus_plus(ndim: int = 2) -> nn.Module:
    # With these it predicts both labels, untrained.
    widths = {2: (4, 4, 4, 6, 6, 4), 3: (4, 4, 6, 6, 8, 4)}[ndim]
    return from_monai("BasicUNetPlusPlus", ndim=ndim, features=widths, deep_supervision=True)
