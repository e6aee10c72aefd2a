"""The zoo: each network, the window that it takes, and what its maps are held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from tests.zoo import architectures as made
from tests.zoo import small


@dataclass(frozen=True)
class Entry:
    """One network of the zoo.

    Args:
        make: builds it; skips the test where its package is missing.
        window: lengths; the image is half a window longer along the last axis.
        words: what is in it that matters.
        twin: builds a network of the same function and weights without that; None for
            architectures, which are held against autograd, MONAI's inferer and rewrites.
        layer: of layer methods; the deepest by default.
        sign: of the target; some layers speak against the label alone.
        origin: where it comes from.
        apart: methods for which what they are held against has another rule.
    """

    make: Callable[[], nn.Module]
    window: tuple[int, ...]
    words: str
    twin: Callable[[], nn.Module] | None = None
    layer: str | None = None
    sign: float = 1.0
    origin: str = "MONAI"
    apart: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image."""
        *others, last = self.window
        return (*others, last + last // 2)


def _two(make: Callable[..., nn.Module], words: str, **more: object) -> Entry:
    return Entry(make, (16, 16), words, **more)  # type: ignore[arg-type]


monai = made.from_monai
FLAT = (16, 16, 32)  # an instance norm at a sixteenth of it still has two positions
LEVELS = {"channels": (4, 8), "strides": (2,)}

ARCHITECTURES: dict[str, Entry] = {
    "UNet": _two(partial(monai, "UNet", **LEVELS, num_res_units=1, norm="batch"), "residual units"),
    "UNet 3D": Entry(partial(monai, "UNet", ndim=3, **LEVELS), (8, 8, 8), "instance norm, PReLU"),
    "BasicUNet": Entry(made.basic_unet, (32, 32), "instance norm, five levels"),
    "BasicUNet 3D": Entry(partial(made.basic_unet, 3), FLAT, "the same in 3D", sign=-1.0),
    "BasicUNet++": Entry(made.basic_unet_plus_plus, (32, 32), "nested; a list of four outputs"),
    "BasicUNet++ 3D": Entry(partial(made.basic_unet_plus_plus, 3), FLAT, "the same in 3D"),
    "DynUNet": _two(made.dyn_unet, "instance norm behind convolutions without bias"),
    "DynUNet 3D": Entry(partial(made.dyn_unet, 3), (8, 8, 8), "the same in 3D"),
    "DynUNet, deep supervision": _two(
        partial(made.dyn_unet, deep_supervision=True), "several outputs in training"
    ),
    "DynUNet 3D, deep supervision": Entry(
        partial(made.dyn_unet, 3, deep_supervision=True), (8, 8, 8), "the same in 3D"
    ),
    "AttentionUnet": _two(partial(monai, "AttentionUnet", **LEVELS), "gates: products, sigmoid"),
    "AttentionUnet 3D": Entry(
        partial(monai, "AttentionUnet", ndim=3, **LEVELS), (8, 8, 8), "the same in 3D"
    ),
    "SegResNet": _two(
        partial(monai, "SegResNet", init_filters=8, blocks_down=(1, 1), blocks_up=(1,)),
        "group norm",
        layer="down_layers.1",
    ),
    "SegResNet 3D": Entry(
        partial(monai, "SegResNet", ndim=3, init_filters=8, blocks_down=(1, 1), blocks_up=(1,)),
        (8, 8, 8),
        "the same in 3D",
        layer="down_layers.1",
    ),
    "SegResNetDS": _two(
        partial(
            monai, "SegResNetDS", init_filters=8, blocks_down=(1, 1), blocks_up=(1,), dsdepth=2
        ),
        "several outputs in training",
    ),
    "SegResNetDS 3D": Entry(
        partial(
            monai,
            "SegResNetDS",
            ndim=3,
            init_filters=8,
            blocks_down=(1, 1),
            blocks_up=(1,),
            dsdepth=2,
        ),
        (8, 8, 8),
        "the same in 3D",
    ),
    "VNet": _two(partial(monai, "VNet", dropout_dim=2), "ELU, dropout", layer="in_tr"),
    "VNet 3D": Entry(partial(monai, "VNet", ndim=3), (16, 16, 16), "the same in 3D", layer="in_tr"),
    "UNETR": Entry(made.unetr, (32, 32), "vision transformer", layer="decoder2"),
    "UNETR 3D": Entry(partial(made.unetr, FLAT), FLAT, "the same in 3D", layer="decoder2"),
    "SwinUNETR": Entry(
        made.swin_unetr, (32, 32), "shifted windows, LayerNorm", layer="decoder1", sign=-1.0
    ),
    "SwinUNETR 3D": Entry(
        partial(made.swin_unetr, 3), (32, 32, 32), "the same in 3D", layer="decoder1", sign=-1.0
    ),
    "SwinUNETR, checkpointed": Entry(
        partial(made.swin_unetr, use_checkpoint=True),
        (32, 32),
        "activation checkpointing",
        layer="decoder1",
        sign=-1.0,
    ),
    "FlexibleUNet": Entry(
        made.flexible_unet,
        (32, 32),
        "EfficientNet encoder, SiLU",
        layer="decoder.blocks.4",
        sign=-1.0,
        apart=("guided_backprop", "deconvolution"),  # the sigmoid of its gates is no module
    ),
    "FlexibleUNet 3D": Entry(
        partial(made.flexible_unet, 3),
        (32, 32, 32),
        "the same in 3D",
        layer="decoder.blocks.4",
        sign=-1.0,
        apart=("guided_backprop", "deconvolution"),
    ),
    "HighResNet": _two(partial(monai, "HighResNet"), "dilated residual blocks", layer="blocks.0"),
    "HighResNet 3D": Entry(
        partial(monai, "HighResNet", ndim=3, acti_type="prelu"),
        (8, 8, 8),
        "the same in 3D, PReLU",
        layer="blocks.0",
    ),
    "MedNeXt": _two(made.mednext, "depthwise convolutions, GELU"),
    "MedNeXt 3D": Entry(partial(made.mednext, 3), (8, 8, 8), "the same in 3D"),
    "PlainConvUNet": _two(
        partial(made.nnunet, "PlainConvUNet", n_conv_per_stage=[1, 1, 1]),
        "LeakyReLU in place, deep supervision",
        sign=-1.0,
        origin="nnU-Net",
    ),
    "PlainConvUNet 3D": Entry(
        partial(made.nnunet, "PlainConvUNet", 3, n_conv_per_stage=[1, 1, 1]),
        (8, 8, 8),
        "the same in 3D",
        sign=-1.0,
        origin="nnU-Net",
    ),
    "ResidualEncoderUNet": _two(
        partial(made.nnunet, "ResidualEncoderUNet", n_blocks_per_stage=[1, 1, 1]),
        "the same, residual",
        origin="nnU-Net",
    ),
    "ResidualEncoderUNet 3D": Entry(
        partial(made.nnunet, "ResidualEncoderUNet", 3, n_blocks_per_stage=[1, 1, 1]),
        (8, 8, 8),
        "the same in 3D",
        origin="nnU-Net",
    ),
    "smp.Unet": Entry(
        partial(made.smp, "Unet", "resnet18"),
        (32, 32),
        "ResNet encoder",
        layer="decoder.blocks.4",
        origin="segmentation_models_pytorch",
    ),
    "smp.DeepLabV3Plus": Entry(
        partial(made.smp, "DeepLabV3Plus", "resnet18"),
        (32, 32),
        "pyramid of dilations",
        layer="segmentation_head.0",
        sign=-1.0,
        origin="segmentation_models_pytorch",
    ),
    "smp.Segformer": Entry(
        partial(made.smp, "Segformer", "mit_b0"),
        (32, 32),
        "hierarchical transformer",
        layer="segmentation_head.0",
        sign=-1.0,
        origin="segmentation_models_pytorch",
    ),
    "fcn_resnet50": Entry(
        partial(made.torchvision, "fcn_resnet50"),
        (32, 32),
        "a dict of outputs",
        layer="network.classifier.4",
        origin="torchvision",
    ),
    "deeplabv3_mobilenet_v3_large": Entry(
        partial(made.torchvision, "deeplabv3_mobilenet_v3_large"),
        (32, 32),
        "Hardswish, squeeze and excitation",
        layer="network.classifier.4",
        origin="torchvision",
    ),
}


def _small(
    make: Callable[[], nn.Module],
    twin: Callable[[], nn.Module],
    words: str,
    apart: tuple[str, ...] = (),
) -> Entry:
    side = (small.SIDE, small.SIDE)
    return Entry(make, side, words, twin, "middle", sign=-1.0, origin="here", apart=apart)


relu, chain = partial(small.plain, nn.ReLU()), partial(small.checkpointed, None)

SMALL: dict[str, Entry] = {
    "in place": _small(partial(small.plain, nn.ReLU(inplace=True)), relu, "`ReLU(inplace=True)`"),
    "functions": _small(small.functional, small.modules, "`F.conv2d`, `F.relu_`, `x += c`"),
    "dropout": _small(small.dropped, relu, "`Dropout2d`"),
    "GELU": _small(
        partial(small.plain, nn.GELU()), partial(small.plain, small.gelu), "by its error function"
    ),
    "SiLU": _small(
        partial(small.plain, nn.SiLU(inplace=True)), partial(small.plain, nn.SiLU()), "in place"
    ),
    "Softplus": _small(
        partial(small.plain, nn.Softplus()), partial(small.plain, small.softplus), "as a function"
    ),
    "Hardswish": _small(
        partial(small.plain, nn.Hardswish(inplace=True)),
        partial(small.plain, nn.Hardswish()),
        "in place",
    ),
    "GLU": _small(small.gated, partial(small.gated, by_hand=True), "half of the channels gate"),
    "weight norm": _small(
        partial(small.parametrized, "weight"), partial(small.baked, "weight"), "a parametrization"
    ),
    "spectral norm": _small(
        partial(small.parametrized, "spectral"),
        partial(small.baked, "spectral"),
        "a parametrization",
    ),
    "checkpointing": _small(
        partial(small.checkpointed, False), chain, "`checkpoint(use_reentrant=False)`"
    ),
    "reentrant checkpointing": _small(
        partial(small.checkpointed, True), chain, "`checkpoint(use_reentrant=True)`"
    ),
    "einsum attention": _small(
        partial(small.attention, "einsum"), partial(small.attention, "matmul"), "`torch.einsum`"
    ),
    "SDPA": _small(
        partial(small.attention, "sdpa"),
        partial(small.attention, "matmul"),
        "`F.scaled_dot_product_attention`",
        apart=("deep_lift", "deep_lift_shap"),  # the mean gradient of all of it, or of its parts
    ),
    "MultiheadAttention": _small(
        small.multi_head, partial(small.multi_head, by_hand=True), "one fused module"
    ),
}

ZOO: dict[str, Entry] = {**ARCHITECTURES, **SMALL}
