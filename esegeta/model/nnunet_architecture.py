"""Which network the plans of nnU-Net v2 describe, with the arguments that it is built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esegeta.errors import ModelError, suggest
from esegeta.model.nnunet import NETWORKS

OLD_CLASSES = {
    "PlainConvUNet": (f"{NETWORKS}.unet.PlainConvUNet", "n_conv_per_stage"),
    "ResidualEncoderUNet": (f"{NETWORKS}.unet.ResidualEncoderUNet", "n_blocks_per_stage"),
}
"""Names in plans from before nnU-Net 2.3: the class, and what it calls blocks per stage."""


def nnunet_architecture(
    configuration: Mapping[str, Any], *, num_inputs: int, num_outputs: int
) -> tuple[str, dict[str, Any]]:
    """Return the class path of a configuration's network, and its keyword arguments.

    Deep supervision is off: only the logits of full resolution are returned.

    Args:
        configuration: configuration of the plans, resolved.
        num_inputs: channels of the image.
        num_outputs: channels of the logits.

    Raises:
        ModelError: the plans describe no network, or one of another kind.
    """
    architecture = configuration.get("architecture") or _of_old_plans(configuration)
    args = architecture.get("arch_kwargs")
    if "network_class_name" not in architecture or not isinstance(args, Mapping):
        raise ModelError(
            "plans.json: `architecture` has no network_class_name and arch_kwargs",
            hint="are these the plans of nnU-Net v2?",
        )
    own = {"input_channels": num_inputs, "num_classes": num_outputs, "deep_supervision": False}
    return str(architecture["network_class_name"]), {**args, **own}


def _of_old_plans(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return what plans without `architecture` mean, as nnU-Net itself reads them."""
    name = configuration.get("UNet_class_name")
    if name is None:
        raise ModelError(
            "plans.json: the configuration describes no network: it has neither `architecture` "
            "nor `UNet_class_name`"
        )
    if name not in OLD_CLASSES:
        raise ModelError(
            f'plans.json: UNet_class_name "{name}" is not known', hint=suggest(name, OLD_CLASSES)
        )
    class_path, blocks = OLD_CLASSES[name]
    try:
        stages = len(configuration["n_conv_per_stage_encoder"])
        ndim = len(configuration["patch_size"])
        first, most = (
            configuration["UNet_base_num_features"],
            configuration["unet_max_num_features"],
        )
        args = {
            "n_stages": stages,
            "features_per_stage": [min(first * 2**stage, most) for stage in range(stages)],
            "conv_op": f"torch.nn.modules.conv.Conv{ndim}d",
            "kernel_sizes": configuration["conv_kernel_sizes"],
            "strides": configuration["pool_op_kernel_sizes"],
            blocks: configuration["n_conv_per_stage_encoder"],
            "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{ndim}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        }
    except KeyError as error:
        raise ModelError(f"plans.json: the configuration has no {error.args[0]}") from error
    return {"network_class_name": class_path, "arch_kwargs": args}
